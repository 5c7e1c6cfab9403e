"""Attach under adverse conditions: never another file, never a second device, never a hidden directory."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MIB, PARENT, RUN, Disk, loops, read_device, run, start, together, write_device

pytestmark = pytest.mark.zfs


def test_fifty_attaches_at_once_give_one_device(disk: Disk) -> None:
    answers = together([start("attach", disk.name, {}) for _ in range(50)])
    assert {answer.code for answer in answers} == {0}
    assert len({answer.out for answer in answers}) == 1
    assert len([line for line in loops() if str(disk.image) in line]) == 1


@pytest.mark.proof
def test_several_disks_at_once(disks: Callable[..., Disk]) -> None:
    several = [disks() for _ in range(4)]
    assert {done.code for done in together([start("create", disk.name, {"VOL_SIZE": "64"}) for disk in several])} == {0}
    answers = together([start("attach", disk.name, {}) for disk in several])
    assert len({answer.out for answer in answers}) == 4
    assert {done.code for done in together([start("remove", disk.name, {}) for disk in several])} == {0}


def test_a_file_under_the_mount_point_is_not_taken_for_the_image(disk: Disk) -> None:
    os.makedirs(disk.directory)
    disk.image.write_bytes(bytes(64 * MIB))
    try:
        assert "not mounted and the directory is not empty" in disk.refused("attach")
        assert not any(str(disk.image) in line for line in loops())
    finally:
        disk.image.unlink()
    assert disk.attach()


def test_something_else_on_the_mount_point_is_refused(disk: Disk) -> None:
    os.makedirs(disk.directory)
    run("mount", "-t", "tmpfs", "none", disk.directory)
    try:
        assert "is mounted there" in disk.refused("attach")
    finally:
        run("umount", disk.directory)
    assert disk.attach()


@pytest.mark.proof
def test_a_dataset_mounted_by_hand_is_taken_as_it_is(disk: Disk) -> None:
    run("zfs", "mount", disk.dataset)
    assert disk.attach()


@pytest.mark.proof
@pytest.mark.proof
@pytest.mark.parametrize("options", [["--read-only"], ["--offset", "4096"], ["--sizelimit", "1048576"]])
def test_a_device_set_up_by_hand_in_another_way_is_refused(disk: Disk, options: list[str]) -> None:
    run("zfs", "mount", disk.dataset)
    by_hand = run("losetup", "--find", "--show", *options, str(disk.image))
    assert by_hand in disk.refused("attach")
    run("losetup", "-d", by_hand)
    assert disk.attach()


@pytest.mark.proof
def test_a_link_in_the_images_place_is_refused(disk: Disk) -> None:
    run("zfs", "mount", disk.dataset)
    disk.image.rename(disk.image.with_name("real.raw"))
    disk.image.symlink_to("real.raw")
    disk.refused("attach")
    disk.image.unlink()
    disk.image.with_name("real.raw").rename(disk.image)
    assert disk.attach()


@pytest.mark.proof
def test_a_parent_without_a_mount_point_is_told(disk: Disk) -> None:
    run("zfs", "set", "mountpoint=none", PARENT)
    try:
        assert f"zfs set mountpoint=/{PARENT} {PARENT}" in disk.refused("attach")
    finally:
        run("zfs", "set", f"mountpoint=/{PARENT}", PARENT)
    assert disk.attach()


@pytest.mark.proof
def test_a_read_only_dataset_is_refused(disk: Disk) -> None:
    run("zfs", "set", "readonly=on", disk.dataset)
    try:
        assert "Read-only" in disk.refused("attach")
    finally:
        run("zfs", "inherit", "readonly", disk.dataset)


@pytest.mark.proof
def test_loop0_is_a_device_like_any_other(disk: Disk) -> None:
    device = disk.attach()
    others = []
    while device != "/dev/loop0":
        others.append(device)
        disk.ok("detach")
        device = disk.attach()
        assert device not in others, "loop0 is taken by somebody else on this node"
    assert disk.attach() == "/dev/loop0"
    disk.ok("detach")


def test_a_warm_attach_forks_nothing_and_asks_zfs_nothing(disk: Disk, tmp_path: Path) -> None:
    disk.attach()
    trace = tmp_path / "trace"
    environ = {"PATH": "/usr/bin:/bin", "VOL_NAME": disk.name}
    subprocess.run(
        [
            "strace",
            "-f",
            "-o",
            str(trace),
            "-e",
            "trace=process,openat,ioctl",
            "/usr/share/ganeti/extstorage/zfsfile/attach",
        ],
        env=environ,
        check=True,
        capture_output=True,
    )
    text = trace.read_text(encoding="utf-8")
    assert text.count("execve(") == 1
    assert not any(word in text for word in ("clone", "fork(", "/dev/zfs", "libzfs", "subprocess", "ctypes"))


@pytest.mark.parametrize(
    "environ", [{}, {"PATH": ""}, {"HOME": "/nonexistent", "LC_ALL": "xx_YY", "PYTHONPATH": "/nonexistent"}]
)
def test_attach_does_not_depend_on_its_environment(disk: Disk, environ: dict[str, str]) -> None:
    done = subprocess.run(
        ["/usr/share/ganeti/extstorage/zfsfile/attach"],
        env=environ | {"VOL_NAME": disk.name},
        check=False,
        capture_output=True,
        text=True,
        umask=0o077,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("/dev/loop")


def test_a_mount_that_is_covered_is_not_taken_for_the_disk(disk: Disk) -> None:
    """Something is mounted over the parent, and has a file where the image should be."""
    disk.attach()
    note = Path(f"{RUN}/{disk.name}.attached")
    run("mount", "-t", "tmpfs", "cover", f"/{PARENT}")
    try:
        other = Path(disk.directory)
        other.mkdir()
        (other / "disk.raw").write_bytes(bytes(64 * MIB))
        note.unlink()
        assert "mounted over it" in disk.refused("attach")
        disk.ok("detach")
        assert not any(disk.name in loop for loop in loops())
    finally:
        run("umount", f"/{PARENT}")
    assert disk.attach()


def test_a_device_on_an_image_that_was_replaced_is_not_doubled(disk: Disk) -> None:
    device = disk.attach()
    write_device(device, b"guest")
    aside = disk.image.with_name("aside")
    disk.image.rename(aside)
    disk.image.write_bytes(bytes(64 * MIB))
    assert f"{device} is on another file" in disk.refused("attach")
    assert f"{device} is on another file" in disk.refused("open", VOL_OPEN_EXCLUSIVE="True")
    disk.ok("detach")
    assert not any(disk.name in loop for loop in loops())
    assert disk.attach()
    disk.ok("detach")


@pytest.mark.proof
def test_a_mount_point_behind_a_link(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    run("zfs", "set", f"mountpoint={tmp_path}/link/disk", disk.dataset)
    device = disk.attach()
    write_device(device, b"data")
    assert disk.attach() == device
    disk.ok("detach")
    assert read_device(disk.attach(), 4) == b"data"
