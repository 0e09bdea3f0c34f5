"""MMagic's data pipelines as the ``data`` of a training config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from losskit_lab.migrate.python_config import PythonConfig
from losskit_lab.migrate.search import type_of
from losskit_lab.migrate.training import Draft
from losskit_lab.migrate.values import section, whole

#: Steps of a pipeline that the trainer does by itself, or that only carry things.
_SILENT = (
    *("Collect", "Copy", "ImageToTensor", "KeyMapper", "ModCrop", "Normalize", "PackInputs"),
    *("RescaleToZeroOne", "SetValues", "GetMaskedImage", "LoadMask", "ToTensor", "FixedCrop"),
)
#: The argument that says how large a crop is.
_SIZES = {
    "Crop": "crop_size",
    "CenterCropLongEdge": "",
    "FixedCrop": "crop_size",
    "PairedAlbuTransForms": "size",
    "PairedRandomCrop": "gt_patch_size",
    "RandomCropLongEdge": "",
    "RandomResizedCrop": "crop_size",
    "Resize": "scale",
}
#: Where a network says how large its images are.
_NETWORK_SIZES = ("out_size", "output_scale", "out_scale", "in_size", "input_scale", "in_scale")


def read_data(config: PythonConfig, model: Mapping[str, Any], draft: Draft) -> None:
    """Carry over folders, batch size, crops and mirroring; note what else the pipeline does."""
    loader = section(config.values, "train_dataloader")
    dataset = section(loader, "dataset")
    while section(dataset, "dataset"):  # RepeatDataset and its like
        dataset = section(dataset, "dataset")
    _folders(dataset, draft)
    for ours, theirs in (("batch_size", "batch_size"), ("workers", "num_workers")):
        if count := whole(loader, theirs):
            draft.data[ours] = count
    _pipeline(dataset.get("pipeline", ()), draft)
    if preprocessor := section(model, "data_preprocessor"):
        _range(preprocessor, draft)
    if draft.size is None:
        draft.size = _network_size(model)


def _folders(dataset: Mapping[str, Any], draft: Draft) -> None:
    root, prefix = dataset.get("data_root"), dataset.get("data_prefix", {})
    if not isinstance(root, str) or not root:
        return
    parts = prefix if isinstance(prefix, Mapping) else {"gt": prefix}
    kind = type_of(dataset) or ""
    if kind in ("PairedImageDataset", "UnpairedImageDataset"):
        parts = {"img": "trainA", "gt": "trainB"}
        if kind == "PairedImageDataset":
            draft.notes.append(
                f"data: the two pictures of a pair stand in one file of {root}/train; cut them into "
                "the folders data.inputs and data.images"
            )
    draft.data["images"] = _joined(root, parts.get("gt"))
    if draft.task in ("super-resolution", "paired"):
        inputs = next((parts[key] for key in ("img", "lq") if key in parts), None)
        if inputs is not None and _joined(root, inputs) != draft.data["images"]:
            draft.task = "paired"
            draft.data["inputs"] = _joined(root, inputs)
        elif draft.task == "paired":
            draft.task = "super-resolution"
    if dataset.get("ann_file"):
        draft.notes.append(
            f"left out the list {dataset['ann_file']}: all images of the folder count"
        )


def _joined(root: str, part: Any) -> str:
    return f"{root.rstrip('/')}/{part}".rstrip("/") if isinstance(part, str) else root


def _pipeline(steps: Any, draft: Draft) -> None:
    flip, rotate, others = False, False, []
    for step in _steps(steps):
        name = type_of(step) or "?"
        if name == "Flip":
            if step.get("direction", "horizontal") == "vertical":
                rotate = True
            else:
                flip = True
        elif name in ("RandomTransposeHW", "RandomRotation"):
            rotate = True
        elif name in _SIZES:
            size = _side(step.get(_SIZES[name]))
            draft.size = size or draft.size
        elif not name.startswith("Load") and name not in _SILENT and name not in others:
            others.append(name)
    if steps:
        draft.data |= {"flip": flip, "rotate": rotate} if rotate else {"flip": flip}
    if rotate:
        draft.notes.append("data.rotate: random quarter turns, for the pipeline's turns and flips")
    if others:
        draft.notes.append(f"left out of the data pipeline: {', '.join(others)}")


def _steps(steps: Any) -> Iterator[Mapping[str, Any]]:
    for step in steps if isinstance(steps, Sequence) else ():
        if isinstance(step, Mapping):
            yield step
            yield from _steps(step.get("transforms", ()))


def _side(value: Any) -> int | None:
    """The shorter side of a size; a factor is none."""
    sides = value if isinstance(value, (list, tuple)) else [value]
    numbers = [side for side in sides if isinstance(side, int) and side > 8]
    return min(numbers, default=None)


def _range(preprocessor: Mapping[str, Any], draft: Draft) -> None:
    """Set the values that black and white become; MMagic's default is [-1, 1]."""
    values: dict[str, float] = {}
    for key in ("mean", "std"):
        found = preprocessor.get(key, 127.5)
        numbers = list(found) if isinstance(found, (list, tuple)) else [found]
        if not numbers or not all(type(level) in (int, float) for level in numbers):
            return
        if len(set(numbers)) > 1:
            draft.notes.append(
                f"data.value_range: the model subtracts {numbers} as {key}; here all channels are alike"
            )
        values[key] = sum(numbers) / len(numbers)
    if not values["std"] > 0:
        return
    low, high = (round((level - values["mean"]) / values["std"], 6) for level in (0, 255))
    draft.data["value_range"] = [low, high]


def _network_size(model: Mapping[str, Any]) -> int | None:
    for player in ("generator", "discriminator", "disc"):
        network = section(model, player)
        if size := next(filter(None, (_side(network.get(key)) for key in _NETWORK_SIZES)), None):
            return size
    return None
