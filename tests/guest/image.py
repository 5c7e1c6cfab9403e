"""Check a disk's content against the ledger: see ledger.py for the layout. Standard library only."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING or __package__:
    from tests.guest.ledger import DiskLedger, LostBlocks
else:  # copied to a node, beside check-disk
    from ledger import DiskLedger, LostBlocks

BLOCK = 4096
_CHUNK = 256 * BLOCK
_BLOCK_MAGIC = b"LEDGBLK1"
_SUPER_MAGIC = b"LEDGSUP1"
_BLOCK_HEAD = struct.Struct("<8sQQQII")
_SUPER_HEAD = struct.Struct("<8sQQII")
_EPOCH = struct.Struct("<QQQ")
_PEER = struct.Struct("<QQ")


@dataclass(frozen=True)
class Epoch:
    """The rule for the places of numbers from first on."""

    first: int
    slots: int
    step: int

    def place(self, number: int) -> int:
        """The number's place in blocks."""
        return 1 + ((number - self.first) % self.slots * self.step + self.slots - 1) % self.slots


@dataclass
class Checked:
    """What a disk holds: blocks is its size in blocks, count how many of them are the guest's, last the highest number,
    acknowledged the highest that had to be there, peers what the other disks must hold for this one to make sense."""

    id: str
    blocks: int = 0
    count: int = 0
    first: int = 0
    last: int = 0
    acknowledged: int = 0
    peers: dict[str, int] = field(default_factory=dict)


def check_image(image: str | os.PathLike[str] | BinaryIO, disk: DiskLedger, *, live: bool = False) -> Checked:
    """Check that the image holds every acknowledged block of the disk, whole, in its place, written by the boot that
    acknowledged it; a later number may have taken the place. It must also hold every number below the highest that it
    holds, since each was flushed before the next was written; `live` leaves that out, for a disk being written to.

    The image is a path of a file or a block device, or a file opened for binary reading. Raises LostBlocks, which
    names the first of what is lost or damaged, and OSError.
    """
    if not isinstance(image, (str, os.PathLike)):
        return _check(image, disk, live)
    with open(image, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # what is stored, not what is cached
        return _check(file, disk, live)


def check_together(checked: Iterable[Checked]) -> None:
    """Check that these disks of one guest are from one point in time. Raises LostBlocks.

    The guest writes its disks in turn and notes in each block what the others had flushed.
    """
    by_id = {disk.id: disk for disk in checked}
    for disk in by_id.values():
        for peer, number in disk.peers.items():
            if peer in by_id and by_id[peer].last < number:
                raise LostBlocks(
                    f"disk {disk.id} is from a time when disk {peer} had block {number} already,"
                    f" but that one ends at {by_id[peer].last}"
                )


def _epochs(head: bytes, disk: DiskLedger) -> list[Epoch]:
    """The rules from block 0, for the right disk. Raises LostBlocks."""
    if len(head) < BLOCK or head[:8] != _SUPER_MAGIC:
        state = "is empty" if not head.strip(b"\0") else "holds something else"
        raise LostBlocks(f"disk {disk.id}: block 0 {state}, {disk.highest} blocks are acknowledged")
    if not _whole(head):
        raise LostBlocks(f"disk {disk.id}: block 0 is damaged (wrong checksum)")
    _, identity, _, count, _ = _SUPER_HEAD.unpack_from(head)
    if f"{identity:016x}" != disk.id:
        raise LostBlocks(f"this is disk {identity:016x}, not {disk.id}: the disks are mixed up")
    return [Epoch(*_EPOCH.unpack_from(head, _SUPER_HEAD.size + i * _EPOCH.size)) for i in range(count)]


def _whole(block: bytes) -> bool:
    return zlib.crc32(block[:-4]) == int.from_bytes(block[-4:], "little")


def _read_exactly(file: BinaryIO, size: int) -> bytes:
    pieces = b""
    while len(pieces) < size and (piece := file.read(size - len(pieces))):
        pieces += piece
    return pieces


def _check(file: BinaryIO, disk: DiskLedger, live: bool) -> Checked:
    file.seek(0)
    head = _read_exactly(file, BLOCK)
    epochs = _epochs(head, disk)
    result = Checked(disk.id, 1, acknowledged=disk.highest)
    held: dict[int, int] = {}
    wrong: list[str] = []
    while chunk := _read_exactly(file, _CHUNK):
        # Most of a disk is empty, so look for the magic and not at each block.
        at = chunk.find(_BLOCK_MAGIC)
        while at >= 0:
            if at % BLOCK == 0:
                _block(chunk[at : at + BLOCK], result.blocks + at // BLOCK, disk, epochs, held, wrong, result)
            at = chunk.find(_BLOCK_MAGIC, (at // BLOCK + 1) * BLOCK)
        result.blocks += len(chunk) // BLOCK
    end = disk.highest if live else max(disk.highest, result.last)
    lost = sorted(n for place, n in _expected(epochs, end).items() if held.get(place, 0) < n)
    if epochs[-1].slots >= result.blocks:
        wrong.append(f"the disk has {result.blocks} blocks, {epochs[-1].slots + 1} are in use: it has shrunk")
    if lost:
        names = ", ".join(str(n) for n in lost[:10]) + (" …" if len(lost) > 10 else "")
        wrong.insert(0, f"{len(lost)} blocks are lost: {names} ({disk.highest} acknowledged, last found {result.last})")
    if wrong:
        more = f"; and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise LostBlocks(f"disk {disk.id}: " + "; ".join(wrong[:10]) + more)
    return result


def _block(
    block: bytes, at: int, disk: DiskLedger, epochs: Sequence[Epoch], held: dict[int, int], wrong: list[str],
    result: Checked,
) -> None:
    """Look at one of the guest's blocks: note what it is, or what is wrong with it."""
    _, number, boot, identity, _, peers = _BLOCK_HEAD.unpack_from(block)
    writer = disk.boot_of(number)
    if len(block) < BLOCK or not _whole(block):
        wrong.append(f"block {at} is damaged (wrong checksum; says number {number})")
    elif f"{identity:016x}" != disk.id:
        wrong.append(f"block {at} is number {number} of disk {identity:016x}: the disks are mixed up")
    elif not number or _place(epochs, number) != at:
        wrong.append(f"block {at} holds number {number}, which belongs elsewhere")
    elif writer and f"{boot:016x}" != writer:
        wrong.append(f"number {number} is from boot {boot:016x}, boot {writer} acknowledged it")
    else:
        held[at] = number
        result.count += 1
        result.first = min(result.first or number, number)
        result.last = max(result.last, number)
        for i in range(peers):
            peer, flushed = _PEER.unpack_from(block, _BLOCK_HEAD.size + i * _PEER.size)
            name = f"{peer:016x}"
            result.peers[name] = max(result.peers.get(name, 0), flushed)


def _place(epochs: Sequence[Epoch], number: int) -> int:
    return next((e for e in reversed(epochs) if e.first <= number), epochs[0]).place(number)


def _expected(epochs: Sequence[Epoch], end: int) -> dict[int, int]:
    """The last number up to end of each place."""
    expected: dict[int, int] = {}
    for epoch, following in zip(epochs, [*(e.first for e in epochs[1:]), end + 1], strict=True):
        after = min(following, end + 1)
        expected.update((epoch.place(n), n) for n in range(max(epoch.first, after - epoch.slots), after))
    return expected
