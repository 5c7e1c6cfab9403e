"""What is on a node, told from what ZFS prints and the kernel shows."""

import fcntl
import os
from pathlib import Path

import pytest
from conftest import DB, MIB, WEB, Node

from zfsext import lock, loopdev, outcome, survey, transfers
from zfsext.config import Config
from zfsext.errors import Busy, ZfsextError
from zfsext.inventory import Device, Inventory, Pool, Snapshot, Target

CONFIG = Config(["zfs/vm"], "16K", "", "thin")


def by_role(found: Inventory) -> dict[str, list[str]]:
    roles: dict[str, list[str]] = {}
    for disk in found.disks:
        roles.setdefault(disk.role, []).append(disk.volume)
    return roles


def test_an_empty_node_has_its_pool(node: Node) -> None:
    found = survey.take(CONFIG)
    assert found.disks == []
    assert found.pools == [Pool("zfs", "ONLINE", 1000, 500, 500)]
    assert found.complete
    assert node.asked == []  # all of it in the child


@pytest.mark.usefixtures("node")
def test_a_disk_is_what_its_place_and_its_state_say(node: Node) -> None:
    node.disk(WEB)
    node.disk(WEB + ".new", "zfs/vm-standby", "creating")
    node.disk(WEB + ".snap", "zfs/vm-standby", "export")
    node.disk(DB, "zfs/vm-standby", "creating")
    node.disk(DB, "zfs/old")
    node.datasets["zfs/vm/byhand"] = {}
    node.disk("child", f"zfs/vm/{WEB}")
    node.disk("received.snap", "zfs/vm-standby", "owner")
    node.disk("moving", "zfs/vm-standby", "owner")
    node.datasets["zfs/vm-standby/byhand.new"] = {}
    node.datasets["zfs/vm-standby/byhand.snap"] = {}
    node.datasets["zfs/elsewhere"] = {}
    assert by_role(survey.take(CONFIG)) == {
        "live": [WEB, "moving"],
        "new": [WEB, "byhand"],
        "export": [WEB + ".snap", "byhand.snap"],
        "standby": [DB, "received.snap"],
        "stray": [DB],
        "foreign": ["byhand", f"{WEB}/child"],
    }


@pytest.mark.parametrize("place", ["zfs/vm", "zfs/vm-standby"])
@pytest.mark.parametrize("state", ["replica", "sealed", "ticket"])
def test_a_copy_is_what_its_state_says_wherever_it_is(node: Node, place: str, state: str) -> None:
    node.disk(WEB, place, state, zfsext_stamp="4711")
    assert by_role(survey.take(CONFIG)) == {state: [WEB]}


def test_a_copy_that_was_set_aside_is_of_the_volume_that_it_was(node: Node) -> None:
    name = node.disk(f"{WEB}.aside-1048577.3", "zfs/vm-standby", "aside")
    killed = node.disk(f"{DB}.aside-1.1", "zfs/vm-standby", "owner")  # before the state said so, too
    found = {disk.volume: disk for disk in survey.take(CONFIG).disks if disk.role == "aside"}
    assert (found[WEB].origin, found[WEB].dataset, found[DB].dataset) == (WEB, name, killed)


def test_a_copy_below_another_dataset_is_foreign(node: Node) -> None:
    node.disk("child", f"zfs/vm-standby/{WEB}", "replica")
    assert by_role(survey.take(CONFIG)) == {"foreign": [f"{WEB}/child"]}


@pytest.mark.parametrize(
    ("place", "state", "role"),
    [
        ("zfs/vm", "owner", "foreign"),
        ("zfs/vm", "sealed", "foreign"),
        ("zfs/vm-standby", "ticket", "standby"),
        ("zfs/vm-standby", "owner", "standby"),
        ("zfs/vm-standby", "replica", "replica"),
    ],
)
def test_a_claim_that_came_with_a_copy_is_none(node: Node, place: str, state: str, role: str) -> None:
    node.disk(WEB, place, state, zfsext_stamp="4712")
    (disk,) = survey.take(CONFIG).disks
    assert (disk.role, disk.state, disk.guid) == (role, state, "4711")


