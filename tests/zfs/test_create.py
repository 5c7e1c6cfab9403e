"""What create refuses, and what it makes of an earlier create that was interrupted."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MIB, PARENT, RUN, STANDBY, Disk, datasets, read_device, run, write_device

pytestmark = pytest.mark.zfs


def test_a_disk_that_is_there_is_refused_and_keeps_its_data(disk: Disk) -> None:
    data = os.urandom(MIB)
    write_device(disk.attach(), data)
    assert "already" in disk.refused("create", VOL_SIZE="64")
    disk.ok("detach")
    said = disk.refused("create", VOL_SIZE="64")
    assert "gnt-instance modify --new-primary" in said
    assert read_device(disk.attach(), MIB) == data


@pytest.mark.proof
def test_a_disk_that_is_attached_is_refused_even_when_it_is_empty(disk: Disk) -> None:
    disk.attach()
    assert "already" in disk.refused("create", VOL_SIZE="64")


@pytest.mark.proof
def test_a_disk_with_a_snapshot_is_refused(disk: Disk) -> None:
    run("zfs", "snapshot", f"{disk.dataset}@mine")
    assert "already" in disk.refused("create", VOL_SIZE="64")


def test_a_create_that_was_killed_after_its_last_step_is_done(disk: Disk) -> None:
    guid = disk.property("guid")
    disk.ok("create", VOL_SIZE="64")
    assert disk.property("guid") == guid
    assert "already" in disk.refused("create", VOL_SIZE="128")
    assert "already" in disk.refused("create", VOL_SIZE="64", EXTP_RECORDSIZE="4K")
    assert "already" in disk.refused("create", VOL_SIZE="64", EXTP_RESERVATION="thick")


@pytest.mark.proof
@pytest.mark.parametrize("state", ["creating", "owner"])
def test_a_half_made_disk_is_made_anew(disks: Callable[..., Disk], state: str) -> None:
    disk = disks()
    half = f"{STANDBY}/{disk.name}.new"
    run("zfs", "create", "-o", f"zfsext:state={state}", "-o", "canmount=noauto", half)
    run("zfs", "snapshot", f"{half}@auto")
    assert "not on this node" in disk.refused("attach") or "cannot be opened" in disk.refused("attach")
    disk.create()
    assert half not in datasets()
    assert disk.attach()


@pytest.mark.proof
def test_a_live_disk_that_was_renamed_to_the_place_of_one_in_the_making_is_not_destroyed(disk: Disk) -> None:
    disk.ok("setinfo", VOL_METADATA="originstname+web1")
    write_device(disk.attach(), b"data")
    disk.ok("detach")
    run("zfs", "rename", disk.dataset, f"{STANDBY}/{disk.name}.new")
    disk.refused("create", VOL_SIZE="64")
    disk.refused("remove")
    run("zfs", "rename", f"{STANDBY}/{disk.name}.new", disk.dataset)
    assert read_device(disk.attach(), 4) == b"data"


def test_a_half_made_disk_can_be_removed(disks: Callable[..., Disk]) -> None:
    disk = disks()
    run("zfs", "create", "-o", "zfsext:state=creating", "-o", "canmount=noauto", f"{STANDBY}/{disk.name}.new")
    disk.ok("remove")
    assert not any(disk.name in name for name in datasets())


@pytest.mark.proof
def test_what_a_power_cut_left_without_properties_is_made_anew_if_it_is_empty(disks: Callable[..., Disk]) -> None:
    for options in (["-o", "canmount=noauto"], ["-o", "mountpoint=/mnt/half-made"]):  # not mounted, and mounted at boot
        disk = disks()
        new = f"{STANDBY}/{disk.name}.new"
        run("zfs", "create", *options, new)
        disk.create()
        assert new not in datasets()
    disk = disks()
    run("zfs", "create", "-o", "mountpoint=/mnt/half-made", "-o", "readonly=off", f"{STANDBY}/{disk.name}.new")
    Path("/mnt/half-made/letter").touch()
    assert "was not made by zfsext" in disk.refused("create", VOL_SIZE="64")
    assert "was left alone" in disk.refused("remove")
    assert Path("/mnt/half-made/letter").exists()
    run("zfs", "destroy", f"{STANDBY}/{disk.name}.new")
    Path("/mnt/half-made").rmdir()


@pytest.mark.proof
@pytest.mark.parametrize("place", [PARENT, STANDBY])
def test_a_dataset_that_is_not_ours_is_left_alone(disks: Callable[..., Disk], place: str) -> None:
    disk = disks()
    foreign = f"{place}/{disk.name}"
    run("zfs", "create", foreign)
    try:
        assert foreign in disk.refused("create", VOL_SIZE="64")
        assert foreign in disk.refused("attach")
        assert foreign in disk.refused("remove")
        assert foreign in datasets()
    finally:
        run("zfs", "destroy", foreign)


@pytest.mark.proof
def test_a_copy_that_was_sent_with_its_properties_is_no_disk(disk: Disk, disks: Callable[..., Disk]) -> None:
    copy = disks()
    run("zfs", "snapshot", f"{disk.dataset}@sent")
    run("sh", "-c", f"zfs send -p {disk.dataset}@sent | zfs receive {copy.dataset}")
    try:
        assert run("zfs", "get", "-Ho", "value", "zfsext:state", copy.dataset) == "owner"
        assert "cannot be opened" in copy.refused("attach")
        assert "left alone" in copy.refused("remove")
    finally:
        run("zfs", "destroy", "-r", copy.dataset)


@pytest.mark.proof
def test_a_state_that_is_inherited_does_not_count(disks: Callable[..., Disk]) -> None:
    disk = disks()
    run("zfs", "set", "zfsext:state=owner", PARENT)
    run("zfs", "create", disk.dataset)
    try:
        assert "cannot be opened" in disk.refused("attach")
        assert "left alone" in disk.refused("remove")
    finally:
        run("zfs", "inherit", "zfsext:state", PARENT)
        run("zfs", "destroy", disk.dataset)


def test_a_create_that_fails_half_way_leaves_nothing(disks: Callable[..., Disk], before: dict[str, set[str]]) -> None:
    """The dataset is made, and then cannot be mounted: something is in the place."""
    disk = disks()
    place = Path(f"{RUN}/{disk.name}.new")
    place.mkdir()
    (place / "somebody's").touch()
    said = disk.refused("create", VOL_SIZE="64")
    assert "not empty" in said
    assert datasets() == before["datasets"]
    (place / "somebody's").unlink()
    disk.create()
    assert disk.attach()


@pytest.mark.parametrize(
    "parameter",
    [{"EXTP_RECORDSIZE": "3000"}, {"EXTP_COMPRESSION": "best"}, {"EXTP_DATASET": "zfs"}, {"EXTP_RECORD-SIZE": "4K"}],
)
def test_a_wrong_parameter_is_refused_before_anything_is_made(
    disks: Callable[..., Disk], before: dict[str, set[str]], parameter: dict[str, str]
) -> None:
    disk = disks()
    said = disk.refused("create", VOL_SIZE="64", **parameter)
    assert next(iter(parameter)).removeprefix("EXTP_").lower() in said
    assert datasets() == before["datasets"]


@pytest.mark.proof
def test_a_pool_that_is_not_there_is_told(disks: Callable[..., Disk], configured: Callable[[str], None]) -> None:
    disk = disks()
    configured("[zfsext]\ndataset = nopool/vm\n")
    for action in ("create", "attach", "remove"):
        assert "pool nopool is not imported" in disk.refused(action, VOL_SIZE="64")
    configured("[zfsext]\ndataset = zfs/none\n")
    assert "zfs/none does not exist" in disk.refused("create", VOL_SIZE="64")
    configured("[zfsext]\nparent = zfs/vm\n")
    assert "unknown entries" in disk.refused("create", VOL_SIZE="64")
    configured("[zfsext]\ndataset = zfs/vm\n")


@pytest.mark.proof
def test_a_disk_in_a_second_parent_is_found_by_its_name(
    disks: Callable[..., Disk], configured: Callable[[str], None]
) -> None:
    disk = disks()
    for name in ("zfs/other", "zfs/other-standby"):
        run("zfs", "create", "-o", "canmount=off", name)
    configured("[zfsext]\ndataset = zfs/vm zfs/other nopool/vm\n")
    try:
        assert "pool nopool is not imported" in disk.refused("create", VOL_SIZE="64", EXTP_DATASET="zfs/other")
        configured("[zfsext]\ndataset = zfs/vm zfs/other\n")
        disk.create(dataset="zfs/other")
        assert f"zfs/other/{disk.name}" in datasets("zfs/other")
        configured("[zfsext]\ndataset = zfs/vm zfs/other nopool/vm\n")
        device = disk.attach()  # found where it is, though not all pools are there
        assert disk.ok("attach", EXTP_DATASET="zfs/vm") == f"{device}\n"
        configured("[zfsext]\ndataset = zfs/vm zfs/other\n")
        assert "already" in disk.refused("create", VOL_SIZE="64")
        configured("[zfsext]\ndataset = zfs/vm\n")
        for action in ("detach", "remove"):
            assert f"zfs/other/{disk.name}: its parent is missing" in disk.refused(action)
        configured("[zfsext]\ndataset = zfs/vm zfs/other\n")
        assert disk.attach() == device
        disk.ok("remove")
    finally:
        for name in ("zfs/other", "zfs/other-standby"):
            run("zfs", "destroy", "-r", name)
        configured("[zfsext]\ndataset = zfs/vm\n")
