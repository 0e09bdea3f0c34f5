"""Take the generator out of a run: as weights for plain PyTorch, or as a graph."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from losskit.errors import ConfigError, LosskitError
from losskit.text import one_line
from losskit_train.config.training import TrainConfig
from losskit_train.output.files import write_atomically
from losskit_train.results.inference import generator_of


def load_generator(
    run: str | Path, *, use_ema: bool = True, allow_import: bool = False
) -> nn.Module:
    """The generator of a run, in eval mode, on the CPU.

    Args:
        run: a run's folder (its newest whole checkpoint), or a checkpoint.
        use_ema: the moving average of the weights, where the run kept one.
        allow_import: let the run's config import a network from outside losskit.

    Raises:
        CheckpointError: there is no whole checkpoint.
        ConfigError: the network cannot be made.
    """
    generator, _ = generator_of(Path(run), use_ema=use_ema, allow_import=allow_import)
    return generator


def export_generator(
    run: Path,
    out: Path | None = None,
    *,
    kind: str = "safetensors",
    use_ema: bool = True,
    allow_import: bool = False,
) -> Path:
    """Write a run's generator to one file.

    Args:
        run: a run's folder, or a checkpoint.
        out: the file; by default ``generator`` with the kind's suffix, in the run's folder.
        kind: ``"safetensors"`` or ``"torch"``: the state dict, with the network's config beside it
            (in the metadata, or as ``.json``); ``"onnx"`` or ``"torch-export"``: the graph, for any
            batch size, that plain runtimes load.
        use_ema: the averaged weights.
        allow_import: let the run's config import a network from outside losskit.

    Returns:
        The file.

    Raises:
        CheckpointError: there is no whole checkpoint.
        ConfigError: the network cannot be made, or ``kind`` is unknown.
        LosskitError: a package is missing, or the network cannot be traced.
    """
    if kind not in KINDS:
        raise ConfigError(f"the kind must be one of {', '.join(KINDS)}, not {kind!r}")
    suffix, needed, write = KINDS[kind]
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise LosskitError(
            f"{kind} needs {', '.join(missing)}: pip install 'losskit-train[export]'"
        )
    generator, config = generator_of(run, use_ema=use_ema, allow_import=allow_import)
    folder = run if run.is_dir() else run.parent
    out = folder / f"generator{suffix}" if out is None else out
    out.parent.mkdir(parents=True, exist_ok=True)
    write(generator, config, out)
    return out


def _description(config: TrainConfig) -> str:
    """Describe what is needed to make the network again and to feed it."""
    return json.dumps(
        {
            "generator": dict(config.model.generator),
            "inputs": list(config.model.inputs),
            "value_range": list(config.data.value_range),
        }
    )


def _state(generator: nn.Module) -> dict[str, Tensor]:
    return {key: value.contiguous().clone() for key, value in generator.state_dict().items()}


def _write_safetensors(generator: nn.Module, config: TrainConfig, out: Path) -> None:
    from safetensors.torch import save

    content = save(_state(generator), metadata={"losskit": _description(config)})
    write_atomically(out, content)


def _write_torch(generator: nn.Module, config: TrainConfig, out: Path) -> None:
    torch.save(_state(generator), out)
    out.with_suffix(".json").write_text(_description(config) + "\n", encoding="utf-8")


def _write_onnx(generator: nn.Module, config: TrainConfig, out: Path) -> None:
    inputs, shapes = _example(generator, config)
    with _tracing("onnx"):
        torch.onnx.export(
            generator,
            inputs,
            out,
            input_names=list(config.model.inputs),
            output_names=["image"],
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )


def _write_graph(generator: nn.Module, config: TrainConfig, out: Path) -> None:
    inputs, shapes = _example(generator, config)
    with _tracing("torch-export"):
        torch.export.save(torch.export.export(generator, inputs, dynamic_shapes=shapes), out)


@contextmanager
def _tracing(kind: str) -> Iterator[None]:
    """Tell in one line what cannot be traced."""
    try:
        yield
    except OSError:  # of the file
        raise
    except Exception as error:
        raise LosskitError(
            f"this generator cannot be exported as {kind}, take safetensors: "
            f"{one_line(error)[:200]}"
        ) from error


def _example(
    generator: nn.Module, config: TrainConfig
) -> tuple[tuple[Tensor, ...], tuple[dict[int, Any], ...]]:
    """Inputs to trace with, and which of their axes may differ."""
    batch = torch.export.Dim("batch")
    inputs, shapes = [], []
    for name in config.model.inputs:
        if name == "noise":
            length = config.model.latent_dim or generator.latent_dim
            assert isinstance(length, int)
            inputs.append(torch.randn(2, length))
        else:
            channels = 1 if name == "mask" else config.data.channels
            side = config.data.size
            if name == "lq" and config.data.task == "super-resolution":
                side //= config.data.scale
            inputs.append(torch.rand(2, channels, side, side))
        axes: dict[int, Any] = {0: batch}
        if inputs[-1].ndim == 4:  # a network for one size only has it written into its graph
            axes |= {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
        shapes.append(axes)
    return tuple(inputs), tuple(shapes)


#: Each kind's suffix, the packages it needs, and what writes it.
KINDS: dict[str, tuple[str, tuple[str, ...], Callable[[nn.Module, TrainConfig, Path], None]]] = {
    "safetensors": (".safetensors", ("safetensors",), _write_safetensors),
    "torch": (".pth", (), _write_torch),
    "onnx": (".onnx", ("onnx", "onnxscript"), _write_onnx),
    "torch-export": (".pt2", (), _write_graph),
}
