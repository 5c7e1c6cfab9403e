"""A disk that begins with another one's snapshot, and removed disks that can be had back."""

import os
from collections.abc import Callable, Iterator

import pytest
from conftest import MIB, STANDBY, Disk, datasets, read_device, run, write_device

pytestmark = pytest.mark.zfs


def test_a_disk_begins_with_anothers_data(disks: Callable[..., Disk]) -> None:
    first, second = disks().create(recordsize="32K"), disks(96)
    data = os.urandom(MIB)
    write_device(first.attach(), data)
    run("zfs", "snapshot", f"{first.dataset}@monday")
    second.create(source=f"{first.dataset}@monday", compression="zstd")
    assert read_device(second.attach(), MIB) == data
    assert run("blockdev", "--getsize64", second.attach()) == str(96 * MIB)
    assert (second.property("recordsize"), second.property("compression")) == ("32768", "zstd")
    write_device(second.attach(), b"new")
    assert read_device(first.attach(), MIB) == data
    assert f"has the clone {second.dataset}" in first.refused("remove")
    second.ok("remove")


@pytest.mark.proof
def test_a_source_that_cannot_be_is_refused_and_nothing_is_made(disks: Callable[..., Disk]) -> None:
    first, second = disks().create(), disks()
    run("zfs", "snapshot", f"{first.dataset}@monday")
    run("zfs", "create", "zfs/foreign")
    run("zfs", "snapshot", "zfs/foreign@monday")
    before = datasets("zfs")
    source = f"{first.dataset}@monday"
    for parameters, words in (
        ({"source": first.dataset}, "it can be DATASET@SNAPSHOT"),
        ({"source": f"{first.dataset}@never"}, "is not there"),
        ({"source": "zfs/vm/never@monday"}, "is not on this node"),
        ({"source": "other/vm/never@monday"}, "is in the pool other"),
        ({"source": "zfs/foreign@monday"}, "was not made by zfsext"),
        ({"source": source, "recordsize": "64K"}, "recordsize cannot be chosen"),
    ):
        variables = {f"EXTP_{name.upper()}": text for name, text in parameters.items()}
        assert words in second.refused("create", VOL_SIZE="64", **variables)
    assert "would cut that off" in second.refused("create", VOL_SIZE="32", EXTP_SOURCE=source)
    assert datasets("zfs") == before
    second.create(source=source)
    assert "was left as it is" in second.refused("create", VOL_SIZE="64", EXTP_SOURCE=source)
    second.ok("remove")
    run("zfs", "destroy", "-r", "zfs/foreign")


@pytest.fixture
def no_cluster() -> Iterator[None]:
    """Let the node be in no cluster: a young disk of an instance that Ganeti does not have is a failed add's."""
    run("mount", "-t", "tmpfs", "none", "/var/lib/ganeti")
    yield
    run("umount", "-l", "/var/lib/ganeti")  # a daemon may look into it just now


@pytest.mark.usefixtures("no_cluster")
def test_a_removed_disk_is_set_aside(disks: Callable[..., Disk], configured: Callable[[str], None]) -> None:
    configured("[zfsext]\nkeep_removed = 7d\n")
    disk = disks().create(reservation="thick")
    disk.ok("setinfo", VOL_METADATA="originstname+web1")
    data = os.urandom(MIB)
    write_device(disk.attach(), data)
    run("zfs", "snapshot", f"{disk.dataset}@monday")
    with open(disk.attach(), "rb"):
        assert "in use" in disk.refused("remove")
    disk.ok("remove")
    disk.ok("remove")
    assert disk.name in disk.refused("attach")
    (left,) = [name for name in datasets(STANDBY) if f"{disk.name}.removed-" in name and "@" not in name]
    assert run("zfs", "get", "-Ho", "value", "refreservation", left) == "none"
    assert f" {left} " in run("zfsext", "health", check=False)
    run("zfsext", "sweep")
    assert left in datasets()
    disk.create()
    disk.ok("remove")  # which never had an instance
    assert [name for name in datasets() if disk.name in name and "@" not in name] == [left]
    run("zfs", "set", "zfsext:removed=1000000000", left)
    configured("[zfsext]\n")
    run("zfsext", "sweep")  # nothing is set aside any more, and what is there stays
    assert left in datasets()
    configured("[zfsext]\nkeep_removed = 7d\n")
    run("zfsext", "sweep")
    assert not [name for name in datasets() if disk.name in name]


def test_what_a_failed_add_takes_back_is_not_set_aside(
    disks: Callable[..., Disk], configured: Callable[[str], None]
) -> None:
    configured("[zfsext]\nkeep_removed = 7d\n")
    disk = disks().create()
    disk.ok("setinfo", VOL_METADATA="originstname+web9.example.com")  # as BlockdevCreate does, before Ganeti has it
    disk.ok("remove")
    assert not [name for name in datasets() if disk.name in name]
