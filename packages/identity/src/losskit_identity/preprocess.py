"""Preprocessing applied before a face network; hashable, so that equal ones share passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from losskit_identity.alignment import crop_faces

Step = Literal["crop", "resize", "none"]


@dataclass(frozen=True)
class FacePreprocess:
    """Bring values to [-1, 1] and the face to the network's size.

    Args:
        size: what the network takes.
        step: ``"crop"``: the fixed crop; ``"resize"``: the whole image, antialiased; ``"none"``: it
            is of that size already.
        low: the image value that means black.
        high: the image value that means white.
        gain: a last factor; FaceNet divides by 128 where others divide by 127.5.
    """

    size: int
    step: Step = "crop"
    low: float = -1.0
    high: float = 1.0
    gain: float = 1.0

    def __call__(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 s s"]:
        """Preprocess a batch."""
        if (self.low, self.high) != (-1.0, 1.0):
            image = (image - self.low) * (2 / (self.high - self.low)) - 1
        if self.gain != 1.0:
            image = image * self.gain
        if self.step == "crop":
            return crop_faces(image, self.size)
        size = (self.size, self.size)
        if self.step == "resize" and tuple(image.shape[-2:]) != size:
            image = F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)
        return image
