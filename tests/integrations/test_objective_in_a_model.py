"""A model that owns its objective goes through the ecosystem's checkpoints and averages."""

from __future__ import annotations

from pathlib import Path

import accelerate
import pytest
import safetensors.torch
import timm.utils
import torch
import torch.distributed as dist
import transformers
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

import losskit
import losskit_gan

TERMS = {
    "plain": [{"type": "L1Loss"}],
    "scheduled": [{"type": "L1Loss"}, {"type": "MSELoss", "start": 2, "ramp": 4}],
}


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)
        self.objective = make(kind)

    def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        pred = self.body(pixel_values)
        if isinstance(self.objective, losskit.Objective):
            return {"loss": self.objective(pred=pred, target=labels).total, "logits": pred}
        outputs = {"pred": pred, "target": labels, "iteration": 4}
        logits = {"disc_pred_fake": pred.mean((1, 2, 3)), "disc_pred_real": pred.mean((1, 2, 3))}
        return {"loss": self.objective.generator({**outputs, **logits}).total, "logits": pred}


def make(kind: str) -> nn.Module:
    if kind == "gan":
        return losskit_gan.GANObjective(
            {"type": "GANLoss", "gan_type": "hinge"}, gen_auxiliary_loss=TERMS["scheduled"]
        )
    return losskit.Objective(TERMS[kind])


@pytest.fixture(params=["plain", "scheduled", "gan"])
def trained(request: pytest.FixtureRequest) -> Net:
    net = Net(request.param)
    for _ in range(5):
        net(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8))["loss"].backward()
    net.zero_grad()
    net.kind = request.param
    return net


def count(net: Net) -> int:
    objective = net.objective
    return getattr(objective, "gen_objective", objective).iteration


def test_safetensors(trained: Net, tmp_path: Path) -> None:
    safetensors.torch.save_model(trained, str(tmp_path / "m.safetensors"))
    other = Net(trained.kind)
    missing, unexpected = safetensors.torch.load_model(other, str(tmp_path / "m.safetensors"))
    assert not missing
    assert not unexpected
    assert count(other) == 5
    torch.testing.assert_close(other.state_dict(), trained.state_dict())


@pytest.mark.parametrize("average", [timm.utils.ModelEmaV2, timm.utils.ModelEmaV3])
def test_averages_of_weights(trained: Net, average: type) -> None:
    ema = average(trained, decay=0.5)
    before = trained.body.weight.detach().clone()
    with torch.no_grad():
        trained.body.weight.add_(1.0)
    ema.update(trained)
    torch.testing.assert_close(ema.module.body.weight, before + 0.5)
    assert count(trained) == 5


def test_accelerate(trained: Net, tmp_path: Path) -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    net = accelerator.prepare(trained)
    accelerator.save_state(str(tmp_path / "state"))
    accelerator.save_model(net, str(tmp_path / "model"))
    for _ in range(3):
        net(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8))
    accelerator.load_state(str(tmp_path / "state"))
    assert count(accelerator.unwrap_model(net)) == 5


def test_transformers_trainer_writes_its_checkpoint(trained: Net, tmp_path: Path) -> None:
    data = [{"pixel_values": torch.rand(3, 8, 8), "labels": torch.rand(3, 8, 8)}] * 4
    arguments = transformers.TrainingArguments(
        str(tmp_path), max_steps=2, save_steps=1, report_to=[], use_cpu=True, disable_tqdm=True
    )
    trainer = transformers.Trainer(trained, arguments, train_dataset=data)
    trainer.train()
    state = safetensors.torch.load_file(tmp_path / "checkpoint-2" / "model.safetensors")
    own = {k: v for k, v in state.items() if k.endswith("_extra_state")}
    assert own
    assert set(own) == {k for k in trained.state_dict() if k.endswith("_extra_state")}


def test_a_model_saved_without_the_objective_is_answered_by_torch(trained: Net) -> None:
    without = {k: v for k, v in trained.state_dict().items() if k.startswith("body.")}
    with pytest.raises(RuntimeError, match=r"Missing key\(s\) in state_dict: \"objective\."):
        trained.load_state_dict(without)
    trained.load_state_dict(without, strict=False)


def test_the_guides_model_saves_tensors_only(tmp_path: Path) -> None:
    class Generator(nn.Conv2d):
        latent_dim = 3

        def forward(self, noise: Tensor) -> Tensor:
            return super().forward(noise[:, :, None, None].expand(-1, -1, 4, 4))

    def model() -> losskit_gan.GANWithCustomizedLoss:
        return losskit_gan.GANWithCustomizedLoss(
            Generator(3, 3, 1),
            nn.Sequential(nn.Conv2d(3, 1, 4), nn.Flatten()),
            {"type": "GANLoss", "gan_type": "hinge"},
        )

    mine, other = model(), model()
    optimizers = {
        name: torch.optim.SGD(getattr(mine, name).parameters(), 0.1)
        for name in ("generator", "discriminator")
    }
    mine.train_step(torch.rand(2, 3, 4, 4), optimizers)
    safetensors.torch.save_model(mine, str(tmp_path / "m.safetensors"))
    safetensors.torch.load_model(other, str(tmp_path / "m.safetensors"))
    assert other.iteration == mine.iteration == 1
    torch.testing.assert_close(other.state_dict(), mine.state_dict())
    other.set_extra_state({"iteration": 9})  # what older versions saved
    assert other.iteration == 9


@pytest.fixture
def alone(tmp_path: Path):
    """A process group of one."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/ranks", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


# Of PyTorch's compiler, where a tensor in a graph crosses a graph break.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_under_ddp_makes_one_graph_for_each_set_of_terms(alone: None) -> None:
    torch._dynamo.reset()
    net = Net("scheduled")
    counter = CompileCounter()
    compiled = torch.compile(nn.parallel.DistributedDataParallel(net), backend=counter)
    for step in range(60):
        images = torch.rand(2, 3, 8, 8)
        compiled(images, images + 0.1)["loss"].backward()
        if step == 20:
            frames = counter.frame_count
    assert counter.frame_count == frames <= 4  # body, two sets of terms, what comes after
    assert count(net) == 60
