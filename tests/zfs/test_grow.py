"""A disk only ever grows, and its device with it."""

import os
from collections.abc import Callable

import pytest
from conftest import MIB, Disk, read_device, run, write_device

pytestmark = pytest.mark.zfs


RESERVED = "reservation,refquota,refreservation"


def size(device: str) -> int:
    return int(run("blockdev", "--getsize64", device)) // MIB


def test_an_attached_disk_grows_under_its_user(disk: Disk) -> None:
    device = disk.attach()
    data = os.urandom(MIB)
    write_device(device, data, 63 * MIB)
    with open(device, "rb") as user:
        disk.grow(128)
        assert user.seek(0, os.SEEK_END) == 128 * MIB
    assert (size(device), disk.image.stat().st_size) == (128, 128 * MIB)
    assert disk.attach() == device
    assert read_device(device, MIB, 63 * MIB) == data
    assert read_device(device, MIB, 127 * MIB) == bytes(MIB)


def test_a_detached_disk_grows(disk: Disk) -> None:
    disk.grow(100)
    assert size(disk.attach()) == 100


@pytest.mark.proof
def test_a_grow_can_be_repeated(disk: Disk) -> None:
    disk.grow(128)
    disk.grow(128)
    assert size(disk.attach()) == 128


@pytest.mark.proof
def test_a_device_that_missed_the_grow_is_refreshed_by_attach(disk: Disk) -> None:
    device = disk.attach()
    os.truncate(disk.image, 128 * MIB)
    os.unlink(f"/run/zfsext/{disk.name}.attached")
    assert disk.attach() == device
    assert size(device) == 128


def test_a_disk_does_not_shrink(disk: Disk) -> None:
    disk.grow(128)
    assert "cannot shrink" in disk.refused("grow", VOL_SIZE="128", VOL_NEW_SIZE="64")
    assert size(disk.attach()) == 128


@pytest.mark.proof
def test_a_thick_disks_reservation_grows_first(disks: Callable[..., Disk]) -> None:
    disk = disks().create(reservation="thick")
    disk.grow(128)
    assert int(disk.property("refreservation")) > 128 * MIB
    too_much = int(run("zfs", "get", "-Hpo", "value", "available", "zfs")) // MIB + 10_000
    before = run("zfs", "get", "-Hpo", "value", RESERVED, disk.dataset)
    assert "reservation" in disk.refused("grow", VOL_SIZE="128", VOL_NEW_SIZE=str(too_much))
    assert run("zfs", "get", "-Hpo", "value", RESERVED, disk.dataset) == before
    assert size(disk.attach()) == 128
