"""Where Ganeti copies disks: backup, conversion. What arrives is the same, byte for byte."""

from collections.abc import Callable

import pytest
from conftest import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.proof]
WEB, NEW = "web1.example.com", "new1.example.com"


def test_backup_and_import(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """Export of a stopped and of a running VM, and the restored disk is the same; no clone is left behind."""
    node = cluster.master
    cluster.add(WEB, "-t", "ext", "--disk", "0:size=64M,provider=zfsfile")
    volume = cluster.volume(WEB)
    node.fill(node.loops()[volume], 1, 20, 3)
    whole = node.checksum(node.loops()[volume], 64)
    cluster.gnt("gnt-instance", "deactivate-disks", WEB)

    cluster.gnt("gnt-backup", "export", "-n", "node1.example.com", WEB)
    assert not any("snap" in name for name in node.left()["datasets"])
    cluster.gnt("gnt-backup", "remove", WEB)

    cluster.gnt("gnt-instance", "start", WEB)
    cluster.gnt("gnt-backup", "export", "--noshutdown", "-n", "node2.example.com", WEB)
    assert cluster.status(WEB) == "running"
    assert not any("export" in name or name.endswith(".snap") for name in node.left()["datasets"])
    node.fill(node.loops()[volume], 2, 20, 3)

    cluster.gnt(
        *("gnt-backup", "import", "-t", "ext", "--disk", "0:size=64M,provider=zfsfile,recordsize=64K"),
        *("--no-ip-check", "--no-name-check", "--no-nics", "-B", "memory=32M", "-n", "node2.example.com"),
        *("--src-node=node2.example.com", f"--src-dir={WEB}", NEW),
    )
    restored = cluster.volume(NEW)
    other = cluster.nodes[1]
    assert other.volumes() == {restored}
    assert other.checksum(other.loops()[restored], 64) == whole

    for name in (WEB, NEW):
        cluster.gnt("gnt-instance", "remove", "-f", name)
    nothing_left()


@pytest.mark.parametrize("template", ["file", "plain"])
def test_conversion_there_and_back(cluster: Cluster, nothing_left: Callable[[], None], template: str) -> None:
    """From another template to ext and back: the same bytes, and a mostly empty disk stays sparse."""
    node = cluster.master
    cluster.add(WEB, "-t", template, "--disk", "0:size=256M")
    path = f"/run/ganeti/instance-disks/{WEB}:0"
    cluster.gnt("gnt-instance", "activate-disks", WEB)
    node.fill(path, 3, 8, 100)
    whole = node.checksum(path, 256)
    cluster.gnt("gnt-instance", "deactivate-disks", WEB)

    cluster.gnt("gnt-instance", "modify", "-t", "ext", "-e", "provider=zfsfile", WEB)
    volume = cluster.volume(WEB)
    cluster.gnt("gnt-instance", "activate-disks", WEB)
    assert node.checksum(node.loops()[volume], 256) == whole
    node.run("zpool", "sync", "zfs")
    assert int(node.run("zfs", "get", "-Hpo", "value", "used", f"zfs/vm/{volume}")) < 12 << 20
    cluster.gnt("gnt-instance", "deactivate-disks", WEB)

    cluster.gnt("gnt-instance", "modify", "-t", template, WEB)
    cluster.gnt("gnt-instance", "activate-disks", WEB)
    assert node.checksum(path, 256) == whole
    assert node.volumes() == set()
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()
