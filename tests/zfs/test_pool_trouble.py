"""A pool that is full, not imported, read-only, damaged or locked: each script works or says why not."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import MIB, Disk, loops, mounts, read_device, run, write_device

pytestmark = pytest.mark.zfs
ILL = "ill"
RECORD = 16384
#: What each script is told; snapshot needs the volume's name and has a function of its own.
VARIABLES = {
    "create": {"VOL_SIZE": "64"},
    "attach": {},
    "open": {"VOL_OPEN_EXCLUSIVE": "True"},
    "setinfo": {"VOL_METADATA": "originstname+web1"},
    "grow": {"VOL_SIZE": "64", "VOL_NEW_SIZE": "128"},
    "remove": {},
    "close": {},
    "verify": {},
}


def exporting(disk: Disk) -> dict[str, str]:
    return {"VOL_SNAPSHOT_NAME": f"{disk.name}.snap", "VOL_SNAPSHOT_SIZE": str(disk.size)}


class Pool:
    """A second pool, small and on a file, which is the only one that zfsext is told of."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "vdev"
        self.disks: list[Disk] = []

    def make(self, *options: str) -> None:
        run("truncate", "-s", "256M", str(self.file))
        standard = ("-O", "compression=off", "-O", "atime=off", "-O", "canmount=off")
        run("zpool", "create", *standard, *options, ILL, str(self.file))
        for name in (f"{ILL}/vm", f"{ILL}/vm-standby"):
            run("zfs", "create", "-o", "canmount=off", name)

    def leave(self) -> None:
        run("zpool", "export", ILL)

    def come(self, *options: str) -> None:
        run("zpool", "import", "-d", str(self.directory), *options, ILL)

    def disk(self, disk: Disk) -> Disk:
        """Let the volume be one of this pool."""
        disk.dataset = f"{ILL}/vm/{disk.name}"
        disk.directory = f"/{disk.dataset}"
        disk.image = Path(f"{disk.directory}/disk.raw")
        self.disks.append(disk)
        return disk

    def left(self) -> set[str]:
        return set(run("zfs", "list", "-Hr", "-t", "all", "-o", "name", ILL).splitlines())


@pytest.fixture
def pool(tmp_path: Path, configured: Callable[[str], None], disks: Callable[..., Disk]) -> Iterator[Pool]:  # noqa: ARG001
    """Give the pool, to be made by the test."""
    pool = Pool(tmp_path)
    configured(f"[zfsext]\ndataset = {ILL}/vm\n")
    yield pool
    if not os.path.exists(f"/proc/spl/kstat/zfs/{ILL}"):
        pool.come()
    for disk in pool.disks:
        disk.call("remove")
    configured("[zfsext]\ndataset = zfs/vm\n")
    run("zpool", "destroy", ILL)
    for directory in (f"/{ILL}/vm", f"/{ILL}"):
        if os.path.isdir(directory):
            os.rmdir(directory)


def fill() -> None:
    """Write until not even a small piece finds room; nothing is compressed in this pool."""
    run("zfs", "create", f"{ILL}/rest")
    for size in ("1M", "4k"):
        for number in range(2):
            name = f"/{ILL}/rest/{size}.{number}"
            run("dd", "if=/dev/zero", f"of={name}", f"bs={size}", "conv=fsync", check=False)
            run("zpool", "sync", ILL)


def make_room() -> None:
    run("zfs", "destroy", f"{ILL}/rest")
    run("zpool", "sync", ILL)


