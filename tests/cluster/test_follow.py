"""The disks go where their VM goes, by every command that takes it elsewhere, and the old copy stays shut."""

import time
from collections.abc import Callable

import pytest
from conftest import HOOKS, MIB, Cluster
from vm import Vm

pytestmark = pytest.mark.cluster
WEB = "web1.example.com"


def test_a_vm_fails_over_and_back(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """Failover with the hook, and back without any: all data each time, nothing left at the end."""
    node, other = cluster.nodes
    vm = Vm(cluster, WEB)
    vm.write(node)
    vm.failover(other)
    vm.runs_on(other)
    with other.holding(other.loops()[vm.volumes[0]]):
        vm.is_refused_on(node)
    vm.write(other)

    # Nobody leaves word for close now, so open on the other node asks for the disks.
    for each in cluster.nodes:
        each.run("chmod", "a-x", *HOOKS)
    vm.failover(node)
    vm.runs_on(node)
    with node.holding(node.loops()[vm.volumes[0]]):
        vm.is_refused_on(other)
    for each in cluster.nodes:
        each.run("chmod", "a+x", *HOOKS)
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()


@pytest.mark.proof
def test_a_stopped_vm_fails_over_and_back(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """Without any hook and with it, also without a start in between."""
    node, other = cluster.nodes
    vm = Vm(cluster, WEB)
    vm.write(node)
    for each in cluster.nodes:
        each.run("chmod", "a-x", *HOOKS)
    cluster.gnt("gnt-instance", "stop", WEB)
    vm.failover(other)
    cluster.gnt("gnt-instance", "info", WEB)  # this attaches, and must move nothing
    assert node.volumes() == set(vm.volumes)
    assert other.volumes() == set()
    cluster.gnt("gnt-instance", "start", WEB)
    vm.runs_on(other)
    with other.holding(other.loops()[vm.volumes[0]]):
        vm.is_refused_on(node)

    for each in cluster.nodes:
        each.run("chmod", "a+x", *HOOKS)
    cluster.gnt("gnt-instance", "stop", WEB)
    vm.failover(node)
    vm.failover(other)  # without a start in between
    cluster.gnt("gnt-instance", "start", WEB)
    vm.runs_on(other)
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()


@pytest.mark.proof
def test_a_move_that_is_interrupted(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """Killed while it sends, the VM runs on and the next move goes on; killed while Ganeti moves it, that is done."""
    node, other = cluster.nodes
    vm = Vm(cluster, WEB)
    vm.write(node, 24)
    before = node.sent()
    with node.begin("zfsext", "move", WEB, other.fqdn, "--bandwidth", "4M") as moving:
        while node.sent() - before < 16 * MIB:
            assert moving.poll() is None
            time.sleep(0.2)
        node.run("pkill", "-9", "-f", "[z]fsext move")
    assert moving.returncode != 0
    vm.runs_on(node)
    vm.write(node, 1)

    before = node.sent()
    with node.begin("zfsext", "move", WEB, other.fqdn) as moving:
        while not (job := node.run("gnt-job", "list", "--no-headers", "-o", "id", "--running")):
            assert moving.poll() is None
            time.sleep(0.2)
        node.run("pkill", "-9", "-f", "[z]fsext move")
    cluster.gnt("gnt-job", "watch", job)
    assert node.sent() - before < 36 * MIB
    vm.runs_on(other)
    assert "is on node2.example.com already" in cluster.gnt("zfsext", "move", WEB, other.fqdn)
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()


@pytest.mark.proof
def test_every_way_to_the_other_node(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """With always_failover: migrate, zfsext move, a new primary for a stopped VM, evacuation and failover of a node."""
    node, other = cluster.nodes
    vm = Vm(cluster, WEB, "-B", "memory=32M,always_failover=true")
    vm.write(node)
    cluster.gnt("gnt-instance", "migrate", "-f", "-n", other.fqdn, WEB)
    vm.runs_on(other)
    vm.write(other)

    cluster.gnt("zfsext", "move", WEB, node.fqdn)
    vm.runs_on(node)
    vm.write(node)

    cluster.gnt("gnt-instance", "stop", WEB)
    cluster.gnt("gnt-instance", "modify", f"--new-primary={other.fqdn}", WEB)
    cluster.gnt("gnt-instance", "start", WEB)
    vm.runs_on(other)
    vm.write(other)

    cluster.gnt("gnt-node", "evacuate", "-f", "-p", "-I", "hail", other.fqdn)
    vm.runs_on(node)
    vm.write(node)

    cluster.gnt("gnt-node", "failover", "-f", "-I", "hail", node.fqdn)
    vm.runs_on(other)
    vm.is_refused_on(node)

    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()


@pytest.mark.proof
def test_disks_that_change_before_the_others_follow(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """Ganeti has a stopped VM elsewhere already: a disk that is added there stays, and start brings the others."""
    node, other = cluster.nodes
    vm = Vm(cluster, WEB)
    vm.write(node)
    cluster.gnt("gnt-instance", "stop", WEB)
    cluster.gnt("gnt-instance", "modify", f"--new-primary={other.fqdn}", WEB)
    cluster.gnt("gnt-instance", "modify", "--disk", "add:size=32M,provider=zfsfile", WEB)
    third = cluster.volume(WEB, 2)
    assert (node.volumes(), other.volumes()) == (set(vm.volumes), {third})
    cluster.gnt("gnt-instance", "start", WEB)
    vm.runs_on(other)
    assert (node.volumes(), other.volumes()) == (set(), {*vm.volumes, third})
    vm.write(other)

    cluster.gnt("gnt-instance", "stop", WEB)
    cluster.gnt("gnt-instance", "modify", f"--new-primary={node.fqdn}", WEB)
    cluster.gnt("gnt-instance", "modify", "--disk", "add:size=32M,provider=zfsfile", WEB)
    said = node.refused("gnt-instance", "failover", "-f", "-n", other.fqdn, WEB)  # which has the others still
    assert f"--new-primary={other.fqdn} {WEB}" in said, said
    cluster.gnt("gnt-instance", "modify", f"--new-primary={other.fqdn}", WEB)
    cluster.gnt("gnt-instance", "start", WEB)
    vm.runs_on(other)
    assert len(other.volumes()) == 4

    cluster.gnt("gnt-instance", "stop", WEB)
    for index in (3, 2):
        cluster.gnt("gnt-instance", "modify", "--disk", f"{index}:remove", WEB)
    for each in cluster.nodes:
        left = {name.partition("@")[0].rpartition("/")[2] for name in each.guids() if ".ext.disk" in name}
        assert left == set(vm.volumes)
    vm.failover(node)
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()
