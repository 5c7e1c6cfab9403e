"""Ganeti on the nodes: a pool and a volume group on each, one cluster over all, and whether it answers."""

from __future__ import annotations

import json
import time

from progress import step
from settings import CLUSTER, Node, TestbedError
from ssh import Connection

TEMPLATES = "ext,file,plain"

KVM = "kvm_path=/usr/bin/qemu-system-x86_64,kvm_flag=disabled,kernel_path=,initrd_path=,vnc_bind_address="
"""No acceleration inside the emulator; a guest that brings a kernel of its own names it with -H."""

BOUNDS = (
    "min:cpu-count=1,disk-count=0,disk-size=1,memory-size=1,nic-count=0,spindle-use=0/"
    "max:cpu-count=8,disk-count=16,disk-size=1048576,memory-size=32768,nic-count=8,spindle-use=12"
)


def equip(connection: Connection) -> None:
    """The pool `zfs` with its two parents, and the volume group `xenvg`, on a fresh node."""
    with step(f"{connection.node.name}: pool and volume group"):
        connection.call("zpool", "create", "-o", "ashift=12", "zfs", "/dev/disk/by-id/virtio-pool")
        parent = ["-o", "canmount=off", "-o", "compression=lz4", "-o", "atime=off"]
        connection.call("zfs", "create", *parent, "-o", "mountpoint=/zfs/vm", "zfs/vm")
        connection.call("zfs", "create", *parent, "-o", "mountpoint=/zfs/vm-standby", "-o", "readonly=on",
                        "-o", "com.sun:auto-snapshot=false", "zfs/vm-standby")
        connection.call("vgcreate", "-q", "xenvg", "/dev/disk/by-id/virtio-lvm")


def found(connection: Connection) -> None:
    """Make a cluster of this one node."""
    with step("gnt-cluster init"):
        connection.call(
            "gnt-cluster", "init", "--no-etc-hosts", "--master-netdev=br0", "--nic-parameters=link=br0",
            "--vg-name=xenvg", "--enabled-hypervisors=fake,kvm", f"--hypervisor-parameters=kvm:{KVM}",
            f"--enabled-disk-templates={TEMPLATES}", f"--ipolicy-disk-templates={TEMPLATES}",
            f"--ipolicy-bounds-specs={BOUNDS}", "--ipolicy-vcpu-ratio=64",
            "--file-storage-dir=/srv/ganeti/file-storage", CLUSTER,
        )


def join(master: Connection, joining: Connection) -> None:
    """Add a node to the cluster."""
    with step(f"gnt-node add {joining.node.fqdn}"):
        # Ganeti enters the new node with root's key, which init has made anew.
        key = master.call("cat", "/root/.ssh/id_rsa.pub")
        joining.call("sh", "-c", "mkdir -p -m 700 /root/.ssh && cat >>/root/.ssh/authorized_keys", stdin=key)
        master.call("gnt-node", "add", "--no-ssh-key-check", joining.node.fqdn)


def quiesce(connection: Connection) -> None:
    """Nothing left to write, and no memory in use that need not be: ready to be frozen."""
    connection.call("sh", "-c", "sync; zpool sync; sync; echo 3 >/proc/sys/vm/drop_caches")


_ASK = r"""
date -u -s @$1 >/dev/null
ss -Hltn 'sport = :1811' | grep -q . || { echo "noded does not listen" >&2; exit 1; }
test "$(cat /var/lib/ganeti/ssconf_master_node)" = "$(hostname)" || exit 0
printf '{"method": "QueryNodes", "args": [[], ["name"], false]}\003' |
    socat -t30 - UNIX-CONNECT:/run/ganeti/socket/ganeti-query | tr -d '\003'
"""
"""One round trip: the clock, noded, and on the master luxid, whom gnt-node list would ask with the same words
(but its start takes seconds in an emulator)."""


def wait(connection: Connection, everybody: list[Node], seconds: float = 240) -> None:
    """Give the node this machine's time and return when Ganeti answers there.

    On the master that is the whole cluster's configuration, with EVERYBODY in it. A thawed node still has the
    time of its freezing, and Ganeti compares clocks.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return _answers(connection, everybody)
        except TestbedError as error:
            if time.monotonic() > end:
                raise TestbedError(f"Ganeti does not answer on {connection.node.name}: {error}") from error
        time.sleep(0.5)


def _answers(connection: Connection, everybody: list[Node]) -> None:
    said = connection.call("sh", "-c", _ASK, "sh", f"{time.time():.2f}")
    if said:
        answer = json.loads(said)
        missing = {node.fqdn for node in everybody} - {name for (name,) in answer["result"]}
        if not answer["success"] or missing:
            raise TestbedError(f"luxid says {said}")
