"""Images of a generator on its device."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import torch
from torch import Tensor, nn

from losskit.errors import ConfigError
from losskit.text import one_line
from losskit_train.config.training import TrainConfig
from losskit_train.output import sampling


class Maker:
    """A generator on its device, in batches, its images in [0, 1] on the CPU."""

    def __init__(
        self, generator: nn.Module, config: TrainConfig, *, batch: int, device: str, seed: int
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self.device = torch.device(device)
            self.generator = generator.to(self.device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ConfigError(f"--device {device}: {one_line(error)[:200]}") from error
        self.config = config
        self.batch = batch
        self.seed = seed

    def __call__(self, items: Sequence[dict[str, Tensor]]) -> list[Tensor]:
        """The images of the items, each the generator's inputs by name without their batch axis."""
        inputs = self.config.model.inputs
        made: list[Tensor] = []
        while len(made) < len(items):
            shape = items[len(made)][inputs[0]].shape
            chunk = list(
                takewhile(
                    lambda item, shape=shape: item[inputs[0]].shape == shape,  # type: ignore[misc] # a default, to bind it
                    items[len(made) : len(made) + self.batch],
                )
            )
            batch = {k: torch.stack([item[k] for item in chunk]).to(self.device) for k in chunk[0]}
            arguments = [batch[name] for name in inputs]
            images = sampling.run(self.generator, arguments, seed=self.seed + len(made))
            if self.config.model.compose and "mask" in batch:
                images = images * batch["mask"] + batch["real_imgs"] * (1 - batch["mask"])
            made += list(sampling.unit_range(images, self.config.data.value_range).cpu())
        return made
