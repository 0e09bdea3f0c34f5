"""Base class of losses over a frozen network's layers: the network, the images' range, their checks."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from losskit.backbones import BackboneRecipe, shared_backbone
from losskit.backbones.trunk import Mode
from losskit.errors import ImageTooSmallError
from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction
from losskit_perceptual.features import check_images, image_norm
from losskit_perceptual.networks.layout import tokens_in_rows
from losskit_perceptual.ranged_loss import RangedLoss


class FeatureLoss(RangedLoss):
    """A loss of two RGB images that sees them through a shared network.

    Args:
        recipe: how to make the network.
        layers: the names of those that the loss looks at.
        data_range: the images' range: 1, 255 or a pair.
        mode: how the network is run.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"``.
        use_input_norm: apply the network's own mean and std.
        range_argument: the loss's argument that sets the range, for the warning.

    Raises:
        ValueError: an option is unknown, or the network lacks a layer.
        WeightsError: the weights cannot be had.
    """

    def __init__(
        self,
        recipe: BackboneRecipe,
        layers: Iterable[str],
        data_range: DataRange,
        mode: Mode,
        reduction: Reduction,
        *,
        use_input_norm: bool = True,
        range_argument: str = "data_range",
    ) -> None:
        super().__init__(data_range, reduction, range_argument)
        self.backbone = shared_backbone(
            recipe.build,
            *recipe.args,
            layers=layers,
            transform=image_norm(recipe.norm, self.data_range, use_input_norm),
            precision=mode.precision,
            channels_last=mode.channels_last,
            compile=mode.compile,
        )
        self._tokens_in_rows = tokens_in_rows(self.backbone.network)

    def features(
        self,
        pred: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        *,
        unaligned: bool = False,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Both images' features by layer, the target's without gradient.

        Args:
            pred: RGB images.
            target: of the same shape.
            mask: how much each place counts, ``(b, 1, h, w)``.
            unaligned: the loss compares no places, so target may be of another size, or one image
                for all of pred, whose features are then of a batch of 1.

        Raises:
            ValueError: shapes do not fit, or the mask would lie wrong on the network's tokens.
            TypeError: an image is no floating point tensor.
        """
        check_images(pred, target, mask, unaligned=unaligned)
        self._check_range(pred=pred, target=target)
        name = "pred"
        try:
            fake = self.backbone.features(pred)
            name = "target"
            real = self.backbone.features(target, grad=False)
        except ImageTooSmallError as error:
            raise ImageTooSmallError(f"{type(self).__name__}: {name}: {error}") from error
        if (
            mask is not None
            and not self._tokens_in_rows
            and any(f.ndim == 3 for f in fake.values())
        ):
            raise ValueError(
                "mask cannot be laid on Hiera's tokens, which are not in the order of the image's "
                "patches; leave the mask out, or take layers that are maps"
            )
        return fake, real
