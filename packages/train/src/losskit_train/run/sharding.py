"""Networks whose parameters are spread over ranks (torch's ``fully_shard``), and their whole state."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def shard(module: nn.Module, mesh: Any) -> nn.Module:
    """Spread a network's parameters, as one unit, over the processes of each machine.

    One unit, since a network may use the weights of any part of it from anywhere. Its parameters are
    whole from its first pass in an update until that update, for what a second backward pass needs
    must not be given away after the first; its gradients and optimiser are spread always.

    Args:
        module: changed in place.
        mesh: machines by processes; machines hold copies.
    """
    from torch.distributed.fsdp import fully_shard

    machines, processes = mesh.mesh_dim_names
    alone = mesh[machines].size() == 1
    sharded: Any = fully_shard(module, mesh=mesh[processes] if alone else mesh)
    sharded.set_reshard_after_backward(False)
    return module


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a spread tensor; any other tensor itself."""
    part: Tensor = getattr(tensor, "to_local", lambda: tensor)()
    return part


def whole(state: Any) -> Any:
    """A state with every spread tensor put together, on the CPU; all ranks must call it."""
    if _is_spread(state):
        return state.full_tensor().cpu()
    if isinstance(state, Tensor):
        return state
    if isinstance(state, Mapping):
        return _with_metadata({key: whole(value) for key, value in state.items()}, state)
    if isinstance(state, (list, tuple)):
        return type(state)(whole(value) for value in state)
    return state


def load_network(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """``load_state_dict`` of a whole state into a network that may be spread."""
    own = module.state_dict()
    spread = {key: _like(value, own[key]) if key in own else value for key, value in state.items()}
    module.load_state_dict(_with_metadata(spread, state))


def load_optimizer(optimizer: Any, state: Mapping[str, Any]) -> None:
    """``load_state_dict`` of a whole state into the optimiser of a network that may be spread."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = [n for group in state["param_groups"] for n in group["params"]]
    spread = dict(zip(numbers, parameters, strict=False))
    optimizer.load_state_dict(
        {
            **state,
            "state": {
                number: {key: _like(value, spread[number]) for key, value in entry.items()}
                for number, entry in state["state"].items()
            },
        }
    )


def _with_metadata(values: dict[str, Any], state: Mapping[str, Any]) -> Any:
    """Keep the versions that some layers, as spectral norm's, write beside their state."""
    if not hasattr(state, "_metadata"):
        return values
    versioned: Any = OrderedDict(values)
    versioned._metadata = state._metadata
    return versioned


def _is_spread(tensor: Any) -> bool:
    return hasattr(tensor, "full_tensor")  # a DTensor, whose module takes long to import


def _like(value: Any, own: Any) -> Any:
    """A whole tensor spread as ``own`` is; anything of another shape (a step count) as it is."""
    if not (isinstance(value, Tensor) and _is_spread(own) and value.shape == own.shape):
        return value
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = own.device_mesh, own.placements
    with torch.no_grad():
        return distribute_tensor(value.to(own.device), mesh, placements)
