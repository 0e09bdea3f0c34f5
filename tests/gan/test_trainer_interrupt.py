"""Ctrl-C and SIGTERM are noted; only a later Ctrl-C ends the program."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from losskit_gan.trainer import interrupt
from losskit_gan.trainer.interrupt import Interrupt


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_noted_and_what_comes_with_it_too(first):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with Interrupt() as noted:
        assert not noted.asked
        send(first)
        assert noted.asked
        send(signal.SIGTERM)  # a launcher's, sent on
        send(signal.SIGINT)  # and the terminal's own
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_later_ctrl_c_ends_the_program(monkeypatch):
    now = [10.0]
    monkeypatch.setattr(interrupt.time, "monotonic", lambda: now[0])
    with Interrupt():
        send(signal.SIGINT)
        now[0] += 5
        send(signal.SIGTERM)  # a batch system that says it twice has not lost patience
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_elsewhere_than_in_the_main_thread_it_does_nothing():
    handler, seen = signal.getsignal(signal.SIGINT), []

    def enter():
        with Interrupt() as noted:
            seen.append((noted.asked, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join(timeout=10)
    assert seen == [(False, handler)]
