"""One transfer of a disk at a time: a later one ends an earlier one, but waits for a change of the owner."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zfsext import lock, transfers
from zfsext.errors import Busy

HOLD = """
import sys
sys.path.insert(0, sys.argv[1])
from zfsext import lock, transfers
lock.RUN = sys.argv[2]
with transfers.alone("web", sys.argv[3]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(name="holder")
def _holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], "subprocess.Popen[str]"]]:
    """Let a process be the transfer of a disk, under the name that is given."""
    run = str(tmp_path / "run")
    monkeypatch.setattr(lock, "RUN", run)
    begun = []

    def hold(what: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", HOLD, str(Path(__file__).parents[2]), run, what]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        begun.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        return child

    yield hold
    for child in begun:
        child.communicate()


def test_a_second_round_is_refused(holder: Callable[[str], "subprocess.Popen[str]"]) -> None:
    child = holder("replication to node2")
    with pytest.raises(Busy, match="replication to node2"), transfers.alone("web", "replication to node3"):
        raise AssertionError("two at a time")
    assert child.poll() is None


def test_a_hand_over_ends_a_round(holder: Callable[[str], "subprocess.Popen[str]"]) -> None:
    child = holder("replication to node2")
    with transfers.ended(["web"]):
        assert child.wait() == -15
        with pytest.raises(Busy, match=transfers.HANDOVER), transfers.alone("web", "replication to node2"):
            raise AssertionError("two at a time")
    with transfers.alone("web", "replication to node2"):
        pass


def test_a_process_that_only_has_the_number_of_a_holder_is_not_ended(
    holder: Callable[[str], "subprocess.Popen[str]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder died without a word, and the file still has what he wrote when the next one takes it."""
    monkeypatch.setattr(transfers, "SECONDS", 0.3)
    child = holder("replication to node2")
    with subprocess.Popen(["sleep", "60"]) as other:
        path = Path(lock.VolumeLock(f"web{transfers.SUFFIX}", "look").path)
        path.write_text(f"replication to node2 (pid {other.pid})\n")
        with pytest.raises(Busy, match=f"pid {other.pid}"), transfers.taken_over("web", "receive"):
            raise AssertionError("two at a time")
        assert (other.poll(), child.poll()) == (None, None)
        other.kill()


def test_a_hand_over_is_not_ended(
    holder: Callable[[str], "subprocess.Popen[str]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "SECONDS", 0.3)
    child = holder(transfers.HANDOVER)
    with pytest.raises(Busy, match=transfers.HANDOVER), transfers.taken_over("web", "receive"):
        raise AssertionError("two at a time")
    assert child.poll() is None
