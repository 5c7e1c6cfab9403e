"""What a node remembers of a disk until it boots: small files in /run/zfsext, written under the volume's lock.

- word: a move of the VM to another node was announced, and for how long that counts
- opened: Ganeti opened the disk, and has not closed it since
- fresh: the number of the ticket that arrived in this boot, until the disk is opened
- given: the number of the ticket that the other node has confirmed
- overridden: the nodes that a promotion just now has passed over, until the disk is opened
Times are the kernel's since boot, which no clock's change moves.
"""

import json
import os
import time
from collections.abc import Collection
from typing import Any

from zfsext.lock import run_directory

WORD, OPENED, FRESH, GIVEN, OVERRIDDEN = "word", "opened", "fresh", "given", "overridden"
KINDS = (WORD, OPENED, FRESH, GIVEN, OVERRIDDEN)

#: How long a disk counts as in use after it was opened, in seconds: QEMU has opened its device by then.
MOMENT = 120
#: How long a word counts, in seconds: the time that Ganeti gives a guest to shut down (SHUTDOWN_TIMEOUT), and a hook's.
WORD_SECONDS = 2 * 900
#: How long a promotion is just now, in seconds: within one command of Ganeti's, all disks of the VM are opened.
JUST_NOW = 900


def _path(volume: str, kind: str) -> str:
    return f"{run_directory()}/{volume}.{kind}"


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _write(volume: str, kind: str, what: dict[str, Any]) -> None:
    path = _path(volume, kind)
    file = os.open(path + "~", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(file, json.dumps({"at": _now(), **what}).encode())
    finally:
        os.close(file)
    os.rename(path + "~", path)


def _read(volume: str, kind: str) -> dict[str, Any]:
    try:
        with open(_path(volume, kind), encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, ValueError):  # none, or one of which a crash kept a part
        return {}
    return found if isinstance(found, dict) else {}


def forget(volume: str, *kinds: str) -> None:
    """Forget these marks of the volume, or all."""
    for kind in kinds or KINDS:
        try:
            os.unlink(_path(volume, kind))
        except FileNotFoundError:
            continue


def note_opened(volume: str) -> None:
    """Note that Ganeti opened the disk just now; what was said of a move, or was certain, before has had its time."""
    _write(volume, OPENED, {})
    forget(volume, WORD, GIVEN, FRESH, OVERRIDDEN)


def was_opened(volume: str) -> bool:
    """Tell whether Ganeti opened the disk in this boot, and nobody has closed it since."""
    return bool(_read(volume, OPENED))


def opened(volume: str) -> bool:
    """Tell whether Ganeti opened the disk a moment ago."""
    return _now() - float(_read(volume, OPENED).get("at", -MOMENT)) < MOMENT


def set_fresh(volume: str, number: str) -> None:
    """Note that the ticket of this number arrives in this boot."""
    _write(volume, FRESH, {"number": number})


def fresh(volume: str, number: str) -> bool:
    """Tell whether the ticket of this number arrived in this boot, and nobody has opened the disk since."""
    return _read(volume, FRESH).get("number") == number


def set_given(volume: str, number: str) -> None:
    """Note that the other node has confirmed the ticket of this number."""
    _write(volume, GIVEN, {"number": number})


def given(volume: str) -> str:
    """Return the number of the ticket that the other node has confirmed; an empty one if there is none."""
    return str(_read(volume, GIVEN).get("number", ""))


def set_overridden(volume: str, nodes: Collection[str]) -> None:
    """Note the nodes that a promotion passed over just now."""
    _write(volume, OVERRIDDEN, {"nodes": sorted(nodes)})


def overridden(volume: str) -> list[str]:
    """Return the nodes that a promotion just now has passed over."""
    found = _read(volume, OVERRIDDEN)
    if not found or _now() - float(found["at"]) > JUST_NOW:
        return []
    return [str(node) for node in found["nodes"]]


class Word:
    """That a VM, with all these volumes, is about to go to the target; and how its hand-over failed, if it did."""

    __slots__ = ("failed", "target", "volumes")

    def __init__(self, target: str, volumes: list[str], failed: str = "") -> None:
        self.target = target
        self.volumes = volumes
        self.failed = failed


def set_word(word: Word) -> None:
    """Note that the VM is about to go, or how that failed, with each of its volumes."""
    for volume in word.volumes:
        what = {"target": word.target, "volumes": word.volumes, "failed": word.failed}
        _write(volume, WORD, what)


def word(volume: str) -> Word | None:
    """Return the word that counts now; None if there is none, or the time for it is over."""
    found = _read(volume, WORD)
    if not found or _now() - float(found["at"]) > WORD_SECONDS:
        return None
    return Word(str(found["target"]), [str(each) for each in found["volumes"]], str(found["failed"]))
