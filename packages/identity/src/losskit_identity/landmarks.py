"""Five landmarks per face by MTCNN (Zhang et al., SPL 2016, arXiv:1604.02878), from facenet-pytorch."""

from __future__ import annotations

import functools
from typing import Any

import torch
from facenet_pytorch import MTCNN
from jaxtyping import Float
from torch import Tensor

from losskit.backbones import Backbone, FeatureNetwork, InputNorm, shared_backbone, uncompiled
from losskit.losses.checks import check_rgb
from losskit.losses.data_range import DataRange, parse_data_range

_SMALLEST_FACE = 20  # pixels; MTCNN's own default


class LandmarkNetwork(FeatureNetwork):
    """MTCNN as a frozen network whose one layer is ``"landmarks"``; its weights ship in its wheel.

    Takes images in [0, 1].
    """

    layer_names = ("landmarks",)

    def __init__(self) -> None:
        super().__init__()
        self.mtcnn: Any = MTCNN(min_face_size=_SMALLEST_FACE, select_largest=True)

    @uncompiled
    def forward(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Landmarks ``(b, 5, 2)`` of the largest face per image, NaN where there is none."""
        self.mtcnn.device = image.device
        with image.device:  # MTCNN asks for tensors without saying where
            found = [self._one(sample) for sample in image.detach() * 255]
        landmarks = torch.stack(found) if found else image.new_empty(0, 5, 2)
        return (landmarks,) * len(layers)

    def _one(self, sample: Tensor) -> Tensor:
        # One at a time: MTCNN cannot hold images with and without faces in one array.
        none = sample.new_full((5, 2), torch.nan)
        if min(sample.shape[-2:]) < _SMALLEST_FACE:
            return none
        _, _, points = self.mtcnn.detect(sample.permute(1, 2, 0), landmarks=True)
        return none if points is None else sample.new_tensor(points[0].astype("float64"))


def build_landmark_network() -> LandmarkNetwork:
    """MTCNN with its published weights."""
    return LandmarkNetwork()


def landmark_backbone(data_range: DataRange) -> Backbone:
    """A handle on the one detector of this process."""
    low, high = parse_data_range(data_range)
    return shared_backbone(
        build_landmark_network, layers="landmarks", transform=InputNorm(low=low, high=high)
    )


def face_landmarks(
    image: Float[Tensor, "b 3 h w"], *, data_range: DataRange = (-1.0, 1.0)
) -> Float[Tensor, "b 5 2"]:
    """Eyes, nose and corners of the mouth of the largest face in each image.

    Args:
        image: RGB, any size; found once while the tensor lives unchanged. The detector stays
            loaded (2 MB).
        data_range: the values that mean black and white.

    Returns:
        Pixels (x, y) per image; NaN where no face is found. No gradient.

    Raises:
        ValueError: the shape is not ``(b, 3, h, w)``.
        TypeError: it is no floating-point tensor.
    """
    check_rgb("image", image, may_be_empty=True)
    # A copy: who writes to it must not change what is kept.
    return _kept(*parse_data_range(data_range)).features(image, grad=False)["landmarks"].clone()


@functools.lru_cache(maxsize=4)
def _kept(low: float, high: float) -> Backbone:
    """The handle that keeps the detector, and what it found, between calls of a function."""
    return landmark_backbone((low, high))
