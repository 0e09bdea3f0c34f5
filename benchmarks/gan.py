"""What penalties cost in a training step, and what a GANObjective costs over hand-written losses.

    python benchmarks/gan.py --threads 2
    python benchmarks/gan.py --device cuda --precision bf16 --compile --size 128 --channels 32

Each is a whole discriminator or generator step (forward, backward, Adam), as a ratio to the same
step by hand, in the same precision and compiled alike. The goal is at most 2 % over for the
GANObjective; the penalties have no goal. What GANObjective adds is a fraction of a millisecond,
which the noise of whole steps hides, so it is measured once more on given logits, without the
networks, and held against the plain step. Second derivatives are always taken in full precision and
uncompiled; finite differences in full precision, compiled.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from _timing import Row, add_options, compare, report
from torch import Tensor

from losskit_gan import GANObjective
from losskit_train.networks import ResidualDiscriminator, StyleGenerator

LOGISTIC = {"type": "GANLoss", "gan_type": "wgan-logistic-ns"}
R1 = {
    "type": "R1GradientPenalty",
    "norm_mode": "HWC",
    "loss_weight": 5.0,
    "data_info": {"discriminator": "disc", "real_data": "real_imgs"},
}
FD_R1 = {**R1, "type": "FiniteDifferenceR1"}
del FD_R1["norm_mode"]
FD_R1_REUSED = {**FD_R1, "data_info": {**R1["data_info"], "logits": "disc_pred_real"}}
PATH = {
    "type": "GeneratorPathRegularizer",
    "loss_weight": 2.0,
    "pl_batch_shrink": 2,
    "data_info": {"generator": "gen", "num_batches": "batch_size"},
}


def discriminator_loss(on_fake: Tensor, on_real: Tensor) -> Tensor:
    return F.softplus(on_fake).mean() + F.softplus(-on_real).mean()


def generator_loss(on_fake: Tensor) -> Tensor:
    return F.softplus(-on_fake).mean()


class Setting:
    """One pair of networks and a batch; every way starts from them and updates them."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        batch, size, channels = options.batch, options.size, options.channels
        device = self.device = torch.device(options.device)
        self.half = options.precision == "bf16"
        self.disc = ResidualDiscriminator(image_size=size, channels=channels).to(device)
        self.gen = StyleGenerator(image_size=size, channels=channels).to(device)
        self.real = torch.rand(batch, 3, size, size, device=device) * 2 - 1
        self.noise = torch.randn(batch, self.gen.latent_dim, device=device)
        self.disc_optimizer = torch.optim.Adam(self.disc.parameters(), 1e-5)
        self.gen_optimizer = torch.optim.Adam(self.gen.parameters(), 1e-5)
        with torch.no_grad():
            self.fake = self.gen(self.noise)
        if options.compile:
            self.disc, self.gen = torch.compile(self.disc), torch.compile(self.gen)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)

    def _step(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.is_cuda:
            torch.cuda.synchronize()

    def discriminator_by_hand(self) -> None:
        with self._autocast():
            loss = discriminator_loss(self.disc(self.fake), self.disc(self.real))
        self._step(loss, self.disc_optimizer)

    def generator_by_hand(self) -> None:
        self.disc.requires_grad_(False)
        with self._autocast():
            loss = generator_loss(self.disc(self.gen(self.noise)))
        self._step(loss, self.gen_optimizer)
        self.disc.requires_grad_(True)

    def discriminator(self, *penalties: dict[str, object]) -> Callable[[], None]:
        objective = GANObjective(LOGISTIC, penalties)

        def step() -> None:
            with self._autocast():
                outputs = {
                    **self.common(self.fake, self.disc(self.fake)),
                    "real_imgs": self.real,
                    "disc_pred_real": self.disc(self.real),
                }
                total = objective.discriminator(outputs).total
            self._step(total, self.disc_optimizer)

        return step

    def generator(self, *penalties: dict[str, object]) -> Callable[[], None]:
        objective = GANObjective(LOGISTIC, None, penalties)

        def step() -> None:
            self.disc.requires_grad_(False)
            with self._autocast():
                fake = self.gen(self.noise)
                total = objective.generator(self.common(fake, self.disc(fake))).total
            self._step(total, self.gen_optimizer)
            self.disc.requires_grad_(True)

        return step

    def common(self, fake: Tensor, on_fake: Tensor) -> Mapping[str, object]:
        return {
            "iteration": 0,
            "batch_size": len(self.real),
            "gen": self.gen,
            "disc": self.disc,
            "fake_imgs": fake,
            "disc_pred_fake": on_fake,
        }


def own_work(setting: Setting, player: str, plain_ms: float) -> Row:
    """What GANObjective takes beyond the arithmetic, over given logits; as a share of the step."""
    objective = GANObjective(LOGISTIC)
    logits = torch.randn(2, len(setting.real), 1, device=setting.device).requires_grad_()
    of_player = objective.discriminator if player == "discriminator" else objective.generator

    def backward(loss: Tensor) -> None:
        logits.grad = None
        loss.backward()
        if loss.is_cuda:
            torch.cuda.synchronize()

    def with_objective() -> None:
        outputs = {**setting.common(setting.fake, logits[0]), "disc_pred_real": logits[1]}
        backward(of_player(outputs).total)

    def by_hand() -> None:
        on_fake, on_real = logits
        both = player == "discriminator"
        backward(discriminator_loss(on_fake, on_real) if both else generator_loss(on_fake))

    hand, ours = compare({"by hand": by_hand, "with": with_objective}, rounds=1000, warmup=50)
    own = ours.median_ms - hand.median_ms
    return Row("GANObjective's own work", own, ours.spread_ms, 1 + own / plain_ms)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, rounds=25)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--compile", action="store_true", help="torch.compile both networks")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    setting = Setting(options)
    shape = f"{options.batch}×3×{options.size}×{options.size}"
    shape += f", {options.device}, {options.precision}" + (", compiled" if options.compile else "")
    ways = {
        "plain step by hand": setting.discriminator_by_hand,
        "GANObjective": setting.discriminator(),
        "with R1": setting.discriminator(R1),
        "with finite-difference R1": setting.discriminator(FD_R1),
    }
    if options.precision == "fp32":  # logits in bf16 are too coarse for differences
        ways["with finite-difference R1, logits reused"] = setting.discriminator(FD_R1_REUSED)
    goals = {"GANObjective": 1.02, "GANObjective's own work": 1.02}
    rows = compare(ways, rounds=options.rounds)
    rows.append(own_work(setting, "discriminator", rows[0].median_ms))
    met = report(f"Discriminator step, {shape}", rows, goals, options.json)
    rows = compare(
        {
            "plain step by hand": setting.generator_by_hand,
            "GANObjective": setting.generator(),
            "with path length, half the batch": setting.generator(PATH),
        },
        rounds=options.rounds,
    )
    rows.append(own_work(setting, "generator", rows[0].median_ms))
    met &= report(f"Generator step, {shape}", rows, goals, options.json)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
