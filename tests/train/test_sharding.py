"""A spread network's whole state, and back; two processes are in test_distributed.py."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from losskit_train.run import sharding


@pytest.fixture
def mesh(process_group):
    """One machine of one process."""
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh("cpu", (1, 1), mesh_dim_names=("machines", "processes"))


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.utils.spectral_norm(nn.Linear(3, 2)), nn.BatchNorm1d(2))


def trained(module):
    optimizer = torch.optim.Adam(module.parameters(), 0.1)
    module(torch.randn(4, 3, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    if hasattr(module, "reshard"):
        module.reshard()
    optimizer.step()
    return module, optimizer


def test_a_spread_network_gives_and_takes_whole_states(mesh):
    plain, plain_optimizer = trained(network(0))
    spread, optimizer = trained(sharding.shard(network(0), mesh))
    assert all(hasattr(p, "full_tensor") for p in spread.parameters())
    assert not any(hasattr(sharding.local(p), "full_tensor") for p in spread.parameters())
    state, optimizer_state = (
        sharding.whole(spread.state_dict()),
        sharding.whole(optimizer.state_dict()),
    )
    torch.testing.assert_close(dict(state), dict(plain.state_dict()))
    torch.testing.assert_close(optimizer_state["state"], plain_optimizer.state_dict()["state"])

    # Through a file that runs nothing, into networks of either kind.
    file = io.BytesIO()
    torch.save([state, optimizer_state], file)
    file.seek(0)
    state, optimizer_state = torch.load(file, weights_only=True)
    for other in (network(5), sharding.shard(network(5), mesh)):
        other_optimizer = torch.optim.Adam(other.parameters(), 0.1)
        sharding.load_network(other, state)
        sharding.load_optimizer(other_optimizer, optimizer_state)
        torch.testing.assert_close(dict(sharding.whole(other.state_dict())), dict(state))
        assert (
            sharding.whole(other_optimizer.state_dict())["state"].keys()
            == optimizer_state["state"].keys()
        )
        torch.testing.assert_close(
            sharding.whole(other_optimizer.state_dict())["state"], optimizer_state["state"]
        )


def test_a_state_of_other_layers_is_refused():
    with pytest.raises(RuntimeError, match="Missing key"):
        sharding.load_network(nn.Linear(2, 2), {"bias": torch.zeros(2)})
