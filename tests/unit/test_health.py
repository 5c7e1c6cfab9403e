"""Each fault is found, is as bad as it is, and has a command; and a healthy node has no finding."""

from dataclasses import replace
from typing import Any

import pytest
from conftest import CLUSTER, DB, MIB, WEB

from zfsext import finding, health, reservation
from zfsext.cluster import Cluster
from zfsext.finding import CRITICAL, NOTICE, UNKNOWN, WARNING, Finding, Limits
from zfsext.health import examine
from zfsext.inventory import Device, Disk, Inventory, Pool, Snapshot

ON = Device("/dev/loop0")
DISK = Disk(
    f"zfs/vm/{WEB}",
    WEB,
    "live",
    state="owner",
    instance="web1.example.com",
    size_mib=64,
    image_bytes=64 * MIB,
    recordsize_bytes=16384,
    directory=f"/zfs/vm/{WEB}",
    devices=[ON],
)
POOL = Pool("zfs", "ONLINE", 1000, 500, 500)
NAMES_ONLY = CLUSTER._replace(complete=False, disks={})
ELSEWHERE = CLUSTER._replace(disks={WEB: CLUSTER.disks[WEB]._replace(node="node2.example.com")})
THICK: dict[str, Any] = {f"{name}_bytes": value for name, value in reservation.properties(64, 16384).items()}
SCRIPTS = "/usr/share/ganeti/extstorage/zfsfile"
REMOVE_EXPORT = f"VOL_NAME={WEB}.snap {SCRIPTS}/remove"
GROW = f"VOL_NAME={WEB} VOL_SIZE=64 VOL_NEW_SIZE=64 {SCRIPTS}/grow"
DETACH = "fuser -v /dev/loop0; losetup -d /dev/loop0"
LOOK = "zfs list -r -t all -o name,used,written,creation,zfsext:instance "
OTHER = {"volume": "x", "dataset": "zfs/vm/x", "devices": [], "directory": ""}
UNKNOWN_DISK = {"volume": DB, "dataset": f"zfs/vm/{DB}"}
NEW = {"devices": [], "dataset": "zfs/x.new"}


def found(*disks: Disk, **changes: Any) -> Inventory:
    return replace(Inventory([DISK, *disks], [POOL]), **changes)


def kinds(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(each.severity, each.kind) for each in findings]


def test_a_healthy_node_has_nothing_to_say() -> None:
    snapshots = [Snapshot(f"{DISK.dataset}@zfsext-export", clones=["zfs/vm-standby/x.snap"])]
    export = Disk(f"zfs/vm-standby/{WEB}.snap", WEB + ".snap", "export", devices=[Device("/dev/loop1")])
    making = Disk(f"zfs/vm-standby/{DB}.new", DB, "new", busy=True)
    assert examine(found(export, making, disks=[replace(DISK, snapshots=snapshots, **THICK)]), CLUSTER, Limits()) == []
    assert examine(found(export, making), NAMES_ONLY, Limits()) == []
    assert examine(found(export, making), None, Limits()) == []


