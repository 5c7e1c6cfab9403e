"""What is wrong with a cluster, by the facts of its nodes: each fault has its finding, and a sound one has none."""

from typing import Any

import pytest

from zfsext import doctor, settings

NODE = "node1.example.com"
POOL = {
    "state": "ONLINE",
    "health": "ONLINE",
    "ashift": "12",
    "grown": {},
    "size": 1000,
    "allocated": 100,
    "free": 900,
}
PLACE = {"sync": "standard", "com.sun:auto-snapshot": "-", "readonly": "off"}
SOUND: dict[str, Any] = {
    "node": NODE,
    "version": "0.2.0",
    "candidate": True,
    "provider": sorted(doctor.SCRIPTS),
    "config": {"live": ["zfs/vm"], "recordsize": "16K"},
    "unfit": [],
    "trouble": [],
    "kernel": "6.1.0-56-amd64",
    "module": "2.1.11-1+deb12u1",
    "tools": "2.1.11-1+deb12u1",
    "ganeti": "3.0.2-3",
    "pools": {"zfs": POOL},
    "places": {"zfs/vm": PLACE, "zfs/vm-standby": {**PLACE, "com.sun:auto-snapshot": "false", "readonly": "on"}},
    "arc_max": str(1 << 30),
    "memory": 8 << 30,
    "daemon": "ganeti.service",
    "mounts_before_daemon": True,
    "unreached": {},
    "skew": 0.0,
}


def found(*changes: dict[str, Any]) -> list[doctor.Ailment]:
    """Return what is said of nodes that are sound but for these changes."""
    nodes = [{**SOUND, "node": f"node{number}", **change} for number, change in enumerate(changes, 1)]
    return doctor.examine(nodes, {}, [])


def test_nothing_is_said_of_a_sound_cluster() -> None:
    assert found({}, {}, {}) == []


@pytest.mark.parametrize(
    ("change", "words", "bad"),
    [
        ({"provider": []}, "the provider zfsfile lacks attach", True),
        ({"unfit": ["zfs/vm does not exist: 'zfs create zfs/vm'"]}, "zfs/vm does not exist", True),
        ({"trouble": ["zpool get zfs: no"]}, "zpool get", False),
        ({"pools": {"zfs": {**POOL, "health": "DEGRADED"}}}, "pool zfs is DEGRADED", True),
        ({"pools": {"zfs": {**POOL, "grown": {"/dev/vg/zfs": 1 << 30}}}}, "/dev/vg/zfs has grown by 1G", False),
        ({"pools": {"zfs": {**POOL, "ashift": "9"}}}, "ashift=9", False),
        ({"pools": {"zfs": {**POOL, "allocated": 801}}}, "80 % full", True),
        ({"places": {"zfs/vm": {**PLACE, "sync": "disabled"}}}, "sync=disabled", True),
        ({"places": {"zfs/vm-standby": {**PLACE, "readonly": "on"}}}, "zfs-auto-snapshot", False),
        ({"places": {"zfs/vm-standby": {**PLACE, "com.sun:auto-snapshot": "false"}}}, "is not readonly", False),
        ({"module": ""}, "module is not loaded", True),
        ({"module": "2.1.11-1", "tools": "2.1.11-1"}, "#15526", True),
        ({"module": "2.2.1-1", "tools": "2.2.1-1"}, "#15526", True),
        ({"module": "2.3.0-1", "tools": "2.3.0-1"}, "#16956", True),
        ({"tools": "2.1.14-1"}, "was not booted since", False),
        ({"kernel": "6.12.25-amd64"}, "#17277", True),
        ({"mounts_before_daemon": False}, "may start before ZFS", False),
        ({"unreached": {"node2": "no route"}}, "does not reach node2", True),
        ({"arc_max": "0"}, "zfs_arc_max is not set", False),
        ({"arc_max": str(7 << 30)}, "lets ZFS take 7G of 8G", False),
        ({"skew": -31.0}, "-31 s off", False),
        ({"candidate": False}, "no master candidate", False),
    ],
)
def test_each_fault_is_named_with_what_mends_it(change: dict[str, Any], words: str, bad: bool) -> None:
    (ailment,) = found(change)
    assert words in ailment.what
    assert ailment.mend
    assert (ailment.node, ailment.bad) == ("node1", bad)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "0.1.0"}, "zfsext differs between the nodes (node1: 0.2.0, node2: 0.1.0)"),
        ({"config": {"live": ["tank/vm"]}}, "what /etc/zfsext.conf says differs"),
        ({"module": "2.3.9-1", "tools": "2.3.9-1"}, "ZFS differs between the nodes (node1: 2.1, node2: 2.3)"),
    ],
)
def test_what_differs_between_nodes(change: dict[str, Any], words: str) -> None:
    assert [each.what for each in found({}, change) if words in each.what]


def test_a_node_that_is_silent_is_the_first_thing_that_is_said() -> None:
    (ailment,) = doctor.examine([SOUND], {"node2": "node2 does not answer"}, [])
    assert (ailment.node, ailment.bad) == ("node2", True)


def cluster(**given: Any) -> dict[str, Any]:
    return {"cluster": {"enabled_disk_templates": ["plain"], "ipolicy": {"disk-templates": ["plain"]}, **given}}


def test_the_settings_of_a_new_cluster_and_the_commands() -> None:
    wrong = {each.name: each for each in settings.of(cluster(enabled_hypervisors=["kvm"])) if not each.right}
    assert [each.needed for each in wrong.values()] == [True, True, False, False, False]
    command = wrong["enabled disk templates"].command
    assert command == ["gnt-cluster", "modify", "--enabled-disk-templates=plain,ext"]
    ailments = doctor.examine([SOUND], {}, list(wrong.values()))
    assert [each.bad for each in ailments] == [True, True, False, False, False]


def test_settings_that_are_right_are_left_alone() -> None:
    both = {"enabled_disk_templates": ["ext"], "ipolicy": {"disk-templates": ["ext"]}}
    kvm = {"kvm": {"disk_discard": "unmap", "use_guest_agent": True}}
    right = cluster(**both, beparams={"default": {"always_failover": True}}, hvparams=kvm, enabled_hypervisors=["kvm"])
    assert all(each.right for each in settings.of(right))