def test_in_a_full_pool_nothing_is_begun_that_cannot_be_ended(pool: Pool, disks: Callable[..., Disk]) -> None:
    pool.make()
    disk, another = pool.disk(disks(32).create()), pool.disk(disks(32))
    device = disk.attach()
    kept = os.urandom(MIB)
    write_device(device, kept)
    fill()
    there = pool.left()

    assert "make room" in another.refused("create", VOL_SIZE="32")
    assert "make room" in another.refused("create", VOL_SIZE="32", EXTP_RESERVATION="thick")
    done = disk.call("snapshot", **exporting(disk))
    assert done.code == 0 or "make room" in done.err, done
    if done.code == 0:
        Disk(f"{disk.name}.snap").ok("remove")
    assert pool.left() == there
    assert disk.attach() == device
    disk.ok("open", VOL_OPEN_EXCLUSIVE="True")
    disk.ok("detach")
    assert read_device(disk.attach(), MIB) == kept
    done = disk.call("setinfo", VOL_METADATA="originstname+web1")
    assert done.code == 0 or "out of space" in done.err, done
    disk.ok("remove")
    another.ok("remove")
    assert pool.left() == there - {disk.dataset}


@pytest.mark.proof
def test_a_write_that_finds_no_room_is_an_error_and_what_was_synced_before_stays(
    pool: Pool, disks: Callable[..., Disk]
) -> None:
    pool.make()
    disk = pool.disk(disks(64).create())
    device = disk.attach()
    kept = os.urandom(16 * MIB)
    write_device(device, kept)
    fill()
    failed = []
    for number in range(16, 48):
        try:
            write_device(device, os.urandom(MIB), number * MIB)
        except OSError as error:
            failed.append(error.errno)
    assert failed, "the pool was not full"
    assert set(failed) <= {errno.EIO, errno.ENOSPC}
    assert read_device(device, 16 * MIB) == kept
    make_room()
    last = os.urandom(32 * MIB)
    write_device(device, last, 16 * MIB)
    disk.ok("detach")
    assert read_device(disk.attach(), 48 * MIB) == kept + last
    disk.ok("remove")


@pytest.mark.proof
def test_a_thick_grow_that_finds_no_room_changes_nothing_and_a_thin_one_works_or_says_so(
    pool: Pool, disks: Callable[..., Disk]
) -> None:
    pool.make()
    disk = pool.disk(disks(32).create())
    device = disk.attach()
    kept = os.urandom(MIB)
    write_device(device, kept)
    fill()
    done = disk.call("grow", VOL_SIZE="32", VOL_NEW_SIZE="64")
    assert done.code == 0 or "space" in done.err, done
    size = 64 if done.code == 0 else 32
    assert run("blockdev", "--getsize64", device) == str(size * MIB)
    make_room()
    run("zfs", "set", "refreservation=1M", disk.dataset)
    said = disk.refused("grow", VOL_SIZE="64", VOL_NEW_SIZE="1024")
    assert "space" in said
    assert run("blockdev", "--getsize64", device) == str(size * MIB)
    assert disk.property("refreservation") == str(MIB)
    run("zfs", "set", "refreservation=none", disk.dataset)
    disk.grow(96)
    assert run("blockdev", "--getsize64", device) == str(96 * MIB)
    assert read_device(device, MIB) == kept
    disk.ok("remove")


@pytest.mark.proof
def test_a_full_disk_can_be_removed_from_a_full_pool_and_its_space_is_free(
    pool: Pool, disks: Callable[..., Disk]
) -> None:
    pool.make()
    disk, another = pool.disk(disks(64).create()), pool.disk(disks(32))
    device = disk.attach()
    write_device(device, os.urandom(32 * MIB))
    run("zfs", "snapshot", f"{disk.dataset}@daily")
    fill()
    disk.ok("remove")
    run("zpool", "sync", ILL)
    run("zpool", "wait", "-t", "free", ILL)
    assert int(run("zfs", "get", "-Hpo", "value", "available", ILL)) > 24 * MIB
    another.create()
    assert another.attach()
    another.ok("remove")


@pytest.mark.proof
def test_of_a_pool_that_is_not_imported_no_script_says_that_a_disk_is_not_there(
    pool: Pool, disks: Callable[..., Disk]
) -> None:
    pool.make()
    disk = pool.disk(disks().create())
    write_device(disk.attach(), b"kept")
    disk.ok("detach")
    pool.leave()
    for action, variables in {**VARIABLES, "snapshot": exporting(disk)}.items():
        said = disk.refused(action, **variables)
        assert f"pool {ILL} is not imported on this node: 'zpool import {ILL}'" in said, action
        assert "not on this node" not in said.replace("not imported on this node", "")
    disk.ok("detach")  # nothing of it can be attached
    pool.come()
    assert read_device(disk.attach(), 4) == b"kept"
    disk.ok("remove")