@pytest.mark.parametrize(
    ("change", "severity", "kind", "command"),
    [
        ({"instance": "gone.example.com", **UNKNOWN_DISK}, WARNING, "orphan", f"VOL_NAME={DB} {SCRIPTS}/remove"),
        (UNKNOWN_DISK, WARNING, "orphan", "gnt-instance info web1.example.com"),
        ({"role": "standby", "instance": "gone.example.com", **OTHER}, WARNING, "orphan", LOOK + "zfs/vm/x"),
        ({"role": "stray", "dataset": "zfs/old/x"}, NOTICE, "stray", LOOK + "zfs/old/x"),
        ({"role": "stray", "volume": DB, "dataset": "zfs/old/x"}, WARNING, "stray", LOOK + "zfs/old/x"),
        ({"role": "new", "instance": "", **NEW}, WARNING, "half-made", "zfs destroy zfs/x.new"),
        ({"role": "new", **NEW}, WARNING, "half-made", LOOK + "zfs/x.new"),
        ({"role": "new", "instance": "", "state": "", **NEW}, WARNING, "half-made", LOOK + "zfs/x.new"),
        ({"role": "export", "devices": [], "volume": f"{WEB}.snap"}, NOTICE, "export-left", REMOVE_EXPORT),
        ({"role": "foreign", "state": ""}, NOTICE, "state", LOOK + f"zfs/vm/{WEB}"),
        ({"role": "foreign", "state": "", **OTHER}, NOTICE, "state", LOOK + "zfs/vm/x"),
        ({"role": "foreign", "volume": "a/b", "dataset": "zfs/vm/a/b"}, NOTICE, "state", LOOK + "zfs/vm/a/b"),
        ({"devices": []}, NOTICE, "mounted-idle", f"umount /zfs/vm/{WEB}"),
        ({"devices": [replace(ON, on_image=False)]}, WARNING, "loop-leaked", "fuser -v /dev/loop0"),
        ({"devices": [replace(ON, whole=False)]}, WARNING, "loop-leaked", DETACH),
        ({"devices": [replace(ON, lasting=False)]}, WARNING, "loop-leaked", f"VOL_NAME={WEB} {SCRIPTS}/attach"),
        ({"devices": [ON, Device("/dev/loop7")]}, WARNING, "loop-leaked", "fuser -v /dev/loop0 /dev/loop7"),
        ({"snapshots": [Snapshot("a@b", ["my tag"])]}, NOTICE, "hold", "zfs release 'my tag' a@b"),
        ({"snapshots": [Snapshot("a@zfsext-export")]}, NOTICE, "export-left", "zfs destroy a@zfsext-export"),
        ({"partial_receive": True}, WARNING, "partial-receive", f"zfs receive -A zfs/vm/{WEB}"),
        ({"image_bytes": 64 * MIB + 1}, WARNING, "size", f"truncate -s 65M /zfs/vm/{WEB}/disk.raw"),
        ({"image_bytes": 65 * MIB}, WARNING, "size", "gnt-cluster repair-disk-sizes web1.example.com"),
        ({"size_mib": 65}, WARNING, "size", GROW),
        ({"size_mib": 65, "image_bytes": None}, WARNING, "size", "gnt-cluster repair-disk-sizes web1.example.com"),
        ({**THICK, "refquota_bytes": 1}, WARNING, "reservation", GROW),
        ({**THICK, "reservation_bytes": 0}, WARNING, "reservation", GROW),
        ({**THICK, "refquota_bytes": MIB, "refreservation_bytes": MIB}, WARNING, "reservation", GROW),
        ({"refquota_bytes": 1}, WARNING, "reservation", f"zfs set refquota=none zfs/vm/{WEB}"),
        ({"logical_bytes": 58 * MIB}, NOTICE, "disk-fill", "gnt-instance grow-disk web1.example.com 0 10G"),
    ],
)
def test_what_is_wrong_with_a_disk(change: dict[str, Any], severity: str, kind: str, command: str) -> None:
    whole = [] if change.get("role", "live") == "live" and change.get("volume", WEB) == WEB else [DISK]
    (finding,) = examine(found(disks=[*whole, replace(DISK, **change)]), CLUSTER, Limits())
    assert (finding.severity, finding.kind, finding.command) == (severity, kind, command)
    assert not finding.what.endswith(".")


@pytest.mark.parametrize("change", [{"size_mib": 65}, {**THICK, "refquota_bytes": 1}, {"devices": []}])
def test_a_script_at_work_is_no_fault(change: dict[str, Any]) -> None:
    assert examine(found(disks=[replace(DISK, busy=True, **change)]), CLUSTER, Limits()) == []


