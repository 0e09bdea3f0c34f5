"""A config's plain values against the annotations of what takes them."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

import losskit
from losskit.discovery.options import check_options
from losskit.discovery.presets import preset_config
from losskit.errors import ConfigError


def takes(count: int = 1, scale: float = 1.0, flip: bool = True, name: str | None = None) -> None:
    """Options of every plain kind."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 2.0}, "count must be a whole number, not 2.0"),
        ({"count": "2"}, "count must be a whole number, not '2'"),
        ({"count": True}, "count must be a whole number, not True"),
        ({"scale": None}, "scale must be a number, not None"),
        ({"scale": [1.0]}, r"scale must be a number, not \[1.0\]"),
        ({"flip": {}}, "flip must be true or false, not {}"),
        ({"scale": "1e-4"}, "not '1e-4'; YAML takes 1e-4 for a text and 1.0e-4 for a number"),
        ({"scale": "one"}, "scale must be a number, not 'one'$"),
        ({"flip": "no"}, "flip must be true or false, not 'no'"),
        ({"name": 3}, "name must be a text or null, not 3"),
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_another_kind_is_refused_by_name(options, message, as_text):
    signature = inspect.signature(takes, eval_str=not as_text)
    with pytest.raises(ConfigError, match=f"^Example: .*{message}") as caught:
        check_options("Example", signature.parameters, options)
    assert "\n" not in str(caught.value)


def test_what_fits_or_is_not_plain_passes():
    parameters = inspect.signature(takes).parameters
    for options in (
        {"count": 3, "scale": 2, "flip": 0, "name": None},
        {"count": np.int64(3), "scale": np.float32(2), "name": "a", "unknown": []},
        {"name": Path("a")},
    ):
        check_options("Example", parameters, options)


def test_a_default_is_right_whatever_the_annotation_says():
    def forgetful(name: str = None, count: int = None, width: int = 0.5) -> None:  # noqa: RUF013
        """As many are written."""

    parameters = inspect.signature(forgetful).parameters
    check_options("Example", parameters, {"name": None, "count": None, "width": 0.5})
    with pytest.raises(ConfigError, match=r"width must be a whole number, not 0.25"):
        check_options("Example", parameters, {"width": 0.25})


def test_a_preset_s_weight_may_be_adaptive():
    weight = {"adaptive": {"reference": "loss_gen", "wrt": "last_layer"}}
    config = preset_config("pix2pix", {"pixel_loss_weight": weight})[1]
    assert [term["loss_weight"] for term in config["gen_auxiliary_loss"]] == [weight]
    with pytest.raises(ConfigError, match=r"^preset 'r3gan': gamma must be a number, not {"):
        preset_config("r3gan", {"gamma": weight})
    with pytest.raises(ConfigError, match=r"^preset 'pggan': unsupported operand"):
        preset_config("pggan", {"disc_shift_weight": weight})  # which is halved


def test_losses_and_presets_are_asked():
    with pytest.raises(ConfigError, match=r"^CharbonnierLoss: eps must be a number, not '1e-3';"):
        losskit.build({"type": "CharbonnierLoss", "eps": "1e-3"})
    with pytest.raises(ConfigError, match=r"^CharbonnierLoss: eps must be a number, not None"):
        losskit.create("CharbonnierLoss", eps=None)
    with pytest.raises(ConfigError, match=r"^preset 'r3gan': gamma must be a number, not None"):
        preset_config("r3gan", {"gamma": None})
