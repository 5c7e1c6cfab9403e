"""A node dies with a VM on it: the other goes on from the last round, and what comes back is kept apart, not used."""

import json
import re
from collections.abc import Callable

import pytest
from conftest import Cluster, Node, bed
from vm import OPEN, SIZES, STANDBY, Vm

pytestmark = [pytest.mark.cluster, pytest.mark.proof]
WEB = "web1.example.com"


def kinds(node: Node) -> set[str]:
    """Return the kinds of what a node's health check finds."""
    return {each["kind"] for each in json.loads(node.call("zfsext", "health", "--json").stdout)["findings"]}


def aside(node: Node) -> list[str]:
    """Return the copies that were set aside."""
    return sorted(name for name in node.guids(STANDBY) if ".aside-" in name and "@" not in name)


def held_by(node: Node, dataset: str, mebibytes: int) -> str:
    """Return the checksum of the image of a copy that is set aside, looked at without a change."""
    node.run("zfs", "snapshot", f"{dataset}@look")
    found = node.kept(f"{dataset}@look", mebibytes)
    node.run("zfs", "destroy", f"{dataset}@look")
    return found


def stays_shut(vm: Vm, node: Node) -> None:
    """See that no disk of the VM gets a device there."""
    for volume in vm.volumes:
        assert node.script("attach", volume).stdout == ""
        done = node.script("open", volume, **OPEN)
        assert (done.returncode, done.stdout) == (1, ""), done
        assert done.stderr
    assert node.loops() == {}


def test_a_node_dies_and_returns(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """Refused until it is marked offline, then promoted; the old copy is shut, seen, told apart and dropped."""
    node, other = cluster.nodes
    vm = Vm(cluster, WEB, node=other)
    vm.write(other)
    vm.replicate(node)
    round_ = vm.is_replicated(other, node)
    replicated, written = vm.sums, vm.written
    vm.write(other)
    lost = vm.sums
    other.run("sync")
    bed("kill", other.name)

    node.refused("gnt-instance", "failover", "-f", "-n", node.fqdn, WEB)
    assert cluster.primary(WEB) == "node2"
    stays_shut(vm, node)
    cluster.gnt("gnt-node", "modify", "-f", "-O", "yes", other.fqdn)
    vm.failover(node)
    vm.sums, vm.written = replicated, written
    assert (cluster.status(WEB), cluster.primary(WEB)) == ("running", "node1")
    assert vm.read(node) == replicated
    assert int(node.local(vm.live()[0])["zfsext:promoted"]) > 0
    assert node.local(vm.live()[0])["zfsext:generation"] != round_.rpartition("-")[0]
    vm.write(node)

    bed("start", other.name)
    with node.holding(node.loops()[vm.volumes[0]]):
        stays_shut(vm, other)
        cluster.gnt("gnt-node", "modify", "-f", "-O", "no", other.fqdn)
        stays_shut(vm, other)
    assert vm.read(node) == vm.sums
    assert "diverged" in kinds(other)
    assert "diverged" not in kinds(node)
    assert [held_by(other, name, size) for name, size in zip(_in_order(vm, aside(other)), SIZES, strict=True)] == lost

    said = other.run("zfsext", "resolve", "web1")
    assert re.search(r"\d ?(B|bytes|[KMG](iB)?)\b", said), said
    assert len(aside(other)) == len(SIZES)
    other.run("zfsext", "resolve", "web1", "--drop")
    assert aside(other) == []
    assert "diverged" not in kinds(other)

    vm.replicate(other)
    vm.is_replicated(node, other)
    vm.failover(other)
    vm.runs_on(other)
    vm.is_refused_on(node)
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()


def test_a_living_node_is_marked_offline(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """A mark is no proof: what answers is not passed over, in use or not; back online its VM moves like any other."""
    node, other = cluster.nodes
    vm = Vm(cluster, WEB, node=other)
    vm.write(other)
    vm.replicate(node)
    vm.write(other)
    cluster.gnt("gnt-node", "modify", "-f", "-O", "yes", other.fqdn)
    with other.holding(other.loops()[vm.volumes[0]]):
        node.refused("gnt-instance", "failover", "-f", "-n", node.fqdn, WEB)
        stays_shut(vm, node)
    stays_shut(vm, node)
    assert vm.read(other) == vm.sums

    cluster.gnt("gnt-node", "modify", "-f", "-O", "no", other.fqdn)
    cluster.gnt("gnt-node", "modify", "-C", "yes", other.fqdn)
    vm.failover(node)
    vm.runs_on(node)
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()


def _in_order(vm: Vm, datasets: list[str]) -> list[str]:
    """Return the datasets in the order of the VM's disks, one for each."""
    found = [[name for name in datasets if f"/{volume}." in name] for volume in vm.volumes]
    assert [len(each) for each in found] == [1] * len(found), datasets
    return [name for each in found for name in each]
