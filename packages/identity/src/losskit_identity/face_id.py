"""Face identity loss: 1 - cosine of two faces' embeddings (ArcFace, Deng et al., CVPR 2019, arXiv:1801.07698)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from losskit.backbones import shared_backbone
from losskit.errors import nearest
from losskit.losses.base import Loss
from losskit.losses.checks import check_layers, check_rgb
from losskit.losses.data_range import DataRange, RangeCheck, parse_data_range
from losskit.losses.reduction import Reduction, check_reduction, check_same_shape, reduce
from losskit_identity.face_crops import aligned_pair
from losskit_identity.landmarks import landmark_backbone
from losskit_identity.networks import INPUT_SIZES, build_face_network, face_network_name
from losskit_identity.preprocess import FacePreprocess

Align = Literal["crop", "mtcnn"] | None
OnMissing = Literal["skip", "crop", "raise"]
_ALIGN = ("crop", "mtcnn")
_ON_MISSING = ("skip", "crop", "raise")
_FACENET_GAIN = 127.5 / 128


def face_id_loss(
    pred: Float[Tensor, " b *shape"],
    target: Float[Tensor, " b *shape"],
    *,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""$1 - \cos(p, t)$ per sample.

    Args:
        pred: embeddings or feature maps of faces; these receive the gradient.
        target: of the same shape; no gradient.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over samples.

    Returns:
        A scalar, or for ``"none"`` one value per sample; in [0, 2], 0 where both point the same way.

    Raises:
        ValueError: shapes differ or have no axis of samples, or ``reduction`` is unknown.

    Example:
        >>> face_id_loss(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 0.0]])).round(decimals=4)
        tensor(0.4000)
    """
    check_reduction(reduction)
    check_same_shape(pred, target)
    if pred.ndim < 2:
        raise ValueError(f"pred must have the shape (b, ...), not {tuple(pred.shape)}")
    dtype = torch.promote_types(pred.dtype, torch.float32)
    pred, target = pred.to(dtype).flatten(1), target.detach().to(dtype).flatten(1)
    return reduce(1 - (F.normalize(pred) * F.normalize(target)).sum(-1), reduction)


class _Faces(NamedTuple):
    """Features of both images, and which samples have a face."""

    pred: dict[str, Tensor]
    target: dict[str, Tensor]
    found: Tensor | None


