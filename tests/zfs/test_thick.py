"""A thick disk can be written over and over in a full pool; a thin one cannot, and nobody promised it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import MIB, Disk, run

pytestmark = pytest.mark.zfs
SMALL = "small"
RESERVED = "reservation,refquota,refreservation"


@pytest.fixture
def small_pool(tmp_path: Path, configured: Callable[[str], None]) -> Iterator[str]:
    """Give a pool of 640 MiB with parents of its own, and let zfsext use it."""
    device = tmp_path / "vdev"
    run("truncate", "-s", "640M", str(device))
    run("zpool", "create", "-O", "compression=lz4", "-O", "atime=off", SMALL, str(device))
    for name in (f"{SMALL}/vm", f"{SMALL}/vm-standby"):
        run("zfs", "create", "-o", "canmount=off", name)
    run("zfs", "create", f"{SMALL}/rest")
    configured(f"[zfsext]\ndataset = {SMALL}/vm zfs/vm\n")
    yield SMALL
    configured("[zfsext]\ndataset = zfs/vm\n")
    run("zpool", "destroy", SMALL)


def fill(path: str) -> None:
    """Write random data until the pool says that it is full."""
    subprocess.run(["dd", "if=/dev/urandom", f"of={path}", "bs=1M"], check=False, capture_output=True)
    run("sync", "-f", path, check=False)


@pytest.mark.parametrize(
    "recordsize", ["16K", pytest.param("64K", marks=pytest.mark.proof), pytest.param("128K", marks=pytest.mark.proof)]
)
def test_each_block_can_be_written_twice_in_a_full_pool(
    disks: Callable[..., Disk], small_pool: str, recordsize: str
) -> None:
    disk = disks(128).create(recordsize=recordsize, reservation="thick")
    device = disk.attach()
    fill(f"/{small_pool}/rest/file")
    fill(f"/{small_pool}/rest/file2")
    for _ in range(2):
        with open(device, "r+b", buffering=0) as target:
            for number in range(128):
                os.pwrite(target.fileno(), os.urandom(MIB), number * MIB)
                os.fsync(target.fileno())
    disk.ok("remove")


def test_what_a_killed_create_had_set_aside_is_free_for_the_next(disks: Callable[..., Disk], small_pool: str) -> None:
    disk = disks(128)
    half = f"{small_pool}/vm-standby/{disk.name}.new"
    run("zfs", "create", "-o", "zfsext:state=creating", "-o", "canmount=off", "-o", "reservation=300M", half)
    disk.create(reservation="thick")
    assert disk.attach()
    disk.ok("remove")


def test_a_disk_that_cannot_be_promised_its_space_is_not_made(disks: Callable[..., Disk], small_pool: str) -> None:
    disk = disks(1024)
    said = disk.refused("create", VOL_SIZE="1024", EXTP_RESERVATION="thick")
    assert "reservation=thin" in said
    assert run("zfs", "list", "-Hr", "-o", "name", f"{small_pool}/vm", f"{small_pool}/vm-standby").split() == [
        f"{small_pool}/vm",
        f"{small_pool}/vm-standby",
    ]


@pytest.mark.proof
def test_a_grow_that_fails_takes_back_what_it_set(
    disks: Callable[..., Disk], small_pool: str, tmp_path: Path
) -> None:
    """The reservation counts the snapshots, so it can be set in a full pool; the refreservation after it cannot."""
    os.truncate(tmp_path / "vdev", 1024 * MIB)
    run("zpool", "online", "-e", small_pool, str(tmp_path / "vdev"))
    disk = disks(128).create(reservation="thick")
    disk.dataset = f"{small_pool}/vm/{disk.name}"
    device = disk.attach()
    for number in range(2):
        with open(device, "r+b", buffering=0) as target:
            for place in range(128):
                os.pwrite(target.fileno(), os.urandom(MIB), place * MIB)
            os.fsync(target.fileno())
        run("zfs", "snapshot", f"{disk.dataset}@{number}")
    fill(f"/{small_pool}/rest/file")
    before = run("zfs", "get", "-Hpo", "value", RESERVED, disk.dataset)
    assert "refreservation of" in disk.refused("grow", VOL_SIZE="128", VOL_NEW_SIZE="192")
    assert run("zfs", "get", "-Hpo", "value", RESERVED, disk.dataset) == before
    disk.ok("remove")


def test_a_snapshot_that_would_break_the_promise_is_refused(disks: Callable[..., Disk], small_pool: str) -> None:
    disk = disks(128).create(reservation="thick")
    device = disk.attach()
    with open(device, "r+b", buffering=0) as target:
        for number in range(128):
            os.pwrite(target.fileno(), os.urandom(MIB), number * MIB)
        os.fsync(target.fileno())
    fill(f"/{small_pool}/rest/file")
    said = disk.refused("snapshot", VOL_SNAPSHOT_NAME=f"{disk.name}.snap", VOL_SNAPSHOT_SIZE="128")
    assert "space" in said.lower()
    assert disk.attach() == device
    disk.ok("remove")
