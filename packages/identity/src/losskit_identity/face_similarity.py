"""How alike two faces are, for evaluation."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from losskit.data_range import DataRange
from losskit_identity.face_id import Align, FaceIdLoss, OnMissing


def similarity(
    pred: Float[Tensor, "b 3 h w"],
    target: Float[Tensor, "b 3 h w"],
    *,
    facenet: str | nn.Module = "ArcFace",
    weights: str | Path | None = None,
    align: Align = "crop",
    on_missing: OnMissing = "skip",
    data_range: DataRange = (-1.0, 1.0),
    allow_import: bool = False,
) -> Float[Tensor, " b"]:
    """How alike the faces of each pair are, for evaluation; no gradient.

    Args:
        pred: RGB in ``data_range``, any size.
        target: of the same shape.
        facenet: as for [`FaceIdLoss`][losskit_identity.FaceIdLoss].
        weights: likewise.
        align: likewise.
        on_missing: likewise.
        data_range: the values that mean black and white.
        allow_import: allow ``facenet`` to name code to import.

    Returns:
        The cosine per pair, in [-1, 1]; NaN where no face was found and ``on_missing="skip"``.

    Raises:
        ValueError: as for ``FaceIdLoss``.
        WeightsError: the weights cannot be had.
    """
    return FaceIdLoss(
        facenet,
        weights=weights,
        align=align,
        on_missing=on_missing,
        data_range=data_range,
        allow_import=allow_import,
    ).similarity(pred, target)
