"""A disk from create to remove, and what each step leaves on the node."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MIB, PARENT, RUN, STANDBY, Disk, datasets, left, loops, mounts, read_device, run, write_device

pytestmark = pytest.mark.zfs


def test_create_makes_a_dataset_with_a_sparse_image(disk: Disk) -> None:
    assert disk.property("type") == "filesystem"
    assert disk.property("canmount") == "noauto"
    assert disk.property("zfsext:state") == "owner"
    assert disk.property("readonly", "source").startswith("default") or disk.property("readonly") == "off"
    assert disk.property("readonly", "source") != "local"
    assert disk.property("mountpoint", "source") == f"inherited from {PARENT}"
    assert disk.property("compression", "source") == f"inherited from {PARENT}"
    assert disk.dataset not in mounts()
    disk.attach()
    status = disk.image.stat()
    assert status.st_size == 64 * MIB
    assert status.st_blocks * 512 < MIB
    assert status.st_mode & 0o777 == 0o600


def test_create_leaves_nothing_but_the_disk(disks: Callable[..., Disk], before: dict[str, set[str]]) -> None:
    disk = disks().create()
    after = left()
    after["notes"].discard(f"{disk.name}.lock")
    assert after.pop("datasets") - before["datasets"] == {disk.dataset}
    assert after == {name: found for name, found in before.items() if name != "datasets"}


def test_parameters_arrive(disks: Callable[..., Disk]) -> None:
    disk = disks().create(recordsize="32K", compression="zstd-3", dataset=PARENT, reservation="thick")
    assert disk.property("recordsize") == "32768"
    assert disk.property("recordsize", "source") == "local"
    assert disk.property("compression") == "zstd-3"
    assert int(disk.property("refreservation")) > 64 * MIB
    disk.attach()
    assert disk.image.stat().st_blksize == 32768


def test_attach_gives_a_block_device_of_exactly_the_disks_size(disk: Disk) -> None:
    device = disk.attach()
    assert Path(device).is_block_device()
    assert run("blockdev", "--getsize64", device) == str(64 * MIB)
    assert run(
        "losetup", "--noheadings", "--output", "BACK-FILE,RO,AUTOCLEAR,DIO,OFFSET,SIZELIMIT", device
    ).split() == [
        str(disk.image),
        *"00000",
    ]
    assert disk.dataset in mounts()


def test_attach_again_gives_the_same_device(disk: Disk) -> None:
    device = disk.attach()
    assert [disk.attach() for _ in range(3)] == [device] * 3
    assert disk.ok("open", VOL_OPEN_EXCLUSIVE="True") == ""
    assert len([line for line in loops() if str(disk.image) in line]) == 1


@pytest.mark.proof
def test_attach_finds_the_device_without_its_note(disk: Disk) -> None:
    device = disk.attach()
    Path(f"{RUN}/{disk.name}.attached").unlink()
    assert disk.attach() == device


@pytest.mark.proof
@pytest.mark.parametrize("note", ["", "/dev/loop0\n", "/dev/null\nzfs/vm/x\n1\n/etc/passwd\n", "x\ny\nz\nw\n"])
def test_attach_does_not_believe_a_wrong_note(disk: Disk, note: str) -> None:
    device = disk.attach()
    Path(f"{RUN}/{disk.name}.attached").write_text(note, encoding="utf-8")
    assert disk.attach() == device


def test_what_was_written_is_there_after_detach_and_attach(disk: Disk) -> None:
    data = os.urandom(MIB)
    write_device(disk.attach(), data, 5 * MIB)
    disk.ok("detach")
    assert not any(disk.name in line for line in loops())
    assert disk.dataset not in mounts()
    assert read_device(disk.attach(), MIB, 5 * MIB) == data


@pytest.mark.proof
def test_detach_again_is_no_error(disk: Disk) -> None:
    disk.attach()
    disk.ok("detach")
    disk.ok("detach")


@pytest.mark.proof
def test_setinfo_keeps_the_instances_name(disk: Disk) -> None:
    disk.ok("setinfo", VOL_METADATA="originstname+web1.example.com")
    assert disk.property("zfsext:instance") == "web1.example.com"
    disk.ok("setinfo", VOL_METADATA="originstname+web2.example.com")
    assert disk.property("zfsext:instance") == "web2.example.com"


def test_remove_takes_everything_and_can_be_repeated(disk: Disk, before: dict[str, set[str]]) -> None:
    write_device(disk.attach(), b"data")
    run("zfs", "snapshot", f"{disk.dataset}@autosnap_2026-01-01_daily")
    disk.ok("remove")
    assert left() == before
    disk.ok("remove")


def test_an_unknown_disk_is_an_error_for_all_but_detach_and_remove(disks: Callable[..., Disk]) -> None:
    disk = disks()
    assert "is not on this node" in disk.refused("attach")
    assert "is not on this node" in disk.refused("open", VOL_OPEN_EXCLUSIVE="True")
    assert "is not on this node" in disk.refused("grow", VOL_SIZE="64", VOL_NEW_SIZE="128")
    assert "is not on this node" in disk.refused("setinfo", VOL_METADATA="originstname+web1")
    assert "is not on this node" in disk.refused("close")
    disk.ok("detach")
    disk.ok("remove")
    assert not any(disk.name in name for name in datasets())


def test_close_without_a_word_takes_the_device_and_gives_nothing_away(disk: Disk) -> None:
    write_device(disk.attach(), b"data")
    disk.ok("close")
    assert disk.property("zfsext:state") == "owner"
    assert not any(disk.name in line for line in loops())
    assert read_device(disk.attach(), 4) == b"data"


@pytest.mark.proof
def test_a_shared_open_is_refused(disk: Disk) -> None:
    disk.attach()
    assert "live migration" in disk.refused("open", VOL_OPEN_EXCLUSIVE="False")


def test_verify_says_whether_the_node_can_have_disks(disk: Disk) -> None:
    assert "can have zfsfile disks" in disk.call("verify").err
    assert "recordsize" in disk.refused("verify", EXTP_RECORDSIZE="3000")


def test_a_disk_survives_its_node(disk: Disk) -> None:
    data = os.urandom(MIB)
    write_device(disk.attach(), data)
    disk.ok("detach")
    run("zpool", "export", "zfs")
    assert "not imported" in disk.refused("attach")
    assert "not imported" in disk.refused("remove")
    run("zpool", "import", "zfs")
    assert read_device(disk.attach(), MIB) == data


def test_a_missing_parent_is_not_a_missing_disk(disk: Disk) -> None:
    run("zfs", "rename", PARENT, f"{PARENT}-away")
    try:
        assert f"{PARENT} does not exist" in disk.refused("attach")
        assert f"zfs create -o mountpoint=/{PARENT}" in disk.refused("remove")
    finally:
        run("zfs", "rename", f"{PARENT}-away", PARENT)
    assert disk.attach()


@pytest.mark.proof
def test_a_missing_standby_parent_is_told(disk: Disk) -> None:
    run("zfs", "rename", STANDBY, f"{STANDBY}-away")
    try:
        assert f"{STANDBY} does not exist" in disk.refused("create", VOL_SIZE="64")
        assert disk.attach(), "a disk that is there needs no more than that"
    finally:
        run("zfs", "rename", f"{STANDBY}-away", STANDBY)