def test_all_of_a_copy_comes_through(node: Node) -> None:
    name = node.disk(
        WEB,
        "zfs/vm-standby",
        "replica",
        written="4096",
        zfsext_generation="1048577.3",
        zfsext_peer="node2.example.com",
        zfsext_over="node3 node4",
        zfsext_knows="node2 node3",
        zfsext_round="1048577.3-17",
        zfsext_rounded="1764000000",
        zfsext_promoted="1763000000",
        zfsext_replicas="node5",
    )
    node.mount(name, 64)
    node.mounts[0].writable = False
    outcome.note(WEB, "node5", None)
    found = survey.take(CONFIG)
    (disk,) = found.disks
    assert (disk.generation, disk.peer, disk.round) == ("1048577.3", "node2.example.com", "1048577.3-17")
    assert (disk.over, disk.knows, disk.replicas) == (["node3", "node4"], ["node2", "node3"], ["node5"])
    assert (disk.rounded, disk.promoted, disk.written_bytes, disk.writable) == (1764000000, 1763000000, 4096, False)
    assert disk.targets == []  # what was noted while the disk was here
    assert found.taken > 1764000000
    node.mounts[0].writable = True
    assert survey.take(CONFIG).disks[0].writable


def test_how_the_last_rounds_of_a_disk_ended_comes_through(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.disk(WEB)
    monkeypatch.setattr("time.time", lambda: 1764000000)
    outcome.note(WEB, "node2", None)
    outcome.note(WEB, "node3", "no space")
    (disk,) = survey.take(CONFIG).disks
    assert sorted(disk.targets, key=lambda target: target.node) == [
        Target("node2", 1764000000),
        Target("node3", 1764000000, "no space"),
    ]
    assert (disk.rounded, disk.writable) == (None, False)


@pytest.mark.parametrize("text", ["soon", "-1", "9" * 12, "\u0661"])
def test_a_moment_that_cannot_be_is_none(node: Node, text: str) -> None:
    node.disk(WEB, zfsext_rounded=text, zfsext_promoted=text)
    (disk,) = survey.take(CONFIG).disks
    assert (disk.rounded, disk.promoted) == (None, None)


def test_all_of_a_disk_comes_through(node: Node) -> None:
    name = node.disk(WEB, zfsext_instance="web1.example.com", zfsext_size="64", used="4096")
    node.datasets[name]["receive_resume_token"] = "1-e604ea4bf-e0-789c636"  # noqa: S105
    directory = node.mount(name, 65)
    node.loop(directory, flags=loopdev.AUTOCLEAR)
    node.loop(directory, "/dev/loop1", other=True)
    node.snapshots[f"{name}@before"] = (["keep"], ["zfs/clone"])
    (disk,) = survey.take(CONFIG).disks
    assert (disk.state, disk.instance, disk.size_mib, disk.image_bytes) == ("owner", "web1.example.com", 64, 65 * MIB)
    assert (disk.used_bytes, disk.logical_bytes, disk.recordsize_bytes) == (4096, 44032, 16384)
    assert disk.created == 1764000000
    assert disk.directory == directory
    assert disk.devices == [Device("/dev/loop0", True, True, False), Device("/dev/loop1", False, True, True)]
    assert disk.snapshots == [Snapshot(f"{name}@before", ["keep"], ["zfs/clone"])]
    assert disk.partial_receive


def test_an_image_under_another_mount_is_not_the_disks(node: Node) -> None:
    directory = node.mount(node.disk(WEB), 64)
    node.mounts[0].device += 1
    node.loop(directory)
    (disk,) = survey.take(CONFIG).disks
    assert (disk.image_bytes, disk.devices) == (None, [])


def test_a_pool_that_does_not_work_is_left_out_and_named(node: Node, tmp_path: Path) -> None:
    (tmp_path / "kstat/ssd").mkdir()
    (tmp_path / "kstat/ssd/state").write_text("SUSPENDED\n")
    node.disk(WEB)
    found = survey.take(Config(["zfs/vm", "ssd/vm", "gone/vm"], "16K", "", "thin"))
    assert [(pool.name, pool.state, pool.works) for pool in found.pools] == [
        ("gone", "", False),
        ("ssd", "SUSPENDED", False),
        ("zfs", "ONLINE", True),
    ]
    assert by_role(found) == {"live": [WEB]}
    assert not found.complete


def test_what_zfs_cannot_say_is_an_error(node: Node) -> None:
    node.disk(WEB, zfsext_instance="a\ttab")
    with pytest.raises(ZfsextError, match="a line that cannot be read"):
        survey.take(CONFIG)


def test_a_pools_errors_are_zpools_words_and_never_guessed(node: Node) -> None:
    assert survey.take(CONFIG).pools[0].errors == ""
    node.errors = "errors: 3 data errors, use '-v' for a list"
    assert survey.take(CONFIG).pools[0].errors == "3 data errors, use '-v' for a list"
    node.errors = ""
    with pytest.raises(ZfsextError, match="zpool status zfs"):
        survey.take(CONFIG)


def test_what_is_left_in_run_is_of_volumes_that_are_not_here(node: Node) -> None:
    node.disk(WEB)
    os.mkdir(lock.RUN, 0o700)
    for name in (f"{WEB}.lock", f"{DB}.lock", f"{DB}.attached", f"{DB}.word~", f"{WEB}.given", "unknown"):
        Path(lock.RUN, name).touch()
    os.mkdir(f"{lock.RUN}/{DB}.new")
    left = [path.rpartition("/")[2] for path in survey.take(CONFIG).left]
    assert left == [f"{DB}.attached", f"{DB}.new", f"{DB}.word~"]
    with lock.VolumeLock(DB, "create"):
        assert survey.take(CONFIG).left == []


def test_a_volume_at_work_is_busy_and_no_lock_is_made(node: Node) -> None:
    node.disk(WEB)
    os.mkdir(lock.RUN, 0o700)
    assert not survey.take(CONFIG).disks[0].busy
    assert os.listdir(lock.RUN) == []
    with lock.VolumeLock(WEB, "grow"):
        assert survey.take(CONFIG).disks[0].busy
    with transfers.alone(WEB, "send"):
        (disk,) = survey.take(CONFIG).disks
        assert (disk.busy, disk.transfer) == (False, True)
    assert not survey.take(CONFIG).disks[0].transfer


def test_a_look_that_hangs_is_not_joined_by_others(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.disk(WEB)
    monkeypatch.setattr(survey, "PATIENCE", 0.1)
    hanging = os.open(lock.run_directory(), os.O_RDONLY)
    fcntl.flock(hanging, fcntl.LOCK_EX)
    with pytest.raises(Busy, match="an earlier look"):
        survey.take(CONFIG)
    os.close(hanging)
    assert survey.take(CONFIG).disks


def test_a_size_that_cannot_be_is_none(node: Node) -> None:
    for text in ("9" * 5000, "9999999999999999", "-1", "x"):
        node.disk(WEB, zfsext_size=text)
        assert survey.take(CONFIG).disks[0].size_mib is None


def test_a_device_on_an_image_that_is_mounted_nowhere_is_hidden(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"/dev/loop0": "/disk.raw", "/dev/loop1": "/disk.raw", "/dev/loop2": "/os/disk.raw"}
    node.loops = [loopdev.Loop(path, (os.makedev(0, 41), 2), 0, 0, 0) for path in names]
    node.loops[1].backing = (os.makedev(8, 1), 2)
    monkeypatch.setattr(loopdev, "file_name", names.__getitem__)
    assert survey.take(CONFIG).hidden == ["/dev/loop0"]
