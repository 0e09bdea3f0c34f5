"""IR-SE50 against a forward pass written from the published layer table, on its state dict alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from losskit_identity import ArcFaceIRSE50
from losskit_identity.arcface import load_arcface

# (input channels, output channels, stride) of the 24 units of IR-SE50.
UNITS = [
    *[(64, 64, 2), (64, 64, 1), (64, 64, 1)],
    *[(64, 128, 2), *[(128, 128, 1)] * 3],
    *[(128, 256, 2), *[(256, 256, 1)] * 13],
    *[(256, 512, 2), (512, 512, 1), (512, 512, 1)],
]


@pytest.fixture(scope="module")
def network() -> ArcFaceIRSE50:
    torch.manual_seed(3)
    network = ArcFaceIRSE50()
    for name, value in network.state_dict().items():
        if "running" in name or (value.ndim == 1 and value.is_floating_point()):
            value.copy_(torch.rand(value.shape) + 0.5)  # no norm or slope left at its default
    return network.eval()


def _forward(state: dict[str, Tensor], image: Tensor) -> dict[str, Tensor]:
    def norm(x: Tensor, key: str) -> Tensor:
        parts = [state[f"{key}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *parts, training=False, eps=1e-5)

    found = {}
    x = F.conv2d(image, state["input_layer.0.weight"], padding=1)
    x = F.prelu(norm(x, "input_layer.1"), state["input_layer.2.weight"])
    for index, (inputs, outputs, stride) in enumerate(UNITS):
        key = f"body.{index}"
        if inputs == outputs:
            shortcut = x[:, :, ::stride, ::stride]
        else:
            shortcut = F.conv2d(x, state[f"{key}.shortcut_layer.0.weight"], stride=stride)
            shortcut = norm(shortcut, f"{key}.shortcut_layer.1")
        y = norm(x, f"{key}.res_layer.0")
        y = F.conv2d(y, state[f"{key}.res_layer.1.weight"], padding=1)
        y = F.prelu(y, state[f"{key}.res_layer.2.weight"])
        y = F.conv2d(y, state[f"{key}.res_layer.3.weight"], stride=stride, padding=1)
        y = norm(y, f"{key}.res_layer.4")
        gate = F.adaptive_avg_pool2d(y, 1)
        gate = F.relu(F.conv2d(gate, state[f"{key}.res_layer.5.fc1.weight"]))
        x = shortcut + y * torch.sigmoid(F.conv2d(gate, state[f"{key}.res_layer.5.fc2.weight"]))
        if index in (2, 6, 20, 23):
            found[f"stage{len(found) + 1}"] = x
    x = norm(x, "output_layer.0").flatten(1)
    x = F.linear(x, state["output_layer.3.weight"], state["output_layer.3.bias"])
    x = norm(x, "output_layer.4")
    found["embedding"] = x / x.norm(dim=1, keepdim=True)
    return found


def test_equals_the_published_table(network: ArcFaceIRSE50) -> None:
    image = torch.rand(2, 3, 112, 112) * 2 - 1
    with torch.no_grad():
        expected = _forward(network.state_dict(), image)
        for name, ours in zip(
            network.layer_names, network(image, network.layer_names), strict=True
        ):
            scale = float(expected[name].abs().max())
            torch.testing.assert_close(ours, expected[name], atol=1e-4 * scale, rtol=1e-4)
    shapes = {name: tuple(value.shape[1:]) for name, value in expected.items()}
    assert shapes["stage1"] == (64, 56, 56)
    assert shapes["stage4"] == (512, 7, 7)


def test_layout_is_the_checkpoints(network: ArcFaceIRSE50) -> None:
    state = network.state_dict()
    assert {key.split(".")[0] for key in state} == {"input_layer", "body", "output_layer"}
    # The published file has 175 367 323 bytes: these numbers in fp32 and the names' overhead.
    numbers = sum(v.numel() for k, v in state.items() if "num_batches" not in k)
    assert 0 < 175_367_323 - 4 * numbers < 100_000
    assert len({key.split(".")[1] for key in state if key.startswith("body")}) == 24
    again = load_arcface(state)
    assert torch.equal(
        again.state_dict()["body.23.res_layer.3.weight"], state["body.23.res_layer.3.weight"]
    )


def test_a_file_of_an_old_torch_loads(network: ArcFaceIRSE50) -> None:
    old = {k: v for k, v in network.state_dict().items() if "num_batches_tracked" not in k}
    load_arcface(old)


def test_missing_and_unexpected_keys_are_errors(network: ArcFaceIRSE50) -> None:
    state = dict(network.state_dict())
    with pytest.raises(RuntimeError, match="Unexpected key"):
        load_arcface({**state, "logits.weight": torch.zeros(1)})
    del state["body.0.res_layer.1.weight"]
    with pytest.raises(RuntimeError, match="Missing key"):
        load_arcface(state)


def test_stays_in_evaluation_mode_and_stops_early(network: ArcFaceIRSE50) -> None:
    assert not network.train().training
    calls = []
    hook = network.body[3].register_forward_hook(lambda *_: calls.append(1))
    network(torch.rand(1, 3, 112, 112), ("stage1",))
    hook.remove()
    assert not calls
