"""The transfers of a disk that are under way on this node: one at a time, and a later one ends an earlier one.

A round of replication takes hours for a large disk, and is worth less than the VM's move: whoever needs the disk now
ends the process that sends or receives it, and what that has brought is kept for a resume.
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from zfsext.errors import Busy
from zfsext.lock import VolumeLock, held

SUFFIX = ".transfer"
#: What a change of the disk's owner, and the disk's end, sign with: they are waited for, and never ended.
HANDOVER, REMOVAL = "hand-over", "remove"
#: How long a transfer may take to end once it was told to, in seconds: it may be in the middle of a transaction group.
SECONDS = 20
POLL = 0.1


@contextmanager
def taken_over(volume: str, what: str) -> Iterator[None]:
    """Be the one transfer of the volume on this node, having ended the one before; a hand-over is waited for.

    Raises Busy, naming the process, if that does not end.
    """
    lock = VolumeLock(volume + SUFFIX, what)
    deadline = time.monotonic() + SECONDS
    children: set[str] = set()
    while not lock.try_work():
        holder, pid = lock.holder(), lock.holder_pid()
        if time.monotonic() >= deadline:
            raise Busy(f"{holder or 'another transfer'} of {volume} does not end: try again")
        if pid is not None and pid != os.getpid() and not holder.startswith((HANDOVER, REMOVAL)):
            children |= _children(pid)
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        time.sleep(POLL)
    while any(os.path.exists(f"/proc/{child}") for child in children) and time.monotonic() < deadline:
        time.sleep(POLL)  # they die with their parent, but have to leave the kernel first
    try:
        yield
    finally:
        lock.forget()
        lock.release()


def _children(pid: int) -> set[str]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return set(file.read().split())
    except OSError:  # it has just ended
        return set()


@contextmanager
def alone(volume: str, what: str) -> Iterator[None]:
    """Be the one transfer of the volume on this node. Raises Busy, naming it, if there is another."""
    lock = VolumeLock(volume + SUFFIX, what)
    if not lock.try_work():
        raise Busy(f"{lock.holder() or 'another transfer'} of {volume} is under way")
    try:
        yield
    finally:
        lock.forget()
        lock.release()


def under_way(volume: str) -> str:
    """Return what transfers the volume on this node just now, such as `replication to node2 (pid 12)`; or nothing."""
    lock = VolumeLock(volume + SUFFIX, "look")
    return (lock.holder() or "a transfer") if held(lock.path) else ""


@contextmanager
def ended(volumes: Sequence[str], what: str = HANDOVER) -> Iterator[None]:
    """End the transfers of these disks, and let none begin: what becomes of the disks now goes before."""
    with ExitStack() as stack:
        for volume in sorted(volumes):
            stack.enter_context(taken_over(volume, what))
        yield
