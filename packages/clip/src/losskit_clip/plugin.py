"""Plugin hooks: what this package supplies to losskit; imports neither torch nor open_clip."""

from __future__ import annotations

from losskit.hookspecs import hookimpl
from losskit.spec import BackboneSpec, LossSpec

api = 1

_CLIP = "Radford et al., CLIP, ICML 2021, arXiv:2103.00020"


@hookimpl
def losskit_losses() -> list[LossSpec]:
    """CLIP losses."""
    return [
        LossSpec(
            "CLIPLoss",
            "losskit_clip.text:CLIPLoss",
            "Cosine distance of images to texts, in CLIP's space.",
            tags=("clip", "text"),
            example="losskit_clip.examples:text",
            paper="Patashnik et al., StyleCLIP, ICCV 2021, arXiv:2103.17249",
        ),
        LossSpec(
            "CLIPDirectionalLoss",
            "losskit_clip.directional:CLIPDirectionalLoss",
            "Angle between how an image changed and how a text says it should.",
            tags=("clip", "text"),
            example="losskit_clip.examples:directional",
            paper="Gal et al., StyleGAN-NADA, SIGGRAPH 2022, arXiv:2108.00946",
        ),
        LossSpec(
            "CLIPImageLoss",
            "losskit_clip.image:CLIPImageLoss",
            "Distance between two images in CLIP's embedding or its layers.",
            tags=("clip", "image", "perceptual"),
            example="losskit_clip.examples:image",
            paper="Vinker et al., CLIPasso, SIGGRAPH 2022, arXiv:2202.05822; on " + _CLIP,
        ),
        LossSpec(
            "CLIPPatchLoss",
            "losskit_clip.patches:CLIPPatchLoss",
            "CLIP text or direction loss on random perspective crops.",
            tags=("clip", "text", "style"),
            example="losskit_clip.examples:patches",
            paper="Kwon and Ye, CLIPstyler, CVPR 2022, arXiv:2112.00374",
        ),
    ]


@hookimpl
def losskit_backbones() -> list[BackboneSpec]:
    """Declare the networks that these losses use; other losses cannot use them."""
    return [
        BackboneSpec(
            "open_clip",
            summary="open_clip's models, of an image and a text network each",
            files="losskit_clip.models:file_of",
            networks=("ViT-B-32",),
            known="losskit_clip.models:names",
        )
    ]
