"""Checks of everyday life: copies, checkpoints, sizes, memory layouts, compilation, wrong inputs."""

from __future__ import annotations

import copy
import io
import pickle
import tempfile
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from losskit.errors import LosskitError
from losskit.losses.base import input_parameters
from losskit.spec import Example
from losskit.testing.case import (
    LossCase,
    NotApplicable,
    backward,
    call,
    close,
    explained,
    fail_unless,
    map_leaves,
    pairs,
    prepared,
)
from losskit.testing.checks import check
from losskit.text import one_line


@check("copies")
def check_copies(case: LossCase) -> None:
    """Trainers deepcopy and pickle models; a checkpoint restored must be the loss that was saved."""
    example = case.example()
    loss = case.loss(example)
    mend = "keep functions by name instead of lambdas, and no open files, hooks or locks"
    with explained("copy.deepcopy", mend):
        copied = copy.deepcopy(loss)
    with explained("pickling", mend):
        pickled = pickle.loads(pickle.dumps(loss))
    restored = case.loss(example)
    with explained("loading its own state_dict", "let state_dict and load_state_dict agree"):
        buffer = io.BytesIO()
        torch.save(loss.state_dict(), buffer)
        buffer.seek(0)
        restored.load_state_dict(torch.load(buffer, weights_only=True))
    expected = call(loss, prepared(example))
    for what, other in (("deepcopied", copied), ("pickled", pickled), ("restored", restored)):
        value = call(other, prepared(example))
        fail_unless(
            close(value, expected, rtol=1e-6),
            f"{what} it gives {value.detach()} instead of {expected.detach()}",
            "keep all state in buffers, parameters and plain attributes",
        )


@check("state")
def check_state(case: LossCase) -> None:
    """A model that owns the loss is saved as safetensors and averaged, and both take tensors only."""
    example = case.example()
    loss = case.loss(example)
    call(loss, prepared(example))
    state = loss.state_dict()
    others = [
        f"{key} ({type(v).__name__})" for key, v in state.items() if not isinstance(v, Tensor)
    ]
    fail_unless(
        not others,
        f"state_dict() holds {', '.join(others)}, which is no tensor",
        "return a tensor from get_extra_state, and take older forms in set_extra_state",
    )
    averaged = copy.deepcopy(loss)
    mend = "keep state in buffers of one shape, and at least one element each"
    with explained("averaging its state as an EMA of weights does", mend), torch.no_grad():
        for mean, value in zip(averaged.state_dict().values(), state.values(), strict=True):
            mean.copy_(0.9 * mean + 0.1 * value)
    if find_spec("safetensors") is None:
        return
    from safetensors.torch import load_model, save_model

    restored = case.loss(example)
    with explained("a safetensors file", mend), tempfile.TemporaryDirectory() as folder:
        save_model(loss, f"{folder}/loss.safetensors")
        load_model(restored, f"{folder}/loss.safetensors")
    for key, value in restored.state_dict().items():
        fail_unless(
            torch.equal(value, state[key]),
            f"a safetensors file gives another {key} back",
            "let state_dict and load_state_dict agree",
        )


@check("inference-mode")
def check_inference_mode(case: LossCase) -> None:
    """Scripts build losses inside their evaluation's inference mode and train with them afterwards."""
    example = case.example()
    with torch.inference_mode():
        loss = case.loss(example)
    inputs = prepared(example)
    with explained(
        "training with it after it was built in inference mode",
        "keep tensors with register_buffer of losskit.Loss, or make them in the call",
    ):
        backward(call(loss, inputs), example, inputs)


@check("sizes")
def check_sizes(case: LossCase) -> None:
    """A batch of one, odd and unequal sides, the smallest size promised: where squeeze and strides go wrong."""
    height, width = case.size
    smallest = case.min_size
    odd = (height + 1 - height % 2, width + 3 - width % 2)
    for batch, size in ((1, case.size), (2, odd), (2, (smallest, smallest))):
        where = f"with batch {batch} at {size[0]}×{size[1]}"
        with explained(f"the call {where}", "mend it, or state Example.min_size"):
            example = case.example(batch, size)
            inputs = prepared(example)
            value = call(case.loss(example), inputs)
            gradients = backward(value, example, inputs)
        fail_unless(
            all(bool(torch.isfinite(t).all()) for t in (value, *gradients)),
            f"{where} the value or its gradient is not finite",
            "look for a mean or a standard deviation over nothing; or state Example.min_size",
        )


