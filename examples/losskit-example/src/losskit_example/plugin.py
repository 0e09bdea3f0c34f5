"""What this plugin supplies, named but not imported: this module must not import torch."""

from __future__ import annotations

from losskit import LossSpec, hookimpl

api = 1  # the version of losskit's plugin interface this is written for


@hookimpl
def losskit_losses() -> list[LossSpec]:
    """The losses of this plugin."""
    return [
        LossSpec(
            "ExampleLoss",
            "losskit_example.losses:ExampleLoss",
            "Like L2 near zero and like L1 far from it: log(cosh(difference)).",
            tags=("image", "pixel"),
            example="losskit_example.examples:pair",
            paper="Saleh and Saleh, Statistical Properties of the log-cosh Loss, 2022, "
            "arXiv:2208.04564",
        ),
    ]
