"""The slow half of a node's root file system: Debian's packages, and the ZFS module built for its kernel.

What is quick to change (configuration, users' keys) belongs to image.py: a change here costs five minutes.
"""

from __future__ import annotations

from pathlib import Path

import cache
import host
from progress import command, step
from settings import GANETI

SYSTEM = [
    "linux-image-cloud-amd64", "linux-headers-cloud-amd64", "dkms", "build-essential", "initramfs-tools",
    "systemd-sysv", "udev", "kmod", "dbus", "openssh-server", "rsync", "iproute2", "iputils-ping",
    "iputils-arping", "bridge-utils", "netbase", "ca-certificates", "sudo", "less", "procps", "psmisc",
    "lsof", "strace", "tcpdump", "iptables", "nftables", "netcat-openbsd", "socat", "xxd", "bsdextrautils",
    "busybox", "bash-completion", "zstd", "lzop", "mbuffer", "pv", "parted", "fdisk", "e2fsprogs",
    "xfsprogs", "attr",
]

STORAGE = [
    "zfs-dkms", "zfsutils-linux", "python3-pyzfs", "lvm2", "mdadm", "kpartx", "dmsetup", "nbd-client",
    "nbd-server", "fio", "qemu-system-x86", "qemu-utils", "sanoid", "zfsnap", "simplesnap",
    "zfs-auto-snapshot",
]

TOOLS = [
    "python3-click", "python3-nagiosplugin", "python3-prometheus-client", "python3-rich",
    "nagios-nrpe-server", "nagios-nrpe-plugin",
]
"""What the package depends on, and what a node's monitoring calls it from."""

TESTS = [
    "python3", "python3-pytest", "python3-hypothesis", "python3-pytest-timeout", "python3-coverage",
]


def packages(release: str) -> list[str]:
    """All packages of a node of RELEASE."""
    version = GANETI[release]
    ganeti = ["ganeti", f"ganeti-{version}", f"ganeti-haskell-{version}", f"ganeti-htools-{version}"]
    return sorted({*SYSTEM, *STORAGE, *TOOLS, *TESTS, *ganeti})


def key(release: str) -> str:
    """The name of what tree() would give."""
    return cache.digest(release, " ".join(packages(release)), cache.sources("rootfs.py"))


def tree(release: str) -> Path:
    """The cached root file system of RELEASE as a directory; about five minutes if it must be built."""

    def build(place: Path) -> None:
        log = place / "log"
        root = place / "root"
        sources = place / "sources.list"
        sources.write_text("\n".join(host.mirrors(release)) + "\n")
        with step(f"building {release}'s root file system with Ganeti and ZFS", log):
            command([
                "mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase",
                f"--include={','.join(packages(release))}",
                "--aptopt=Acquire::Languages \"none\"",
                "--dpkgopt=path-exclude=/usr/share/man/*",
                "--dpkgopt=path-exclude=/usr/share/locale/*",
                "--dpkgopt=path-exclude=/usr/share/info/*",
                release, root, sources,
            ], log)
        with step("building the ZFS module for its kernel, if that is not done yet", log):
            kernel = kernel_release(root)
            command(["chroot", root, "dkms", "autoinstall", "-k", kernel], log)
            command(["chroot", root, "modinfo", "-k", kernel, "-n", "zfs"], log)

    return cache.entry(f"rootfs-{release}-{key(release)}", build) / "root"


def kernel_release(root: Path) -> str:
    """The newest kernel in ROOT, as uname -r will say there."""
    return sorted(path.name for path in (root / "lib/modules").iterdir())[-1]
