"""Three nodes: a disk goes round with increments alone, and of two copies only the newer one becomes the disk."""

from collections.abc import Iterator

import pytest
from conftest import MIB, Cluster, Node, bed
from vm import Vm

pytestmark = [pytest.mark.cluster, pytest.mark.proof]
WEB = "web1.example.com"


@pytest.fixture
def three() -> Iterator[Cluster]:
    """Give the clean cluster of three nodes, and take the third away again."""
    bed("up", "--nodes", "3")
    bed("reset")
    yield Cluster([Node("node1"), Node("node2"), Node("node3")])
    bed("up")


def test_a_vm_goes_round(three: Cluster) -> None:
    """Whoever has the disks replicates to both others, and what each has already is not sent again."""
    vm = Vm(three, WEB)
    before = [node.left()["datasets"] for node in three.nodes]
    vm.write(three.nodes[0], 12)
    for other in three.nodes[1:]:
        vm.replicate(other)
        vm.is_replicated(three.nodes[0], other)
    for source, target, third in _turns(three.nodes):
        sent = source.sent()
        vm.failover(target)
        vm.runs_on(target)
        vm.is_refused_on(source)
        vm.is_refused_on(third)
        assert source.sent() - sent < 8 * MIB
        vm.write(target, 1)
        for other in (source, third):
            sent = target.sent()
            vm.replicate(other)
            vm.is_replicated(target, other)
            assert target.sent() - sent < 8 * MIB, other.name
    three.gnt("gnt-instance", "remove", "-f", WEB)
    names = [node.left()["datasets"] for node in three.nodes]
    assert names[1:] == before[1:]
    assert not any(vm.volumes[0] in name for name in names[0])


def _turns(nodes: list[Node]) -> list[tuple[Node, Node, Node]]:
    first, second, third = nodes
    return [(first, second, third), (second, third, first), (third, first, second)]


def test_the_newer_of_two_copies(three: Cluster) -> None:
    """The older copy gives way, and says to which; where most nodes do not answer, none becomes the disk."""
    master, other, dies = three.nodes
    vm = Vm(three, WEB, node=dies)
    vm.write(dies)
    vm.replicate(master)
    vm.replicate(other)
    vm.write(dies)
    vm.replicate(other)
    vm.is_replicated(dies, other)
    bed("kill", dies.name)
    three.gnt("gnt-node", "modify", "-f", "-O", "yes", dies.fqdn)

    said = master.refused("gnt-instance", "failover", "-f", "-n", master.fqdn, WEB)
    assert f"'gnt-instance failover -n {other.fqdn} INSTANCE'" in said, said
    assert three.primary(WEB) == dies.name

    bed("cut", other.name)
    said = master.refused("gnt-instance", "failover", "-f", "-n", master.fqdn, WEB)
    assert f"{other.fqdn} does not answer" in said, said
    three.gnt("gnt-node", "modify", "-f", "-O", "yes", other.fqdn)
    said = master.refused("gnt-instance", "failover", "-f", "-n", master.fqdn, WEB)
    assert "majority" in said, said
    bed("heal", other.name)
    three.gnt("gnt-node", "modify", "-f", "-O", "no", other.fqdn)

    vm.failover(other)
    assert (three.status(WEB), three.primary(WEB)) == ("running", other.name)
    assert vm.read(other) == vm.sums
    vm.is_refused_on(master)
    vm.write(other)
    vm.replicate(master)
    vm.is_replicated(other, master)
    vm.failover(master)
    assert vm.read(master) == vm.sums
