"""Plugin hooks: what this package supplies to losskit; imports neither torch nor facenet_pytorch."""

from __future__ import annotations

from losskit.hookspecs import hookimpl
from losskit.spec import BackboneSpec, LossSpec, WeightsSpec

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


_FACENET = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"


@hookimpl
def losskit_weights() -> list[WeightsSpec]:
    """Published face networks.

    None of their publishers names a checksum. Those of ArcFace and VGGFace2 are what several unrelated
    public projects pin; that of CASIA-WebFace is one project's, and the file's size agrees with its
    layout. A wrong one could only refuse the right file. For LightCNN nobody names any.
    """
    return [
        WeightsSpec(
            "arcface-ir-se50",
            "https://github.com/xinntao/facexlib/releases/download/v0.1.0/recognition_arcface_ir_se50.pth",
            "a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28",
            license="unknown",
            size=175_367_323,
            summary="IR-SE50 trained on MS-Celeb-1M (InsightFace_Pytorch's, as facexlib publishes it).",
        ),
        WeightsSpec(
            "facenet-vggface2",
            f"{_FACENET}20180402-114759-vggface2.pt",
            "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
            license="MIT",
            size=111_898_327,
            summary="InceptionResnetV1 trained on VGGFace2, as facenet-pytorch publishes it.",
        ),
        WeightsSpec(
            "facenet-casia-webface",
            f"{_FACENET}20180408-102900-casia-webface.pt",
            "7a67afdbbc995fce5e10128675e318799a70698c2f433ba75dd7eb9a2f096e7d",
            license="MIT",
            size=115_887_415,
            summary="InceptionResnetV1 trained on CASIA-WebFace, as facenet-pytorch publishes it.",
        ),
        WeightsSpec(
            "light-cnn-dic",
            "https://download.openmmlab.com/mmediting/restorers/dic/light_cnn_feature.pth",
            sha256=None,
            license="unknown",
            size=None,
            summary="LightCNN-9 for RGB faces that MMagic trains DIC with.",
        ),
    ]


@hookimpl
def losskit_backbones() -> list[BackboneSpec]:
    """The face detector that ``align="mtcnn"`` looks through; other losses cannot."""
    return [
        BackboneSpec(
            "facenet-pytorch",
            summary="MTCNN's three networks, which facenet-pytorch ships",
            files="losskit_identity.shipped:file_of",
            known="losskit_identity.shipped:names",
        )
    ]