@pytest.mark.parametrize(
    ("change", "severity", "kind"),
    [
        ({"state": ""}, CRITICAL, "pool-state"),
        ({"state": "SUSPENDED"}, CRITICAL, "pool-state"),
        ({"state": "DEGRADED"}, WARNING, "pool-state"),
        ({"errors": "3 data errors, use '-v' for a list"}, CRITICAL, "pool-errors"),
        ({"allocated_bytes": 800}, WARNING, "pool-capacity"),
        ({"allocated_bytes": 899}, WARNING, "pool-capacity"),
        ({"allocated_bytes": 900}, CRITICAL, "pool-capacity"),
        ({"reserved_percent": 85}, WARNING, "pool-capacity"),
    ],
)
def test_what_is_wrong_with_a_pool(change: dict[str, Any], severity: str, kind: str) -> None:
    findings = examine(found(pools=[replace(POOL, **change)]), CLUSTER, Limits())
    assert kinds(findings) == [(severity, kind)]
    assert findings[0].command.startswith(("zpool", "zfs list"))


def test_a_disk_that_ganeti_has_here_and_zfs_has_not_is_missing() -> None:
    standby = replace(DISK, role="standby", dataset=f"zfs/vm-standby/{WEB}", devices=[], directory="")
    (finding,) = examine(found(disks=[standby]), CLUSTER, Limits())
    assert (finding.severity, finding.kind, finding.subject) == (CRITICAL, "missing", WEB)
    assert f"but there is zfs/vm-standby/{WEB} (standby)" in finding.what
    assert finding.command == f"zpool history zfs | grep {WEB}"
    assert examine(found(disks=[]), ELSEWHERE, Limits()) == []


@pytest.mark.parametrize("pools", [[], [POOL, Pool("ssd", "SUSPENDED")]])
def test_nothing_is_missing_while_a_pool_cannot_be_asked(pools: list[Pool]) -> None:
    silent = Inventory([], pools, left=["/run/zfsext/x.lock"])
    assert {kind for _, kind in kinds(examine(silent, CLUSTER, Limits()))} <= {"pool-state"}


def test_a_live_disk_of_an_instance_on_another_node_goes_there_with_the_next_start() -> None:
    (finding,) = examine(found(), ELSEWHERE, Limits())
    assert (finding.severity, finding.kind) == (NOTICE, "misplaced")
    assert "has web1.example.com on node2.example.com" in finding.what
    assert finding.command == "gnt-instance start web1.example.com"


def test_a_disk_that_was_copied_with_its_properties_is_not_opened_and_its_stamp_is_the_cure() -> None:
    copied = replace(DISK, role="foreign", guid="4711", devices=[], directory="")
    (finding,) = [each for each in examine(found(disks=[copied]), CLUSTER, Limits()) if each.kind == "state"]
    assert (finding.severity, finding.command) == (WARNING, f"zfs set zfsext:stamp=4711 zfs/vm/{WEB}")
    assert "zfsext:stamp is not its guid" in finding.what


def test_what_has_no_state_is_destroyed_by_the_script_that_looks_into_it() -> None:
    (finding,) = examine(found(Disk("zfs/vm-standby/x.new", "x", "new")), CLUSTER, Limits())
    assert (finding.kind, finding.command) == ("half-made", f"VOL_NAME=x {SCRIPTS}/remove")
    assert "if it is empty" in finding.what


@pytest.mark.parametrize("cluster", [ELSEWHERE, NAMES_ONLY, CLUSTER._replace(disks={}, detached={WEB: "d5"}), None])
@pytest.mark.parametrize("role", ["stray", "foreign"])
def test_a_copy_is_not_brought_back_unless_ganeti_has_the_disk_here(role: str, cluster: Cluster | None) -> None:
    copy = replace(DISK, role=role, state="", devices=[], directory="")
    (finding,) = examine(found(disks=[copy]), cluster, Limits())
    assert finding.command == LOOK + copy.dataset
    (wanted,) = [each for each in examine(found(disks=[copy]), CLUSTER, Limits()) if each.kind != "missing"]
    assert wanted.command in (f"zfs set zfsext:state=owner zfs/vm/{WEB}", "sensible-editor /etc/zfsext.conf")


