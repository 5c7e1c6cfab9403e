"""The outside of the test guest: what it said on its console, and whether its disks still hold that.

The guest (init.c) writes numbered blocks to each of its disks, one after the other, flushes each, and then prints a
line. A number seen here, outside the machine that may crash, is *acknowledged*: its block must never be lost.

On a disk, in blocks of 4096 bytes, little endian, CRC-32 over the rest in the last four bytes:

- block 0: ``LEDGSUP1``, disk id, boot id, number of epochs (u32), u32, then epochs of (first number, slots, step). The
  guest adds an epoch when the disk has grown. Number n of an epoch is in block
  ``1 + ((n - first) % slots * step + slots - 1) % slots``: spread over the whole disk, the last block first.
- the others: ``LEDGBLK1``, number, boot id, disk id, place on the bus (u32), number of peers (u32), 16 peers of (disk
  id, number that disk had flushed by then), pseudo-random filling.

On the console, each line being ``LEDGER TEXT #CRC`` with the CRC-32 of what is before it::

    boot BOOT
    vda found FIRST LAST COUNT BAD=n MISSING=n next=N blocks=N disk=ID boot=BOOT      (repeated every 5 s)
    vda bad block=B n=N why=checksum|other-disk|misplaced|orphan boot=BOOT
    vda unusable foreign|superblock|shrunk|size|read-error|write-error|memory boot=BOOT
    vda wrote N disk=ID boot=BOOT
    vda grown OLD NEW next=N boot=BOOT                                                (blocks)
    vda error ERRNO n=N boot=BOOT                                                     (N is tried again)
    vda stopped N boot=BOOT · vda gone boot=BOOT · powering off boot=BOOT · fatal WHAT: ERRNO boot=BOOT

Only the Python standard library is used: the module is copied to a node together with check-disk.
"""

from __future__ import annotations

import re
import select
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

_LINE = re.compile(rb"LEDGER ([^\r\n]*) #([0-9a-f]{8})\s*$")
_WROTE = re.compile(r"(vd[a-z]+) wrote (\d+) disk=([0-9a-f]{16}) boot=([0-9a-f]{16})")
_FOUND = re.compile(
    r"(vd[a-z]+) found (\d+) (\d+) (\d+) BAD=(\d+) MISSING=(\d+) next=(\d+) blocks=(\d+)"
    r" disk=([0-9a-f]{16}) boot=([0-9a-f]{16})"
)
_BOOT = re.compile(r"boot ([0-9a-f]{16})")
_TROUBLE = re.compile(r"vd[a-z]+ (bad|unusable|error|gone)\b|fatal ")
_KERNEL_TROUBLE = re.compile(rb"Kernel panic|BUG:|Oops|I/O error")


class LedgerError(Exception):
    """The guest did not say what was waited for, or says that something is wrong."""


class LostBlocks(LedgerError):
    """Blocks that the guest was told are durable are missing, damaged, or another disk's."""


@dataclass
class Life:
    """The numbers acknowledged by one boot of the guest: all from first to last."""

    boot: str
    first: int
    last: int


@dataclass(frozen=True)
class Found:
    """What the guest found on a disk when it booted; blocks is the disk's size in blocks of 4096 bytes."""

    boot: str
    first: int
    last: int
    count: int
    bad: int
    missing: int
    next: int
    blocks: int


@dataclass
class DiskLedger:
    """What is acknowledged of one disk, by its id (16 hexadecimal digits, written by the guest at first use)."""

    id: str
    lives: list[Life] = field(default_factory=list)
    found: Found | None = None

    @property
    def highest(self) -> int:
        """The highest acknowledged number, 0 if there is none."""
        return max((life.last for life in self.lives), default=0)

    def boot_of(self, number: int) -> str | None:
        """The boot that wrote this number, None where that was not seen."""
        return next((life.boot for life in reversed(self.lives) if life.first <= number <= life.last), None)

    def forget_after(self, number: int) -> None:
        """Give up what is acknowledged above this number: for a test that goes back to an older copy on purpose."""
        self.lives = [Life(x.boot, x.first, min(x.last, number)) for x in self.lives if x.first <= number]

    def check_found(self) -> Found:
        """What the guest found at its last boot. Raises LostBlocks unless that is all that was acknowledged before."""
        found = self.found
        if found is None:
            raise LedgerError(f"the guest has not yet said what it found on disk {self.id}")
        before = max((life.last for life in self.lives if life.boot != found.boot), default=0)
        if found.last < before or found.bad or found.missing:
            raise LostBlocks(f"disk {self.id}: {before} blocks are acknowledged, but the guest found {found}")
        return found

    def arguments(self) -> list[str]:
        """The arguments with which check-disk checks the same as `image.check_image` does here."""
        lives = [f"--life={life.boot}:{life.first}-{life.last}" for life in self.lives]
        return [f"--disk={self.id}", f"--highest={self.highest}", *lives]


