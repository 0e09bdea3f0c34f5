"""CLIP loss: images against texts (StyleCLIP, Patashnik et al., ICCV 2021, arXiv:2103.17249)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from losskit.backbones.trunk import Mode, Precision
from losskit.errors import nearest
from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction, check_reduction, reduce
from losskit_clip.clip_model import check_clip_model, styleclip_preprocess
from losskit_clip.models import Tokenizer
from losskit_clip.preprocess import StyleClipPreprocess
from losskit_clip.prompts import Prompts, Templates, TextEncoder, weighted_prompts
from losskit_clip.tower_loss import TowerLoss
from losskit_clip.towers import Preprocess, one_reading

Pairing = Literal["matched", "all"]
_PAIRINGS = ("matched", "all")
_MODEL = "ViT-B-32"


def clip_text_loss(
    image: Float[Tensor, "b d"],
    text: Float[Tensor, "n d"],
    *,
    weight: Float[Tensor, " n"] | None = None,
    pairing: Pairing = "all",
    scale: float = 1.0,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""$\sum_k |w_k| (1 - \mathrm{sign}(w_k)\, s \cos(i, t_k)) / \sum_k |w_k|$.

    A text of positive weight attracts, one of negative weight repels.

    Args:
        image: embeddings of images, normalised or not.
        text: embeddings of texts.
        weight: one per text, not 0; by default all 1.
        pairing: ``"all"``: every image against every text; ``"matched"``: image ``i`` against text
            ``i`` alone.
        scale: $s$. MMagic divides CLIP's logits by 100, so its $s$ is the model's logit scale over
            100: 1 for OpenAI's models, which stopped training at 100.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over images.

    Returns:
        A scalar, or for ``"none"`` one value per image; in [0, 2] for ``scale=1``, 0 where every
        image lies along its text.

    Raises:
        ValueError: shapes do not fit; ``pairing="matched"`` with unequal numbers; an unknown option.

    Example:
        >>> eye = torch.eye(2)
        >>> clip_text_loss(eye, eye[:1], reduction="none")
        tensor([0., 1.])
    """
    check_reduction(reduction)
    if pairing not in _PAIRINGS:
        raise ValueError(
            f"pairing must be 'matched' or 'all', not {pairing!r}{nearest(str(pairing), _PAIRINGS)}"
        )
    if image.ndim != 2 or text.ndim != 2 or image.shape[1] != text.shape[1]:
        raise ValueError(
            f"image and text must have the shapes (b, d) and (n, d), not {tuple(image.shape)} and "
            f"{tuple(text.shape)}"
        )
    if weight is not None and weight.shape != text.shape[:1]:
        raise ValueError(f"weight must hold {len(text)} numbers, not {tuple(weight.shape)}")
    dtype = torch.promote_types(image.dtype, torch.float32)
    image, text = F.normalize(image.to(dtype), dim=-1), F.normalize(text.to(dtype), dim=-1)
    if pairing == "matched":
        if len(image) != len(text):
            raise ValueError(
                f"pairing='matched' needs one text per image, not {len(text)} for {len(image)}; "
                "use pairing='all' to hold every image against every text"
            )
        cosine = (image * text).sum(-1)
        sign = 1.0 if weight is None else weight.to(cosine).sign()
        return reduce(1 - sign * scale * cosine, reduction)
    with torch.autocast(image.device.type, enabled=False):  # which would round to bf16
        cosine = image @ text.T
    if weight is None:
        return reduce((1 - scale * cosine).mean(-1), reduction)
    weight = weight.to(cosine)
    distance = 1 - weight.sign() * scale * cosine
    return reduce((distance * weight.abs()).sum(-1) / weight.abs().sum(), reduction)


