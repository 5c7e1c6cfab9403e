"""How the last round to each node ended, for each disk: for people and for zfsext health; nothing is decided by it.

A file for each disk and node, VOLUME.NODE: when, in Unix seconds; ok or error; and on the lines after that the error.
Which part of the name is the node's is clear, since Ganeti's volumes end in .disk and a number.
"""

import os
import time
from typing import NamedTuple

PARENT = "/var/lib/zfsext"
DIRECTORY = PARENT + "/outcome"
OK, ERROR = "ok", "error"
LONGEST = 4000  # what ssh and zfs said may be long
UNFINISHED = "~"  # no name of a node ends so


class Outcome(NamedTuple):
    """When a round to a node ended, in Unix seconds, and the error that it ended with, if it did."""

    time: int
    error: str | None


def note(volume: str, node: str, error: str | None) -> None:
    """Note that a round of the volume to the node ended just now, well or with this error."""
    for directory in (PARENT, DIRECTORY):
        os.makedirs(directory, mode=0o700, exist_ok=True)
    words = [str(int(time.time())), OK] if error is None else [str(int(time.time())), ERROR, error[:LONGEST]]
    path = f"{DIRECTORY}/{volume}.{node}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    file = os.open(path + UNFINISHED, flags, 0o600)
    with open(file, "w", encoding="utf-8", errors="surrogateescape") as text:
        text.write("\n".join(words) + "\n")
        text.flush()
        os.fsync(file)
    os.rename(path + UNFINISHED, path)


def of(volume: str) -> dict[str, Outcome]:
    """Return how the last round to each node ended, by the nodes' names. What is no whole note is left out."""
    found = {}
    for name in _names(volume):
        try:
            with open(f"{DIRECTORY}/{name}", encoding="utf-8", errors="surrogateescape") as file:
                when, how, *words = file.read().strip().split("\n")
        except (FileNotFoundError, ValueError):  # it was just forgotten; it has less than two lines
            continue
        if when.isdecimal() and how in (OK, ERROR):
            error = "\n".join(words) if how == ERROR else None
            found[name.removeprefix(f"{volume}.")] = Outcome(int(when), error)
    return found


def forget(volume: str, node: str | None = None) -> None:
    """Remove the notes on the volume, because it is no disk of this node any more; or the one on a node's copy."""
    for name in _names(volume) if node is None else [f"{volume}.{node}"]:
        try:
            os.unlink(f"{DIRECTORY}/{name}")
        except FileNotFoundError:
            continue


def _names(volume: str) -> list[str]:
    try:
        names = os.listdir(DIRECTORY)
    except FileNotFoundError:
        return []
    return [name for name in names if name.startswith(f"{volume}.") and not name.endswith(UNFINISHED)]
