"""Ctrl-C and SIGTERM are noted; only a later Ctrl-C ends the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from losskit_train.run import interrupt
from losskit_train.run.interrupt import Interrupt, ends_with_its_launcher


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


#: A process that starts another of its run, says its number, and waits to be killed.
_LAUNCHER = """
import os, subprocess, sys, time
from losskit_train.run.interrupt import ends_with_its_launcher
with ends_with_its_launcher():
    if "LOCAL_RANK" not in os.environ:
        subprocess.Popen([sys.executable, __file__], env={**os.environ, "LOCAL_RANK": "1"})
    else:
        print(os.getpid(), flush=True)
    time.sleep(120)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills by a signal")
def test_a_process_that_was_started_for_a_run_ends_with_the_one_that_started_it(tmp_path):
    script = tmp_path / "launch.py"
    script.write_text(_LAUNCHER)
    environment = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "RANK")}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    ) as launcher:
        child = int(launcher.stdout.readline())
        os.kill(child, 0)  # it is there
        launcher.kill()
        began = time.monotonic()
        # The pipe ends when the last process that holds it does.
        assert launcher.stdout.read() == ""
        assert time.monotonic() - began < 60  # not by its own end


def test_the_launcher_is_remembered_for_the_next_run_of_a_script(monkeypatch):
    monkeypatch.setattr(interrupt, "_started_by", None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOSSKIT_LAUNCHER_PID", str(os.getppid()))
    before = threading.active_count()
    for _ in range(2):
        with ends_with_its_launcher():
            assert threading.active_count() == before + 1
        assert threading.active_count() == before
        assert "LOSSKIT_LAUNCHER_PID" not in os.environ


def test_what_starts_no_process_and_was_started_by_none_is_left_alone(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("LOSSKIT_LAUNCHER_PID", "1")  # of another run around this one
    before = threading.active_count()
    with ends_with_its_launcher():
        assert threading.active_count() == before
        assert os.environ["LOSSKIT_LAUNCHER_PID"] == str(os.getpid())
    assert "LOSSKIT_LAUNCHER_PID" not in os.environ  # what is started later is not of this run
