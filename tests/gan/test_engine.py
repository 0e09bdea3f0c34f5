"""Plain torch around a step: which wrapper is gone round when."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from losskit_gan.model.engine import PlainEngine, frozen


class Called(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x, scale=1.0):
        return self.layer(x) * scale


@pytest.mark.parametrize("compiled", ["no", "inside", "outside"])
def test_only_the_updated_network_is_run_through_its_wrapper(process_group, monkeypatch, compiled):
    network = Called()
    inside = torch.compile(network, backend="eager") if compiled == "inside" else network
    wrapper = DistributedDataParallel(inside)
    module = torch.compile(wrapper, backend="eager") if compiled == "outside" else wrapper
    passes = []
    real = DistributedDataParallel.forward

    def counting(self, *arguments, **named):
        passes.append(self)
        return real(self, *arguments, **named)

    monkeypatch.setattr(DistributedDataParallel, "forward", counting)
    engine = PlainEngine()
    assert engine.raw(module) is inside
    x = torch.randn(3, 2)
    apart = engine.forward(module, x, updated=False, scale=2.0)
    assert not passes
    torch.testing.assert_close(apart, network(x) * 2)
    if compiled != "outside":
        torch.testing.assert_close(engine.forward(module, x, updated=True, scale=2.0), apart)
        assert passes == [wrapper]
    with engine.part(module, last=False):
        assert not wrapper.require_backward_grad_sync
    with engine.part(module, last=True):
        assert wrapper.require_backward_grad_sync


def test_frozen_parameters_come_back_as_they_were():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    network[1].requires_grad_(False)
    with contextlib.suppress(KeyError), frozen(network):
        assert not any(p.requires_grad for p in network.parameters())
        raise KeyError("a step that fails")
    assert [p.requires_grad for p in network.parameters()] == [True, True, False, False]
    with frozen(None):
        pass
