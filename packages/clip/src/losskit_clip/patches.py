"""CLIP patch loss: text or direction loss on random crops (CLIPstyler, Kwon and Ye, CVPR 2022, arXiv:2112.00374)."""

from __future__ import annotations

import hashlib
import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from losskit.backbones.trunk import Mode, Precision
from losskit.losses.checks import check_rgb
from losskit.losses.data_range import DataRange, parse_data_range
from losskit.losses.reduction import Reduction, check_same_shape, reduce
from losskit_clip.directional import clip_directional_loss, text_direction
from losskit_clip.models import Tokenizer
from losskit_clip.perspective import check_patches, perspective_patches
from losskit_clip.prompts import Templates, TextEncoder
from losskit_clip.text import clip_text_loss
from losskit_clip.tower_loss import TowerLoss
from losskit_clip.towers import one_reading


class CLIPPatchLoss(TowerLoss):
    """A CLIP loss on random crops seen at an angle, which stylises texture rather than content.

    With ``source_text``, the crops' change from the whole source image is held against the direction
    of the texts (CLIPstyler's loss). Without, each crop is held against ``text``. A crop whose loss is
    below ``threshold`` counts 0, so that easy crops do not take over.

    Args:
        text: what each crop should look like.
        source_text: what the source image is (``"photo"``).
        num_patches: crops per image.
        patch_size: of a crop, in pixels.
        distortion: of the perspective, 0 to 1.
        threshold: the paper's $\\tau$; 0 keeps all.
        seed: ``None``: crops come from torch's global generator. A number: from a sequence of the
            loss's own, the same in every run. Its place is in the ``state_dict``, so that a resumed
            run goes on with it; in eval mode it stands still.
        model: an open_clip model by name, or as an object.
        weights: an open_clip tag, a path, or ``"random"``; by default ``"openai"``.
        templates: sentences to put the texts into; the paper's ``"imagenet"``.
        data_range: the values that mean black and white.
        free_text: let the text tower go, in the whole process, once the texts are encoded. A loss that
            meets a new text reads the model again. A model given as an object stays yours: only the
            losses' copy goes.
        tokenizer: for a model without one of its own.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over images; crops are averaged always.
        precision: ``None`` (float32), ``"bf16"`` or ``"fp16"`` for the image tower.
        channels_last: memory format of the image tower.
        compile: run the image tower through ``torch.compile``.

    Raises:
        ValueError: an option, the model or its weights are unknown.
        WeightsError: the weights cannot be had.
    """

    loss_name: ClassVar[str | None] = "loss_clip_patch"

    def __init__(
        self,
        text: str,
        *,
        source_text: str | None = None,
        num_patches: int = 64,
        patch_size: int = 128,
        distortion: float = 0.5,
        threshold: float = 0.7,
        seed: int | None = None,
        model: str | nn.Module = "ViT-B-32",
        weights: str | None = None,
        templates: Templates = "imagenet",
        data_range: DataRange = 1.0,
        free_text: bool = False,
        tokenizer: Tokenizer | None = None,
        reduction: Reduction = "mean",
        precision: Precision | None = None,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        check_patches(num_patches, patch_size, distortion, ("num_patches", "patch_size"))
        if not isinstance(text, str):
            raise TypeError(f"text must be a text, not {text!r}")
        if not math.isfinite(threshold):
            raise ValueError(f"threshold must be a finite number, not {threshold!r}")
        if seed is not None and not isinstance(seed, int):
            raise TypeError(f"seed must be a whole number or None, not {seed!r}")
        mode = Mode(None, precision, channels_last, compile)
        with one_reading():
            super().__init__(model, weights, "clip", data_range, mode, reduction)
            self.encoder = TextEncoder(model, weights, templates=templates, tokenizer=tokenizer)
        self.low, self.high = parse_data_range(data_range)
        self.wanted: Tensor
        wanted = (
            self.encoder.texts([text], torch.device("cpu"))
            if source_text is None
            else text_direction(self.encoder, text, source_text)
        )
        self.register_buffer("wanted", wanted, persistent=False)
        if free_text:
            self.encoder.free()
        self.directional = source_text is not None
        self.num_patches, self.patch_size, self.distortion = num_patches, patch_size, distortion
        self.threshold, self.seed, self.calls = threshold, seed, 0

    def forward(
        self,
        pred: Float[Tensor, "b 3 h w"],
        source: Float[Tensor, "b 3 h w"] | None = None,
    ) -> Float[Tensor, "..."]:
        """Crop and compare.

        Args:
            pred: the stylised images, in ``data_range``; these receive the gradient.
            source: the images they came from, of the same shape, needed with ``source_text`` and only then; no
                gradient, and encoded once while unchanged.

        Returns:
            A scalar, or for ``"none"`` one value per image; in [0, 2].

        Raises:
            ValueError: ``source`` is missing or not wanted, or the shapes differ.
            TypeError: an image is no floating-point tensor.
        """
        self.check(pred=pred)
        if (source is not None) != self.directional:
            raise ValueError(
                "source is missing: the loss has a source_text, so it compares changes"
                if self.directional
                else "source is given, but the loss has no source_text to hold it against"
            )
        embeddings = self.backbone.features(self._patches(pred))["embedding"]
        if source is None:
            values = clip_text_loss(embeddings, self.wanted.to(pred.device), reduction="none")
        else:
            check_rgb("source", source)
            check_same_shape(pred, source, "pred and source")
            origin = self.backbone.features(source, grad=False)["embedding"]
            values = clip_directional_loss(
                embeddings,
                origin.repeat_interleave(self.num_patches, 0),
                self.wanted,
                reduction="none",
            )
        values = torch.where(values < self.threshold, torch.zeros_like(values), values)
        return reduce(values.view(len(pred), self.num_patches).mean(1), self.reduction)

    def get_extra_state(self) -> Tensor:
        """Return the number of calls of a seeded loss."""
        return torch.tensor(self.calls, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Go on after that many calls."""
        self.calls = int(state)

    def _patches(self, pred: Tensor) -> Tensor:
        generator = None
        if self.seed is not None:
            # Mixed, not added: seed 1 must not be seed 0 one call later.
            mixed = hashlib.blake2b(f"{self.seed} {self.calls}".encode(), digest_size=8).digest()
            generator = torch.Generator("cpu").manual_seed(int.from_bytes(mixed, "big"))
            self.calls += int(self.training)
        # Black is 0 where crops are cut out, whatever it is in the caller's range.
        patches = perspective_patches(
            pred - self.low,
            self.num_patches,
            self.patch_size,
            distortion=self.distortion,
            generator=generator,
        )
        return patches + self.low
