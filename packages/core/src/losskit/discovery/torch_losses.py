"""PyTorch's own losses in configs: ``type: torch.nn.SmoothL1Loss``."""

from __future__ import annotations

import inspect

from losskit.errors import UnknownLossError, nearest
from losskit.spec import LossSpec


def torch_spec(name: str) -> LossSpec:
    """The spec of one of PyTorch's own losses, by its name in code; nothing else of torch is reached.

    Imports torch, for its list of losses.

    Raises:
        UnknownLossError: torch has no such loss.
    """
    from torch.nn.modules import loss as torch_losses

    own = {
        key: value
        for key, value in vars(torch_losses).items()
        if inspect.isclass(value)
        and value.__module__ == torch_losses.__name__
        and not key.startswith("_")
    }
    module, _, bare = name.rpartition(".")
    if bare not in own or module not in ("torch.nn", torch_losses.__name__):
        raise UnknownLossError(
            f"no loss is called {name!r}{nearest(bare, own)}; of PyTorch's own there are "
            f"torch.nn.{', '.join(sorted(own))}"
        )
    return LossSpec(bare, f"{torch_losses.__name__}:{bare}", namespace="torch")
