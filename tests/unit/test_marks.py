"""What a node remembers of a disk until it boots. The time is the kernel's since boot, and a number of the test."""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from zfsext import lock, marks
from zfsext.marks import Word

VOLUMES = ["db", "web"]
UPTIME = 3.0  # a node that has just booted: what was never noted is not a moment ago for that


class Clock:
    """The kernel's clocks; only the one that no administrator and no NTP moves is to be asked."""

    def __init__(self) -> None:
        self.now = UPTIME

    def gettime(self, clock: int) -> float:
        assert clock == time.CLOCK_BOOTTIME
        return self.now


@pytest.fixture(autouse=True)
def clock(tmp_path: Path) -> Iterator[Clock]:
    found = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lock, "RUN", str(tmp_path / "run"))
        patch.setattr(time, "clock_gettime", found.gettime)
        yield found


def path(volume: str, kind: str) -> Path:
    return Path(lock.run_directory(), f"{volume}.{kind}")


def test_nothing_is_remembered_of_a_disk_that_nobody_touched() -> None:
    assert not marks.opened("web")
    assert not marks.fresh("web", "0.2")
    assert marks.given("web") == ""
    assert marks.overridden("web") == []
    assert marks.word("web") is None
    marks.forget("web")


def test_a_disk_counts_as_in_use_for_a_moment_after_it_was_opened(clock: Clock) -> None:
    marks.note_opened("web")
    assert marks.opened("web")
    assert not marks.opened("db")
    clock.now += marks.MOMENT - 1
    assert marks.opened("web")
    clock.now += 1
    assert not marks.opened("web")


def test_what_was_said_of_a_move_ends_with_the_open_that_follows() -> None:
    marks.set_word(Word("node2", VOLUMES))
    marks.set_given("web", "0.2")
    marks.set_fresh("web", "0.2")
    marks.set_overridden("web", ["node2"])
    marks.note_opened("web")
    assert marks.word("web") is None
    assert marks.given("web") == ""
    assert marks.word("db") is not None
    assert not marks.fresh("web", "0.2")
    assert marks.overridden("web") == []
    assert marks.was_opened("web")


def test_what_arrived_is_fresh_by_its_number() -> None:
    marks.set_fresh("web", "0.2")
    assert marks.fresh("web", "0.2")
    assert not marks.fresh("web", "0.3")


def test_a_disk_stays_opened_until_somebody_closes_it(clock: Clock) -> None:
    assert not marks.was_opened("web")
    marks.note_opened("web")
    clock.now += 10 * marks.MOMENT
    assert marks.was_opened("web")
    marks.forget("web", marks.OPENED)
    assert not marks.was_opened("web")


def test_a_promotion_is_just_now_for_one_command(clock: Clock) -> None:
    marks.set_overridden("web", ["node2"])
    clock.now += marks.JUST_NOW
    assert marks.overridden("web") == ["node2"]
    clock.now += 1
    assert marks.overridden("web") == []


def test_each_mark_is_of_one_disk() -> None:
    marks.set_fresh("web", "0.2")
    marks.set_given("web", "0.2")
    marks.set_overridden("web", {"node3", "node2"})
    assert (marks.fresh("web", "0.2"), marks.given("web"), marks.overridden("web")) == (True, "0.2", ["node2", "node3"])
    assert (marks.fresh("db", "0.2"), marks.given("db"), marks.overridden("db")) == (False, "", [])


def test_a_word_is_left_for_each_disk_of_the_vm(clock: Clock) -> None:
    marks.set_word(Word("node2", VOLUMES))
    marks.set_word(Word("node3", VOLUMES, "no room"))
    for volume in VOLUMES:
        word = marks.word(volume)
        assert word is not None
        assert (word.target, word.volumes, word.failed) == ("node3", VOLUMES, "no room")
    clock.now += marks.WORD_SECONDS
    assert marks.word("web") is not None
    clock.now += 1
    assert marks.word("web") is None


def test_a_word_says_nothing_of_a_failure_unless_there_was_one() -> None:
    marks.set_word(Word("node2", VOLUMES))
    word = marks.word("web")
    assert word is not None
    assert word.failed == ""


def test_a_word_counts_longer_than_a_guest_may_take_to_shut_down() -> None:
    assert marks.WORD_SECONDS >= 900 + 840


@pytest.mark.parametrize("kept", marks.KINDS)
def test_what_is_forgotten_is_what_was_named(kept: str) -> None:
    for kind in marks.KINDS:
        marks._write("web", kind, {"number": "0.2"})
    marks.forget("web", *(kind for kind in marks.KINDS if kind != kept))
    assert [kind for kind in marks.KINDS if path("web", kind).exists()] == [kept]
    marks.forget("web")
    assert not path("web", kept).exists()


@pytest.mark.parametrize("text", [b"", b"{", b'{"at": 3.0, "tar', b"[]", b"null", b"7", b"\xff\xfe", b'"at"'])
def test_a_part_of_a_mark_is_none(text: bytes) -> None:
    for kind in marks.KINDS:
        path("web", kind).write_bytes(text)
    test_nothing_is_remembered_of_a_disk_that_nobody_touched()


def test_a_mark_is_whole_or_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    marks.set_given("web", "0.2")

    def killed(*_: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", killed)
        with pytest.raises(InterruptedError):
            marks.set_given("web", "0.3")
    assert marks.given("web") == "0.2"
    marks.set_given("web", "0.4")  # over what the killed one has left
    assert marks.given("web") == "0.4"


def test_no_link_is_followed_and_nobody_else_can_read(tmp_path: Path) -> None:
    target = tmp_path / "passwd"
    path("web", "fresh~").symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"):
        marks.set_fresh("web", "0.2")
    assert not target.exists()
    marks.set_fresh("db", "0.2")
    assert stat.S_IMODE(path("db", "fresh").stat().st_mode) == 0o600


def test_a_mark_is_no_lock() -> None:
    with lock.VolumeLock("web", "close"):
        marks.note_opened("web")
        marks.forget("web")
        assert lock.held(str(path("web", "lock")))
