"""What an administrator does with a VM's snapshots, on two nodes: take them, go back and forth, clone, have it back."""

import json
from collections.abc import Callable

import pytest
from conftest import ADD, Cluster, Node
from vm import STANDBY, Vm

pytestmark = pytest.mark.cluster
WEB, TEST = "web1.example.com", "web2.example.com"
CONFIG = "/etc/zfsext.conf"


def shorts(node: Node, dataset: str, prefix: str = "") -> list[str]:
    """Return the names of a dataset's own snapshots that begin so, in order of their names."""
    names = [name.partition("@")[2] for name in node.guids(dataset) if name.startswith(f"{dataset}@")]
    return sorted(name for name in names if name.startswith(prefix))


def stopped(cluster: Cluster, *words: str) -> str:
    """Run a command of zfsext's that must succeed on the master, with the VM stopped meanwhile."""
    cluster.gnt("gnt-instance", "stop", WEB)
    said = cluster.gnt("zfsext", *words)
    cluster.gnt("gnt-instance", "start", WEB)
    return said


@pytest.mark.proof
def test_a_vm_goes_back_and_comes_forth(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    node, other = cluster.nodes
    vm = Vm(cluster, WEB, node=other)
    vm.write(other)
    vm.replicate(node)
    assert "monday" in cluster.gnt("zfsext", "snapshot", WEB, "monday")
    assert "is there already" in cluster.master.refused("zfsext", "snapshot", "web1", "monday")
    monday = vm.sums
    vm.write(other)
    vm.replicate(node)
    cluster.gnt("gnt-instance", "grow-disk", WEB, "0", "16M")
    tuesday = vm.sums
    cluster.gnt("zfsext", "snapshot", WEB, "tuesday")

    with other.holding(other.loops()[vm.volumes[0]]):
        assert "is in use, or was opened just now" in cluster.master.refused("zfsext", "rollback", WEB, "monday")
    cluster.gnt("gnt-instance", "stop", WEB)
    before = [each.guids() for each in cluster.nodes]
    said = cluster.gnt("zfsext", "rollback", WEB, "monday", "--dry-run")
    assert "zfs clone" in said
    assert "tuesday" in said
    assert "similar are monday" in cluster.master.refused("zfsext", "rollback", WEB, "mondy")
    assert [each.guids() for each in cluster.nodes] == before

    said = cluster.gnt("sh", "-c", f"zfsext rollback {WEB} monday --verbose 2>&1")
    assert "tuesday" in said
    assert f"{other.fqdn}: zfs clone" in said
    cluster.gnt("gnt-instance", "start", WEB)
    assert vm.read(other) == monday
    assert other.run("blockdev", "--getsize64", other.loops()[vm.volumes[0]]) == str((64 + 16) << 20)
    kept = f"kept on {other.fqdn}: generation 0.1, before it went back to monday"
    assert kept in cluster.gnt("zfsext", "rollback", WEB)
    vm.sums = monday
    vm.replicate(node)  # the copy has tuesday's data, and goes back too
    vm.is_replicated(other, node)

    assert "is what it was before" in stopped(cluster, "rollback", WEB, "--back")
    assert vm.read(other) == tuesday
    assert "tuesday" in shorts(other, vm.live()[0])
    vm.sums = tuesday
    vm.replicate(node)
    vm.is_replicated(other, node)
    vm.failover(node)
    vm.runs_on(node)
    said = cluster.gnt("zfsext", "rollback", WEB, "--drop")
    assert "dropped" in said
    assert not any(".kept-" in name for each in cluster.nodes for name in each.guids())
    assert "nothing is kept" in cluster.master.refused("zfsext", "rollback", WEB, "--drop")
    vm.failover(other)
    vm.runs_on(other)
    stopped(cluster, "rollback", WEB, "monday")
    cluster.gnt("gnt-instance", "remove", "-f", WEB)  # with what is kept
    nothing_left()


@pytest.mark.proof
def test_moments_are_pruned_everywhere(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    node, other = cluster.nodes
    vm = Vm(cluster, WEB)
    for _ in range(3):
        cluster.gnt("zfsext", "snapshot", WEB)
    cluster.gnt("zfsext", "snapshot", WEB, "named")
    vm.replicate(other)
    for live, standby in zip(vm.live(), vm.standby(), strict=True):
        assert len(shorts(node, live, "taken-")) == len(shorts(other, standby, "taken-")) == 3
    node.run("zfs", "hold", "mine", f"{vm.live()[0]}@{shorts(node, vm.live()[0], 'taken-')[0]}")
    assert "2 older ones destroyed" not in cluster.gnt("zfsext", "snapshot", WEB, "--keep", "9")
    cluster.gnt("zfsext", "snapshot", WEB, "--keep", "1")
    assert len(shorts(node, vm.live()[0], "taken-")) == 2  # the one that is held, and the last
    assert len(shorts(node, vm.live()[1], "taken-")) == 1
    vm.replicate(other)
    for live, standby in zip(vm.live(), vm.standby(), strict=True):
        assert shorts(node, live, "taken-") == shorts(other, standby, "taken-")
        assert "named" in shorts(other, standby)
    for words in (("web9",), (WEB, "a/b"), (WEB, "zfsext-1.2-3"), (WEB, "named", "--keep", "3"), (WEB, "--keep", "0")):
        assert cluster.master.refused("zfsext", "snapshot", *words)
    assert "use_guest_agent" in cluster.master.refused("zfsext", "snapshot", WEB, "--quiesce")
    node.run("zfs", "release", "mine", f"{vm.live()[0]}@{shorts(node, vm.live()[0], 'taken-')[0]}")
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()


@pytest.mark.proof
def test_a_vm_begins_with_anothers_snapshot(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    node, _ = cluster.nodes
    vm = Vm(cluster, WEB)
    vm.write(node)
    monday = vm.sums
    cluster.gnt("zfsext", "snapshot", WEB, "monday")
    vm.write(node)
    assert "gnt-instance add" in cluster.gnt("zfsext", "clone", f"{WEB}@monday", TEST, "--dry-run")
    options = ("--no-ip-check", "--no-name-check")
    assert "has no snapshot" in cluster.master.refused("zfsext", "clone", f"{WEB}@never", TEST, "--", *options)
    cluster.gnt("zfsext", "clone", "web1@monday", TEST, "--", *options)
    assert "there is an instance" in cluster.master.refused("zfsext", "clone", "web1@monday", TEST)
    cluster.gnt("gnt-instance", "start", TEST)
    loops = node.loops()
    clones = [cluster.volume(TEST, index) for index in range(2)]
    assert [node.checksum(loops[clone], size) for clone, size in zip(clones, (64, 32), strict=True)] == monday
    node.fill(loops[clones[0]], 99, 1)
    assert vm.read(node) == vm.sums  # of which the other is none the wiser
    assert "has the clone" in cluster.master.refused("gnt-instance", "remove", "-f", WEB) + node.run("zfs", "list")
    cluster.gnt("gnt-instance", "remove", "-f", TEST)
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()


@pytest.mark.proof
def test_a_removed_vm_can_be_had_back(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    node, other = cluster.nodes
    for each in cluster.nodes:
        each.run("sh", "-c", f"echo keep_removed = 7d >> {CONFIG}")
    vm = Vm(cluster, WEB)
    vm.write(node)
    cluster.gnt("zfsext", "snapshot", WEB, "monday")
    vm.replicate(other)
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    assert not any(STANDBY + "/" in name for name in other.guids())
    assert node.volumes() == set()
    assert "web1.example.com disk 0: removed" in cluster.gnt("zfsext", "undelete")
    assert "zfsext undelete web1" in node.call("zfsext", "health").stdout
    cluster.gnt("zfsext", "sweep")  # whose time has not come
    options = ("--no-ip-check", "--no-name-check")
    assert "gnt-instance add" in cluster.gnt("zfsext", "undelete", "web1", "--dry-run", "--", *options)
    assert "one new instance" not in cluster.master.refused("zfsext", "undelete", "web1", "web2")
    # What an add that fails takes back is nobody's.
    before = node.guids()
    disks = ("--disk", "0:size=64M,provider=zfsfile", "--disk", "1:size=64M,provider=zfsfile,source=zfs/vm/never@x")
    cluster.master.refused("gnt-instance", "add", *ADD, "--no-start", "-t", "ext", *disks, "-n", node.fqdn, TEST)
    assert node.guids() == before

    cluster.gnt("zfsext", "undelete", "web1", "--", *options)
    # One disk alone.
    cluster.gnt("gnt-instance", "modify", "--disk", "1:remove", WEB)
    cluster.gnt("zfsext", "undelete", "web1")
    cluster.gnt("gnt-instance", "start", WEB)
    vm.volumes = [cluster.volume(WEB, index) for index in range(2)]
    assert vm.read(node) == vm.sums
    assert "monday" in shorts(node, vm.live()[0])
    assert "no removed disk" in cluster.master.call("zfsext", "undelete").stderr
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    cluster.gnt("zfsext", "undelete", "web1", "--purge")
    for each in cluster.nodes:
        each.run("sed", "-i", "/^keep_removed/d", CONFIG)
    nothing_left()


@pytest.mark.proof
def test_the_cluster_at_a_glance(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    node, other = cluster.nodes
    vm = Vm(cluster, WEB, node=other)
    vm.replicate(node)
    disks = json.loads(cluster.gnt("zfsext", "list", "--all", "--json"))
    where = {(each["volume"], each["on_node"], each["role"]) for each in disks}
    assert where == {(v, n.fqdn, role) for v in vm.volumes for n, role in ((node, "replica"), (other, "live"))}
    assert {each["instance"] for each in disks} == {WEB}
    table = cluster.gnt("zfsext", "list", "--all", "--snapshots")
    assert table.splitlines()[0].split() == [
        *("INSTANCE", "DISK", "NODE", "VOLUME", "ROLE", "SIZE", "USED", "WRITTEN", "SNAPS", "DEVICE", "AGE", "REPLICAS")
    ]
    said = json.loads(cluster.master.call("zfsext", "doctor", "--json").stdout)
    assert [each["node"] for each in said["nodes"]] == [node.fqdn, other.fqdn]
    assert {each["node"] for each in said["findings"] if each["bad"]} == set()
    other.run("zfs", "set", "sync=disabled", "zfs/vm")
    other.run("sh", "-c", f"echo recordsize = 32K >> {CONFIG}")
    found = cluster.master.refused("zfsext", "doctor")
    assert "zfs inherit sync zfs/vm" in found
    assert "what /etc/zfsext.conf says differs" in found
    # A pool that is to grow with what it is on.
    other.run("truncate", "-s", "256M", "/root/grow")
    loop = other.run("losetup", "-f", "--show", "/root/grow")
    other.run("zpool", "create", "-o", "ashift=12", "grow", loop)
    other.run("sh", "-c", f"echo dataset = zfs/vm grow/vm >> {CONFIG}")
    other.run("zfsext", "setup")
    other.run("truncate", "-s", "1G", "/root/grow")
    other.run("losetup", "-c", loop)
    assert f"zpool online -e grow {loop}" in cluster.master.refused("zfsext", "doctor")
    other.run("zpool", "online", "-e", "grow", loop)
    assert "zpool online" not in cluster.master.refused("zfsext", "doctor")
    other.run("zpool", "destroy", "grow")
    other.run("losetup", "-d", loop)
    other.run("sed", "-i", "/^dataset = /d", CONFIG)

    other.run("zfs", "inherit", "sync", "zfs/vm")
    other.run("sed", "-i", "/^recordsize = 32K/d", CONFIG)
    before = node.run("cat", "/var/lib/ganeti/config.data")
    assert "always_failover" in cluster.gnt("zfsext", "setup", "--dry-run", "--apply-all")
    assert node.run("cat", "/var/lib/ganeti/config.data") == before
    cluster.gnt("zfsext", "setup", "--apply-all")
    assert "always_failover" not in cluster.gnt("zfsext", "setup")
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()
