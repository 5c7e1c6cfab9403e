"""Detach is done only when the kernel shows it done; whoever is in the way is named."""

import contextlib
import subprocess
from collections.abc import Iterator

import pytest
from conftest import MIB, Disk, loops, mounts, run, write_device

pytestmark = pytest.mark.zfs


@contextlib.contextmanager
def held_open(path: str) -> Iterator[int]:
    """Let a process of its own have the file open, and give its pid."""
    with open(path, "rb") as file:
        holder = subprocess.Popen(["sleep", "600"], stdin=file)
    try:
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()


def autoclear(device: str) -> str:
    return run("losetup", "--noheadings", "--output", "AUTOCLEAR", device)


def test_an_open_device_stays_and_its_holder_is_named(disk: Disk) -> None:
    device = disk.attach()
    with held_open(device) as pid:
        assert f"pid {pid} (sleep)" in disk.refused("detach")
        assert autoclear(device) == "0"
        assert disk.attach() == device
        assert "in use" in disk.refused("remove")
    assert autoclear(device) == "0", "the device must outlive a user who only came and went"
    disk.ok("detach")


@pytest.mark.proof
def test_partitions_mapped_by_kpartx_are_holders(disk: Disk) -> None:
    device = disk.attach()
    run("parted", "-s", device, "mklabel", "msdos", "mkpart", "primary", "1MiB", "32MiB")
    run("kpartx", "-as", device)
    try:
        assert "dm-" in disk.refused("detach")
        assert "dm-" in disk.refused("remove")
    finally:
        run("kpartx", "-d", device)
    disk.ok("detach")


@pytest.mark.proof
def test_a_mounted_file_system_is_a_holder(disk: Disk) -> None:
    device = disk.attach()
    run("mkfs.ext4", "-q", device)
    run("mount", device, "/mnt")
    try:
        assert "a mount on /mnt" in disk.refused("detach")
    finally:
        run("umount", "/mnt")
    disk.ok("detach")


@pytest.mark.proof
def test_a_volume_group_inside_that_somebody_activated_is_a_holder(disk: Disk) -> None:
    device = disk.attach()
    run("pvcreate", "-q", device)
    run("vgcreate", "-q", "guestvg", device)
    run("lvcreate", "-q", "-n", "lv", "-L", "8M", "guestvg")
    try:
        assert "guestvg-lv" in disk.refused("detach")
    finally:
        run("vgchange", "-an", "guestvg")
    disk.ok("detach")


def test_somebody_in_the_directory_does_not_keep_the_device(disk: Disk) -> None:
    disk.attach()
    holder = subprocess.Popen(["sleep", "600"], cwd=disk.directory)
    try:
        done = disk.call("detach")
        assert done.code == 0
        assert f"pid {holder.pid} (sleep)" in done.err
        assert not any(str(disk.image) in line for line in loops())
        assert disk.dataset in mounts()
        said = disk.refused("remove")
        assert f"pid {holder.pid} (sleep)" in said
        assert disk.exists()
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.proof
def test_another_mount_namespace_is_named_as_the_holder(disk: Disk) -> None:
    disk.attach()
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 600"]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    try:
        said = disk.refused("remove")
        assert f"pid {holder.pid} (sleep)" in said
        assert disk.exists()
    finally:
        holder.kill()
        holder.communicate()
    disk.ok("remove")


@pytest.mark.parametrize("kind", ["lvm", "mdadm"])
def test_what_is_inside_a_guests_disk_stays_inside(disk: Disk, kind: str) -> None:
    device = disk.attach()
    if kind == "lvm":
        run("pvcreate", "-q", device)
        run("vgcreate", "-q", "guestvg", device)
        run("lvcreate", "-q", "-n", "lv", "-L", "8M", "guestvg")
        run("vgchange", "-an", "guestvg")
    else:
        command = [
            "mdadm",
            "--create",
            "/dev/md77",
            "--run",
            "--level=1",
            "--raid-devices=2",
            "--metadata=1.2",
            device,
            "missing",
        ]
        run(*command)
        run("mdadm", "--stop", "/dev/md77")
    disk.ok("detach")
    for _ in range(2):
        device = disk.attach()
        run("udevadm", "trigger", "--settle", device)
        run("udevadm", "settle")
        assert "guestvg" not in run("dmsetup", "ls")
        assert "active" not in run("sh", "-c", "cat /proc/mdstat 2>/dev/null || true")
        write_device(device, b"x", 60 * MIB)
        run("udevadm", "settle")
        assert "guestvg" not in run("dmsetup", "ls")
        disk.ok("detach")
