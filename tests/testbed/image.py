"""The quick half of a node: configuration and key on top of the root file system, as a disk image.

The image is the read-only ground under every node's root disk; what makes a node that very node comes
on the kernel's command line.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import cache
import initrd
import rootfs
from progress import command, step
from settings import HERE

DISK_GIB = 12

MASKED = [
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
    "e2scrub_reap.service", "fstrim.timer", "logrotate.timer", "systemd-tmpfiles-clean.timer",
    "cron.service", "sanoid.timer", "mdadm-shutdown.service",
    "mdmonitor.service", "mdmonitor-oneshot.timer", "mdcheck_start.timer", "mdcheck_continue.timer",
    "mdadm.service", "nagios-nrpe-server.service", "nbd-server.service", "nbd-client.service", "rsync.service",
    "systemd-timesyncd.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service",
    "systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "getty@tty1.service",
    "serial-getty@ttyS0.service", "keyboard-setup.service", "console-setup.service",
    "systemd-sysusers.service", "systemd-network-generator.service", "systemd-binfmt.service",
    "systemd-random-seed.service", "systemd-logind.service", "modprobe@drm.service",
    "modprobe@efi_pstore.service", "modprobe@fuse.service",
]
"""What would act on pools or instances by itself (cron carries the tools' jobs and Ganeti's watcher: tests
call them by hand), or only costs time in an emulator."""

ENABLED = ["systemd-networkd.service", "systemd-networkd-wait-online.service", "testbed-identity.service",
           "testbed-hangup.service"]


@dataclass(frozen=True)
class Image:
    """The files of a complete image."""

    place: Path

    @property
    def disk(self) -> Path:
        """The root disk, raw and sparse; never written to."""
        return self.place / "disk.img"

    @property
    def kernel(self) -> Path:
        """Debian's kernel, as QEMU loads it."""
        return self.place / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """Its initramfs."""
        return self.place / "initrd"

    @property
    def ssh_key(self) -> Path:
        """The private key that opens root on every node made of it."""
        return self.place / "key"


def key(release: str) -> str:
    """The name of what image() would give."""
    return cache.digest(rootfs.key(release), cache.sources("image.py", "initrd.py", "node"))


def image(release: str) -> Image:
    """The cached image of RELEASE; half a minute if only the configuration has changed."""
    return Image(cache.entry(f"image-{release}-{key(release)}", lambda place: _build(release, place)))


def _build(release: str, place: Path) -> None:
    packages = rootfs.tree(release)
    log = place / "log"
    root = place / "root"
    layers = place / "layers"
    for directory in (root, layers / "upper", layers / "work"):
        directory.mkdir(parents=True)
    command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "testbed", "-f", place / "key"])
    with step(f"configuring {release}'s nodes", log):
        command(["mount", "-t", "overlay", "overlay", root, "-o",
                 f"lowerdir={packages},upperdir={layers}/upper,workdir={layers}/work"])
        try:
            _configure(root, place / "key.pub", log)
            kernel = rootfs.kernel_release(root)
            shutil.copyfile(root / f"boot/vmlinuz-{kernel}", place / "vmlinuz")
            initrd.write(root, kernel, place / "initrd")
            command(["mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1,root_owner=0:0", "-d", root,
                     place / "disk.img", f"{DISK_GIB}G"], log)
        finally:
            command(["umount", root])
    shutil.rmtree(layers)
    root.rmdir()


def _configure(root: Path, public_key: Path, log: Path) -> None:
    command(["cp", "-rT", "--preserve=mode", HERE / "node", root], log)
    command(["chown", "-R", "root:root", root / "etc/ganeti", root / "srv/ganeti"], log)
    shutil.copyfile(public_key, root / "etc/ssh/testbed_key.pub")
    (root / "etc/ssh/testbed_key.pub").chmod(0o644)
    for name in ("etc/hostname", "etc/machine-id"):
        (root / name).write_text("")
    (root / "etc/resolv.conf").write_text("")
    (root / "srv/ganeti/file-storage").mkdir(mode=0o750, parents=True)
    command(["systemctl", f"--root={root}", "mask", *MASKED], log)
    command(["systemctl", f"--root={root}", "enable", *ENABLED], log)
