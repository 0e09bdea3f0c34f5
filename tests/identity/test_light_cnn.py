"""LightCNN against a forward pass on its state dict, its checkpoints, its loss."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import losskit
from losskit.errors import WeightsError
from losskit.weights import weights_path
from losskit_identity import LightCNN, LightCNNFeatureLoss
from losskit_identity.plugin import losskit_weights

# (index in features, kernel) of the nine max-feature-map layers; None: pooling.
TABLE = [
    (0, 5),
    None,
    (2, 1),
    (3, 3),
    None,
    (5, 1),
    (6, 3),
    None,
    (8, 1),
    (9, 3),
    (10, 1),
    (11, 3),
    None,
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    torch.manual_seed(2)
    state = LightCNN().state_dict()
    path = tmp_path_factory.mktemp("weights") / "light_cnn.pth"
    head = {"classifier.0.filter.weight": torch.zeros(2, 2), "classifier.2.bias": torch.zeros(1)}
    torch.save({"state_dict": {**state, **head}}, path)
    return path, state


def _forward(state: dict[str, Tensor], x: Tensor) -> Tensor:
    for row in TABLE:
        if row is None:
            x = F.max_pool2d(x, 2, 2, ceil_mode=True)
            continue
        index, kernel = row
        weight, bias = (
            state[f"features.{index}.filter.weight"],
            state[f"features.{index}.filter.bias"],
        )
        both = F.conv2d(x, weight, bias, padding=kernel // 2)
        x = torch.where(
            both[:, ::1][:, : both.shape[1] // 2] > both[:, both.shape[1] // 2 :],
            both[:, : both.shape[1] // 2],
            both[:, both.shape[1] // 2 :],
        )
    return x


@pytest.mark.parametrize("criterion", ["l1", "mse"])
def test_equals_the_table(checkpoint: tuple[Path, dict[str, Tensor]], criterion: str) -> None:
    path, state = checkpoint
    pred, target = torch.rand(2, 3, 128, 128), torch.rand(2, 3, 128, 128)
    loss = losskit.build(
        {
            "type": "LightCNNFeatureLoss",
            "pretrained": str(path),
            "criterion": criterion,
            "loss_weight": 3.0,
        }
    )
    a, b = _forward(state, pred), _forward(state, target)
    assert a.shape == (2, 128, 8, 8)
    expected = 3 * (F.l1_loss(a, b) if criterion == "l1" else F.mse_loss(a, b))
    torch.testing.assert_close(loss(pred, gt=target), expected, atol=1e-7, rtol=1e-4)


def test_layers_stop_early() -> None:
    network = LightCNN()
    first, third = network(torch.rand(1, 3, 128, 128), ("pool1", "pool3"))
    assert first.shape == (1, 48, 64, 64)
    assert third.shape == (1, 192, 16, 16)


def test_gradients_and_reductions() -> None:
    pred, target = (torch.rand(2, 3, 32, 32, requires_grad=True) for _ in range(2))
    values = LightCNNFeatureLoss(weights="random", reduction="none")(pred, target)
    assert values.shape == (2,)
    torch.testing.assert_close(LightCNNFeatureLoss(weights="random")(pred, target), values.mean())
    values.sum().backward()
    assert target.grad is None
    assert pred.grad is not None
    assert pred.grad.abs().sum() > 0


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="criterion must be 'l1' or 'mse', not 'l2'"):
        LightCNNFeatureLoss(weights="random", criterion="l2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="weights must be a name, a path or 'random', not None"):
        LightCNNFeatureLoss(weights=None)  # type: ignore[arg-type]
    torch.save({"features.0.filter.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"x\.pth' does not fit LightCNN"):
        LightCNNFeatureLoss(weights=str(tmp_path / "x.pth"))
    with pytest.raises(WeightsError, match="no weights file"):
        LightCNNFeatureLoss(weights="gone.pth")
    with pytest.raises(ValueError, match="one shape"):
        LightCNNFeatureLoss(weights="random")(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9))


def test_mmagics_url_is_the_weights_name(
    checkpoint: tuple[Path, dict[str, Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSSKIT_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="losskit weights pull light-cnn-dic"):
        LightCNNFeatureLoss()
    path, state = checkpoint
    spec = {spec.name: spec for spec in losskit_weights()}["light-cnn-dic"]
    weights_path(spec).write_bytes(path.read_bytes())
    config = {"type": "LightCNNFeatureLoss", "pretrained": spec.url, "loss_weight": 0.1}
    with pytest.warns(
        UserWarning, match="no checksum is published for the weights 'light-cnn-dic'"
    ):
        term = losskit.build(config)
    pred, target = torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 128)
    expected = 0.1 * F.l1_loss(_forward(state, pred), _forward(state, target))
    torch.testing.assert_close(term(pred, gt=target), expected, atol=1e-7, rtol=1e-4)


@pytest.mark.weights
@pytest.mark.filterwarnings("ignore:no checksum is published:UserWarning")
def test_true_weights_see_a_face() -> None:
    try:
        loss = LightCNNFeatureLoss()
    except WeightsError as error:
        pytest.skip(f"needs the true weights: {error}")
    from skimage import data

    mean = torch.tensor([129.795, 108.12, 96.39]).view(1, 3, 1, 1)
    face, cat = (
        (torch.tensor(picture[:128, :128].copy()).permute(2, 0, 1)[None] - mean) / 255
        for picture in (data.astronaut()[40:, 160:], data.chelsea()[:, 100:])
    )
    assert loss(face, face.roll(1, 3)) < loss(face, cat)
