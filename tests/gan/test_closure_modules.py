"""Which networks a function is seen to call."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from losskit_gan.penalties.closure_modules import networks_in

GLOBAL = nn.Linear(2, 2)


def through_a_global(images):
    return GLOBAL(images)


def through_a_comprehension(images):
    return sum(GLOBAL(part) for part in images)


def through_another_function(images):
    return torch.relu(through_a_global(images))


class Loop:
    """A training loop of one's own, which is no network."""

    def __init__(self):
        self.judge, self.other = nn.Linear(2, 1), nn.Linear(2, 3)

    def logits(self, images):
        return self.judge(images)


class Called:
    """A function with a memory."""

    def __init__(self, judge):
        self.judge = judge

    def __call__(self, images):
        return self.judge(images)


class Absent:
    """Stands for something that is not there, as proxies do."""

    @property
    def __dict__(self):
        raise RuntimeError("working outside of context")


def test_every_way_a_function_names_its_network():
    network, loop = nn.Linear(2, 1), Loop()
    assert networks_in(network) == [network]
    assert networks_in(network.forward) == [network]
    assert networks_in(lambda images: network(images, 3)) == [network]
    assert networks_in(partial(network, labels=3)) == [network]
    assert networks_in(partial(lambda net, images: net(images), network)) == [network]
    assert networks_in(through_a_global) == [GLOBAL]
    assert networks_in(through_another_function) == [GLOBAL]
    assert networks_in(through_a_comprehension) == [GLOBAL]
    assert networks_in(lambda images: -loop.judge(images)) == [loop.judge]
    assert networks_in(loop.logits) == [loop.judge]
    assert networks_in(Called(network)) == [network]
    assert networks_in(lambda images: -loop.logits(images)) == []  # by another object's method


def test_what_calls_none():
    absent = Absent()
    assert networks_in(lambda images: absent.judge(images) + 1) == []
    assert networks_in(None) == []
    assert networks_in(torch.relu) == []
    assert networks_in(lambda images: nn.functional.softplus(images).sum()) == []

    def recursive(images, depth):
        return images if depth == 0 else recursive(images, depth - 1)

    assert networks_in(recursive) == []


def test_a_name_that_is_not_bound_yet_is_passed_over():
    def judge(images):
        return late(images)

    assert networks_in(judge) == []
    late = nn.Linear(2, 1)
    assert networks_in(judge) == [late]
