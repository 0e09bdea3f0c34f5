"""A generator and a discriminator that train under any losses a config names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from losskit.errors import ConfigError, MissingOutputError, nearest
from losskit.objectives.objective import ObjectiveOutput
from losskit.objectives.step_count import StepCount
from losskit_gan.model.accumulation import BatchAverages, parts_of
from losskit_gan.model.engine import Engine, PlainEngine, frozen
from losskit_gan.model.generation import generator_inputs, named_outputs
from losskit_gan.objective import GANObjective, TermConfigs
from losskit_gan.penalties.double_backward import as_written


class GANWithCustomizedLoss(StepCount):
    """The model of the MMagic guide, made real: any loss plugs in by config alone.

    Both players' losses read one outputs dict: ``iteration`` (updates of this player so far),
    ``batch_size``, ``gen``, ``disc`` (the networks, out of any distributed wrapper),
    ``disc_pred_fake``, ``disc_pred_real``, ``fake_imgs``, ``real_imgs``, and everything in the batch
    (``lq``, ``mask``, ...). ``pred`` and ``target`` are the generator's own output and the real
    images, so that image losses need no ``data_info``. ``latents`` is there for generators whose
    call takes ``return_latents``, ``last_layer`` for those that have such a parameter.
    In a generator step ``disc_pred_fake_g`` is another name of ``disc_pred_fake``;
    ``disc_pred_real`` is computed only if a term reads it.

    Args:
        generator: called with the batch entries that ``inputs`` names.
        discriminator: called with images, returns logits; ``None``: train the generator alone.
        gan_loss: see `GANObjective`; so are the next two.
        disc_auxiliary_loss: further losses of the discriminator.
        gen_auxiliary_loss: further losses of the generator.
        inputs: what the generator is called with. ``noise`` is drawn anew for each player unless the
            batch has it.
        latent_dim: length of the noise vectors; by default the generator's own ``latent_dim``.
        generator_steps: generator updates in a step, each with new noise.
        discriminator_steps: discriminator updates per generator turn: the generator is updated in
            every so-manieth step.
        compose: judge ``fake * mask + real * (1 - mask)``, as inpainting does, instead of the output.
        accumulate: parts a batch is cut into, to save memory; their mean gradient is the step's. For
            losses that are means over samples (all but the next ones) that is the whole batch's
            gradient. Losses that look at a batch as a whole see a part of it: relativistic averages,
            max-GP, the averages that path length and LeCam compare with (which still advance once,
            by the whole batch), and networks with batch statistics.
        on_nonfinite: what a NaN or infinite term does; see `Objective`.
        allow_import: let loss configs import code that they name; see `build`.

    Raises:
        ConfigError: a loss config is wrong, or noise is wanted and its length unknown.
        ValueError: a count is below 1.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module | None,
        gan_loss: TermConfigs | None,
        disc_auxiliary_loss: TermConfigs | None = None,
        gen_auxiliary_loss: TermConfigs | None = None,
        *,
        inputs: Sequence[str] = ("noise",),
        latent_dim: int | None = None,
        generator_steps: int = 1,
        discriminator_steps: int = 1,
        compose: bool = False,
        accumulate: int = 1,
        on_nonfinite: str = "raise",
        allow_import: bool = False,
    ) -> None:
        super().__init__()
        counts = {
            "generator_steps": generator_steps,
            "discriminator_steps": discriminator_steps,
            "accumulate": accumulate,
        }
        for name, value in counts.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
        self.generator = generator
        self.discriminator = discriminator
        self.objective = GANObjective(
            gan_loss,
            disc_auxiliary_loss,
            gen_auxiliary_loss,
            on_nonfinite=on_nonfinite,
            allow_import=allow_import,
        )
        if discriminator is None and self.objective.disc_objective is not None:
            raise ConfigError("gan_loss and disc_auxiliary_loss need a discriminator")
        if discriminator is not None and self.objective.disc_objective is None:
            raise ConfigError("a discriminator without gan_loss would never learn: leave it out")
        self.inputs = tuple(inputs)
        self.latent_dim = latent_dim or getattr(generator, "latent_dim", None)
        if "noise" in self.inputs and not isinstance(self.latent_dim, int):
            raise ConfigError(
                f"{type(generator).__name__} has no latent_dim: give the model latent_dim=..., "
                "or name other inputs"
            )
        self.generator_steps = generator_steps
        self.discriminator_steps = discriminator_steps
        self.compose = compose
        self.accumulate = accumulate
        self._takes_latents = "return_latents" in inspect.signature(generator.forward).parameters

    def train_step(
        self,
        data: Mapping[str, Any] | Tensor,
        optimizers: Mapping[str, Any],
        *,
        engine: Engine | None = None,
    ) -> dict[str, Tensor]:
        """One step: the discriminator's update, and the generator's where it is its turn.

        Args:
            data: a batch of tensors by name, with the real images as ``real_imgs`` or ``target``;
                or just the real images.
            optimizers: ``{"generator": ..., "discriminator": ...}``.
            engine: what surrounds the step; plain torch by default.

        Returns:
            Every logged value, detached, and ``total_disc`` and ``total_gen``.

        Raises:
            MissingOutputError: the batch lacks the real images or an input of the generator.
            ValueError: the batch cannot be cut into ``accumulate`` equal parts.
        """
        engine = engine or PlainEngine()
        batch = self._batch(data)
        logs: dict[str, Tensor] = {}
        if self.discriminator is not None:
            with frozen(self.generator):
                self._update("discriminator", batch, optimizers, engine, self.iteration, logs)
        if (self.iteration + 1) % self.discriminator_steps == 0:
            turn = self.iteration // self.discriminator_steps * self.generator_steps
            if self.objective.gen_objective is not None:
                with frozen(self.discriminator):
                    for again in range(self.generator_steps):
                        self._update("generator", batch, optimizers, engine, turn + again, logs)
        self.iteration += 1
        return logs

    def _update(
        self,
        player: str,
        batch: Mapping[str, Any],
        optimizers: Mapping[str, Any],
        engine: Engine,
        iteration: int,
        logs: dict[str, Tensor],
    ) -> None:
        if player not in optimizers:
            raise MissingOutputError(f"optimizers lacks {player!r}{nearest(player, optimizers)}")
        if not self.objective.is_active(player, iteration):
            return  # without gradients there is nothing for ranks to meet over, or a scaler to scale
        module, optimizer = getattr(self, player), optimizers[player]
        outputs_of = (
            self.discriminator_outputs if player == "discriminator" else self.generator_outputs
        )
        optimizer.zero_grad(set_to_none=True)
        parts = list(parts_of(batch, self.accumulate))
        averages = BatchAverages(self.objective) if len(parts) > 1 else None
        sums: dict[str, Tensor] = {}
        for index, part in enumerate(parts):
            with engine.part(module, last=index == len(parts) - 1):
                with engine.autocast():
                    outputs = outputs_of(part, engine=engine, iteration=iteration)
                    result: ObjectiveOutput = self.objective(outputs, player=player)
                loss = result.total if len(parts) == 1 else result.total / len(parts)
                engine.backward(loss, module)
            if averages is not None:
                averages.end_part()
            total = "total_disc" if player == "discriminator" else "total_gen"
            for name, value in {**result.logs, total: result.total.detach()}.items():
                mean = value if len(parts) == 1 else value / len(parts)
                sums[name] = sums[name] + mean if name in sums else mean
        if averages is not None:
            averages.finish()
        engine.step(player, module, optimizer)
        logs.update(sums)

    def discriminator_outputs(
        self,
        data: Mapping[str, Any] | Tensor,
        *,
        engine: Engine | None = None,
        iteration: int | None = None,
    ) -> dict[str, Any]:
        """Compute the inputs of the discriminator's losses; the fakes carry no gradient to the generator."""
        engine, outputs = self._outputs(data, engine, iteration)
        with torch.no_grad():
            outputs.update(self.generate(outputs, engine=engine, updated=False))
        outputs["disc_pred_fake"] = self._judge(engine, outputs["fake_imgs"], updated=True)
        outputs["disc_pred_real"] = self._judge(engine, outputs["real_imgs"], updated=True)
        return outputs

    def generator_outputs(
        self,
        data: Mapping[str, Any] | Tensor,
        *,
        engine: Engine | None = None,
        iteration: int | None = None,
    ) -> dict[str, Any]:
        """Compute the inputs of the generator's losses."""
        engine, outputs = self._outputs(data, engine, iteration)
        now: int = outputs["iteration"]
        differentiated = self.objective.differentiates("generator", now)
        twice = self.objective.differentiates_twice("generator", now)
        networks = outputs["gen"], outputs["disc"]
        with as_written(*networks, twice=twice) if differentiated else nullcontext():
            outputs.update(self.generate(outputs, engine=engine))
            if self.discriminator is not None:
                logits = self._judge(engine, outputs["fake_imgs"], updated=False)
                outputs["disc_pred_fake"] = outputs["disc_pred_fake_g"] = logits
                if self.objective.needs("generator", "disc_pred_real", now):
                    logits = self._judge(engine, outputs["real_imgs"], updated=False)
                    outputs["disc_pred_real"] = logits
        if getattr(outputs["gen"], "last_layer", None) is not None:
            outputs["last_layer"] = outputs["gen"].last_layer
        return outputs

    def generate(
        self, batch: Mapping[str, Any], *, engine: Engine | None = None, updated: bool = True
    ) -> dict[str, Tensor]:
        """Run the generator on a batch: ``pred``, ``fake_imgs``, and ``latents`` where it has them.

        A generator may return an image, an image and its latents, or a mapping of ``fake_img``,
        perhaps ``latent``, and whatever else losses read by name.

        Raises:
            MissingOutputError: the batch lacks one of ``inputs``.
        """
        given = generator_inputs(self.inputs, batch, self.latent_dim)
        engine = engine or PlainEngine()
        options = {"return_latents": True} if self._takes_latents else {}
        output = engine.forward(self.generator, *given.values(), updated=updated, **options)
        made = {name: value for name, value in given.items() if name not in batch}
        # The latents stay as they are: a copy would not be what the images were made from.
        made.update(
            (name, value if name == "latents" else engine.full_precision(value))
            for name, value in named_outputs(output, batch).items()
        )
        made["fake_imgs"] = made["pred"]
        if self.compose:
            mask = batch["mask"]
            made["fake_imgs"] = made["pred"] * mask + batch["real_imgs"] * (1 - mask)
        return made

    def _judge(self, engine: Engine, images: Tensor, *, updated: bool) -> Any:
        assert self.discriminator is not None
        return engine.full_precision(engine.forward(self.discriminator, images, updated=updated))

    def _outputs(
        self, data: Mapping[str, Any] | Tensor, engine: Engine | None, iteration: int | None
    ) -> tuple[Engine, dict[str, Any]]:
        engine = engine or PlainEngine()
        batch = self._batch(data)
        disc = None if self.discriminator is None else engine.raw(self.discriminator)
        return engine, {
            "iteration": self.iteration if iteration is None else iteration,
            "batch_size": len(batch["real_imgs"]),
            "gen": engine.raw(self.generator),
            "disc": disc,
            **batch,
        }

    def _batch(self, data: Mapping[str, Any] | Tensor) -> dict[str, Any]:
        batch: dict[str, Any] = {"real_imgs": data} if isinstance(data, Tensor) else dict(data)
        for one, other in (("real_imgs", "target"), ("target", "real_imgs")):
            if one not in batch and other in batch:
                batch[one] = batch[other]
        if "real_imgs" not in batch:
            raise MissingOutputError(
                f"a batch needs 'real_imgs' or 'target'; it has {', '.join(batch) or 'nothing'}"
            )
        return batch
