"""Copies of disks: what is normal is no finding, and what is not is found and has a command."""

from dataclasses import replace
from typing import Any

import pytest
from conftest import CLUSTER, DB, MIB, WEB

from zfsext.cluster import Cluster
from zfsext.finding import CRITICAL, NOTICE, WARNING, Finding, Limits
from zfsext.health import examine
from zfsext.inventory import Device, Disk, Inventory, Pool, Snapshot, Target

NODE1, NODE2 = "node1.example.com", "node2.example.com"
INSTANCE = "web1.example.com"
NOW = 1_764_000_000
POOL = Pool("zfs", "ONLINE", 1000, 500, 500)
ELSEWHERE = CLUSTER._replace(disks={WEB: CLUSTER.disks[WEB]._replace(node=NODE2)})
NAMES_ONLY = CLUSTER._replace(complete=False, disks={})
REMOVED = CLUSTER._replace(disks={}, instances=frozenset())
COPY = Disk(
    f"zfs/vm-standby/{WEB}",
    WEB,
    "replica",
    state="replica",
    instance=INSTANCE,
    peer=NODE2,
    generation="0.3",
    round="0.3-17",
    rounded=NOW - 600,
)
OWNER = Disk(
    f"zfs/vm/{WEB}",
    WEB,
    "live",
    state="owner",
    instance=INSTANCE,
    size_mib=64,
    image_bytes=64 * MIB,
    directory=f"/zfs/vm/{WEB}",
    devices=[Device("/dev/loop0")],
    created=NOW - 86400,
    replicas=["node2"],
    targets=[Target(NODE2, NOW - 600)],
)
REPLICATE = f"zfsext replicate {INSTANCE} --to node2"
REMOVE = f"VOL_NAME={WEB} /usr/share/ganeti/extstorage/zfsfile/remove"
LOOK = f"zfs list -r -t all -o name,used,written,creation,zfsext:instance {COPY.dataset}"


def found(*disks: Disk) -> Inventory:
    return Inventory(list(disks), [POOL], taken=NOW)


def examined(disk: Disk, cluster: Cluster | None, limits: Limits | None = None) -> list[tuple[str, str, str]]:
    findings = examine(found(disk), cluster, limits or Limits())
    assert not [each.what for each in findings if each.what.endswith(".") or "\n" in each.what]
    return [(each.severity, each.kind, each.command) for each in findings]


def only(disk: Disk, cluster: Cluster | None, limits: Limits | None = None) -> Finding:
    (finding,) = examine(found(disk), cluster, limits or Limits())
    return finding


@pytest.mark.parametrize("role", ["replica", "sealed", "ticket"])
@pytest.mark.parametrize("cluster", [ELSEWHERE, NAMES_ONLY, None])
def test_a_copy_of_a_disk_that_another_node_has_is_normal(role: str, cluster: Cluster | None) -> None:
    assert examined(replace(COPY, role=role, snapshots=[Snapshot("a@zfsext-0.3-17", ["zfsext"])]), cluster) == []


def test_a_copy_of_a_disk_that_ganeti_keeps_without_an_instance_is_normal() -> None:
    assert examined(COPY, CLUSTER._replace(disks={}, detached={WEB: "d5"})) == []


def test_an_owner_that_is_replicated_is_normal() -> None:
    held = replace(OWNER, snapshots=[Snapshot("a@zfsext-0.3-17", [f"zfsext:{NODE2}"])])
    assert examined(held, CLUSTER) == []


@pytest.mark.parametrize("tag", ["zfsextra", "backup", "zfs"])
def test_the_hold_of_somebody_else_is_still_told(tag: str) -> None:
    held = replace(OWNER, snapshots=[Snapshot("a@b", [tag, f"zfsext:{NODE2}", "zfsext"])])
    assert examined(held, CLUSTER) == [(NOTICE, "hold", f"zfs release {tag} a@b")]


def test_a_copy_that_was_set_aside_is_diverged() -> None:
    aside = Disk(
        f"zfs/vm-standby/{WEB}.aside-0.3", WEB, "aside", instance=INSTANCE, used_bytes=4711, snapshots=[Snapshot("a@b")]
    )
    for cluster in (ELSEWHERE, NAMES_ONLY, None, REMOVED):
        finding = only(aside, cluster)
        assert (finding.severity, finding.kind, finding.subject) == (WARNING, "diverged", aside.dataset)
        assert finding.command == f"zfsext resolve {INSTANCE}"
        assert "without it: 4.60K with its snapshots. See" in finding.what
    assert only(replace(aside, instance=""), None).command.startswith("zfs list ")


