"""The faces of a pair of images, aligned by the target's landmarks; each found and cut out once."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from losskit.backbones import Backbone, FeatureCache, current_step, stamp_of, uncompiled
from losskit_identity.alignment import crop_faces, face_matrix, sample_faces, supersampling

_Made = TypeVar("_Made")

# What is known of targets, each kept while its tensor lives unchanged: so its embedding is, too.
_TARGETS = FeatureCache()


class FacePair(NamedTuple):
    """Aligned faces, and which samples show one; the fixed crop where there is none."""

    pred: Tensor
    target: Tensor
    found: Tensor
    all_found: bool


class _Plan(NamedTuple):
    """Plan for aligning the faces of a target, and those of the image that should look like it."""

    face: Tensor
    found: Tensor
    matrix: Tensor  # on the CPU: making a grid of it waits for no device
    factors: tuple[int, ...]
    some_found: bool
    all_found: bool


class _InStep(NamedTuple):
    """Result that the running step made of some images, which are held so that their ids stay theirs."""

    images: tuple[Tensor, ...]
    stamps: tuple[object, ...]
    has_graph: bool
    made: object


# By step, which nobody else holds on to: what a step made goes with it.
_STEPS: weakref.WeakKeyDictionary[object, dict[object, _InStep]] = weakref.WeakKeyDictionary()


def _once_in_step(group: int, images: tuple[Tensor, ...], make: Callable[[], _Made]) -> _Made:
    """Call ``make`` once in a step for these very images in this state, and return its result."""
    step = None if torch.compiler.is_compiling() else current_step()
    stamps = () if step is None else tuple(stamp_of(image) for image in images)
    if step is None or None in stamps:
        return make()
    entries = _STEPS.setdefault(step, {})
    key = (group, *(id(image) for image in images))
    has_graph = torch.is_grad_enabled() and images[0].requires_grad
    known = entries.get(key)
    if known is None or known.stamps != stamps or (has_graph and not known.has_graph):
        known = entries[key] = _InStep(images, stamps, has_graph, make())
    return cast("_Made", known.made)


def aligned_pair(pred: Tensor, target: Tensor, landmarks: Backbone, size: int) -> FacePair:
    """Turn, scale and shift both images' faces by the landmarks of the target's.

    Within a step (``losskit.shared_features``, an objective) a pred is aligned once, whatever the
    number of losses that ask: they get the same tensor, so a face network sees it once too.

    Args:
        pred: receives gradients.
        target: gets none.
        landmarks: a handle from ``landmark_backbone``.
        size: of the faces.
    """
    group = hash((size, landmarks.mode))
    plan = _plan(target, landmarks, size, group)
    face = _once_in_step(group, (pred, target), lambda: _cut_out(pred, plan, size))
    return FacePair(face, plan.face, plan.found, plan.all_found)


@uncompiled
def _plan(target: Tensor, landmarks: Backbone, size: int, group: int) -> _Plan:
    stamp = stamp_of(target)
    known = None if stamp is None else _TARGETS.get(group, target, stamp)
    if known is None:
        known = _once_in_step(group, (target,), lambda: _make_plan(target, landmarks, size))
        if stamp is not None:
            _TARGETS.put(group, target, stamp, known)
    return _read(known)


def _make_plan(target: Tensor, landmarks: Backbone, size: int) -> dict[str, Tensor]:
    points = landmarks.features(target, grad=False)["landmarks"]
    found = points.isfinite().all(-1).all(-1)
    count = int(found.sum())
    matrix = torch.zeros(len(found), 2, 3, device="cpu")
    factors: tuple[int, ...] = (1,) * len(found)
    if count:  # samples without a face get any finite landmarks: NaN would spoil gradients
        matrix = face_matrix(torch.where(found[:, None, None], points, points[found][:1]), size)
        factors = supersampling(matrix)
    flags = torch.tensor([count > 0, count == len(found), *factors], device="cpu")
    plan = {"face": target, "found": found, "matrix": matrix, "flags": flags}
    return {**plan, "face": _cut_out(target.detach(), _read(plan), size)}


def _read(plan: dict[str, Tensor]) -> _Plan:
    some_found, all_found, *factors = plan["flags"].tolist()
    return _Plan(
        plan["face"],
        plan["found"],
        plan["matrix"],
        tuple(factors),
        bool(some_found),
        bool(all_found),
    )


def _cut_out(image: Tensor, plan: _Plan, size: int) -> Tensor:
    if image.dtype in (torch.float16, torch.bfloat16):
        image = image.float()
    if not plan.some_found:
        return crop_faces(image, size)
    aligned = sample_faces(image, plan.matrix, size, plan.factors)
    if plan.all_found:
        return aligned
    return torch.where(plan.found[:, None, None, None], aligned, crop_faces(image, size))
