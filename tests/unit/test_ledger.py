"""The test guest's ledger and the check of its disks, with a model of the guest that writes as init.c does."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from tests.guest.image import BLOCK, Checked, Epoch, check_image, check_together
from tests.guest.ledger import DiskLedger, Ledger, LedgerError, Life, LostBlocks

GUEST = Path(__file__).parents[1] / "guest"
BOOT, NEXT_BOOT = "00000000000000b1", "00000000000000b2"
DISK, PEER = 0xD15C, 0xBEEB
SLOTS, STEP = 63, 38


def line(text: str) -> bytes:
    content = f"LEDGER {text}".encode()
    return content + b" #%08x\r\n" % zlib.crc32(content)


def wrote(number: int, boot: str = BOOT, name: str = "vda", disk: int = DISK) -> bytes:
    return line(f"{name} wrote {number} disk={disk:016x} boot={boot}")


def found(last: int, boot: str, bad: int = 0, missing: int = 0) -> bytes:
    return line(
        f"vda found {min(last, 1)} {last} {last} BAD={bad} MISSING={missing} next={last + 1}"
        f" blocks=64 disk={DISK:016x} boot={boot}"
    )


def sealed(content: bytes) -> bytes:
    content = content.ljust(BLOCK - 4, b"\xa5")
    return content + zlib.crc32(content).to_bytes(4, "little")


class Disk:
    """A disk as the guest writes it."""

    def __init__(self, identity: int = DISK, blocks: int = SLOTS + 1) -> None:
        self.identity = identity
        self.epochs = [Epoch(1, SLOTS, STEP)]
        self.image = io.BytesIO(bytes(blocks * BLOCK))
        self.superblock()

    def put(self, at: int, content: bytes) -> None:
        self.image.seek(at * BLOCK)
        self.image.write(content)

    def superblock(self) -> None:
        head = struct.pack("<8sQQII", b"LEDGSUP1", self.identity, 0xB1, len(self.epochs), 0)
        self.put(0, sealed(head + b"".join(struct.pack("<QQQ", e.first, e.slots, e.step) for e in self.epochs)))

    def place(self, number: int) -> int:
        return [e for e in self.epochs if e.first <= number][-1].place(number)

    def write(self, number: int, boot: str = BOOT, peer: int = 0, at: int | None = None) -> None:
        head = struct.pack("<8sQQQII", b"LEDGBLK1", number, int(boot, 16), self.identity, 0, 1)
        content = sealed((head + struct.pack("<QQ", PEER, peer)).ljust(296, b"\0"))
        self.put(self.place(number) if at is None else at, content)

    def grow(self, first: int, blocks: int, step: int) -> None:
        self.image.seek(0, io.SEEK_END)
        self.image.write(bytes(blocks * BLOCK - self.image.tell()))
        self.epochs.append(Epoch(first, blocks - 1, step))
        self.superblock()


def acknowledged(*lives: Life, disk: int = DISK) -> DiskLedger:
    return DiskLedger(f"{disk:016x}", list(lives))


@pytest.fixture
def disk() -> Disk:
    """A disk with the numbers 1 to 20 of one boot."""
    disk = Disk()
    for number in range(1, 21):
        disk.write(number)
    return disk


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def test_console_in_any_pieces(ledger: Ledger) -> None:
    stream = line(f"boot {BOOT}") + found(0, BOOT) + wrote(1) + b"[    4.1] a kernel message\r\n" + wrote(2)
    for byte in stream:
        ledger.feed(bytes([byte]))
    assert ledger.boots == [BOOT]
    assert ledger.disk("vda").lives == [Life(BOOT, 1, 2)]
    assert ledger.troubles == []


def test_joined_in_the_middle(ledger: Ledger) -> None:
    ledger.feed(wrote(8)[9:] + wrote(9) + wrote(10))
    assert ledger.disk("vda").lives == [Life(BOOT, 9, 10)]


def test_all_since_the_start_is_acknowledged_with_a_number(ledger: Ledger) -> None:
    ledger.feed(found(0, BOOT) + wrote(3))
    assert ledger.disk("vda").lives == [Life(BOOT, 1, 3)]


def test_damaged_lines_acknowledge_nothing(ledger: Ledger) -> None:
    ledger.feed(wrote(1))
    ledger.feed(wrote(12).replace(b"12", b"22"))
    ledger.feed(wrote(13)[:15] + b"[    4.1] a kernel message\r\n" + wrote(13)[15:])
    ledger.feed(wrote(14).rstrip())
    assert ledger.disk("vda").highest == 1


def test_a_kernel_message_without_end_before_a_line(ledger: Ledger) -> None:
    ledger.feed(b"[    4.1] half a mess" + wrote(3))
    assert ledger.disk("vda").highest == 3


def test_half_a_line_is_not_joined_with_the_next_connection(ledger: Ledger) -> None:
    data = wrote(3)
    ledger.feed(data[:20])
    ledger.disconnected()
    ledger.feed(data[20:])
    with pytest.raises(LedgerError, match="has not named a disk vda"):
        ledger.disk("vda")


def test_what_was_found_must_be_what_was_acknowledged(ledger: Ledger) -> None:
    ledger.feed(found(0, BOOT) + wrote(1) + wrote(2) + found(3, NEXT_BOOT) + wrote(4, NEXT_BOOT))
    assert ledger.wait_found("vda", NEXT_BOOT, 0).last == 3
    assert ledger.disk("vda").lives == [Life(BOOT, 1, 2), Life(NEXT_BOOT, 4, 4)]


@pytest.mark.parametrize("said", [(1, 0, 0), (2, 1, 0), (2, 0, 1)])
def test_the_guest_found_less(ledger: Ledger, said: tuple[int, int, int]) -> None:
    last, bad, missing = said
    ledger.feed(wrote(1) + wrote(2) + found(last, NEXT_BOOT, bad, missing))
    with pytest.raises(LostBlocks, match="2 blocks are acknowledged"):
        ledger.wait_found("vda", NEXT_BOOT, 0)


def test_a_number_acknowledged_twice_is_trouble(ledger: Ledger) -> None:
    ledger.feed(wrote(1) + wrote(2) + wrote(2, NEXT_BOOT))
    assert ledger.troubles == [f"vda: boot {NEXT_BOOT} writes number 2 again, acknowledged before by boot {BOOT}"]


def test_going_back_on_purpose(ledger: Ledger) -> None:
    ledger.feed(wrote(1) + wrote(2) + wrote(3))
    ledger.disk("vda").forget_after(1)
    ledger.feed(found(1, NEXT_BOOT) + wrote(2, NEXT_BOOT))
    assert ledger.disk("vda").lives == [Life(BOOT, 1, 1), Life(NEXT_BOOT, 2, 2)]
    assert ledger.troubles == []


def test_disks_are_known_by_id(ledger: Ledger) -> None:
    ledger.feed(wrote(5, name="vdb", disk=PEER) + wrote(7))
    ledger.feed(wrote(6, NEXT_BOOT, name="vda", disk=PEER))
    assert ledger.disk("vda").highest == 6
    assert ledger.by_id[f"{DISK:016x}"].highest == 7


@pytest.mark.parametrize(
    "text", ["vda error EIO n=3 boot=" + BOOT, "vda unusable foreign boot=" + BOOT, "fatal /dev: ENOMEM boot=" + BOOT]
)
def test_troubles(ledger: Ledger, text: str) -> None:
    ledger.feed(line(text) * 2 + b"[    5.0] Kernel panic - not syncing: no init\r\n")
    assert ledger.troubles == [text, "[    5.0] Kernel panic - not syncing: no init"]


def test_waiting_in_vain_shows_the_console(ledger: Ledger) -> None:
    ledger.feed(wrote(1) + b"the last words\n")
    with pytest.raises(LedgerError, match=r"(?s)waited 0 s for vda wrote 2.*the last words"):
        ledger.wait_for("vda", 2, 0)


def test_follow_starts_the_command_again_and_ends_it(ledger: Ledger, tmp_path: Path) -> None:
    program = tmp_path / "console"
    program.write_text(
        "import pathlib, sys, time\n"
        f"first = pathlib.Path({str(tmp_path / 'been-here')!r})\n"
        f"sys.stdout.buffer.write({wrote(1)!r} if not first.exists() else {wrote(2)!r})\n"
        "sys.stdout.flush()\n"
        "first.exists() and time.sleep(600)\n"
        "first.touch()\n"
    )
    with ledger.follow([sys.executable, str(program)]):
        assert ledger.wait_for("vda", 2, 60) == 2


def test_follow_ends_though_somebody_keeps_the_console_open(ledger: Ledger, tmp_path: Path) -> None:
    holder = tmp_path / "holder"
    with ledger.follow(["sh", "-c", f"sleep 60 & echo $! > {holder}.new; mv {holder}.new {holder}; wait"]):
        while not holder.exists():
            time.sleep(0.05)
    process = int(holder.read_text())
    assert Path(f"/proc/{process}/cmdline").read_bytes(), "follow waited for the holder's end"
    os.kill(process, signal.SIGTERM)


def test_all_there(disk: Disk) -> None:
    checked = check_image(disk.image, acknowledged(Life(BOOT, 1, 19)))
    assert checked == Checked(f"{DISK:016x}", 64, 20, 1, 20, 19, {f"{PEER:016x}": 0})


def test_later_numbers_take_places(disk: Disk) -> None:
    for number in range(21, 200):
        disk.write(number)
    checked = check_image(disk.image, acknowledged(Life(BOOT, 1, 180)))
    assert (checked.count, checked.first, checked.last) == (63, 137, 199)


def test_the_oldest_number_of_a_full_disk_is_missed(disk: Disk) -> None:
    for number in range(21, 200):
        disk.write(number)
    disk.put(disk.place(137), bytes(BLOCK))
    with pytest.raises(LostBlocks, match="1 blocks are lost: 137 "):
        check_image(disk.image, acknowledged(Life(BOOT, 1, 180)))


def test_an_older_number_is_a_loss(disk: Disk) -> None:
    for number in range(21, 100):
        if number != 70:  # its place still holds number 7
            disk.write(number)
    with pytest.raises(LostBlocks, match=r"1 blocks are lost: 70 \(99 acknowledged, last found 99\)"):
        check_image(disk.image, acknowledged(Life(BOOT, 1, 99)))


def test_the_end_is_missing(disk: Disk) -> None:
    with pytest.raises(LostBlocks, match=r"3 blocks are lost: 21, 22, 23 "):
        check_image(disk.image, acknowledged(Life(BOOT, 1, 23)))


def test_a_hole_before_numbers_that_nobody_acknowledged(disk: Disk) -> None:
    disk.write(22)
    with pytest.raises(LostBlocks, match=r"1 blocks are lost: 21 "):
        check_image(disk.image, acknowledged(Life(BOOT, 1, 20)))
    check_image(disk.image, acknowledged(Life(BOOT, 1, 20)), live=True)


def test_one_wrong_byte(disk: Disk) -> None:
    disk.image.seek(disk.place(9) * BLOCK + 1000)
    disk.image.write(b"x")
    with pytest.raises(LostBlocks, match=r"1 blocks are lost: 9 .*is damaged \(wrong checksum; says number 9\)"):
        check_image(disk.image, acknowledged(Life(BOOT, 1, 20)))


def test_a_block_in_the_wrong_place(disk: Disk) -> None:
    disk.write(5, at=disk.place(21))
    with pytest.raises(LostBlocks, match="holds number 5, which belongs elsewhere"):
        check_image(disk.image, acknowledged(Life(BOOT, 1, 20)))


def test_a_block_of_another_disk(disk: Disk) -> None:
    other = Disk(PEER)
    other.image = disk.image
    other.write(21)
    with pytest.raises(LostBlocks, match=f"number 21 of disk {PEER:016x}: the disks are mixed up"):
        check_image(disk.image, acknowledged(Life(BOOT, 1, 20)))


def test_another_boots_block(disk: Disk) -> None:
    disk.write(12, NEXT_BOOT)
    with pytest.raises(LostBlocks, match=f"number 12 is from boot {NEXT_BOOT}, boot {BOOT} acknowledged it"):
        check_image(disk.image, acknowledged(Life(BOOT, 1, 20)))


def test_another_disk() -> None:
    with pytest.raises(LostBlocks, match=f"this is disk {PEER:016x}, not {DISK:016x}"):
        check_image(Disk(PEER).image, acknowledged(Life(BOOT, 1, 20)))


@pytest.mark.parametrize(
    ("content", "message"),
    [(bytes(BLOCK), "is empty"), (b"x" * BLOCK, "holds something else"), (b"LEDGSUP1", "holds something else")],
)
def test_no_disk_of_the_guest(content: bytes, message: str) -> None:
    with pytest.raises(LostBlocks, match=message):
        check_image(io.BytesIO(content), acknowledged(Life(BOOT, 1, 20)))


def test_a_damaged_superblock(disk: Disk) -> None:
    disk.image.seek(100)
    disk.image.write(b"x")
    with pytest.raises(LostBlocks, match="block 0 is damaged"):
        check_image(disk.image, acknowledged(Life(BOOT, 1, 20)))


def test_a_grown_disk(disk: Disk) -> None:
    disk.grow(21, 128, 78)
    for number in range(21, 300):
        disk.write(number)
    assert disk.place(21) == 127, "the first number after growing is at the very end"
    checked = check_image(disk.image, acknowledged(Life(BOOT, 1, 299)))
    assert (checked.blocks, checked.count, checked.last) == (128, 127, 299)
    disk.put(disk.place(298), bytes(BLOCK))
    with pytest.raises(LostBlocks, match="1 blocks are lost: 298 "):
        check_image(disk.image, acknowledged(Life(BOOT, 1, 299)))


def test_old_numbers_of_a_grown_disk_are_missed(disk: Disk) -> None:
    disk.grow(21, 128, 78)
    disk.write(21)
    disk.put(disk.place(4), bytes(BLOCK))
    with pytest.raises(LostBlocks, match="1 blocks are lost: 4 "):
        check_image(disk.image, acknowledged(Life(BOOT, 1, 21)))


def test_a_shrunk_disk(disk: Disk) -> None:
    disk.image.truncate(32 * BLOCK)
    with pytest.raises(LostBlocks, match="32 blocks, 64 are in use: it has shrunk"):
        check_image(disk.image, acknowledged(Life(BOOT, 1, 20)))


def test_disks_of_different_times(disk: Disk) -> None:
    disk.write(21, peer=20)
    checked = check_image(disk.image, acknowledged(Life(BOOT, 1, 21)))
    peer = f"{PEER:016x}"
    check_together([checked, Checked(peer, last=20, peers={f"{DISK:016x}": 21})])
    with pytest.raises(LostBlocks, match=f"disk {peer} had block 20 already, but that one ends at 19"):
        check_together([checked, Checked(peer, last=19)])


@pytest.mark.parametrize(("last", "status"), [(20, 0), (21, 1)])
def test_check_disk_on_a_node(disk: Disk, tmp_path: Path, last: int, status: int) -> None:
    """As on a node: three files in a directory of their own, and nothing else."""
    for name in ("check-disk", "image.py", "ledger.py"):
        (tmp_path / name).write_bytes((GUEST / name).read_bytes())
    path = tmp_path / "disk"
    path.write_bytes(disk.image.getvalue())
    command = [sys.executable, str(tmp_path / "check-disk"), str(path)]
    arguments = acknowledged(Life(BOOT, 1, last)).arguments()
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    if status:
        assert "1 blocks are lost: 21 " in done.stderr
    else:
        assert json.loads(done.stdout)["count"] == 20
