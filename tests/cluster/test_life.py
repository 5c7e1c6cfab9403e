"""One VM through everything that Ganeti does with the disks of a VM that stays where it is."""

from collections.abc import Callable

import pytest
from conftest import Cluster, bed

pytestmark = pytest.mark.cluster
WEB, NEW = "web1.example.com", "db1.example.com"


def test_a_vm_lives_on_zfs(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """Add with two disks of different parameters, start, stop, reboot, info, verify, grow, a node's reboot, remove."""
    node = cluster.master
    cluster.add(
        WEB,
        *("-t", "ext"),
        *("--disk", "0:size=64M,provider=zfsfile,recordsize=64K,compression=zstd"),
        *("--disk", "1:size=128M,provider=zfsfile,reservation=thick"),
        start=True,
    )
    first, second = (cluster.volume(WEB, index) for index in range(2))
    assert node.volumes() == {first, second}
    properties = "recordsize,compression,refreservation,zfsext:instance"
    assert node.run("zfs", "get", "-Ho", "value", properties, f"zfs/vm/{first}").split() == ["64K", "zstd", "none", WEB]
    assert node.run("zfs", "get", "-Ho", "value", "refreservation", f"zfs/vm/{second}") != "none"
    sums = [node.fill(node.loops()[volume], seed, 32) for seed, volume in enumerate((first, second))]

    cluster.gnt("gnt-instance", "reboot", "--type=hard", WEB)
    cluster.gnt("gnt-instance", "stop", WEB)
    assert node.loops() == {}
    info = cluster.gnt("gnt-instance", "info", WEB)
    assert "size 64M" in info
    verify = node.call("gnt-cluster", "verify", "--error-codes")
    assert not any(volume in verify.stdout for volume in (first, second))
    cluster.gnt("gnt-instance", "start", WEB)
    assert [node.checksum(node.loops()[volume], 32) for volume in (first, second)] == sums

    cluster.gnt("gnt-instance", "grow-disk", WEB, "0", "64M")
    assert node.run("blockdev", "--getsize64", node.loops()[first]) == str(128 << 20)
    assert node.run("stat", "-c", "%s", f"/zfs/vm/{first}/disk.raw") == str(128 << 20)
    assert "size 128M" in cluster.gnt("gnt-instance", "info", WEB)
    assert "smaller" in node.refused("gnt-instance", "grow-disk", "--absolute", WEB, "0", "64M").lower()

    node.run("sync")  # what Ganeti noted of its own jobs, too
    bed("kill", "node1")
    bed("start", "node1")
    assert node.loops() == {}
    cluster.gnt("gnt-instance", "start", "--no-remember", WEB) if cluster.status(WEB) != "running" else None
    assert [node.checksum(node.loops()[volume], 32) for volume in (first, second)] == sums

    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()


@pytest.mark.proof
def test_its_disks_change(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """Stopped grow, modify, rename, reinstall, recreate-disks in all its ways, reboot of each type."""
    node, other = cluster.nodes
    cluster.add(WEB, "-t", "ext", "--disk", "0:size=64M,provider=zfsfile")
    volume = cluster.volume(WEB)
    kept = node.fill(node.loops()[volume], 7, 16)

    cluster.gnt("gnt-instance", "grow-disk", WEB, "0", "64M")
    assert node.loops() == {}
    assert "size 128M" in cluster.gnt("gnt-instance", "info", WEB)
    assert node.run("blockdev", "--getsize64", node.loops()[volume]) == str(128 << 20)
    assert node.run("stat", "-c", "%s", f"/zfs/vm/{volume}/disk.raw") == str(128 << 20)

    cluster.gnt("gnt-instance", "modify", "--disk", "add:size=64M,provider=zfsfile,recordsize=128K", WEB)
    added = cluster.volume(WEB, 1)
    assert node.volumes() == {volume, added}
    cluster.gnt("gnt-instance", "modify", "--disk", "1:remove", WEB)
    assert node.volumes() == {volume}

    # Without its check of names rename asks a person.
    node.run("sh", "-c", f"printf '192.0.2.%s\n' '1 {WEB}' '2 {NEW}' >> /etc/hosts")
    cluster.gnt("gnt-instance", "rename", WEB, NEW)
    assert node.run("zfs", "get", "-Ho", "value", "zfsext:instance", f"zfs/vm/{volume}") == NEW
    cluster.gnt("gnt-instance", "rename", NEW, WEB)
    cluster.gnt("gnt-instance", "reinstall", "-f", "-o", "noop+default", WEB)

    for kind in ("soft", "full"):
        cluster.gnt("gnt-instance", "start", WEB) if kind == "soft" else None
        cluster.gnt("gnt-instance", "reboot", f"--type={kind}", WEB)
    assert node.checksum(node.loops()[volume], 16) == kept
    cluster.gnt("gnt-instance", "stop", WEB)

    said = node.refused("gnt-instance", "recreate-disks", WEB)
    assert "already" in said
    cluster.gnt("gnt-instance", "activate-disks", WEB)
    assert node.checksum(node.loops()[volume], 16) == kept
    cluster.gnt("gnt-instance", "deactivate-disks", WEB)

    # The same disk on the other node: as after an administrator's zfs send.
    node.run("zfs", "snapshot", f"zfs/vm/{volume}@copy")
    stream = f"zfs send zfs/vm/{volume}@copy | ssh -oBatchMode=yes -oStrictHostKeyChecking=no node2.example.com"
    node.run("sh", "-c", f"{stream} zfs receive -u zfs/vm-standby/{volume}")
    said = node.refused("gnt-instance", "recreate-disks", "-n", "node2.example.com", WEB)
    assert "--new-primary" in said
    assert cluster.primary(WEB) == "node2"
    cluster.gnt("gnt-instance", "modify", "--new-primary=node1.example.com", WEB)
    cluster.gnt("gnt-instance", "start", WEB)
    assert node.checksum(node.loops()[volume], 16) == kept
    cluster.gnt("gnt-instance", "stop", WEB)
    other.run("zfs", "destroy", "-r", f"zfs/vm-standby/{volume}")

    node.run("zfs", "destroy", "-r", f"zfs/vm/{volume}")
    cluster.gnt("gnt-instance", "recreate-disks", WEB)
    assert node.volumes() == {volume}
    cluster.gnt("gnt-instance", "info", WEB)
    assert node.run("blockdev", "--getsize64", node.loops()[volume]) == str(128 << 20)
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()
