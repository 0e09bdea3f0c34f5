"""A checkpoint is whole or not there."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from losskit_gan.trainer import checkpoints


def state(step):
    return {"step": step, "tensor": torch.full((3,), float(step)), "list": [1, "a", None]}


def test_the_newest_is_found_and_old_ones_go(tmp_path):
    for step in (1, 2, 10, 9):
        checkpoints.save(tmp_path, step, state(step), keep=3)
    assert checkpoints.latest(tmp_path).name == "step-00000010.pt"
    assert checkpoints.load(checkpoints.latest(tmp_path))["step"] == 10
    assert sorted(p.name for p in tmp_path.glob("*.pt")) == [
        f"step-{step:08d}.pt" for step in (2, 9, 10)
    ]
    assert len(list(tmp_path.iterdir())) == 6  # three, each with its seal, and no temporary file


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _unseal(path):
    path.with_suffix(".seal.json").unlink()


def _garble_seal(path):
    path.with_suffix(".seal.json").write_text('{"sha2')


def _empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_truncate, _flip, _unseal, _garble_seal, _empty])
def test_a_damaged_one_is_never_taken_for_good(tmp_path, damage):
    checkpoints.save(tmp_path, 1, state(1), keep=3)
    damage(checkpoints.save(tmp_path, 2, state(2), keep=3))
    assert checkpoints.latest(tmp_path).name == "step-00000001.pt"
    says = "has no seal step-00000002.seal.json" if damage is _unseal else "damaged or half written"
    with pytest.raises(checkpoints.CheckpointError, match=says):
        checkpoints.load(tmp_path / "step-00000002.pt")
    damage(tmp_path / "step-00000001.pt")
    assert checkpoints.latest(tmp_path) is None
    with pytest.raises(checkpoints.CheckpointError, match="no whole checkpoint"):
        checkpoints.find(tmp_path)


def test_dying_while_writing_leaves_the_old_one(tmp_path, monkeypatch):
    path = checkpoints.save(tmp_path, 1, state(1), keep=3)
    before = path.read_bytes()

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.os, "fsync", die)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.write_atomically(path, b"new")
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))


def test_a_new_state_never_stands_under_an_old_seal(tmp_path, monkeypatch):
    checkpoints.save(tmp_path, 1, state(1), keep=3)
    writes = []
    real = checkpoints.write_atomically

    def second_dies(path, content):
        writes.append(path)
        if len(writes) == 2:  # the state is in place, its seal is not
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(checkpoints, "write_atomically", second_dies)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(tmp_path, 1, state(3), keep=3)
    assert checkpoints.latest(tmp_path) is None


def test_reading_runs_nothing(tmp_path):
    path = checkpoints.save(tmp_path, 1, {"object": Evil()}, keep=1)
    with pytest.raises(checkpoints.CheckpointError, match="cannot read"):
        checkpoints.load(path)


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("the checkpoint was run",))


def test_random_states_return():
    before = checkpoints.random_state()
    draw = lambda: (random.random(), np.random.rand(), torch.rand(1).item(), np.random.randn())  # noqa: E731
    first = draw()
    checkpoints.set_random_state(before)
    assert draw() == first
