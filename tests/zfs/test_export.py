"""The snapshot script: a volume of its own that gnt-backup can read, and that leaves nothing behind."""

import os
from collections.abc import Callable

import pytest
from conftest import MIB, STANDBY, Disk, datasets, left, read_device, run, write_device

pytestmark = pytest.mark.zfs


def test_an_export_is_the_disk_as_it_was(disks: Callable[..., Disk]) -> None:
    disk = disks().create(recordsize="32K")
    data = os.urandom(MIB)
    write_device(disk.attach(), data)
    with_disk = left()
    export = disk.snapshot()
    write_device(disk.attach(), os.urandom(MIB))
    device = export.attach()
    assert read_device(device, MIB) == data
    assert run("blockdev", "--getsize64", device) == str(64 * MIB)
    assert export.property("recordsize") == "32768"
    export.ok("open", VOL_OPEN_EXCLUSIVE="True")
    export.ok("detach")
    export.ok("remove")
    assert left() == with_disk


@pytest.mark.proof
def test_what_is_not_yet_flushed_is_in_the_export(disk: Disk) -> None:
    data = os.urandom(MIB)
    device = disk.attach()
    with open(device, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), data, 0)
        export = disk.snapshot()
    assert read_device(export.attach(), MIB) == data
    export.ok("remove")


@pytest.mark.proof
def test_what_an_interrupted_export_left_is_replaced(disk: Disk) -> None:
    disk.snapshot().attach()
    write_device(disk.attach(), b"new")
    export = disk.snapshot()
    assert read_device(export.attach(), 3) == b"new"
    export.ok("remove")
    run("zfs", "snapshot", f"{disk.dataset}@zfsext-export")
    disk.snapshot().ok("remove")


@pytest.mark.proof
def test_an_export_in_use_is_not_replaced(disk: Disk) -> None:
    with open(disk.snapshot().attach(), "rb"):
        said = disk.refused("snapshot", VOL_SNAPSHOT_NAME=f"{disk.name}.snap", VOL_SNAPSHOT_SIZE="64")
    assert "in use" in said


def test_a_disk_is_removed_with_its_export(disk: Disk) -> None:
    disk.snapshot().attach()
    disk.ok("remove")
    assert not any(disk.name in name for name in datasets())


def test_without_a_snapshot_there_is_no_export(disk: Disk) -> None:
    export = Disk(f"{disk.name}.snap")
    assert "is not on this node" in export.refused("attach")
    export.ok("remove")


@pytest.mark.proof
def test_a_clone_by_hand_is_no_export(disk: Disk) -> None:
    run("zfs", "snapshot", f"{disk.dataset}@mine")
    export = Disk(f"{disk.name}.snap")
    clone = f"{STANDBY}/{export.name}"
    run("zfs", "clone", f"{disk.dataset}@mine", clone)
    try:
        export.refused("attach")
        export.refused("remove")
        assert clone in datasets()
    finally:
        run("zfs", "destroy", clone)
    export.ok("remove")


def test_a_snapshot_of_that_name_on_a_dataset_that_is_not_ours_stays(disks: Callable[..., Disk]) -> None:
    foreign = disks()
    export = Disk(f"{foreign.name}.snap")
    run("zfs", "create", "-o", "canmount=off", foreign.dataset)
    run("zfs", "snapshot", f"{foreign.dataset}@zfsext-export")
    try:
        export.ok("remove")
        assert f"{foreign.dataset}@zfsext-export" in datasets()
    finally:
        run("zfs", "destroy", "-r", foreign.dataset)


def test_what_a_killed_remove_left_of_an_export_goes_with_the_next(disk: Disk) -> None:
    export = disk.snapshot()
    run("zfs", "destroy", export.dataset)
    assert f"{disk.dataset}@zfsext-export" in datasets()
    export.ok("remove")
    assert f"{disk.dataset}@zfsext-export" not in datasets()
