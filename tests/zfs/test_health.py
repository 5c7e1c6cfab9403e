"""What a fault leaves behind is named by zfsext health, and what that says to type clears it away."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import MIB, PARENT, STANDBY, Disk, datasets, run, write_device
from killed import Life, thick

pytestmark = pytest.mark.zfs
STATUS = ("ok", "warning", "critical", "unknown")


def health(*options: str) -> list[dict[str, Any]]:
    """Return all findings, having seen that the exit code is that of the worst."""
    done = subprocess.run(["zfsext", "health", "--json", *options], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert STATUS[done.returncode] == said["status"]
    found: list[dict[str, Any]] = said["findings"]
    return found


def named(kind: str, of: str, *options: str) -> dict[str, Any]:
    """Return the one finding of this kind with this in its subject or its words."""
    found = [each for each in health(*options) if each["kind"] == kind and of in each["subject"] + each["what"]]
    assert len(found) == 1, health(*options)
    return found[0]


def typed(finding: dict[str, Any]) -> None:
    """Type what a finding says, and see that it is gone."""
    run("sh", "-c", finding["command"])
    assert not [each for each in health() if (each["kind"], each["subject"]) == (finding["kind"], finding["subject"])]


def cut(name: str, call: str, disk: Disk, log: Path) -> Life:
    """Let a scenario's script die at the last point whose call has this in it."""
    life = Life(name, disk, log)
    life.rehearse()
    (*_, point) = [point for point in life.points if call in point.before]
    life.begin()
    life.kill(point, True)
    return life


def test_a_sound_disk_is_no_finding_but_an_orphan(disk: Disk) -> None:
    """No instance of the cluster has any of the disks here, so each is one."""
    assert [each["kind"] for each in health()] == ["orphan"]
    disk.attach()
    assert [each["kind"] for each in health()] == ["orphan"]
    finding = named("orphan", disk.name)
    assert finding["severity"] == "warning"
    disk.ok("detach")
    typed(finding)
    assert not disk.exists()


def test_what_a_killed_create_left_is_half_made(disks: Callable[..., Disk], tmp_path: Path) -> None:
    life = cut("create", "CHANNEL_PROGRAM", disks(), tmp_path / "strace")
    assert f"{STANDBY}/{life.disk.name}.new" in datasets()
    typed(named("half-made", life.disk.name))
    assert not any(life.disk.name in name for name in datasets())


@pytest.mark.proof
def test_what_a_power_cut_left_of_a_create_is_half_made(disks: Callable[..., Disk]) -> None:
    disk = disks()
    run("zfs", "create", "-o", "canmount=noauto", f"{STANDBY}/{disk.name}.new")
    typed(named("half-made", disk.name))
    assert not any(disk.name in name for name in datasets())


@pytest.mark.proof
@pytest.mark.parametrize("call", ["ZFS_IOC_CLONE", "exit_group"])
def test_what_a_killed_snapshot_left(disk: Disk, tmp_path: Path, call: str) -> None:
    cut("snapshot", call, disk, tmp_path / "strace")
    for finding in [each for each in health() if each["kind"] == "export-left"]:
        typed(finding)
    Disk(f"{disk.name}.snap").ok("remove")  # for its lock's file
    assert not any("export" in name or name.endswith(".snap") for name in datasets())


def test_a_thick_grow_that_was_killed_is_to_run_again(disks: Callable[..., Disk]) -> None:
    disk = disks()
    thick(disk)
    reserved = disk.property("reservation")
    disk.attach()  # which sets aside what is missing, so it is taken away after that
    run("zfs", "set", f"reservation={int(reserved) - MIB}", disk.dataset)
    typed(named("reservation", disk.name))
    assert disk.property("reservation") == reserved


@pytest.mark.proof
def test_a_grow_that_was_killed_before_it_noted_the_size(disks: Callable[..., Disk], tmp_path: Path) -> None:
    life = cut("grow", "exit_group", disks(), tmp_path / "strace")
    run("zfs", "set", "zfsext:size=64", life.disk.dataset)
    typed(named("size", life.disk.name))
    assert life.disk.property("zfsext:size") == "96"


def test_a_device_that_is_not_the_disks_is_leaked(disk: Disk) -> None:
    device = disk.attach()
    run("losetup", "-d", device)
    other = run("losetup", "--find", "--show", "--read-only", str(disk.image))
    assert named("loop-leaked", other)["severity"] == "warning"
    typed(named("loop-leaked", other))


