"""Notes on how the last rounds ended: whole, or not there."""

import os
import time
from pathlib import Path

import pytest
from conftest import DB, WEB

from zfsext import outcome
from zfsext.outcome import Outcome

ONE, TWO = "node1.example.com", "node2"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(outcome, "PARENT", str(tmp_path / "zfsext"))
    monkeypatch.setattr(outcome, "DIRECTORY", str(tmp_path / "zfsext/outcome"))
    monkeypatch.setattr(time, "time", lambda: 1764000000.9)
    return tmp_path / "zfsext/outcome"


def test_nothing_is_noted_of_a_disk_that_was_never_replicated(directory: Path) -> None:
    assert outcome.of(WEB) == {}
    outcome.forget(WEB)
    assert not directory.exists()


def test_the_last_outcome_of_each_node_is_kept() -> None:
    outcome.note(WEB, ONE, "ssh: connect to host node1: No route to host\nlost\n")
    outcome.note(WEB, TWO, "no space")
    outcome.note(WEB, TWO, None)
    outcome.note(DB, ONE, None)
    assert outcome.of(WEB) == {
        ONE: Outcome(1764000000, "ssh: connect to host node1: No route to host\nlost"),
        TWO: Outcome(1764000000, None),
    }


def test_the_file_can_be_read_by_people_who_are_root(directory: Path) -> None:
    outcome.note(WEB, TWO, "no\nspace")
    assert os.listdir(directory) == [f"{WEB}.{TWO}"]
    assert (directory / f"{WEB}.{TWO}").read_text() == "1764000000\nerror\nno\nspace\n"
    for path in (directory.parent, directory):
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_disk_whose_name_goes_on_is_another_one() -> None:
    first, eleventh = WEB.replace("disk0", "disk1"), WEB.replace("disk0", "disk10")
    outcome.note(eleventh, TWO, None)
    assert outcome.of(first) == {}
    outcome.forget(first)
    assert outcome.of(eleventh)
    outcome.forget(eleventh)
    assert outcome.of(eleventh) == {}


@pytest.mark.parametrize("text", ["", "1764000000\n", "1764000000\nfine\n", "now\nok\n"])
def test_what_is_no_whole_note_is_none(directory: Path, text: str) -> None:
    outcome.note(WEB, ONE, None)
    (directory / f"{WEB}.{TWO}").write_text(text)
    assert list(outcome.of(WEB)) == [ONE]


def test_a_note_that_was_not_finished_is_none_and_the_one_before_it_stays(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome.note(WEB, TWO, None)

    def rename(*_: str) -> None:
        raise InterruptedError("killed")

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(InterruptedError):
        outcome.note(WEB, TWO, "no space")
    assert len(os.listdir(directory)) == 2
    assert outcome.of(WEB) == {TWO: Outcome(1764000000, None)}


def test_an_error_without_words_is_an_error() -> None:
    outcome.note(WEB, TWO, "")
    assert outcome.of(WEB) == {TWO: Outcome(1764000000, "")}


def test_an_error_can_be_of_any_length_and_any_bytes() -> None:
    outcome.note(WEB, TWO, "\udcff" + "x" * 10_000)
    error = outcome.of(WEB)[TWO].error
    assert error is not None
    assert error.startswith("\udcffxx")
    assert len(error) == outcome.LONGEST
