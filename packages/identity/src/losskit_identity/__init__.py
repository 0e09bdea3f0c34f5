"""Face-identity losses: ArcFace, FaceNet, LightCNN, and the alignment they need.

Everything is imported when it is first used; importing the package imports neither torch nor
facenet_pytorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from losskit.discovery.lazy import lazy_exports

_EXPORTS = {
    "ArcFaceIRSE50": "losskit_identity.arcface",
    "FaceIdLoss": "losskit_identity.face_id",
    "LightCNN": "losskit_identity.light_cnn",
    "LightCNNFeatureLoss": "losskit_identity.light_cnn",
    "align_faces": "losskit_identity.alignment",
    "crop_faces": "losskit_identity.alignment",
    "face_id_loss": "losskit_identity.face_id",
    "face_landmarks": "losskit_identity.landmarks",
    "light_cnn_feature_loss": "losskit_identity.light_cnn",
    "similarity": "losskit_identity.face_similarity",
    "similarity_transform": "losskit_identity.alignment",
}
__all__ = [
    "ArcFaceIRSE50",
    "FaceIdLoss",
    "LightCNN",
    "LightCNNFeatureLoss",
    "align_faces",
    "crop_faces",
    "face_id_loss",
    "face_landmarks",
    "light_cnn_feature_loss",
    "similarity",
    "similarity_transform",
]

if TYPE_CHECKING:
    from losskit_identity.alignment import align_faces, crop_faces, similarity_transform
    from losskit_identity.arcface import ArcFaceIRSE50
    from losskit_identity.face_id import FaceIdLoss, face_id_loss
    from losskit_identity.face_similarity import similarity
    from losskit_identity.landmarks import face_landmarks
    from losskit_identity.light_cnn import LightCNN, LightCNNFeatureLoss, light_cnn_feature_loss

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