@pytest.mark.parametrize("cluster", [NAMES_ONLY, NAMES_ONLY._replace(instances=frozenset()), None])
@pytest.mark.parametrize("instance", ["web1.example.com", ""])
def test_where_ganetis_disks_are_not_known_nothing_is_said_to_be_destroyed(
    cluster: Cluster | None, instance: str
) -> None:
    standby = replace(DISK, role="standby", instance="", dataset="zfs/vm-standby/x", devices=[], directory="")
    findings = examine(found(disks=[replace(DISK, instance=instance), standby]), cluster, Limits())
    assert not [each for each in findings if "destroy" in each.command or "remove" in each.command]


def test_a_disk_that_ganeti_keeps_without_an_instance_is_no_orphan() -> None:
    aside = CLUSTER._replace(disks={}, detached={WEB: "d5"})
    (finding,) = examine(found(), aside, Limits())
    assert (finding.severity, finding.kind) == (NOTICE, "detached")
    assert finding.command == "gnt-instance modify --disk attach:uuid=d5 web1.example.com"


def test_with_the_names_alone_an_orphan_is_told_by_its_instance() -> None:
    gone = Cluster("node1.example.com", frozenset({"db1.example.com"}))
    (finding,) = examine(found(), gone, Limits())
    assert (finding.kind, finding.command) == ("orphan", "gnt-instance info web1.example.com")


def test_two_live_disks_of_one_name_are_critical() -> None:
    twin = replace(DISK, dataset=f"ssd/vm/{WEB}", devices=[Device("/dev/loop1")])
    assert kinds(examine(found(twin), CLUSTER, Limits())) == [(CRITICAL, "double")] * 2


def test_what_the_node_lacks_and_what_is_left_on_it() -> None:
    lacks = "zfs/vm does not exist: 'zfs create -o mountpoint=/zfs/vm zfs/vm'"
    left = ["/run/zfsext/x.lock", "/run/zfsext/x.new"]
    node, hidden, notes = examine(found(unfit=[lacks], hidden=["/dev/loop9"], left=left), CLUSTER, Limits())
    assert (node.kind, node.what) == ("node", "zfs/vm does not exist")
    assert node.command == "zfs create -o mountpoint=/zfs/vm zfs/vm"
    assert (hidden.kind, hidden.subject) == ("loop-leaked", "/dev/loop9")
    assert (notes.kind, notes.command) == ("left", "rm -d /run/zfsext/x.lock /run/zfsext/x.new")


def test_levels_are_what_was_asked_for() -> None:
    full = found(disks=[replace(DISK, logical_bytes=58 * MIB)])
    assert kinds(examine(full, CLUSTER, Limits(disk_warning=90))) == [(WARNING, "disk-fill")]
    assert kinds(examine(full, CLUSTER, Limits(disk_warning=80, disk_critical=90))) == [(CRITICAL, "disk-fill")]
    assert kinds(examine(full, CLUSTER, Limits(disk_notice=95, pool_critical=50))) == [(CRITICAL, "pool-capacity")]


@pytest.mark.parametrize(
    ("severities", "code"),
    [([], 0), ([NOTICE], 0), ([NOTICE, WARNING], 1), ([WARNING, UNKNOWN], 3), ([UNKNOWN, CRITICAL, WARNING], 2)],
)
def test_the_exit_code_is_the_worst_findings(severities: list[str], code: int) -> None:
    assert finding.exit_code([Finding(severity, "x", "x", "x") for severity in severities]) == code


def test_the_summary_counts() -> None:
    findings = [Finding(NOTICE, "x", "x", "x"), Finding(CRITICAL, "x", "x", "x"), Finding(NOTICE, "x", "x", "x")]
    assert health.summary(found(), findings) == "1 disk in 1 pool, 1 critical, 2 notices"
