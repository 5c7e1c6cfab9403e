"""One lock per volume: whoever works holds it alone, and a dead holder holds nothing."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from zfsext import guard, lock
from zfsext.errors import Busy, SystemRefused
from zfsext.lock import VolumeLock

HOLD = """
import sys
sys.path.insert(0, sys.argv[1])
from zfsext import lock
lock.RUN = sys.argv[2]
with lock.VolumeLock("web", "grow"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(lock, "RUN", str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def holder(run: Path) -> "subprocess.Popen[str]":
    root = str(Path(__file__).parents[2])
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, root, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def end(child: "subprocess.Popen[str]", number: int = signal.SIGKILL) -> None:
    child.send_signal(number)
    child.communicate()


def test_a_look_is_not_possible_while_somebody_works(holder: "subprocess.Popen[str]") -> None:
    mine = VolumeLock("web", "attach")
    assert not mine.try_shared()
    assert mine.holder() == f"grow (pid {holder.pid})"
    end(holder)


def test_the_lock_of_another_volume_is_free(holder: "subprocess.Popen[str]") -> None:
    assert VolumeLock("db", "attach").try_shared()
    end(holder)


def test_who_waits_says_for_whom_and_goes_on_when_the_holder_dies(
    holder: "subprocess.Popen[str]", capfd: pytest.CaptureFixture[str]
) -> None:
    threading.Timer(0.3, end, [holder]).start()
    with VolumeLock("web", "remove") as mine:
        assert mine.holder() == f"remove (pid {os.getpid()})"
    assert capfd.readouterr().err == f"zfsext: remove waits for grow (pid {holder.pid})\n"


def test_who_waited_in_vain_gives_up_and_says_for_whom(holder: "subprocess.Popen[str]") -> None:
    with pytest.raises(Busy, match=rf"gave up after 0\.3 s of waiting for grow \(pid {holder.pid}\)"):
        VolumeLock("web", "remove").acquire(0.3)
    end(holder)


def test_the_limits_of_waiting_and_of_work_end_before_ganetis() -> None:
    assert lock.SECONDS < guard.SECONDS < 900


def test_two_can_look_at_the_same_time() -> None:
    first, second = VolumeLock("web", "attach"), VolumeLock("web", "attach")
    assert first.try_shared()
    assert second.try_shared()


def test_a_lock_whose_file_was_removed_with_the_volume_is_not_mistaken_for_the_new_one() -> None:
    with VolumeLock("web", "remove") as mine:
        mine.forget()
        other = VolumeLock("web", "create")
        assert other.try_shared()
        other.release()


def test_a_directory_where_others_could_write_is_refused(run: Path) -> None:
    run.mkdir(mode=0o700)
    run.chmod(0o777)
    with pytest.raises(SystemRefused, match="only root"):
        VolumeLock("web", "attach").try_shared()


def test_a_directory_that_is_a_link_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    run.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SystemRefused, match="only root"):
        VolumeLock("web", "attach").try_shared()
