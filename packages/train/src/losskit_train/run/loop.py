"""Training from a config: the loop, its checkpoints and what it writes on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from losskit_train.config.rates import LearningRates
from losskit_train.config.training import TrainConfig, as_mapping, check_folder
from losskit_train.data.samples import Samples, batches
from losskit_train.data.sources import open_source
from losskit_train.output import sampling
from losskit_train.output.files import write_atomically
from losskit_train.output.progress import Progress
from losskit_train.output.recorder import Recorder
from losskit_train.run import assemble, checkpoints
from losskit_train.run.engine import raw
from losskit_train.run.fabric import check_model, lost_processes_named, make_fabric
from losskit_train.run.interrupt import Interrupt, Stopped, ends_with_its_launcher
from losskit_train.run.resume import allowed, check_state, find, gather, restore, seen
from losskit_train.run.setup import seed_all, set_up
from losskit_train.run.training import Training
from losskit_train.run.trial_step import check_compiler, compiler_fails, rehearse
from losskit_train.run.validation import Validation

#: Steps between two looks of all ranks for a signal at one of them: batch systems give seconds.
_STEPS_TO_AGREE = 10


class Trainer(Training):
    """One training run.

    What is wrong with the config is found here, before anything is written: networks and losses are
    built, the headers of all images are read, and both players make a trial step on copies.

    Args:
        config: the checked config.
        progress: show a progress bar.

    Raises:
        ConfigError: a network, loss or optimiser cannot be made from it, or there is no such device.
        LosskitError: Lightning Fabric is not installed.
        DataError: an image is bad.
    """

    def __init__(self, config: TrainConfig, *, progress: bool = False) -> None:
        self.config = config
        fabric = make_fabric(config)  # what is not here is told before anything is written
        if config.model.compile:
            check_compiler(fabric.device)
        self.out = Path(config.out)
        self.best = self.out / "best"
        self.progress = progress
        check_folder(self.out, "out")
        # Before the networks and losses, whose weights may have to be fetched first.
        self.source = open_source(config.data, allow_import=config.allow_import)
        seed_all(config.seed, deterministic=config.deterministic)
        self.model = assemble.model(config)
        check_model(config, self.model)
        players = (
            ["generator"] if self.model.discriminator is None else ["discriminator", "generator"]
        )
        self.optimizers = {
            player: assemble.optimizer(config, player, getattr(self.model, player))
            for player in players
        }
        self._rates = LearningRates(
            config.optimizer,
            {p: o.param_groups[0]["lr"] for p, o in self.optimizers.items()},
            config.steps,
        )
        # A run that goes on has its weights; what it once began from may be gone.
        begun = checkpoints.latest(self.out / "checkpoints") is not None
        if config.model.warm_start is not None and not begun:
            assemble.warm_start(self.model, players, Path(config.model.warm_start))
        rehearse(self.model, self.source, config)
        self.validation: Validation | None = None
        if config.validate is not None:
            self.validation = Validation(config, latent_dim=self.model.latent_dim)
            self.validation.rehearse(self.model.generator)
        self.ema = None
        self.recorder = Recorder(self.out, tensorboard=config.logging.tensorboard)
        self.fabric = None
        self.step = 0
        self.skipped = set()
        self._interrupt = Interrupt()

    def check(self, *, resume: bool = False) -> None:
        """Look whether ``run`` would begin, or go on, in its folder; nothing is written.

        Raises:
            ConfigError: ``out`` has a run already and ``resume`` is off.
            CheckpointError: the checkpoint is not of this config.
        """
        found = allowed(self.out, *seen(self), resume=resume)
        if found is not None:
            check_state(self, checkpoints.load(found))

    def run(self, *, resume: bool = False) -> Path:
        """Train to the last step.

        Args:
            resume: go on from the newest whole checkpoint of ``out``, or begin if there is none.

        Returns:
            The last checkpoint.

        Raises:
            ConfigError: ``out`` has a run already and ``resume`` is off.
            CheckpointError: the checkpoint is not of this config.
            Stopped: Ctrl-C or a SIGTERM came; the state was saved first.
            LosskitError: another process of the run ended.
        """
        with lost_processes_named():
            return self._run(resume=resume)

    def _run(self, *, resume: bool) -> Path:
        self.fabric = fabric = make_fabric(self.config)
        with ends_with_its_launcher():
            fabric.launch()
        self.engine = set_up(self, fabric)
        found = find(self, resume=resume)
        if found is not None:
            restore(self, checkpoints.load(found))
        if fabric.is_global_zero:
            if self.step < self.config.steps:  # else nothing of this config is run
                self._write_config()
            self.recorder.begin(self.step)
        stream = batches(
            self.source,
            self.config.data,
            seed=self.config.seed,
            start=self.step,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        path = found
        with (
            self._interrupt,
            Progress(
                self.config.steps, self.step, shown=self.progress and fabric.is_global_zero
            ) as bar,
        ):
            while self.step < self.config.steps:
                self._one_step(next(stream))
                bar.advance()
                path = self._afterwards(bar) or path
                if self._should_stop():
                    path = path if path and path == self._path() else self._save()
                    self.recorder.close()
                    raise Stopped(path, self.step)
        self.recorder.close()
        assert path is not None
        return path

    def _write_config(self) -> None:
        import yaml

        # A file cannot give itself leave to import: whoever runs it again says so again.
        written = {**as_mapping(self.config), "allow_import": False}
        text = yaml.safe_dump(written, sort_keys=False)
        write_atomically(self.out / "config.yaml", text.encode())

    def _one_step(self, batch: dict[str, Tensor]) -> None:
        for player, rate in self._rates.at(self.step).items():
            for group in self.optimizers[player].param_groups:
                group["lr"] = rate
        self.skipped.update(batch.pop("skipped").tolist())
        batch = self.fabric.to_device(batch)
        try:
            logs = self.model.train_step(batch, self.optimizers, engine=self.engine)
        except Exception as error:
            if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise compiler_fails(error) from error
            raise
        if self.ema is not None:
            self.ema.update(raw(self.model.generator), step=self.step)
        self.recorder.add(logs)
        self.step += 1

    def _afterwards(self, bar: Progress) -> Path | None:
        """Do what is due after a step; return the checkpoint, if one was written."""
        plan, last = self.config.logging, self.step == self.config.steps
        values: dict[str, float] = {}
        if self.step % plan.every == 0 or last:
            values |= self._means()
        if self.validation is not None and (self.step % self.validation.section.every == 0 or last):
            values |= self._validate(self.validation, bar)
        if values:
            bar.show(values)
            if self.fabric.is_global_zero:
                self.recorder.write(self.step, values)
        if plan.samples_every and (self.step % plan.samples_every == 0 or last):
            self.write_samples()
        if last or (plan.checkpoint_every and self.step % plan.checkpoint_every == 0):
            return self._save()
        return None

    def _validate(self, validation: Validation, bar: Progress) -> dict[str, float]:
        """The metrics of the (averaged) generator; a checkpoint, if they are the best so far."""
        # A sharded generator runs on all ranks or not at all.
        alone = self.config.fabric.strategy == "fsdp"
        values = validation(
            self._shown_generator(),
            self.fabric.device,
            rank=0 if alone else self.fabric.global_rank,
            world_size=1 if alone else self.fabric.world_size,
            tell=lambda done, total: bar.show_other(f"validating {done}/{total}"),
        )
        self.engine.reshard()
        newest = next(iter(checkpoints.all_of(self.best)), None)
        known = None if newest is None else checkpoints.note_of(newest)
        # One rank looks: while another still did, the first could have written the next.
        if self.fabric.broadcast(validation.is_best(values, known)):
            self._write(self.best, keep=1, note=validation.record(values))
            if self.fabric.is_global_zero:
                checkpoints.remove_newer(self.best / self._path().name)
        return values

    def _shown_generator(self) -> nn.Module:
        return raw(self.model.generator) if self.ema is None else self.ema.module

    def _means(self) -> dict[str, float]:
        means = self.recorder.means()
        if self.fabric.world_size > 1:
            together = self.fabric.all_reduce(
                torch.tensor(list(means.values()), device=self.fabric.device), reduce_op="mean"
            )
            means = dict(zip(means, together.tolist(), strict=True))
        skipped = len(self.source.skipped) + self._skipped_on_all_ranks()
        if skipped:
            means["data_skipped"] = float(skipped)
        if self.engine.skipped_updates:
            means["skipped_updates"] = float(self.engine.skipped_updates)
        return means

    def _skipped_on_all_ranks(self) -> int:
        """Count the images that were found bad when they were read, each once."""
        everywhere = [self.skipped]
        if self.fabric.world_size > 1 and self.config.data.skip_bad:
            everywhere = [set()] * self.fabric.world_size
            torch.distributed.all_gather_object(everywhere, self.skipped)
        return len(set().union(*everywhere))

    def write_samples(self) -> None:
        """Write a grid of what the (averaged) generator makes now, the same inputs every time."""
        first = self.fabric.is_global_zero
        if not first and self.config.fabric.strategy != "fsdp":
            return  # a sharded generator runs on all ranks or not at all
        sheets = sampling.sheets(
            self._shown_generator(),
            Samples(self.source, self.config.data, seed=self.config.seed + 1),
            self.config,
            latent_dim=self.model.latent_dim,
            device=self.fabric.device,
        )
        self.engine.reshard()
        if first:
            for kind, sheet in sheets.items():
                sampling.save_png(sheet, self.out / kind / f"step-{self.step:08d}.png")
            self.recorder.image("samples", sheets["samples"], self.step)

    def _path(self) -> Path:
        return self.out / "checkpoints" / f"step-{self.step:08d}.pt"

    def _save(self) -> Path:
        """Write a checkpoint to go on from."""
        self._write(self.out / "checkpoints", keep=self.config.logging.keep)
        return self._path()

    def _write(self, folder: Path, *, keep: int, note: dict[str, Any] | None = None) -> None:
        """Write the state; every rank takes part, the first one writes."""
        for objective in (self.model.objective.disc_objective, self.model.objective.gen_objective):
            if objective is not None:
                objective.check()  # never keep a state whose last step was NaN
        state = gather(self)
        if self.fabric.is_global_zero:
            checkpoints.save(folder, self.step, state, keep=keep, note=note)
        self.fabric.barrier()

    def _should_stop(self) -> bool:
        """Return whether to stop after this step; all ranks agree, for which they meet now and then."""
        if self.fabric.world_size == 1:
            return self._interrupt.asked
        if self.step % min(self.config.logging.every, _STEPS_TO_AGREE):
            return False
        flag = torch.tensor(float(self._interrupt.asked), device=self.fabric.device)
        return bool(self.fabric.all_reduce(flag, reduce_op="sum").item())


def train(config: TrainConfig, *, resume: bool = False, progress: bool = False) -> Path:
    """Check, train, and return the last checkpoint; see `Trainer`."""
    return Trainer(config, progress=progress).run(resume=resume)
