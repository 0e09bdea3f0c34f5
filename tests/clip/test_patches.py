"""CLIPPatchLoss: what it is made of, its seed and its threshold."""

from __future__ import annotations

import pytest
import torch

from losskit_clip import CLIPDirectionalLoss, CLIPLoss, CLIPPatchLoss
from losskit_clip.examples import tiny_clip
from losskit_clip.perspective import perspective_patches


def _loss(**options: object) -> CLIPPatchLoss:
    arguments = {
        "num_patches": 4,
        "patch_size": 8,
        "templates": None,
        "model": tiny_clip(),
        "threshold": 0.0,
    }
    return CLIPPatchLoss("sketch", **{**arguments, **options})  # type: ignore[arg-type]


def test_whole_image_patches_are_the_plain_losses() -> None:
    pred, source = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    whole = {"patch_size": 16, "distortion": 0.0, "num_patches": 2, "reduction": "none"}
    text = CLIPLoss("sketch", model=tiny_clip(), reduction="none")
    torch.testing.assert_close(_loss(**whole)(pred), text(pred), atol=1e-4, rtol=1e-4)
    turned = CLIPDirectionalLoss("sketch", templates=None, model=tiny_clip(), reduction="none")
    ours = _loss(source_text="photo", **whole)(pred, source)
    torch.testing.assert_close(ours, turned(pred, source), atol=1e-4, rtol=1e-4)


def test_a_seed_makes_runs_alike_and_calls_differ() -> None:
    pred = torch.rand(1, 3, 24, 24)
    first, second = _loss(seed=5), _loss(seed=5)
    values = [float(first(pred)) for _ in range(3)]
    torch.manual_seed(99)
    assert [float(second(pred)) for _ in range(3)] == values
    assert len(set(values)) == 3
    plain = _loss()
    torch.manual_seed(7)
    value = float(plain(pred))
    torch.manual_seed(7)
    assert float(plain(pred)) == value


def test_the_default_device_does_not_matter() -> None:
    """As with ``torch.set_default_device("cuda")``; meta tensors would fail at their first use."""
    pred = torch.rand(1, 3, 24, 24)
    patches, prompt = _loss(seed=5)(pred), CLIPLoss({"a": 1.0, "b": -2.0}, model=tiny_clip())(pred)
    model = tiny_clip()
    with torch.device("meta"):
        torch.testing.assert_close(_loss(seed=5)(pred), patches)
        torch.testing.assert_close(CLIPLoss({"a": 1.0, "b": -2.0}, model=model)(pred), prompt)
        assert CLIPLoss(model=model)(pred, "a new text").isfinite()


def test_easy_patches_count_nothing() -> None:
    pred = torch.rand(1, 3, 24, 24, requires_grad=True)
    assert _loss(threshold=2.1)(pred) == 0
    assert _loss(threshold=0.0)(pred) > 0


def test_the_threshold_is_for_each_crop() -> None:
    pred, model = torch.rand(1, 3, 24, 24), tiny_clip()
    torch.manual_seed(7)
    crops = perspective_patches(pred, 4, 8, distortion=0.5)
    each = CLIPLoss("sketch", model=model, reduction="none")(crops).sort().values
    threshold = float(each[1:3].mean())
    torch.manual_seed(7)
    value = _loss(threshold=threshold)(pred)
    torch.testing.assert_close(value, each[2:].sum() / 4, atol=1e-4, rtol=1e-4)


def test_seeds_are_no_shifted_copies_of_one_another() -> None:
    pred = torch.rand(1, 3, 24, 24)
    first, second = (
        [float(loss(pred)) for _ in range(4)] for loss in (_loss(seed=0), _loss(seed=1))
    )
    assert not set(first) & set(second)


def test_a_resumed_run_goes_on_and_looking_on_does_not_count() -> None:
    pred = torch.rand(1, 3, 24, 24)
    loss, fresh = _loss(seed=5), _loss(seed=5)
    values = [float(loss(pred)) for _ in range(2)]
    loss.eval()
    assert float(loss(pred)) == float(loss(pred))
    fresh.load_state_dict(loss.state_dict())
    after = float(fresh(pred))
    assert after not in values
    assert float(loss.train()(pred)) == after


def test_black_is_the_ranges_own() -> None:
    pred = torch.rand(1, 3, 24, 24)
    unit, signed = _loss(seed=1), _loss(seed=1, data_range=(-1, 1))
    torch.testing.assert_close(signed(pred * 2 - 1), unit(pred), atol=1e-5, rtol=1e-4)


def test_source_and_source_text_go_together() -> None:
    image = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match="source is given, but"):
        _loss()(image, image)
    with pytest.raises(ValueError, match="source is missing"):
        _loss(source_text="photo")(image)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_patches": 1.5}, ValueError, "num_patches and patch_size must be whole numbers"),
        ({"num_patches": 0}, ValueError, "not 0 and 8"),
        ({"distortion": 1.5}, ValueError, r"distortion must lie in \[0, 1\], not 1.5"),
        ({"threshold": float("nan")}, ValueError, "threshold must be a finite number, not nan"),
        ({"seed": "7"}, TypeError, "seed must be a whole number or None, not '7'"),
        ({"source_text": "sketch"}, ValueError, "both 'sketch'"),
    ],
)
def test_options_are_refused_by_name(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _loss(**options)
