"""What cannot be done says why, and leaves the VM as it was."""

from collections.abc import Callable

import pytest
from conftest import ADD, HOOKS, MIB, Cluster
from vm import Vm

pytestmark = pytest.mark.cluster
WEB = "web1.example.com"
PEER = "/usr/lib/python3/dist-packages/zfsext/peer.py"


@pytest.mark.proof
def test_a_vm_does_not_go_where_its_disks_cannot(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """Each failover that would end badly is refused before the VM is stopped, live migration always; then one works."""
    node, other = cluster.nodes
    vm = Vm(cluster, WEB)
    vm.write(node)

    def refused(verb: str, *words: str) -> None:
        said = node.refused("gnt-instance", verb, "-f", "-n", other.fqdn, WEB).lower()
        assert any(word in said for word in words), said
        assert (cluster.status(WEB), cluster.primary(WEB)) == ("running", "node1")
        assert set(node.loops()) == set(vm.volumes)

    other.run("zfs", "rename", "zfs/vm-standby", "zfs/away")
    refused("failover", "zfs/vm-standby")
    other.run("zfs", "rename", "zfs/away", "zfs/vm-standby")
    other.run("zfs", "rename", "zfs/vm", "zfs/away")
    refused("failover", "zfs/vm ")
    other.run("zfs", "rename", "zfs/away", "zfs/vm")
    other.run("zpool", "export", "zfs")
    refused("failover", "pool zfs")
    other.run("zpool", "import", "zfs")

    other.run("cp", "-p", PEER, "/root/peer.py")
    other.run("sed", "-i", "s/^PROTOCOL\\b.*/PROTOCOL = 99/", PEER)
    other.run("grep", "-qx", "PROTOCOL = 99", PEER)
    refused("failover", "protocol", "version")
    other.run("cp", "-p", "/root/peer.py", PEER)

    refused("migrate", "always_failover")
    for each in cluster.nodes:
        each.run("chmod", "a-x", *HOOKS)
    refused("migrate", "can't find device")  # Ganeti's words for the empty answer of attach
    assert vm.read(node) == vm.sums
    for each in cluster.nodes:
        each.run("chmod", "a+x", *HOOKS)

    vm.failover(other)
    vm.runs_on(other)
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()


@pytest.mark.proof
def test_a_vm_does_not_go_where_its_disks_would_not_be_live(
    cluster: Cluster, nothing_left: Callable[[], None]
) -> None:
    """Copies have room there, and what they would be has not: that too is said while the VM runs."""
    node, other = cluster.nodes
    vm = Vm(cluster, WEB, parameters=",reservation=thick")
    vm.write(node)

    def refused(words: str) -> None:
        said = node.refused("gnt-instance", "failover", "-f", "-n", other.fqdn, WEB)
        assert words in said, said
        assert (cluster.status(WEB), cluster.primary(WEB)) == ("running", "node1")
        assert set(node.loops()) == set(vm.volumes)

    other.run("zfs", "set", "quota=64M", "zfs/vm")
    refused("zfs/vm has a quota of 64 MiB")
    other.run("zfs", "set", "quota=none", "zfs/vm")

    free = int(other.run("zfs", "get", "-Hpo", "value", "available", "zfs/vm"))
    other.run("zfs", "create", "-o", "canmount=off", "-o", f"refreservation={free - 64 * MIB}", "zfs/filler")
    refused("thick and have a right to")
    other.run("zfs", "destroy", "zfs/filler")

    other.run("zfs", "create", "-o", "canmount=off", f"zfs/vm/{vm.volumes[1]}")
    refused(f"zfs/vm/{vm.volumes[1]}")
    other.run("zfs", "destroy", f"zfs/vm/{vm.volumes[1]}")

    live = vm.live()[0]
    long = f"{live}@{'x' * (254 - len(live))}"
    node.run("zfs", "snapshot", long)
    refused("too long")
    node.run("zfs", "rename", long, f"{live}@short")

    vm.failover(other)
    vm.runs_on(other)
    assert all(int(other.local(name)["refreservation"]) > 32 * MIB for name in vm.live())
    assert all(node.local(name).get("refreservation", "0") == "0" for name in vm.standby())
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()


@pytest.mark.proof
def test_a_vm_is_not_made_of_what_is_not_there(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """Unknown parameter, missing parent, missing pool, no space: each with its reason, and nothing is left."""
    node = cluster.master

    def add(disk: str) -> str:
        disks = ("--disk", "0:size=64M,provider=zfsfile", "--disk", f"1:provider=zfsfile,{disk}")
        where = ("-B", "memory=32M", "-n", "node1.example.com", WEB)
        return node.refused("gnt-instance", "add", "-t", "ext", *disks, *ADD, *where)

    assert "unknown disk parameter" in add("size=64M,record-size=16K")
    assert "power of two" in add("size=64M,recordsize=3000")
    assert "/etc/zfsext.conf" in add("size=64M,dataset=zfs/elsewhere")
    assert "reservation=thin" in add("size=100G,reservation=thick")
    nothing_left()
    node.run("zfs", "rename", "zfs/vm", "zfs/away")
    assert "zfs/vm does not exist" in add("size=64M")
    node.run("zfs", "rename", "zfs/away", "zfs/vm")
    node.run("zpool", "export", "zfs")
    assert "pool zfs is not imported" in add("size=64M")
    node.run("zpool", "import", "zfs")
    nothing_left()
