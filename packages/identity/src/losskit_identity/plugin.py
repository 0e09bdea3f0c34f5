"""What this package supplies to losskit; imports neither torch nor facenet_pytorch."""

from __future__ import annotations

from losskit.hookspecs import hookimpl
from losskit.spec import LossSpec, WeightsSpec

api = 1


@hookimpl
def losskit_losses() -> list[LossSpec]:
    """Losses on faces."""
    return [
        LossSpec(
            "FaceIdLoss",
            "losskit_identity.face_id:FaceIdLoss",
            "Cosine distance of two faces in ArcFace's or FaceNet's embedding.",
            tags=("identity", "image", "perceptual"),
            example="losskit_identity.examples:face_pair",
            paper="Deng et al., ArcFace, CVPR 2019, arXiv:1801.07698; as a loss in pSp, arXiv:2008.00951",
        ),
        LossSpec(
            "LightCNNFeatureLoss",
            "losskit_identity.light_cnn:LightCNNFeatureLoss",
            "L1 or squared distance of two faces in LightCNN's features.",
            tags=("identity", "image", "perceptual"),
            example="losskit_identity.examples:light_cnn",
            paper="Ma et al., DIC, CVPR 2020, arXiv:2003.13063; Wu et al., LightCNN, arXiv:1511.02683",
        ),
    ]


@hookimpl
def losskit_weights() -> list[WeightsSpec]:
    """Published face networks whose checksums are known."""
    return [
        WeightsSpec(
            "arcface-ir-se50",
            "https://github.com/xinntao/facexlib/releases/download/v0.1.0/recognition_arcface_ir_se50.pth",
            "a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28",
            license="unknown",
            size=175_367_323,
            summary="IR-SE50 trained on MS-Celeb-1M (InsightFace_Pytorch's, as facexlib publishes it).",
        )
    ]