@pytest.mark.proof
def test_a_pool_that_was_imported_read_only_is_said_to_be_and_keeps_its_disks(
    pool: Pool, disks: Callable[..., Disk]
) -> None:
    pool.make()
    disk, another = pool.disk(disks().create()), pool.disk(disks())
    write_device(disk.attach(), b"kept")
    run("zfs", "snapshot", f"{disk.dataset}@daily")
    disk.ok("detach")
    there = pool.left()
    pool.leave()
    pool.come("-o", "readonly=on")
    for action in ("attach", "open", "setinfo", "grow", "remove"):
        assert "read-only" in disk.refused(action, **VARIABLES[action]).lower(), action
    assert "read-only" in disk.refused("snapshot", **exporting(disk)).lower()
    assert "'zpool export' and 'zpool import' it again" in another.refused("create", VOL_SIZE="64")
    assert "'zpool export' and 'zpool import' it again" in disk.refused("verify")
    disk.ok("close")
    disk.ok("detach")
    assert disk.dataset not in mounts()
    assert not any(disk.name in line for line in loops())
    assert pool.left() == there
    pool.leave()
    pool.come()
    assert read_device(disk.attach(), 4) == b"kept"
    another.ok("remove")
    disk.ok("remove")


@pytest.fixture
def damaged(pool: Pool, disks: Callable[..., Disk]) -> tuple[Disk, Disk, int]:
    """Give a disk of 8 MiB of data one record of which is not what was written, a sound one, and the number of it."""
    pool.make()
    disk, sound = (pool.disk(disks(16).create()) for _ in range(2))
    for each in (disk, sound):
        # Each record says whose it is and which, so it can be found in the device's bytes.
        write_device(each.attach(), b"".join(mark(each, number) for number in range(512)))
        each.ok("detach")
    pool.leave()
    spoil(pool.file, mark(disk, 100))
    pool.come()
    return disk, sound, 100


def mark(disk: Disk, number: int) -> bytes:
    return f"{disk.name} {number:08d} ".encode().ljust(RECORD, b".")