class CLIPLoss(TowerLoss):
    """Cosine distance of images to texts in CLIP's space.

    Texts are given here once (``prompts``), or with every call (``text``). Each is encoded once and
    its embedding kept.

    Args:
        prompts: a text, several, or texts with weights (``{"a cat": 1, "blurred": -0.5}``; a negative
            weight repels). Every image is held against all of them.
        model: an open_clip model by name (``"ViT-B-32"``, ``"RN50"``), or as an object.
        weights: an open_clip tag, a path, or ``"random"``; by default ``"openai"``. None with a
            model object.
        preprocess: ``"clip"`` (antialiased resize and crop, the model's mean and std),
            ``"styleclip"`` (StyleCLIP's, for parity: see
            `StyleClipPreprocess`) or a hashable callable.
        negative_prompts: texts to keep away from, also beside texts that come with the call.
        templates: sentences to put texts into; see
            `fill_templates`.
        pairing: how texts of the call meet images: ``"matched"`` (one each, or one for all) or
            ``"all"``.
        data_range: the values that mean black and white, ``1.0`` for [0, 1], ``(-1, 1)``.
            ``"styleclip"`` takes values as they are.
        free_text: let the text tower go, in the whole process, once ``prompts`` are encoded. A loss that
            meets a new text reads the model again. A model given as an object stays yours: only the
            losses' copy goes.
        tokenizer: for a model without one of its own.
        clip_model: MMagic's way to say it: ``in_size``, ``scale_factor``, ``pool_size``,
            ``clip_type``. Sets ``model``, ``preprocess="styleclip"`` and ``pairing="all"``, and
            gives MMagic's number: 1 − logits/100.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over images.
        precision: ``None`` (float32), ``"bf16"`` or ``"fp16"`` for the image tower.
        channels_last: memory format of the image tower.
        compile: run the image tower through ``torch.compile``.

    Raises:
        ValueError: an option, the model or its weights are unknown.
        WeightsError: the weights cannot be had.
    """

    loss_name: ClassVar[str | None] = "loss_clip"

    def __init__(
        self,
        prompts: Prompts | None = None,
        *,
        model: str | nn.Module = _MODEL,
        weights: str | None = None,
        preprocess: Preprocess = "clip",
        negative_prompts: Prompts | None = None,
        templates: Templates = None,
        pairing: Pairing = "matched",
        data_range: DataRange = 1.0,
        free_text: bool = False,
        tokenizer: Tokenizer | None = None,
        clip_model: Mapping[str, Any] | None = None,
        reduction: Reduction = "mean",
        precision: Precision | None = None,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        if clip_model is not None:
            stands_for = {"preprocess": preprocess != "clip", "pairing": pairing != "matched"}
            check_clip_model(clip_model, {"model": model != _MODEL, **stands_for})
            model = clip_model.get("clip_type", model)
            preprocess, pairing = styleclip_preprocess(clip_model), "all"
        if pairing not in _PAIRINGS:
            raise ValueError(
                f"pairing must be 'matched' or 'all', not {pairing!r}"
                + nearest(str(pairing), _PAIRINGS)
            )
        positive = weighted_prompts(prompts)
        negative = weighted_prompts(negative_prompts, "negative_prompts")
        if any(value < 0 for value in negative.values()):
            raise ValueError("weights in negative_prompts must be positive: they repel already")
        if free_text and not (positive or negative):
            raise ValueError(
                "free_text=True goes with prompts: texts that come with the call need the text tower"
            )
        mode = Mode(None, precision, channels_last, compile)
        with one_reading():
            super().__init__(model, weights, preprocess, data_range, mode, reduction)
            self.encoder = TextEncoder(model, weights, templates=templates, tokenizer=tokenizer)
        network: Any = self.backbone.network
        styleclip = isinstance(self.backbone.mode.transform, StyleClipPreprocess)
        self.scale = network.logit_scale / 100 if styleclip else 1.0
        self.pairing: Pairing = pairing
        self.has_prompts = bool(positive)
        fixed = [*positive.items(), *((text, -value) for text, value in negative.items())]
        device = torch.device("cpu")
        self.prompts: Tensor | None
        self.prompt_weights: Tensor | None
        self.register_buffer(
            "prompts", self.encoder.texts([t for t, _ in fixed], device) if fixed else None, False
        )
        values = torch.tensor([w for _, w in fixed], device=device) if fixed else None
        self.register_buffer("prompt_weights", values, False)
        if free_text:
            self.encoder.free()

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        text: str | Sequence[str] | Tensor | None = None,
    ) -> Float[Tensor, "..."]:
        """Hold images against texts.

        Args:
            image: any size, in ``data_range``; receives the gradient.
            text: strings, or token ids ``(n, context)``; one per image, or one for all (with
                ``pairing="all"`` any number). Left out where ``prompts`` were given.

        Returns:
            A scalar, or for ``"none"`` one value per image.

        Raises:
            ValueError: no text, two sets of them, or numbers that do not match.
            TypeError: ``image`` or ``text`` is of a wrong type.
        """
        self.check(image=image)
        if (text is None) is not self.has_prompts:
            raise ValueError(
                "text is given with the call, but prompts were given to CLIPLoss: use one of them"
                if self.has_prompts
                else "text is missing: give it with the call, or prompts=... to CLIPLoss"
            )
        embeddings = self.backbone.features(image)["embedding"]
        if text is None:
            return self._loss(embeddings, self.prompts, self.prompt_weights, "all", self.reduction)
        wanted = self.encoder(text, image.device)
        # Texts that come with the call weigh 1 each, as prompts do; each image meets this many.
        met = len(wanted) if self.pairing == "all" else 1
        if len(wanted) == 1 and self.pairing == "matched":
            wanted = wanted.expand(len(image), -1)
        pull = self._loss(embeddings, wanted, None, self.pairing, "none")
        if self.prompts is None or self.prompt_weights is None:
            return reduce(pull, self.reduction)
        push = self._loss(embeddings, self.prompts, self.prompt_weights, "all", "none")
        share = self.prompt_weights.to(pull).abs().sum()
        return reduce((met * pull + share * push) / (met + share), self.reduction)

    def _loss(
        self,
        image: Tensor,
        text: Tensor | None,
        weight: Tensor | None,
        pairing: Pairing,
        reduction: Reduction,
    ) -> Tensor:
        assert text is not None
        return clip_text_loss(
            image,
            text.to(image.device),
            weight=weight,
            pairing=pairing,
            scale=self.scale,
            reduction=reduction,
        )
