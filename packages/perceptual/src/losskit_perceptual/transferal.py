"""Transferal perceptual loss for reference super-resolution (Yang et al., TTSR, CVPR 2020, arXiv:2006.04139)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from losskit.losses.base import Loss
from losskit.losses.reduction import Reduction, check_reduction, check_same_shape, reduce_per_sample

Criterion: TypeAlias = Literal["l1", "mse"]
Form: TypeAlias = Literal["mmagic", "paper"]
_CRITERIA = {"l1": F.l1_loss, "mse": F.mse_loss}
_FORMS = ("mmagic", "paper")


def transferal_perceptual_loss(
    maps: Sequence[Tensor],
    soft_attention: Tensor | None,
    textures: Sequence[Tensor],
    *,
    criterion: Criterion = "mse",
    form: Form = "mmagic",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""$\sum_i \lVert s_i \odot m_i - s_i \odot t_i\rVert$: features against transferred textures.

    Args:
        maps: features of the prediction, coarsest first, each level twice the size of the one
            before: ``(b, c_i, h·2^i, w·2^i)``.
        soft_attention: the attention's logits at the coarsest level, ``(b, 1, h, w)``; ``None``: all
            of the textures count.
        textures: the transferred textures, of the maps' shapes; they get no gradient.
        criterion: ``"mse"`` or ``"l1"``, each a mean.
        form: ``"mmagic"``: the sigmoid on the coarsest level only, finer ones resized (bicubic)
            from the raw logits, levels summed. ``"paper"``: TTSR's own code: the sigmoid at every
            level, and the mean over levels.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or for ``"none"`` one value a sample, at least 0; 0 where maps and textures are equal.

    Raises:
        ValueError: numbers of levels or shapes differ, or an option is unknown.
        TypeError: ``soft_attention`` is not floating point.

    References:
        Yang et al., Learning Texture Transformer Network for Image Super-Resolution, CVPR 2020,
        arXiv:2006.04139, equation 8.
    """
    if criterion not in _CRITERIA:
        raise ValueError(f"criterion must be one of {', '.join(_CRITERIA)}, not {criterion!r}")
    if form not in _FORMS:
        raise ValueError(f"form must be one of {', '.join(_FORMS)}, not {form!r}")
    check_reduction(reduction)
    if len(maps) != len(textures) or not maps:
        raise ValueError(
            f"maps and textures must be of one number of levels, not {len(maps)} and {len(textures)}"
        )
    if soft_attention is not None and not (
        isinstance(soft_attention, Tensor) and soft_attention.is_floating_point()
    ):
        kind = getattr(soft_attention, "dtype", type(soft_attention).__name__)
        raise TypeError(f"soft_attention must be a floating-point tensor of logits, not {kind}")
    losses = []
    for level, (feature, texture) in enumerate(zip(maps, textures, strict=True)):
        check_same_shape(feature, texture, f"maps[{level}] and textures[{level}]")
        texture = texture.detach()  # noqa: PLW2901
        if soft_attention is None:
            losses.append(_distance(feature, texture, criterion, reduction))
            continue
        soft = _attention(soft_attention, level, form)
        if soft.shape[2:] != feature.shape[2:]:
            raise ValueError(
                f"maps[{level}] must be {tuple(soft.shape[2:])} pixels for a soft_attention of "
                f"{tuple(soft_attention.shape[2:])}, not {tuple(feature.shape[2:])}"
            )
        losses.append(_distance(feature * soft, texture * soft, criterion, reduction))
    total = sum(losses[1:], losses[0])
    return total if form == "mmagic" else total / len(losses)


def _distance(
    feature: Tensor, texture: Tensor, criterion: Criterion, reduction: Reduction
) -> Tensor:
    if reduction == "mean":
        return _CRITERIA[criterion](feature, texture)
    return reduce_per_sample(_CRITERIA[criterion](feature, texture, reduction="none"), reduction)


def _attention(logits: Tensor, level: int, form: Form) -> Tensor:
    if level:
        h, w = logits.shape[-2:]
        size = (h * 2**level, w * 2**level)
        resized = F.interpolate(logits, size=size, mode="bicubic", align_corners=False)
        return resized if form == "mmagic" else torch.sigmoid(resized)
    return torch.sigmoid(logits)


class TransferalPerceptualLoss(Loss):
    """`transferal_perceptual_loss` as a module.

    Args:
        use_attention: weigh by ``soft_attention``; else it is not looked at.
        criterion: ``"mse"`` or ``"l1"``.
        form: ``"mmagic"`` or ``"paper"``; see the function.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: an option is unknown.
    """

    def __init__(
        self,
        *,
        use_attention: bool = True,
        criterion: Criterion = "mse",
        form: Form = "mmagic",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction
        if criterion not in _CRITERIA:
            raise ValueError(f"criterion must be one of {', '.join(_CRITERIA)}, not {criterion!r}")
        if form not in _FORMS:
            raise ValueError(f"form must be one of {', '.join(_FORMS)}, not {form!r}")
        self.use_attention = use_attention
        self.criterion: Criterion = criterion
        self.form: Form = form

    def forward(
        self, maps: Sequence[Tensor], soft_attention: Tensor | None, textures: Sequence[Tensor]
    ) -> Tensor:
        """The loss of ``maps`` against ``textures``, three levels each as a rule."""
        return transferal_perceptual_loss(
            maps,
            soft_attention if self.use_attention else None,
            textures,
            criterion=self.criterion,
            form=self.form,
            reduction=self.reduction,
        )