@pytest.mark.parametrize(
    ("role", "cluster", "command"),
    [
        ("replica", REMOVED, REMOVE),
        ("sealed", REMOVED, LOOK),
        ("ticket", REMOVED, LOOK),
        ("replica", CLUSTER._replace(disks={}), f"gnt-instance info {INSTANCE}"),
        ("replica", NAMES_ONLY._replace(instances=frozenset()), f"gnt-instance info {INSTANCE}"),
    ],
)
def test_a_copy_of_a_disk_that_no_instance_has_is_left(role: str, cluster: Cluster, command: str) -> None:
    assert examined(replace(COPY, role=role), cluster) == [(WARNING, "copy-left", command)]


def test_a_copy_of_no_known_instance_is_left_only_where_all_disks_are_known() -> None:
    nameless = replace(COPY, instance="")
    assert examined(nameless, NAMES_ONLY) == []
    assert examined(nameless, REMOVED) == [(WARNING, "copy-left", REMOVE)]


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("replica", f"is a copy of the one on {NODE2}"),
        ("sealed", f"was handed over to {NODE2}"),
        ("ticket", f"was handed over by {NODE2}"),
    ],
)
def test_a_disk_of_which_there_is_a_copy_comes_with_the_next_start(role: str, words: str) -> None:
    finding = only(replace(COPY, role=role), CLUSTER)
    assert (finding.severity, finding.kind, finding.subject) == (NOTICE, "moved", WEB)
    assert words in finding.what
    assert finding.command == f"gnt-instance start {INSTANCE}"


def test_the_copy_that_is_nearest_to_the_disk_is_named() -> None:
    ticket = replace(COPY, role="ticket", dataset=f"ssd/vm-standby/{WEB}")
    findings = [each for each in examine(found(COPY, ticket), CLUSTER, Limits()) if each.kind == "moved"]
    assert [each.what.startswith(ticket.dataset) for each in findings] == [True]


def test_two_copies_of_a_disk_are_one_too_many_whatever_they_are() -> None:
    second = replace(COPY, dataset=f"ssd/vm-standby/{WEB}")
    aside = replace(COPY, role="aside", dataset=f"{COPY.dataset}.aside-0.3")
    told = [(each.severity, each.kind) for each in examine(found(COPY, second, aside), ELSEWHERE, Limits())]
    assert told == [(CRITICAL, "double"), (CRITICAL, "double"), (WARNING, "diverged")]
    with_the_disk = [each.kind for each in examine(found(OWNER, COPY), CLUSTER, Limits())]
    assert with_the_disk == ["double", "double"]
    assert [each.kind for each in examine(found(COPY, aside), ELSEWHERE, Limits())] == ["diverged"]


def test_what_was_set_aside_is_no_copy_to_start_from() -> None:
    aside = replace(COPY, role="aside", dataset=f"{COPY.dataset}.aside-0.3")
    severities = {each.kind: each.severity for each in examine(found(aside), CLUSTER, Limits())}
    assert severities == {"missing": CRITICAL, "diverged": WARNING}


@pytest.mark.parametrize("role", ["replica", "sealed", "ticket", "aside"])
@pytest.mark.parametrize(
    ("change", "command"),
    [
        ({"writable": True, "directory": "/mnt"}, "umount /mnt"),
        (
            {"devices": [Device("/dev/loop0"), Device("/dev/loop1", on_image=False)], "directory": "/mnt"},
            "fuser -v /dev/loop0 /dev/loop1; losetup -d /dev/loop0; losetup -d /dev/loop1",
        ),
    ],
)
def test_a_copy_that_can_be_written_to_is_found(role: str, change: dict[str, Any], command: str) -> None:
    touched = replace(COPY, role=role, **change)
    told = [each for each in examined(touched, ELSEWHERE) if each[1] != "diverged"]
    assert told == [(WARNING, "mounted-copy", command)]
    assert [each for each in examined(replace(touched, busy=True), ELSEWHERE) if each[1] != "diverged"] == []


def test_a_copy_that_is_mounted_only_to_be_read_is_no_fault() -> None:
    assert examined(replace(COPY, directory="/mnt"), ELSEWHERE) == []


def test_a_replica_that_was_written_to_is_to_be_rolled_back() -> None:
    written = replace(COPY, written_bytes=4096)
    assert examined(written, ELSEWHERE) == [(WARNING, "written-copy", f"zfs rollback {COPY.dataset}@zfsext-0.3-17")]
    assert examined(replace(written, round=""), ELSEWHERE) == [(WARNING, "written-copy", LOOK)]
    assert examined(replace(written, busy=True), ELSEWHERE) == []
    assert examined(replace(written, role="sealed"), ELSEWHERE) == []


