"""A checkpoint is whole or not there."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
import torch

from losskit_train.run import checkpoints


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

    monkeypatch.setattr(os, "fsync", die)
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


@pytest.mark.parametrize("damage", [_truncate, _unseal, _garble_seal, _empty])
@pytest.mark.parametrize("keep", [1, 2])
def test_a_damaged_one_drives_no_good_one_out(tmp_path, damage, keep):
    checkpoints.save(tmp_path, 10, state(10), keep=keep)
    damage(checkpoints.save(tmp_path, 20, state(20), keep=3))
    # A resumed run is stopped before it gets as far as the damaged one.
    path = checkpoints.save(tmp_path, 15, state(15), keep=keep)
    assert checkpoints.latest(tmp_path) == path
    assert (tmp_path / "step-00000010.pt").exists() == (keep == 2)
    # The damaged one goes when a whole one is newer, and takes no good one's place.
    checkpoints.save(tmp_path, 30, state(30), keep=2)
    left = {p.name.partition(".")[0] for p in tmp_path.iterdir()}
    assert left == {"step-00000015", "step-00000030"}


def test_a_newer_one_that_the_disk_damaged_does_not_count(tmp_path):
    for step in (10, 20, 30):
        checkpoints.save(tmp_path, step, state(step), keep=3)
    _flip(checkpoints.save(tmp_path, 40, state(40), keep=3))  # leaves 20, 30
    checkpoints.save(tmp_path, 31, state(31), keep=3)
    assert [p.name for p in checkpoints.all_of(tmp_path)] == [
        f"step-{step:08d}.pt" for step in (40, 31, 30, 20)
    ]


def test_dying_while_old_ones_go_loses_no_newer_one(tmp_path, monkeypatch):
    for step in (1, 2, 3):
        checkpoints.save(tmp_path, step, state(step), keep=3)
    real, left = type(tmp_path).unlink, [3]

    def dies(path, missing_ok=False):
        if path.name.startswith("step-"):
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
        real(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "unlink", dies)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(tmp_path, 4, state(4), keep=2)
    assert checkpoints.load(checkpoints.latest(tmp_path))["step"] == 4
    assert checkpoints.is_whole(tmp_path / "step-00000003.pt")
    checkpoints.save(tmp_path, 5, state(5), keep=2)
    assert {p.name.partition(".")[0] for p in tmp_path.iterdir()} == {
        "step-00000004",
        "step-00000005",
    }


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