class FaceIdLoss(Loss):
    """Cosine distance of two faces in a frozen face network.

    Args:
        facenet: ``"ArcFace"`` (IR-SE50, 112x112), ``"FaceNet"`` (InceptionResnetV1, 160x160), a
            module that takes faces in [-1, 1] and returns embeddings, ``"module:factory"`` of one
            (with ``allow_import=True``), or MMagic's ``{"type": "ArcFace", "ir_se50_weights": path}``.
        weights: a name, a path or ``"random"``. By default ``"arcface-ir-se50"`` for ArcFace and
            ``"vggface2"`` (also ``"casia-webface"``) for FaceNet. Fetch them beforehand with
            ``losskit weights pull``: nothing is downloaded here.
        align: ``"crop"``: the fixed crop for images aligned as FFHQ's; ``"mtcnn"``: five landmarks are
            found in the target, and both images are turned and scaled by them; ``None``: the whole
            image is resized.
        on_missing: what ``"mtcnn"`` does where the target shows no face: ``"skip"`` the sample (it
            counts 0, and not in the mean), take the fixed ``"crop"``, or ``"raise"``.
        layers: feature layers with weights, by default ``{"embedding": 1}``. ArcFace has ``"stage1"``
            to ``"stage4"``, FaceNet ``"repeat_1"`` to ``"repeat_3"``; each is compared by cosine.
        data_range: the values that mean black and white; MMagic's and pSp's (-1, 1).
        input_size: for other networks: the size of the faces they take, 112 unless they have an
            ``input_size`` of their own.
        allow_import: allow ``facenet`` to name code to import.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over images.
        precision: ``None`` (float32), ``"bf16"`` or ``"fp16"`` for the face network.
        channels_last: memory format of the face network.
        compile: run the face network through ``torch.compile``.

    Raises:
        ValueError: an option, the network or a layer is unknown, or an import is not allowed.
        WeightsError: the weights cannot be had.
    """

    loss_name: ClassVar[str | None] = "loss_id"

    def __init__(
        self,
        *,
        facenet: str | nn.Module | Mapping[str, Any] = "ArcFace",
        weights: str | Path | None = None,
        align: Align = "crop",
        on_missing: OnMissing = "skip",
        layers: Mapping[str, float] | None = None,
        data_range: DataRange = (-1.0, 1.0),
        input_size: int | None = None,
        allow_import: bool = False,
        reduction: Reduction = "mean",
        precision: Literal["bf16", "fp16"] | None = None,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        if align is not None and align not in _ALIGN:
            raise ValueError(
                f"align must be 'crop', 'mtcnn' or None, not {align!r}{nearest(str(align), _ALIGN)}"
            )
        if on_missing not in _ON_MISSING:
            raise ValueError(
                f"on_missing must be one of {', '.join(_ON_MISSING)}, not {on_missing!r}"
                + nearest(str(on_missing), _ON_MISSING)
            )
        low, high = parse_data_range(data_range)
        network, named = face_network_name(facenet, weights, allow_import)
        self.layers = check_layers({"embedding": 1.0} if layers is None else layers)
        handle = shared_backbone(build_face_network, network, named, layers=self.layers)
        self.size = _input_size(network, handle.network, input_size)
        step: Any = {"crop": "crop", "mtcnn": "none", None: "resize"}[align]
        gain = _FACENET_GAIN if network == "FaceNet" else 1.0
        self.backbone = shared_backbone(
            build_face_network,
            network,
            named,
            layers=self.layers,
            transform=FacePreprocess(self.size, step, low, high, gain),
            precision=precision,
            channels_last=channels_last,
            compile=compile,
        )
        self.landmarks = landmark_backbone((low, high)) if align == "mtcnn" else None
        self.align, self.on_missing = align, on_missing
        self.reduction: Reduction = reduction
        self._range = RangeCheck((low, high), "FaceIdLoss")

    def components(
        self, pred: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]
    ) -> dict[str, Tensor]:
        """The weighted distance per layer; the loss is their sum.

        Args:
            pred: RGB in ``data_range``, any size; receives the gradient.
            target: of the same shape, with the same faces in the same places; no gradient. While it
                lives unchanged its landmarks and features are computed once.

        Returns:
            By layer name a scalar, or for ``"none"`` one value per image.

        Raises:
            ValueError: the shapes differ, are not ``(b, 3, h, w)``, or a face is missing and
                ``on_missing="raise"``.
            TypeError: an image is no floating-point tensor.
        """
        faces = self._faces(pred, target)
        return {
            name: weight
            * self._reduced(
                face_id_loss(faces.pred[name], faces.target[name], reduction="none"), faces.found
            )
            for name, weight in self.layers.items()
        }

    @torch.no_grad()
    def similarity(
        self, pred: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, " b"]:
        """The cosine per pair in the deepest layer asked for, for evaluation; no gradient.

        Returns:
            Values in [-1, 1]; NaN where no face was found and ``on_missing="skip"``.

        Raises:
            ValueError: as for the call.
        """
        faces = self._faces(pred, target)
        name = max(self.layers, key=self.backbone.network.layer_names.index)
        cosine = 1 - face_id_loss(faces.pred[name], faces.target[name], reduction="none")
        return (
            cosine
            if faces.found is None
            else cosine.where(faces.found, cosine.new_tensor(torch.nan))
        )

    def _reduced(self, values: Tensor, found: Tensor | None) -> Tensor:
        if found is None:
            return reduce(values, self.reduction)
        values = torch.where(found, values, torch.zeros_like(values))
        if self.reduction != "mean":
            return reduce(values, self.reduction)
        return values.sum() / found.sum().clamp_min(1)

    def _faces(self, pred: Tensor, target: Tensor) -> _Faces:
        check_rgb("pred", pred)
        check_rgb("target", target)
        check_same_shape(pred, target)
        self._range(pred=pred, target=target)
        if self.landmarks is None:
            return _Faces(
                self.backbone.features(pred), self.backbone.features(target, grad=False), None
            )
        pair = aligned_pair(pred, target, self.landmarks, self.size)
        if self.on_missing == "raise" and not pair.all_found:
            missing = pair.found.logical_not().nonzero().flatten().tolist()
            raise ValueError(
                f"no face is found in target at {missing}: check the images, or set on_missing to "
                "'skip' or 'crop'"
            )
        return _Faces(
            self.backbone.features(pair.pred),
            self.backbone.features(pair.target, grad=False),
            # NaN shows no face either, but is no reason to be skipped in silence.
            pair.found | ~target.detach().flatten(1).isfinite().all(1)
            if self.on_missing == "skip"
            else None,
        )


def _input_size(name: str | nn.Module, network: nn.Module, given: int | None) -> int:
    own = INPUT_SIZES.get(name) if isinstance(name, str) else None
    if own is not None and given not in (None, own):
        raise ValueError(f"input_size of {name} is {own}, not {given!r}: leave it out")
    inner = getattr(network, "network", network)
    size = given or own or getattr(inner, "input_size", 112)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"input_size must be a positive whole number, not {size!r}")
    return size
