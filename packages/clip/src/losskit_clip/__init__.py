"""CLIP losses: image against text, edit directions, image against image, patches.

Everything is imported when it is first used; importing the package imports neither torch nor
open_clip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from losskit.discovery.lazy import lazy_exports

_EXPORTS = {
    "CLIPDirectionalLoss": "losskit_clip.directional",
    "CLIPImageLoss": "losskit_clip.image",
    "CLIPLoss": "losskit_clip.text",
    "CLIPPatchLoss": "losskit_clip.patches",
    "ClipPreprocess": "losskit_clip.preprocess",
    "StyleClipPreprocess": "losskit_clip.preprocess",
    "clip_directional_loss": "losskit_clip.directional",
    "clip_feature_loss": "losskit_clip.image",
    "clip_text_loss": "losskit_clip.text",
    "perspective_patches": "losskit_clip.perspective",
}
__all__ = [
    "CLIPDirectionalLoss",
    "CLIPImageLoss",
    "CLIPLoss",
    "CLIPPatchLoss",
    "ClipPreprocess",
    "StyleClipPreprocess",
    "clip_directional_loss",
    "clip_feature_loss",
    "clip_text_loss",
    "perspective_patches",
]

if TYPE_CHECKING:
    from losskit_clip.directional import CLIPDirectionalLoss, clip_directional_loss
    from losskit_clip.image import CLIPImageLoss, clip_feature_loss
    from losskit_clip.patches import CLIPPatchLoss
    from losskit_clip.perspective import perspective_patches
    from losskit_clip.preprocess import ClipPreprocess, StyleClipPreprocess
    from losskit_clip.text import CLIPLoss, clip_text_loss

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
