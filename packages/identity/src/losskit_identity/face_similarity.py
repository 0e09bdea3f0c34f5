"""Similarity of two faces, for evaluation."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from losskit.losses.data_range import DataRange
from losskit_identity.face_id import Align, FaceIdLoss, OnMissing

_NETWORKS = 2  # an IR-SE50 takes 170 MB
_KEPT: OrderedDict[tuple[int, bool], FaceIdLoss] = OrderedDict()
_LOCK = threading.Lock()


def similarity(
    pred: Float[Tensor, "b 3 h w"],
    target: Float[Tensor, "b 3 h w"],
    *,
    facenet: str | nn.Module = "ArcFace",
    weights: str | Path | None = None,
    align: Align = "crop",
    on_missing: OnMissing = "skip",
    layers: Mapping[str, float] | None = None,
    data_range: DataRange = (-1.0, 1.0),
    input_size: int | None = None,
    allow_import: bool = False,
) -> Float[Tensor, " b"]:
    """Compute the similarity of the faces of each pair, for evaluation; no gradient.

    The last two networks given by name stay loaded, and what they found in a target is kept while
    that tensor lives unchanged. A network given as an object is copied at each call: make a
    ``FaceIdLoss`` of it once and call its ``similarity``.

    Args:
        pred: RGB in ``data_range``, any size.
        target: of the same shape.
        facenet: as for `FaceIdLoss`.
        weights: likewise.
        align: likewise.
        on_missing: likewise.
        layers: likewise; the cosine is that of the deepest.
        data_range: the values that mean black and white.
        input_size: as for ``FaceIdLoss``.
        allow_import: allow ``facenet`` to name code to import.

    Returns:
        The cosine per pair, in [-1, 1]; NaN where no face was found and ``on_missing="skip"``.

    Raises:
        ValueError: as for ``FaceIdLoss``.
        WeightsError: the weights cannot be had.
    """
    loss = FaceIdLoss(
        facenet=facenet,
        weights=weights,
        align=align,
        on_missing=on_missing,
        layers=layers,
        data_range=data_range,
        input_size=input_size,
        allow_import=allow_import,
    )
    if not isinstance(facenet, nn.Module):  # which would keep the caller's own alive
        _keep(loss)
    return loss.similarity(pred, target)


def _keep(loss: FaceIdLoss) -> None:
    """Hold on to a loss, and so to its network: a new loss of the same settings finds it loaded."""
    with _LOCK:
        key = (id(loss.backbone.trunk), loss.landmarks is None)
        _KEPT[key] = loss
        _KEPT.move_to_end(key)
        while len(_KEPT) > _NETWORKS:
            _KEPT.popitem(last=False)