@pytest.mark.proof
def test_two_devices_on_an_image_are_named(disk: Disk) -> None:
    device = disk.attach()
    other = run("losetup", "--find", "--show", str(disk.image))
    assert other in named("loop-leaked", disk.name)["what"]
    assert device in named("loop-leaked", disk.name)["what"]
    run("losetup", "-d", other)


@pytest.mark.proof
def test_a_device_on_an_image_that_was_replaced_is_leaked_and_its_data_saved_first(disk: Disk) -> None:
    device = disk.attach()
    disk.image.rename(disk.image.with_suffix(".old"))
    run("cp", "--sparse=always", str(disk.image.with_suffix(".old")), str(disk.image))
    finding = named("loop-leaked", device)
    assert finding["command"] == f"fuser -v {device}"
    assert f"dd if={device}" in finding["what"]
    run("losetup", "-d", device)
    assert not [each for each in health() if each["kind"] == "loop-leaked"]


@pytest.mark.proof
def test_a_mount_that_an_attach_left_is_told(disk: Disk, tmp_path: Path) -> None:
    life = cut("attach", "LOOP_CONFIGURE", disk, tmp_path / "strace")
    typed(named("mounted-idle", life.disk.name))


def test_a_hold_is_told_with_how_to_release_it(disk: Disk) -> None:
    run("zfs", "snapshot", f"{disk.dataset}@kept")
    run("zfs", "hold", "backup tool", f"{disk.dataset}@kept")
    finding = named("hold", disk.name)
    assert finding["severity"] == "notice"
    typed(finding)


@pytest.mark.proof
def test_a_partial_receive_is_told(disk: Disk, disks: Callable[..., Disk]) -> None:
    write_device(disk.attach(), os.urandom(8 * MIB))
    run("zfs", "snapshot", f"{disk.dataset}@sent")
    target = f"{STANDBY}/{disks().name}"
    stream = f"zfs send {disk.dataset}@sent | head -c 4M | zfs receive -s -u {target}"
    run("sh", "-c", stream, check=False)
    assert run("zfs", "get", "-H", "-o", "value", "receive_resume_token", target) != "-"
    typed(named("partial-receive", target))


@pytest.fixture
def other_parent(configured: Callable[[str], None]) -> Iterator[str]:
    for name in ("zfs/other", "zfs/other-standby"):
        run("zfs", "create", "-o", "canmount=off", name)
    configured(f"[zfsext]\ndataset = {PARENT} zfs/other\n")
    yield "zfs/other"
    configured(f"[zfsext]\ndataset = {PARENT}\n")
    for name in ("zfs/other", "zfs/other-standby"):
        run("zfs", "destroy", "-r", name)


@pytest.mark.proof
def test_a_disk_below_a_parent_that_left_the_configuration(
    other_parent: str, configured: Callable[[str], None], disks: Callable[..., Disk]
) -> None:
    disk = disks()
    disk.create(dataset=other_parent)
    configured(f"[zfsext]\ndataset = {PARENT}\n")
    finding = named("stray", disk.name)
    assert other_parent in finding["what"]
    configured(f"[zfsext]\ndataset = {PARENT} {other_parent}\n")
    assert not [each for each in health() if each["kind"] == "stray"]


@pytest.mark.proof
def test_a_parent_that_is_missing_is_critical() -> None:
    run("zfs", "rename", STANDBY, f"{STANDBY}-away")
    try:
        found = [each for each in health() if each["severity"] == "critical"]
        assert [STANDBY in each["what"] for each in found] == [True]
        run("sh", "-c", found[0]["command"])
        assert not [each for each in health() if each["severity"] == "critical"]
        run("zfs", "destroy", STANDBY)
    finally:
        run("zfs", "rename", f"{STANDBY}-away", STANDBY)


def test_a_pool_that_is_not_imported_is_critical_and_no_disk_is_missing(disk: Disk) -> None:
    run("zpool", "export", "zfs")
    try:
        finding = named("pool-state", "zfs")
        assert finding["severity"] == "critical"
        assert [each["kind"] for each in health()] == ["pool-state"]
    finally:
        run("sh", "-c", finding["command"])
    assert disk.exists()


@pytest.mark.proof
def test_a_full_disk_is_a_notice_unless_it_is_asked_for_more(disk: Disk) -> None:
    write_device(disk.attach(), os.urandom(60 * MIB))
    run("zpool", "sync", "zfs")
    assert named("disk-fill", disk.name)["severity"] == "notice"
    assert named("disk-fill", disk.name, "--disk-warning", "90")["severity"] == "warning"
    assert named("pool-capacity", "zfs", "--pool-warning", "0")["severity"] == "warning"