@check("memory-format")
def check_memory_format(case: LossCase) -> None:
    """Crops, transposes and channels_last models give tensors in other layouts, for which view() fails."""
    example = case.example()
    expected = call(case.loss(example), prepared(example, grad=False))
    for layout, change in (("channels_last", _channels_last), ("non-contiguous", _strided)):
        inputs = {n: map_leaves(v, change) for n, v in prepared(example, grad=False).items()}
        with explained(f"the call on {layout} inputs", "use reshape or flatten instead of view"):
            value = call(case.loss(example), inputs)
        fail_unless(
            case.is_random or close(value, expected, rtol=1e-3, atol=1e-5),
            f"on {layout} inputs it gives {value.detach()} instead of {expected.detach()}",
            "do not read .data_ptr() or storage; use reshape instead of view",
        )


def _channels_last(leaf: Any) -> Any:
    if isinstance(leaf, Tensor) and leaf.ndim == 4:
        return leaf.contiguous(memory_format=torch.channels_last)
    return leaf


def _strided(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor) or leaf.ndim == 0:
        return leaf
    wide = leaf.new_zeros((*leaf.shape[:-1], 2 * leaf.shape[-1]))
    wide[..., ::2] = leaf
    return wide[..., ::2]


@check("compile")
def check_compile(case: LossCase) -> None:
    """``torch.compile`` of a training step traces its losses: they must give the same value and gradient.

    The backend is "eager": what tracing gets wrong shows there, in a second; the code that
    inductor writes afterwards is torch's affair and takes a compiler and a minute.
    """
    example = case.example()
    inputs, traced_inputs = prepared(example), prepared(example)
    expected = call(case.loss(example), inputs)
    gradients = backward(expected, example, inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's own
        try:
            with explained("torch.compile", "keep Python state and data-dependent branches out"):
                compiled = torch.compile(case.loss(example), backend="eager")
                value = call(compiled, traced_inputs)
                traced = backward(value, example, traced_inputs)
        finally:
            torch.compiler.reset()
    fail_unless(
        close(value, expected, rtol=1e-4, atol=1e-5),
        f"compiled it gives {value.detach()} instead of {expected.detach()}",
        "look for state that tracing freezes: counters, random numbers, environment variables",
    )
    fail_unless(
        all(close(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(traced, gradients, strict=True)),
        "compiled, its gradient differs",
        "look for .data, no_grad or hooks that tracing drops",
    )


@check("rejects")
def check_rejects(case: LossCase) -> None:
    """Shapes that broadcast and integer images train on nonsense: refuse them, naming the argument."""
    example = case.example()
    names = list(input_parameters(case.loss(example)))
    tried = 0
    for what, inputs, may_pass in _wrong(example):
        tried += 1
        loss = case.loss(example)
        try:
            call(loss, inputs)
        except (ValueError, TypeError, LosskitError) as error:
            fail_unless(
                any(name in str(error) for name in names),
                f"{what} is refused with {type(error).__name__}: {one_line(error)[:200]!r}, which "
                "names no argument",
                "start the message with the argument's name and quote what it was given",
            )
            fail_unless(
                "\n" not in str(error), f"the message for {what} has several lines", "write one"
            )
        except Exception as error:
            fail_unless(
                False,
                f"{what} raises {type(error).__name__}: {one_line(error)[:200]}",
                "check at the top of the call (losskit.losses.checks.check_pair) and raise "
                "ValueError or TypeError that names the argument",
            )
        else:
            fail_unless(
                may_pass,
                f"{what} is accepted",
                "check at the top of the call (losskit.losses.checks.check_pair) and raise ValueError or "
                "TypeError that names the argument",
            )
    if not tried:
        raise NotApplicable("no input is a tensor of its own")


def _images(example: Example) -> list[str]:
    """The tensors that get gradients; for a penalty on a network, the images it is evaluated at."""
    own = [name for name in example.grad if isinstance(example.inputs[name], Tensor)]
    return own or [
        name
        for name, value in example.inputs.items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim == 4
    ]


def _wrong(example: Example) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Wrong inputs, each with what is wrong about it, and whether a loss may take it all the same."""
    for grad, frozen in pairs(example):
        inputs = prepared(example, grad=False)
        target = inputs[frozen]
        axis = -2 if target.ndim > 1 else -1
        longer = torch.cat([target, target.narrow(axis, 0, 1)], dim=axis)
        # Losses that resize to what their network takes may compare images of unequal sizes.
        yield f"a {frozen} with one more row than {grad}", {**inputs, frozen: longer}, True
        if target.shape[0] > 1:
            yield f"a {frozen} of batch 1", {**inputs, frozen: target[:1]}, False
        bytes_ = (target.clamp(0, 1) * 255).to(torch.uint8)
        yield f"a {frozen} of uint8", {**inputs, frozen: bytes_}, False
    for name in _images(example):
        inputs = prepared(example, grad=False)
        value = inputs[name]
        yield f"an integer {name}", {**inputs, name: (value * 255).to(torch.int64)}, False
        yield f"a string as {name}", {**inputs, name: "image.png"}, False