class Ledger:
    """Reads a guest's console; safe to use while a thread feeds it. Numbers of different disks are independent."""

    def __init__(self) -> None:
        self.by_id: dict[str, DiskLedger] = {}
        self.boots: list[str] = []
        self.powered_off: set[str] = set()
        self.troubles: list[str] = []
        self.tail: list[str] = []
        self._names: dict[str, str] = {}
        self._starts: dict[tuple[str, str], int] = {}
        self._partial: dict[int, bytes] = {}  # half a line, of each thread that feeds
        self._changed = threading.Condition()

    def disk(self, name: str) -> DiskLedger:
        """The disk that is at this place (vda, vdb …) now. Raises LedgerError if the guest has not named it."""
        if name not in self._names:
            raise LedgerError(f"the guest has not named a disk {name}; it has {sorted(self._names) or 'none'}")
        return self.by_id[self._names[name]]

    def feed(self, data: bytes) -> None:
        """Take what came from the console: any piece of it, kernel messages in between."""
        with self._changed:
            *lines, rest = (self._partial.get(threading.get_ident(), b"") + data).split(b"\n")
            self._partial[threading.get_ident()] = rest
            for line in lines:
                self._line(line)
            self._changed.notify_all()

    def disconnected(self) -> None:
        """The console ended: half a line in hand must not be joined with what another connection brings."""
        with self._changed:
            self._partial.pop(threading.get_ident(), None)
            self._changed.notify_all()

    def _line(self, line: bytes) -> None:
        text = line.decode("ascii", "replace").strip()
        self.tail = [*self.tail[-39:], text]
        if _KERNEL_TROUBLE.search(line):
            self.troubles.append(text)
        start = line.rfind(b"LEDGER ")
        match = _LINE.match(line, start) if start >= 0 else None
        if not match or zlib.crc32(b"LEDGER " + match[1]) != int(match[2], 16):
            return
        text = match[1].decode("ascii", "replace")
        if wrote := _WROTE.fullmatch(text):
            self._wrote(wrote[1], int(wrote[2]), wrote[3], wrote[4])
        elif found := _FOUND.fullmatch(text):
            self._found(found[1], found[9], Found(found[10], *(int(x) for x in found.groups()[1:8])))
        elif boot := _BOOT.fullmatch(text):
            self._booted(boot[1])
        elif text.startswith("powering off boot="):
            self.powered_off.add(text.rpartition("=")[2])
        elif _TROUBLE.match(text) and text not in self.troubles:
            self.troubles.append(text)

    def _booted(self, boot: str) -> None:
        if boot not in self.boots:
            self.boots.append(boot)

    def _place(self, name: str, disk: str) -> DiskLedger:
        self._names[name] = disk
        return self.by_id.setdefault(disk, DiskLedger(disk))

    def _found(self, name: str, disk: str, found: Found) -> None:
        self._booted(found.boot)
        self._starts[disk, found.boot] = found.next
        self._place(name, disk).found = found

    def _wrote(self, name: str, number: int, disk: str, boot: str) -> None:
        self._booted(boot)
        record = self._place(name, disk)
        if record.lives and record.lives[-1].boot == boot:
            record.lives[-1].last = max(record.lives[-1].last, number)
            return
        if number <= record.highest:
            before = f"number {number} again, acknowledged before by boot {record.boot_of(number)}"
            self.troubles.append(f"{name}: boot {boot} writes {before}")
        # The guest flushes a number before it writes the next one: all since its start are acknowledged with this.
        record.lives.append(Life(boot, self._starts.get((disk, boot), number), number))

    def wait(self, done: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait until this is so. Raises LedgerError at the end of the time (seconds), with the console's last lines."""
        with self._changed:
            if not self._changed.wait_for(done, timeout):
                tail = "\n".join([*self.troubles, "the console's last lines:", *(self.tail or ["(nothing)"])])
                raise LedgerError(f"waited {timeout:g} s for {what}; {tail}")

    def wait_for(self, name: str, number: int, timeout: float) -> int:
        """Wait until this number of the disk is acknowledged. Returns the highest that is."""
        self.wait(lambda: self._highest(name) >= number, f"{name} wrote {number}", timeout)
        return self.disk(name).highest

    def wait_more(self, name: str, count: int, timeout: float) -> int:
        """Wait until this many more of the disk are acknowledged than are now. Returns the highest."""
        return self.wait_for(name, self._highest(name) + count, timeout)

    def wait_boot(self, known: int, timeout: float) -> str:
        """Wait until more boots than `known` (take len(ledger.boots) before the start) were seen. Returns its id."""
        self.wait(lambda: len(self.boots) > known, "the guest to boot", timeout)
        return self.boots[-1]

    def wait_found(self, name: str, boot: str, timeout: float) -> Found:
        """Wait until this boot has said what it found on the disk. Raises LostBlocks as check_found does."""

        def said() -> bool:
            found = self.by_id[self._names[name]].found if name in self._names else None
            return found is not None and found.boot == boot

        self.wait(said, f"{name} found … boot={boot}", timeout)
        return self.disk(name).check_found()

    def wait_powered_off(self, boot: str, timeout: float) -> None:
        """Wait until this boot has said that it powers off."""
        self.wait(lambda: boot in self.powered_off, "the guest to power off", timeout)

    def _highest(self, name: str) -> int:
        return self.by_id[self._names[name]].highest if name in self._names else 0

    @contextmanager
    def follow(self, argv: Sequence[str]) -> Iterator[Ledger]:
        """Feed the ledger from this command's output in a thread; start it again when it ends (a guest that is not
        started yet, or again, has no console). What it says on stderr goes to the ledger's tail. It is ended with the
        context."""
        ending = threading.Event()

        def read() -> None:
            while not ending.is_set():
                child = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
                )
                assert child.stdout
                with child.stdout:
                    self._read(child.stdout, ending)
                end(child)
                self.disconnected()
                ending.wait(1)

        def end(child: subprocess.Popen[bytes]) -> None:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

        thread = threading.Thread(target=read, name="ledger", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            ending.set()
            thread.join()

    def _read(self, console: IO[bytes], ending: threading.Event) -> None:
        """Feed the ledger until the console's end, or until told to end: its end may never come, because others (an
        ssh that shares a connection, say) can keep it open."""
        while not ending.is_set():
            if select.select([console], [], [], 0.5)[0]:
                data = console.read(65536)
                if not data:
                    return
                self.feed(data)
