"""Whoever keeps a guest's agent to himself when the guest is to be thawed is ended, and nobody else."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from zfsext import thaw


@pytest.fixture
def process() -> "Iterator[subprocess.Popen[bytes]]":
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        yield child
        child.kill()


def test_the_process_that_froze_it_is_ended_also_if_it_is_stopped(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGSTOP)
    thaw.end(process.pid, thaw.started(process.pid))
    assert process.wait(20) == -signal.SIGKILL


def test_another_one_of_its_number_is_not(process: "subprocess.Popen[bytes]") -> None:
    thaw.end(process.pid, str(int(thaw.started(process.pid)) - 1))
    assert process.poll() is None


def test_one_that_has_ended_is_no_error(process: "subprocess.Popen[bytes]") -> None:
    began = thaw.started(process.pid)
    process.kill()
    process.wait()
    thaw.end(process.pid, began)


def test_a_process_is_known_by_its_start() -> None:
    assert thaw.started(os.getpid()).isdecimal()


@pytest.mark.parametrize("words", [[], ["socket"], ["socket", "x", "1"]])
def test_who_types_it_is_told_what_it_is(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["thaw", *words])
    with pytest.raises(SystemExit, match="run by systemd for zfsext"):
        thaw.main()
