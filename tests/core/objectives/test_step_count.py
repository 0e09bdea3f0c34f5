"""The count of an objective's steps: on the meta device, in compiled code, built anywhere."""

import pytest
import torch
from torch import nn

import losskit

# Of torch._dynamo, when it wraps a tensor that is no leaf at a break of the graph.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")

SCHEDULED = [{"type": "L1Loss"}, {"type": "MSELoss", "start": 2}]


class Net(nn.Module):
    def __init__(self, terms: list) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)
        self.objective = losskit.Objective(terms)

    def forward(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.objective(pred=self.body(image), target=target).total


def train(net: nn.Module, steps: int) -> None:
    for _ in range(steps):
        net(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)).backward()


@pytest.mark.parametrize("terms", [SCHEDULED, [{"type": "L1Loss"}]])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_model_built_on_the_meta_device_counts_from_zero(terms, compiled) -> None:
    with torch.device("meta"):
        net = Net(terms)
    net = net.to_empty(device="cpu")
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    net.objective._compiled_steps.fill_(140705496243520)  # what memory may hold
    assert net.objective.iteration == 0
    train(torch.compile(net, backend="eager") if compiled else net, 3)
    assert net.objective.iteration == 3
    assert int(net.state_dict()["objective._extra_state"]) == 3


def test_a_state_can_be_assigned_to_a_model_on_the_meta_device() -> None:
    trained = Net(SCHEDULED)
    train(trained, 4)
    with torch.device("meta"):
        net = Net(SCHEDULED)
    assert net.objective.iteration == 0
    net.load_state_dict(trained.state_dict(), assign=True)
    assert net.objective.iteration == 4
    assert net.to("meta").objective.iteration == 4


@pytest.mark.parametrize("terms", [SCHEDULED, [{"type": "L1Loss"}]])
def test_an_objective_built_in_inference_mode_trains_compiled(terms) -> None:
    with torch.inference_mode():
        objective = losskit.Objective(terms)
    step = torch.compile(objective, backend="eager")
    for _ in range(3):
        pred = torch.rand(1, 3, 8, 8, requires_grad=True)
        step(pred=pred, target=torch.rand(1, 3, 8, 8)).total.backward()
        assert pred.grad.abs().sum() > 0
    assert objective.iteration == 3


@pytest.mark.parametrize("more", [{}, {"start": 3}], ids=["adaptive", "adaptive from step 3 on"])
def test_an_adaptive_weight_leaves_the_graph_once(more) -> None:
    """The compiler does not try again at each step what it cannot do."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    adaptive = {"adaptive": {"reference": "loss_l1", "wrt": "pred"}}
    torch.manual_seed(0)
    net = Net([{"type": "L1Loss"}, {"type": "MSELoss", "loss_weight": adaptive, **more}])
    plain = Net([{"type": "L1Loss"}, {"type": "MSELoss", "loss_weight": adaptive, **more}])
    plain.load_state_dict(net.state_dict())
    compiled = torch.compile(net, backend="eager")
    for _ in range(12):
        images = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
        torch.testing.assert_close(compiled(*images), plain(*images))
    assert torch._dynamo.utils.counters["frames"]["total"] <= 4
    assert net.objective.iteration == 12