def spoil(file: Path, record: bytes) -> None:
    """Change one byte in the middle of the only copy of this record."""
    data = file.read_bytes()
    places = [found.start() for found in re.finditer(re.escape(record), data)]
    assert len(places) == 1
    with file.open("r+b") as device:
        device.seek(places[0] + RECORD // 2)
        device.write(b"!")
        os.fsync(device.fileno())


def test_a_damaged_record_is_an_io_error_and_never_wrong_data(damaged: tuple[Disk, Disk, int]) -> None:
    disk, sound, number = damaged
    device = disk.attach()
    with pytest.raises(OSError, match="Input/output error"):
        read_device(device, RECORD, number * RECORD)
    for other in (number - 2, number + 8):  # as far away as the kernel's pages of a failed read may go
        assert read_device(device, RECORD, other * RECORD) == mark(disk, other)
    assert read_device(sound.attach(), 512 * RECORD) == b"".join(mark(sound, each) for each in range(512))
    sound.ok("remove")
    disk.ok("remove")


@pytest.mark.proof
def test_a_damaged_disk_goes_through_its_scripts_and_can_be_written_whole_again(
    pool: Pool, damaged: tuple[Disk, Disk, int]
) -> None:
    disk, sound, number = damaged
    device = disk.attach()
    disk.ok("open", VOL_OPEN_EXCLUSIVE="True")
    with pytest.raises(OSError, match="Input/output error"):
        write_device(device, b"!", number * RECORD)
    disk.ok("setinfo", VOL_METADATA="originstname+web1")
    disk.grow(32)
    export = disk.snapshot()
    with pytest.raises(OSError, match="Input/output error"):
        read_device(export.attach(), RECORD, number * RECORD)
    export.ok("remove")
    disk.ok("detach")
    # The device writes page by page, and the rest of a record that cannot be read cannot be kept: so into the file.
    run("zfs", "mount", disk.dataset)
    write_device(str(disk.image), mark(disk, number), number * RECORD)
    device = disk.attach()
    assert read_device(device, 512 * RECORD) == b"".join(mark(disk, each) for each in range(512))
    for each in (disk, sound):
        each.ok("remove")
    assert pool.left() == {ILL, f"{ILL}/vm", f"{ILL}/vm-standby"}


@pytest.fixture
def locked(pool: Pool) -> Callable[[], str]:
    """Make the pool an encrypted one, and give what takes its key away."""
    key = pool.directory / "key"
    key.write_bytes(os.urandom(32))
    pool.make("-O", "encryption=on", "-O", "keyformat=raw", "-O", f"keylocation=file://{key}")

    return lambda: run("zfs", "unload-key", ILL)


def test_a_disk_whose_key_is_not_loaded_says_so_with_the_command_that_loads_it(
    locked: Callable[[], str], pool: Pool, disks: Callable[..., Disk]
) -> None:
    disk, another = pool.disk(disks().create()), pool.disk(disks())
    write_device(disk.attach(), b"kept")
    disk.ok("detach")
    there = pool.left()
    locked()
    for action in ("attach", "open", "grow", "verify"):
        said = disk.refused(action, **VARIABLES[action])
        assert f"'zfs load-key {ILL}'" in said, action
        assert "not on this node" not in said
    assert f"'zfs load-key {ILL}'" in another.refused("create", VOL_SIZE="64")
    disk.ok("close")
    disk.ok("setinfo", VOL_METADATA="originstname+web1")  # needs no key
    disk.ok("detach")
    assert pool.left() == there
    run("zfs", "load-key", ILL)
    assert read_device(disk.attach(), 4) == b"kept"
    another.create()
    for each in (disk, another):
        each.ok("remove")


@pytest.mark.proof
def test_a_disk_can_be_exported_and_removed_without_its_key(
    locked: Callable[[], str], pool: Pool, disks: Callable[..., Disk]
) -> None:
    """ZFS destroys what it cannot read, and whoever removes an instance has said that he does not want its data."""
    disk = pool.disk(disks().create())
    write_device(disk.attach(), b"kept")
    run("zfs", "snapshot", f"{disk.dataset}@daily")
    disk.ok("detach")
    locked()
    export = disk.snapshot()
    assert f"'zfs load-key {ILL}'" in export.refused("attach")
    export.ok("remove")
    disk.snapshot()
    disk.ok("remove")
    assert pool.left() == {ILL, f"{ILL}/vm", f"{ILL}/vm-standby"}
    assert f"'zfs load-key {ILL}'" in disk.refused("create", VOL_SIZE="64")
    run("zfs", "load-key", ILL)
    disk.create().ok("remove")


@pytest.mark.proof
@pytest.mark.parametrize("encrypted", [["vm"], ["vm-standby"], ["vm", "vm-standby"]])
def test_parents_that_do_not_share_a_key_are_refused_before_a_disk_is_begun(
    pool: Pool, disks: Callable[..., Disk], encrypted: list[str]
) -> None:
    """Nothing can be renamed from one key to another, so no disk would ever come to its place."""
    pool.make()
    disk = pool.disk(disks())
    key = pool.directory / "key"
    key.write_bytes(os.urandom(32))
    options = ("-o", "encryption=on", "-o", "keyformat=raw", "-o", f"keylocation=file://{key}", "-o", "canmount=off")
    for name in encrypted:
        run("zfs", "destroy", f"{ILL}/{name}")
        run("zfs", "create", *options, f"{ILL}/{name}")
    there = pool.left()
    assert "not encrypted with one key" in disk.refused("create", VOL_SIZE="64")
    assert "not encrypted with one key" in disk.refused("verify")
    assert pool.left() == there
