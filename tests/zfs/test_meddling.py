"""Hands on a disk while it is attached: a parent renamed, a second device, a directory over its own, an open file."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import (
    MIB,
    PARENT,
    RUN,
    STANDBY,
    Disk,
    datasets,
    loops,
    read_device,
    run,
    start,
    together,
    write_device,
)

pytestmark = pytest.mark.zfs

@contextlib.contextmanager
def sleeper(directory: str = "/", opened: str = os.devnull, seconds: int = 600) -> Iterator["subprocess.Popen[bytes]"]:
    """Let a process of its own be in the directory and have the file open."""
    with open(opened, "rb") as file:
        process = subprocess.Popen(["sleep", str(seconds)], cwd=directory, stdin=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def removed_in_the_end(disk: Disk) -> list[str]:
    """Remove as Ganeti does, again and again, and return what was said each time that it could not be."""
    said: list[str] = []
    for _ in range(12):
        done = disk.call("remove")
        if done.code == 0:
            return said
        said.append(done.err)
    raise AssertionError(said)


@pytest.mark.proof
@pytest.mark.parametrize("how", ["in the directory", "a file", "the image"])
def test_a_remove_that_is_repeated_succeeds_when_whoever_was_there_has_left(disk: Disk, how: str) -> None:
    write_device(disk.attach(), b"data")
    run("zfs", "snapshot", f"{disk.dataset}@daily")
    note = Path(disk.directory, "note")
    note.touch()
    directory, opened = {
        "in the directory": (disk.directory, os.devnull),
        "a file": ("/", str(note)),
        "the image": ("/", str(disk.image)),
    }[how]
    with sleeper(directory, opened, seconds=25) as holder:
        first = disk.refused("remove")
        assert f"pid {holder.pid} (sleep)" in first
        assert f"{disk.dataset}@daily" in datasets()
        for said in removed_in_the_end(disk):
            assert f"pid {holder.pid}" in said or "try again" in said or "somebody" in said, said


def test_a_disk_whose_parent_was_renamed_under_it_is_not_said_to_be_detached(disk: Disk) -> None:
    device = disk.attach()
    write_device(device, b"data")
    run("zfs", "rename", "-u", PARENT, f"{PARENT}-away")
    try:
        for action in ("detach", "remove"):
            said = disk.refused(action)
            assert PARENT in said
        assert any(line.startswith(f"{device} ") for line in loops())
    finally:
        run("zfs", "rename", "-u", f"{PARENT}-away", PARENT)
    assert disk.attach() == device
    assert read_device(device, 4) == b"data"
    disk.ok("detach")
    assert not any(line.startswith(f"{device} ") for line in loops())


@pytest.mark.proof
def test_a_mount_point_with_another_directory_on_it_gives_no_other_image(disk: Disk, tmp_path: Path) -> None:
    device = disk.attach()
    write_device(device, b"data")
    (tmp_path / "disk.raw").write_bytes(bytes(64 * MIB))
    run("mount", "--bind", str(tmp_path), disk.directory)
    try:
        assert "is mounted there" in disk.refused("attach")
        assert "is mounted there" in disk.refused("open", VOL_OPEN_EXCLUSIVE="True")
        assert "is mounted there" in disk.refused("grow", VOL_SIZE="64", VOL_NEW_SIZE="128")
        assert (tmp_path / "disk.raw").stat().st_size == 64 * MIB
        assert "mounted over it" in disk.call("detach").err
        assert not any(line.startswith(f"{device} ") for line in loops())
        assert "mounted over it" in disk.refused("remove")
        assert disk.exists()
    finally:
        run("umount", disk.directory)
    assert read_device(disk.attach(), 4) == b"data"


def test_a_second_device_on_the_image_is_refused_and_detached_with_the_first(disk: Disk) -> None:
    device = disk.attach()
    second = run("losetup", "--find", "--show", str(disk.image))
    Path(f"{RUN}/{disk.name}.attached").unlink()
    said = disk.refused("attach")
    assert device in said
    assert second in said
    with sleeper(opened=second) as holder:
        assert f"pid {holder.pid} (sleep)" in disk.refused("detach")
        assert f"pid {holder.pid} (sleep)" in disk.refused("remove")
    disk.ok("detach")
    assert not any(str(disk.image) in line for line in loops())


@pytest.mark.proof
def test_something_else_in_the_place_of_the_control_device_is_told(disk: Disk) -> None:
    run("mount", "--bind", os.devnull, "/dev/loop-control")
    try:
        assert "no loop device could be set up" in disk.refused("attach")
        assert not any(disk.name in line for line in loops())
    finally:
        run("umount", "/dev/loop-control")
    device = disk.attach()
    run("mount", "--bind", os.devnull, "/dev/loop-control")
    try:
        assert disk.attach() == device, "a disk that stands needs no new device"
        disk.ok("detach")
    finally:
        run("umount", "/dev/loop-control")


def test_two_creates_at_once_make_one_disk(disks: Callable[..., Disk]) -> None:
    disk = disks()
    done = together([start("create", disk.name, {"VOL_SIZE": size}) for size in ("64", "128")])
    assert sorted(each.code for each in done) == [0, 1], done
    size = (64, 128)[[each.code for each in done].index(0)]
    assert "already" in "".join(each.err for each in done)
    assert run("blockdev", "--getsize64", disk.attach()) == str(size * MIB)
    assert {name for name in datasets() if disk.name in name} == {disk.dataset}


@pytest.mark.proof
def test_an_export_its_remove_and_the_disks_remove_at_once_leave_nothing(disks: Callable[..., Disk]) -> None:
    disk = disks().create()
    export = Disk(f"{disk.name}.snap")
    variables = {"VOL_SNAPSHOT_NAME": export.name, "VOL_SNAPSHOT_SIZE": "64"}
    wanted = [("snapshot", disk.name, variables), ("remove", disk.name, {}), ("remove", export.name, {})]
    made, *gone = together([start(*each) for each in wanted])
    assert [each.code for each in gone] == [0, 0], gone
    assert made.code == 0 or "is not on this node" in made.err
    disk.ok("remove")
    assert not any(disk.name in name for name in datasets(PARENT, STANDBY))
