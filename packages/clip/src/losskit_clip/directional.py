"""CLIP directional loss (StyleGAN-NADA, Gal et al., SIGGRAPH 2022, arXiv:2108.00946)."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from losskit.backbones.trunk import Mode, Precision
from losskit.losses.checks import check_number
from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction, check_reduction, check_same_shape, reduce
from losskit_clip.models import Tokenizer
from losskit_clip.prompts import Templates, TextEncoder
from losskit_clip.tower_loss import TowerLoss
from losskit_clip.towers import Preprocess, one_reading


def clip_directional_loss(
    pred: Float[Tensor, "b d"],
    source: Float[Tensor, "b d"],
    direction: Float[Tensor, "n d"],
    *,
    eps: float = 1e-4,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""$1 - \cos(\Delta I, \Delta T)$ with $\Delta I = \hat p - \hat s$ of normalised embeddings.

    Training starts where pred equals source, and $\Delta I = 0$ has no direction. The paper's code
    adds 1e-7 to the norm, so its gradient there is 1e7 strong. Here the length is
    $\sqrt{\lVert\Delta I\rVert^2 + \epsilon^2}$: the value there is 1, and the gradient at most
    $1/\epsilon$. At ordinary lengths (0.1 and more) the difference is below 1e-6.

    Args:
        pred: embeddings of the edited images; these receive the gradient.
        source: embeddings of the images they came from; no gradient.
        direction: $\Delta T$, one for all or one per image; any length.
        eps: $\epsilon$, in units of the embedding's length, which is 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or for ``"none"`` one value per image; in [0, 2].

    Raises:
        ValueError: shapes differ, ``eps`` is not positive, or ``reduction`` is unknown.

    Example:
        >>> right, up = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> clip_directional_loss(up, right, up - right).round(decimals=4)
        tensor(0.)
    """
    check_reduction(reduction)
    check_same_shape(pred, source, "pred and source")
    _check_eps(eps)
    if direction.ndim != 2 or direction.shape[0] not in (1, len(pred)):
        raise ValueError(
            f"direction must have the shape (1, d) or {tuple(pred.shape)}, not "
            f"{tuple(direction.shape)}"
        )
    dtype = torch.promote_types(pred.dtype, torch.float32)
    change = F.normalize(pred.to(dtype), dim=-1) - F.normalize(source.detach().to(dtype), dim=-1)
    unit = F.normalize(direction.detach().to(device=change.device, dtype=dtype), dim=-1)
    length = (change.square().sum(-1) + eps**2).sqrt()
    return reduce(1 - (change * unit).sum(-1) / length, reduction)


def _check_eps(eps: float) -> None:
    check_number("eps", eps, above=0)  # a change of 0 has no direction


class CLIPDirectionalLoss(TowerLoss):
    """Cosine distance between the change from ``source`` to ``pred`` and the change that texts describe.

    Args:
        target_text: what the image should become (``"a sketch"``).
        source_text: what it is (``"a photo"``).
        model: an open_clip model by name, or as an object.
        weights: an open_clip tag, a path, or ``"random"``; by default ``"openai"``.
        preprocess: ``"clip"``, ``"styleclip"`` or a hashable callable; see
            `CLIPLoss`.
        templates: the sentences both texts are put into; the paper's ``"imagenet"``.
        data_range: the values that mean black and white.
        eps: see `clip_directional_loss`.
        free_text: let the text tower go, in the whole process, once the direction is known. A loss that
            meets a new text reads the model again. A model given as an object stays yours: only the
            losses' copy goes.
        tokenizer: for a model without one of its own.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over images.
        precision: ``None`` (float32), ``"bf16"`` or ``"fp16"`` for the image tower.
        channels_last: memory format of the image tower.
        compile: run the image tower through ``torch.compile``.

    Raises:
        ValueError: the texts are equal; an option, the model or its weights are unknown.
        WeightsError: the weights cannot be had.
    """

    loss_name: ClassVar[str | None] = "loss_clip_directional"

    def __init__(
        self,
        target_text: str,
        *,
        source_text: str = "photo",
        model: str | nn.Module = "ViT-B-32",
        weights: str | None = None,
        preprocess: Preprocess = "clip",
        templates: Templates = "imagenet",
        data_range: DataRange = 1.0,
        eps: float = 1e-4,
        free_text: bool = False,
        tokenizer: Tokenizer | None = None,
        reduction: Reduction = "mean",
        precision: Precision | None = None,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        _check_eps(eps)
        mode = Mode(None, precision, channels_last, compile)
        with one_reading():
            super().__init__(model, weights, preprocess, data_range, mode, reduction)
            self.encoder = TextEncoder(model, weights, templates=templates, tokenizer=tokenizer)
        self.direction: Tensor
        direction = text_direction(self.encoder, target_text, source_text)
        self.register_buffer("direction", direction, persistent=False)
        if free_text:
            self.encoder.free()
        self.eps = eps

    def forward(
        self, pred: Float[Tensor, "b 3 h w"], source: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "..."]:
        """Compare the change of the images with that of the texts.

        Args:
            pred: the edited images, in ``data_range``; any size.
            source: the images they came from; no gradient, and encoded once while unchanged.

        Returns:
            A scalar, or for ``"none"`` one value per image; 1 where nothing has changed.

        Raises:
            ValueError: the shapes differ, or are not ``(b, 3, h, w)``.
            TypeError: an image is no floating-point tensor.
        """
        self.check(pred=pred, source=source)
        return clip_directional_loss(
            self.backbone.features(pred)["embedding"],
            self.backbone.features(source, grad=False)["embedding"],
            self.direction,
            eps=self.eps,
            reduction=self.reduction,
        )


def text_direction(encoder: TextEncoder, target_text: str, source_text: str) -> Tensor:
    """The direction from one text to another, ``(1, d)``, of length 1.

    Raises:
        ValueError: both texts are the same.
        TypeError: one of them is no text.
    """
    for name, text in (("target_text", target_text), ("source_text", source_text)):
        if not isinstance(text, str):
            raise TypeError(f"{name} must be a text, not {text!r}")
    if target_text == source_text:
        raise ValueError(f"target_text and source_text are both {target_text!r}: no direction")
    target, source = encoder.texts([target_text, source_text], torch.device("cpu"))
    return F.normalize(target - source, dim=-1)[None]
