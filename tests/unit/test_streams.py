"""What the zfs command says of a token, and what is made of it."""

import subprocess

import pytest

from zfsext import streams
from zfsext.errors import NotHere, SystemRefused

NAME = "zfs/vm/web@zfsext-0.1-6"


def says(monkeypatch: pytest.MonkeyPatch, code: int, out: str, err: str) -> None:
    done = subprocess.CompletedProcess(["zfs"], code, out, err)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)


@pytest.mark.parametrize(
    "words",
    [
        f"cannot resume send: '{NAME}' used in the initial send no longer exists",
        f"cannot resume send: '{NAME}' is no longer the same snapshot used in the initial send",
        f"cannot open '{NAME}': dataset does not exist",
    ],
)
def test_a_token_whose_snapshot_is_gone(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, 1, "", words + "\n")
    with pytest.raises(NotHere, match="zfsext-0"):
        streams.rest("1-abc")
    with pytest.raises(NotHere):
        streams.resume("1-abc", 7)


def test_any_other_trouble_is_no_missing_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, 1, "", "internal error: out of memory\n")
    with pytest.raises(SystemRefused, match="out of memory"):
        streams.rest("1-abc")


def test_what_is_left_of_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    said = f"resume token contents:\nnvlist version: 0\n\ttoguid = 0xff\n\ttoname = {NAME}\n"
    says(monkeypatch, 0, "full\tzfs/vm/web@zfsext-0.1-6\t2000\nsize\t2000\n", said)
    assert streams.rest("1-abc") == ("255", 2000)
