"""Ganeti on the nodes: a pool and a volume group on each, and one cluster over all."""

from __future__ import annotations

from progress import step
from settings import CLUSTER
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
