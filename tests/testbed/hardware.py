"""The hardware of a node: QEMU's command line and the kernel's.

A frozen cluster thaws only on the hardware that it was frozen on, so this file is part of its key.
"""

from __future__ import annotations

from pathlib import Path

from image import Image
from progress import command
from settings import CPUS, MEMORY_MIB, Node

QEMU = "qemu-system-x86_64"

CPU = "max,erms=off,fsrm=off,la57=off"
"""Without the fast string instructions: the emulator does them byte by byte, and a kernel that believes in them
clears each page with one (a boot takes half the time without)."""

DISKS = {"root": None, "pool": 16, "lvm": 24}
"""A node's disks in their order (vda, vdb, vdc), each with its size in GiB; the first stands on the image."""

KERNEL = (
    "root=/dev/vda rw rootfstype=ext4 fsck.mode=skip console=ttyS0 loglevel=4 net.ifnames=0 mitigations=off "
    "tsc=reliable clocksource=tsc no_timer_check nowatchdog audit=0 lsm=capability random.trust_cpu=on"
)


def version() -> str:
    """QEMU's version, which a frozen machine depends on."""
    return command([QEMU, "--version"]).splitlines()[0]


def create_disks(node: Node, image: Image) -> None:
    """Fresh disks for NODE in its state directory, whatever was there."""
    node.state.mkdir(parents=True, exist_ok=True)
    for name, gib in DISKS.items():
        disk = node.state / f"{name}.qcow2"
        disk.unlink(missing_ok=True)
        if gib is None:
            command(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image.disk, disk])
        else:
            command(["qemu-img", "create", "-q", "-f", "qcow2", disk, f"{gib}G"])


def qemu(node: Node, image: Image, taps: tuple[str, str], monitor: Path, pidfile: Path) -> list[str]:
    """The command line of NODE's QEMU with the cards on TAPS (control, cluster)."""
    argv = [
        QEMU, "-name", node.fqdn, "-nodefaults", "-no-user-config", "-display", "none", "-daemonize",
        # The emulator always: /dev/kvm may be there and hang.
        "-accel", "tcg,thread=multi,tb-size=512", "-machine", "pc,usb=off,vmport=off", "-cpu", CPU,
        "-smp", str(CPUS), "-m", str(MEMORY_MIB), "-rtc", "base=utc,clock=host",
        "-device", "virtio-rng-pci",
        "-chardev", f"file,id=console,path={node.console},append=on", "-serial", "chardev:console",
        "-qmp", f"unix:{monitor},server=on,wait=off", "-pidfile", str(pidfile),
        "-kernel", str(image.kernel), "-initrd", str(image.initrd),
        "-append", f"{KERNEL} systemd.hostname={node.fqdn} testbed.node={node.number}",
    ]
    for name in DISKS:
        # unsafe: what the guest flushes reaches this machine's page cache, which outlives a killed QEMU.
        argv += ["-drive", f"if=none,id={name},file={node.state}/{name}.qcow2,format=qcow2,cache=unsafe,"
                           "discard=unmap", "-device", f"virtio-blk-pci,drive={name},serial={name}"]
    for card, tap in enumerate(taps):
        argv += ["-netdev", f"tap,id=card{card},ifname={tap},script=no,downscript=no",
                 "-device", f"virtio-net-pci,netdev=card{card},mac={node.mac(card)},romfile="]
    return argv
