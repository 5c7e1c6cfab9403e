"""What is up: one small file in the state directory, there only while the testbed is complete."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from progress import say
from settings import STATE, TestbedError

_FILE = STATE / "state.json"


def boot_id() -> str:
    """This run of this machine: after its restart, what it had powered on is gone."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass
class State:
    """A complete testbed: what it was thawed from, and which package is where (keys as in package.py)."""

    release: str
    count: int
    frozen: str
    image: str
    boot_id: str
    package: str | None = None
    """installed on the nodes"""
    clean: str | None = None
    """installed in the snapshot that reset goes back to, if there is one"""

    def write(self) -> None:
        """Keep it, whole or not at all."""
        STATE.mkdir(parents=True, exist_ok=True)
        making = _FILE.with_suffix(".new")
        making.write_text(json.dumps(asdict(self), indent=1) + "\n")
        making.rename(_FILE)


def read() -> State | None:
    """What is up; None if nothing is, or nothing complete, or this machine has restarted since."""
    try:
        state = State(**json.loads(_FILE.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise TestbedError(f"{_FILE} cannot be read ({error}): remove it and say testbed up") from error
    return state if state.boot_id == boot_id() else None


def need() -> State:
    """What is up; TestbedError if nothing is."""
    state = read()
    if state is None:
        raise TestbedError("the testbed is not up: testbed up")
    return state


def forget() -> None:
    """Nothing complete is up from now on."""
    _FILE.unlink(missing_ok=True)


@contextmanager
def alone() -> Iterator[None]:
    """One up, reset or down at a time; waits for the other one."""
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another up, reset or down is at work: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