@pytest.mark.parametrize("role", ["replica", "sealed"])
def test_an_interrupted_round_is_resumed_by_the_next_one(role: str) -> None:
    part = replace(COPY, role=role, partial_receive=True)
    assert examined(part, ELSEWHERE) == [(NOTICE, "partial-receive", f"zfsext replicate {INSTANCE} --to {NODE1}")]
    nameless = examined(replace(part, instance="", volume="x"), NAMES_ONLY)
    assert nameless == [(NOTICE, "partial-receive", f"zfs receive -A {COPY.dataset}")]
    assert examined(replace(part, transfer=True), ELSEWHERE) == []
    assert examined(part, None) == [(NOTICE, "partial-receive", f"zfs receive -A {COPY.dataset}")]


def test_without_replicas_nothing_is_said_of_them() -> None:
    assert examined(replace(OWNER, replicas=[], targets=[]), CLUSTER) == []
    failed = [Target(NODE2, NOW - 86400, "no space")]
    assert examined(replace(OWNER, replicas=[], targets=failed), CLUSTER) == []


def test_a_disk_is_not_replicated_to_the_node_that_it_is_on() -> None:
    assert examined(replace(OWNER, replicas=["node1", NODE2], targets=OWNER.targets), CLUSTER) == []


def test_a_round_that_was_never_taken_is_told_once_the_disk_has_some_age() -> None:
    never = replace(OWNER, targets=[])
    assert examined(never, CLUSTER) == [(WARNING, "not-copied", REPLICATE)]
    other = replace(OWNER, targets=[Target("node3.example.com", NOW)])
    assert examined(other, CLUSTER) == [(WARNING, "not-copied", REPLICATE)]
    assert examined(replace(never, created=NOW - 3599), CLUSTER) == []
    assert examined(replace(never, created=NOW - 3600), CLUSTER) == [(WARNING, "not-copied", REPLICATE)]


def test_a_round_that_failed_is_told_with_its_reason() -> None:
    failed = replace(OWNER, created=NOW, targets=[Target(NODE2, NOW - 125, "ssh: no route\nto host")])
    finding = only(failed, CLUSTER)
    assert (finding.severity, finding.kind, finding.command) == (WARNING, "not-copied", REPLICATE)
    assert finding.what == (
        f"zfs/vm/{WEB} of {INSTANCE} could not be replicated to node2 (2m ago): ssh: no route to host"
    )
    silent = replace(OWNER, targets=[Target(NODE2, NOW, "")])
    assert only(silent, CLUSTER).what.endswith("no reason was given")


def test_each_node_is_looked_at() -> None:
    two = replace(OWNER, replicas=["node2", "node3"])
    assert examined(two, CLUSTER) == [(WARNING, "not-copied", f"zfsext replicate {INSTANCE} --to node3")]


def test_a_copy_is_old_after_so_many_minutes() -> None:
    old = replace(OWNER, targets=[Target(NODE2, NOW - 7200)])
    assert examined(old, CLUSTER) == [(WARNING, "copy-old", REPLICATE)]
    assert "is 2h old" in only(old, CLUSTER).what
    assert examined(old, CLUSTER, Limits(copy_warning=120)) == [(WARNING, "copy-old", REPLICATE)]
    assert examined(old, CLUSTER, Limits(copy_warning=121)) == []


def test_what_is_no_instances_disk_is_not_asked_for_copies() -> None:
    late = replace(OWNER, targets=[])
    assert [kind for _, kind, _ in examined(late, REMOVED)] == ["orphan"]
    assert [kind for _, kind, _ in examined(late, CLUSTER._replace(disks={}, detached={WEB: "d5"}))] == ["detached"]
    assert examined(late, None) == []
    nameless = replace(late, volume=DB, instance="", dataset=f"zfs/vm/{DB}")
    assert examined(nameless, NAMES_ONLY) == [(WARNING, "not-copied", "zfsext replicate --all")]


def test_a_promotion_is_told_with_whom_it_passed_over() -> None:
    promoted = replace(OWNER, promoted=NOW, over=[NODE2, "node3"])
    for cluster in (CLUSTER, None):
        finding = only(promoted, cluster)
        assert (finding.severity, finding.kind) == (NOTICE, "promoted")
        assert f"since {NODE2}, node3 was marked offline" in finding.what
        assert finding.command == f"zfs inherit zfsext:promoted zfs/vm/{WEB}"


def test_a_promotion_is_told_only_of_the_disk() -> None:
    assert examined(replace(COPY, role="sealed", promoted=NOW), ELSEWHERE) == []
