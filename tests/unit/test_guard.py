"""The child that does the work, and the script that outlives it. The kernel's word on a pool is a file here."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from zfsext import guard, pool
from zfsext.errors import Busy, PoolUnavailable, ZfsextError


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that says how the pool `zfs` is."""
    monkeypatch.setattr(pool, "KSTAT", str(tmp_path))
    monkeypatch.setattr(guard, "PATIENCE", 0.2)
    monkeypatch.setattr(guard, "POLL", 0.05)
    (tmp_path / "zfs").mkdir()
    (tmp_path / "zfs/state").write_text("ONLINE\n")
    return tmp_path / "zfs/state"


def stuck() -> str:
    """Stand in for a process in the kernel: here it can still be killed."""
    signal.pause()
    return "never"


@pytest.mark.usefixtures("state")
def test_what_the_verb_returns_is_returned() -> None:
    assert guard.run(lambda: "/dev/loop0", ["zfs"], "attach") == "/dev/loop0"


@pytest.mark.usefixtures("state")
def test_the_verb_runs_in_a_process_of_its_own() -> None:
    assert guard.run(lambda: str(os.getpid()), ["zfs"], "attach") != str(os.getpid())


@pytest.mark.usefixtures("state")
def test_what_the_verb_raises_is_raised_with_its_words() -> None:
    def verb() -> str:
        raise Busy("pid 12 (qemu) uses it")

    with pytest.raises(ZfsextError, match=r"^pid 12 \(qemu\) uses it$"):
        guard.run(verb, ["zfs"], "detach")


@pytest.mark.usefixtures("state")
def test_what_the_verb_and_its_children_say_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    def verb() -> str:
        os.system("echo to stdout; echo to stderr >&2")  # noqa: S605
        return ""

    guard.run(verb, ["zfs"], "detach")
    assert capfd.readouterr() == ("", "to stdout\nto stderr\n")


@pytest.mark.usefixtures("state")
def test_a_child_that_dies_is_an_error() -> None:
    def verb() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return "never"

    with pytest.raises(ZfsextError, match="status -9"):
        guard.run(verb, ["zfs"], "grow")


def test_a_pool_that_stops_under_the_verb_ends_the_wait(state: Path) -> None:
    threading.Timer(0.3, state.write_text, ["SUSPENDED\n"]).start()
    with pytest.raises(PoolUnavailable, match=r"pool zfs is SUSPENDED, and attach of web waits for it in pid \d+"):
        guard.run(stuck, ["zfs"], "attach of web")


def test_a_pool_that_is_back_in_a_moment_does_not(state: Path) -> None:
    def verb() -> str:
        state.write_text("SUSPENDED\n")
        threading.Event().wait(0.1)
        state.write_text("ONLINE\n")
        threading.Event().wait(0.4)
        return "done"

    assert guard.run(verb, ["zfs"], "attach") == "done"


@pytest.mark.usefixtures("state")
def test_no_verb_is_waited_for_without_end() -> None:
    with pytest.raises(PoolUnavailable, match="not done after 0 s"):
        guard.run(stuck, ["zfs"], "attach", seconds=0.3)


@pytest.mark.usefixtures("state")
def test_the_child_dies_with_the_script() -> None:
    reader, writer = os.pipe()
    script = os.fork()
    if script == 0:

        def verb() -> str:
            os.write(writer, f"{os.getpid()}\n".encode())
            return stuck()

        guard.run(verb, ["zfs"], "attach")
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 100)
    os.kill(script, signal.SIGKILL)
    os.waitpid(script, 0)
    assert os.read(reader, 100) == b""  # the last one who could write is gone
    os.close(reader)


@pytest.mark.usefixtures("state")
def test_a_child_ends_without_one_that_another_thread_makes_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fork = os.fork
    reader, writer = os.pipe()
    second = threading.Thread(target=guard.run, args=(lambda: str(os.read(reader, 1)), ["zfs"], "the second", 60))

    def forked() -> int:
        if second.ident is None:
            second.start()
            time.sleep(0.3)  # so long that it would be at its own fork, if it were let
        return fork()

    monkeypatch.setattr(os, "fork", forked)
    assert guard.run(lambda: "done", ["zfs"], "the first", 10) == "done"
    assert second.is_alive()
    os.write(writer, b".")
    second.join()
    os.close(reader)
    os.close(writer)
