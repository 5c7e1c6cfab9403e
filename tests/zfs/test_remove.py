"""Remove takes the named volume and its snapshots, and nothing of anybody else's."""

import os
import subprocess
import time

import pytest
from conftest import PARENT, Disk, datasets, run

pytestmark = pytest.mark.zfs


def test_a_held_snapshot_stops_it_before_anything_is_gone(disk: Disk) -> None:
    run("zfs", "snapshot", f"{disk.dataset}@a")
    run("zfs", "snapshot", f"{disk.dataset}@b")
    run("zfs", "hold", "backup", f"{disk.dataset}@b")
    said = disk.refused("remove")
    assert f"{disk.dataset}@b is held (backup)" in said
    assert {f"{disk.dataset}@a", f"{disk.dataset}@b"} < datasets()
    assert disk.attach()
    run("zfs", "release", "backup", f"{disk.dataset}@b")
    disk.ok("remove")


@pytest.mark.proof
def test_a_clone_elsewhere_stops_it_before_anything_is_gone(disk: Disk) -> None:
    run("zfs", "snapshot", f"{disk.dataset}@a")
    run("zfs", "clone", f"{disk.dataset}@a", "zfs/mine")
    try:
        assert "has the clone zfs/mine" in disk.refused("remove")
        assert f"{disk.dataset}@a" in datasets()
    finally:
        run("zfs", "destroy", "zfs/mine")
    disk.ok("remove")


@pytest.mark.proof
def test_a_dataset_below_stops_it_before_anything_is_gone(disk: Disk) -> None:
    run("zfs", "snapshot", f"{disk.dataset}@a")
    run("zfs", "create", "-o", "canmount=off", f"{disk.dataset}/below")
    try:
        assert f"{disk.dataset}/below is below it" in disk.refused("remove")
        assert f"{disk.dataset}@a" in datasets()
    finally:
        run("zfs", "destroy", f"{disk.dataset}/below")
    disk.ok("remove")


def test_a_mount_in_another_namespace_stops_it_before_anything_is_gone(disk: Disk) -> None:
    disk.attach()
    run("zfs", "snapshot", f"{disk.dataset}@a")
    with subprocess.Popen(["unshare", "--mount", "sleep", "300"]) as other:
        try:
            while os.readlink(f"/proc/{other.pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
                time.sleep(0.05)
            disk.ok("detach")
            assert f"the mount namespace of pid {other.pid} (sleep)" in disk.refused("remove")
            assert f"{disk.dataset}@a" in datasets()
        finally:
            other.kill()
    disk.ok("remove")


def test_a_disk_with_a_longer_name_is_not_touched(disk: Disk) -> None:
    neighbours = [f"{PARENT}/{disk.name}0", f"{PARENT}/{disk.name}.x"]
    for name in neighbours:
        run("zfs", "create", "-o", "canmount=off", name)
    disk.ok("remove")
    assert set(neighbours) < datasets()
    for name in neighbours:
        run("zfs", "destroy", name)
