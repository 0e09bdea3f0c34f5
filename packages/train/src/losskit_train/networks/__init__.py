"""Small reference networks for examples and tests: short to read, quick to train."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losskit.discovery.lazy import lazy_exports

_EXPORTS = {
    "DCGANGenerator": "losskit_train.networks.dcgan",
    "PatchDiscriminator": "losskit_train.networks.patch",
    "ResidualDiscriminator": "losskit_train.networks.residual",
    "StyleGenerator": "losskit_train.networks.style",
    "SuperResolver": "losskit_train.networks.super_resolver",
}
__all__ = [
    "DCGANGenerator",
    "PatchDiscriminator",
    "ResidualDiscriminator",
    "StyleGenerator",
    "SuperResolver",
]

if TYPE_CHECKING:
    from losskit_train.networks.dcgan import DCGANGenerator
    from losskit_train.networks.patch import PatchDiscriminator
    from losskit_train.networks.residual import ResidualDiscriminator
    from losskit_train.networks.style import StyleGenerator
    from losskit_train.networks.super_resolver import SuperResolver

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
