"""A disk goes back to a snapshot and comes forth again; nothing is lost, whenever it is killed."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MIB, STANDBY, Disk, datasets, loops, read_device, run, write_device
from killpoints import Point, kill, points, trace

pytestmark = pytest.mark.zfs

MONDAY, TUESDAY = (random.Random(seed).randbytes(MIB) for seed in (1, 2))  # noqa: S311 (the same each time)
TO = {"TO": "monday"}


def two_days(disk: Disk, **parameters: str) -> Disk:
    """Make the disk, with Monday's data in a snapshot and Tuesday's in it and in another; nobody uses it."""
    disk.create(**parameters)
    for day, data in (("monday", MONDAY), ("tuesday", TUESDAY)):
        write_device(disk.attach(), data)
        run("zfs", "snapshot", f"{disk.dataset}@{day}")
    disk.ok("detach")
    return disk


def holds(disk: Disk, data: bytes) -> bool:
    """Tell whether the disk holds that, and is left detached."""
    found = read_device(disk.attach(), MIB)
    disk.ok("detach")
    return found == data


def kept(disk: Disk) -> list[str]:
    return sorted(name for name in datasets(STANDBY) if f"{disk.name}.kept-" in name and "@" not in name)


@pytest.mark.proof
def test_back_and_forth(disks: Callable[..., Disk]) -> None:
    disk = two_days(disks(), recordsize="32K", compression="zstd")
    for setting in ("sync=always", "com.sun:auto-snapshot=false", "atime=on", "quota=4G"):
        run("zfs", "set", setting, disk.dataset)
    disk.ok("rollback", **TO)
    assert [disk.property(name) for name in ("sync", "com.sun:auto-snapshot", "atime")] == ["always", "false", "on"]
    assert "already" in disk.refused("rollback", **TO)  # also this is meant once
    disk.ok("open", VOL_OPEN_EXCLUSIVE="True")
    disk.ok("detach")
    assert disk.property("zfsext:unopened") == "-"
    assert holds(disk, MONDAY)
    assert (disk.property("recordsize"), disk.property("compression")) == ("32768", "zstd")
    assert kept(disk) == [f"{STANDBY}/{disk.name}.kept-0.1"]
    assert f"{kept(disk)[0]}@tuesday" in datasets()
    assert f"{disk.dataset}@monday" in datasets()
    assert disk.property("readonly") == "off"
    run("zfs", "inherit", "sync", disk.dataset)  # taken back while it is what it was on Monday
    run("zfs", "set", "quota=none", disk.dataset)
    disk.ok("rollback", BACK="")
    assert holds(disk, TUESDAY)
    assert [disk.property(name) for name in ("sync", "com.sun:auto-snapshot", "atime")] == ["standard", "false", "on"]
    assert "was undone already" in disk.refused("rollback", BACK="")  # who was cut off, and asks again, means it once
    assert holds(disk, TUESDAY)
    disk.ok("rollback", BACK="0.2")
    assert holds(disk, MONDAY)
    disk.ok("rollback", BACK="0.3")
    assert holds(disk, TUESDAY)
    disk.ok("rollback", DROP="")
    assert kept(disk) == []
    assert holds(disk, TUESDAY)
    assert {f"{disk.dataset}@monday", f"{disk.dataset}@tuesday"} <= datasets()


@pytest.mark.proof
def test_a_disk_that_was_grown_since_keeps_its_size(disks: Callable[..., Disk]) -> None:
    disk = two_days(disks())
    disk.grow(96)
    disk.ok("rollback", **TO)
    assert run("blockdev", "--getsize64", disk.attach()) == str(96 * MIB)
    assert read_device(disk.attach(), MIB) == MONDAY
    write_device(disk.attach(), TUESDAY, 95 * MIB)
    disk.ok("remove")
    assert not [name for name in datasets() if disk.name in name]


@pytest.mark.proof
def test_a_thick_disk_has_its_space_before_and_after(disks: Callable[..., Disk]) -> None:
    disk = two_days(disks(), reservation="thick")
    wanted = [disk.property(name) for name in ("refreservation", "refquota", "reservation")]
    disk.ok("rollback", **TO)
    assert [disk.property(name) for name in ("refreservation", "refquota", "reservation")] == wanted
    names = "refreservation,refquota,reservation"
    assert run("zfs", "get", "-Ho", "value", names, kept(disk)[0]).split() == ["none"] * 3
    assert holds(disk, MONDAY)
    available = int(run("zfs", "get", "-Hpo", "value", "available", STANDBY))
    run("zfs", "create", "-o", f"refreservation={available - 64 * MIB}", "zfs/filler")
    try:
        said = disk.refused("rollback", BACK="")
        assert "Make room" in said
        assert holds(disk, MONDAY)
    finally:
        run("zfs", "destroy", "zfs/filler")


@pytest.mark.proof
def test_what_stands_in_the_way_is_named(disks: Callable[..., Disk]) -> None:
    disk = two_days(disks())
    assert "similar are monday" in disk.refused("rollback", TO="mondy")
    assert "nothing is kept" in disk.refused("rollback", BACK="")
    with open(disk.attach(), "rb"):
        assert "gnt-instance stop" in disk.refused("rollback", **TO)
    export = disk.snapshot()
    assert "gnt-backup" in disk.refused("rollback", **TO)
    export.ok("remove")
    run("zfs", "hold", "mine", f"{disk.dataset}@tuesday")
    run("zfs", "clone", f"{disk.dataset}@tuesday", "zfs/mine")
    disk.ok("rollback", **TO)  # neither is in the way of what destroys nothing
    assert holds(disk, MONDAY)
    said = disk.refused("rollback", DROP="")
    assert "is held (mine)" in said
    assert "has the clone zfs/mine" in said
    assert len(kept(disk)) == 1
    disk.refused("remove")
    assert holds(disk, MONDAY)
    run("zfs", "release", "mine", f"{kept(disk)[0]}@tuesday")
    run("zfs", "destroy", "zfs/mine")
    assert disk.exists()


@pytest.mark.proof
@pytest.mark.parametrize("group", [False, True], ids=["alone", "with-all"])
def test_a_rollback_killed_anywhere_loses_nothing(
    disks: Callable[..., Disk], tmp_path: Path, capsys: pytest.CaptureFixture[str], group: bool
) -> None:
    disk, log = two_days(disks()), tmp_path / "strace"
    found = points(trace(log, "rollback", disk, TO))
    done = 0
    for point in found:
        disk.ok("remove")
        two_days(disk)
        kill(point, group, log, "rollback", disk, TO)
        done += survives(disk, point)
    assert 0 < done < len(found), "the transaction is somewhere in the middle"
    with capsys.disabled():
        print(f"\nkill points: rollback: {len(found)} of the kernel's")


def survives(disk: Disk, point: Point) -> bool:
    """See that the disk is whole after a kill, either as it was or gone back, and that all can be had; tell which."""
    assert not any("(deleted)" in line for line in loops()), point
    back = holds(disk, MONDAY)
    assert back or holds(disk, TUESDAY), point
    (disk.refused if back else disk.ok)("rollback", **TO)  # what was done already is not done again
    assert holds(disk, MONDAY), point
    assert len(kept(disk)) == 1, point
    disk.ok("rollback", BACK="0.1")
    assert holds(disk, TUESDAY), point
    disk.ok("rollback", DROP="")
    names = {name.removeprefix(disk.dataset) for name in datasets() if disk.name in name}
    assert names == {"", "@monday", "@tuesday"}, point
    return back


@pytest.mark.proof
def test_a_killed_back_that_is_asked_for_again_is_done_once(
    disks: Callable[..., Disk], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk, log = two_days(disks()), tmp_path / "strace"
    disk.ok("rollback", **TO)
    found = points(trace(log, "rollback", disk, {"BACK": ""}))
    for point in found:
        disk.ok("remove")
        two_days(disk).ok("rollback", **TO)
        kill(point, False, log, "rollback", disk, {"BACK": ""})
        disk.call("rollback", BACK="")  # it goes on, or says that it was finished, or was undone already
        assert holds(disk, TUESDAY), point
    with capsys.disabled():
        print(f"\nkill points: rollback --back: {len(found)} of the kernel's")


def test_a_few_points(disks: Callable[..., Disk], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another few for each commit."""
    seed = os.environ.get("ZFSEXT_SLICE", "")
    chance = random.Random(seed)  # noqa: S311 (a choice of tests is no secret)
    disk, log = two_days(disks()), tmp_path / "strace"
    found = points(trace(log, "rollback", disk, TO))
    for point in chance.sample(found, 2):
        disk.ok("remove")
        two_days(disk)
        kill(point, chance.random() < 0.5, log, "rollback", disk, TO)
        survives(disk, point)
    with capsys.disabled():
        print(f"\nkill points: 2 of rollback, ZFSEXT_SLICE={seed}")
