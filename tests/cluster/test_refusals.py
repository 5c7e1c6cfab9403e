"""What cannot be done says why, and leaves the VM as it was."""

from collections.abc import Callable

import pytest
from conftest import ADD, Cluster

pytestmark = pytest.mark.cluster
WEB = "web1.example.com"
HOOKS = [f"/etc/ganeti/hooks/instance-{verb}-pre.d/zfsext" for verb in ("failover", "migrate")]


def test_a_vm_does_not_go_where_its_disks_are_not(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """Failover and live migration to a node without the disks: refused, by the hook and without it."""
    node, other = cluster.nodes
    cluster.add(WEB, "-t", "ext", "--disk", "0:size=64M,provider=zfsfile", start=True)
    volume = cluster.volume(WEB)
    kept = node.fill(node.loops()[volume], 1, 8)

    said = node.refused("gnt-instance", "failover", "-f", "-n", "node2.example.com", WEB)
    assert "was not stopped" in said
    assert (cluster.status(WEB), cluster.primary(WEB)) == ("running", "node1")

    said = node.refused("gnt-instance", "migrate", "-f", "-n", "node2.example.com", WEB)
    assert "was not stopped" in said
    assert (cluster.status(WEB), cluster.primary(WEB)) == ("running", "node1")

    for each in cluster.nodes:
        each.run("chmod", "a-x", *HOOKS)
    said = node.refused("gnt-instance", "migrate", "-f", "-n", "node2.example.com", WEB)
    assert "is not on this node" in said
    assert (cluster.status(WEB), cluster.primary(WEB)) == ("running", "node1")
    said = node.refused("gnt-instance", "failover", "-f", "-n", "node2.example.com", WEB)
    assert "only on this node" in said
    assert cluster.primary(WEB) == "node1"
    cluster.gnt("gnt-instance", "start", WEB)
    assert node.checksum(node.loops()[volume], 8) == kept
    assert other.volumes() == set()

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
