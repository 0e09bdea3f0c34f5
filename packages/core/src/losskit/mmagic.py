"""Everything losskit does for configs written for OpenMMLab's MMagic, in one place.

Names only: the numbers are each loss's own business. Torch-free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: MMagic's type → ours. Its ``...Comps`` are the same losses with ``data_info``, which every term has.
TYPE_ALIASES: Mapping[str, str] = {
    "CLIPLossComps": "CLIPLoss",
    "DiscShiftLossComps": "DiscShiftLoss",
    "FaceIdLossComps": "FaceIdLoss",
    "GANLossComps": "GANLoss",
    "GeneratorPathRegularizerComps": "GeneratorPathRegularizer",
    "GradientPenaltyLossComps": "GradientPenaltyLoss",
    "R1GradientPenaltyComps": "R1GradientPenalty",
    "PSNR_Loss": "PSNRLoss",
    "CharbonnierCompositionLoss": "CharbonnierCompLoss",
}

#: Constructor arguments of other names, by our loss's name (``"*"``: all losses).
CONSTRUCTOR_ALIASES: Mapping[str, Mapping[str, str]] = {
    "PerceptualLoss": {"pretrained": "weights"},
    "LightCNNFeatureLoss": {"pretrained": "weights"},
    "FaceIdLoss": {"pretrained": "weights"},
}

#: Arguments of the call of other names, by our loss's name.
INPUT_ALIASES: Mapping[str, Mapping[str, str]] = {
    "PerceptualLoss": {"x": "pred", "gt": "target"},
    "FaceIdLoss": {"gt": "target"},
    "LightCNNFeatureLoss": {"gt": "target"},
    "PSNRLoss": {"x": "pred", "gt": "target"},
    "DiscShiftLoss": {"x": "pred"},
}

#: Arguments that MMagic's classes take and that mean nothing here: mixed precision belongs to the
#: trainer, so a penalty needs no scaler.
IGNORED_ARGUMENTS = frozenset({"use_apex_amp", "loss_scaler"})

#: The same of ``loss_config``.
IGNORED_OPTIONS = frozenset({"r1_use_apex_amp", "g_reg_use_apex_amp", "scale_r1_loss"})

_SCOPES = ("mmagic.models.losses.", "mmagic.models.", "mmagic.", "mmedit.")


def loss_type(name: str) -> str:
    """Our name of a config's ``type``: without MMagic's scope, ``...Comps`` resolved."""
    for scope in _SCOPES:
        if name.startswith(scope):
            name = name[len(scope) :]
            break
    return TYPE_ALIASES.get(name, name)


def constructor_arguments(
    loss_name: str, arguments: Mapping[str, Any], accepted: Iterable[str]
) -> dict[str, Any]:
    """Rename and drop MMagic's constructor arguments; those the loss itself takes stay as they are."""
    aliases = CONSTRUCTOR_ALIASES.get(loss_name, {})
    own = set(accepted)
    return {
        key if key in own else aliases.get(key, key): value
        for key, value in arguments.items()
        if key in own or key not in IGNORED_ARGUMENTS
    }


def input_name(loss_name: str, name: str, accepted: Iterable[str]) -> str:
    """Our name of an argument of a loss's call."""
    return name if name in accepted else INPUT_ALIASES.get(loss_name, {}).get(name, name)
