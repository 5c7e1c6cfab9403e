"""An initramfs that does nothing but load the drivers of the root disk and switch to it.

Debian's own takes ten seconds more in an emulator: it brings udev, mdadm and LVM up first.
"""

from __future__ import annotations

import stat
from pathlib import Path

from progress import command

MODULES = ["virtio_pci", "virtio_blk", "ext4"]

_INIT = """\
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
for module in {modules}; do $b insmod /modules/$module; done
until $b mount -t ext4 /dev/vda /root; do $b sleep 0.1; done
$b mount --move /dev /root/dev
exec $b switch_root /root /sbin/init
"""


def write(root: Path, kernel: str, target: Path) -> None:
    """Write an initramfs (a cpio archive) to TARGET from the programs and modules of that kernel in ROOT."""
    modules = _modules(root, kernel)
    archive = _Archive()
    for directory in ("bin", "dev", "root", "modules", "lib", "lib64", "lib/x86_64-linux-gnu"):
        archive.add(directory, stat.S_IFDIR | 0o755)
    archive.add("init", stat.S_IFREG | 0o755, _INIT.format(modules=" ".join(path.name for path in modules)).encode())
    archive.add("bin/busybox", stat.S_IFREG | 0o755, (root / "bin/busybox").read_bytes())
    for library in command(["chroot", root, "ldd", "/bin/busybox"]).split():
        if library.startswith("/lib"):
            archive.add(library.lstrip("/"), stat.S_IFREG | 0o755, (root / library.lstrip("/")).read_bytes())
    for module in modules:
        archive.add(f"modules/{module.name}", stat.S_IFREG | 0o644, module.read_bytes())
    target.write_bytes(archive.end())


def _modules(root: Path, kernel: str) -> list[Path]:
    """The files of MODULES and of what they need, in the order of loading; what is built in has none."""
    found: list[Path] = []
    for name in MODULES:
        for line in command(["chroot", root, "modprobe", "-S", kernel, "--show-depends", name]).splitlines():
            verb, path = line.split()[:2]
            if verb == "insmod" and root / path.lstrip("/") not in found:
                found.append(root / path.lstrip("/"))
    return found


class _Archive:
    """A cpio archive in the format that Linux unpacks (its documentation: early-userspace/buffer-format)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._count = 0

    def add(self, name: str, mode: int, data: bytes = b"") -> None:
        """One file or directory of root's."""
        self._count += 1
        fields = (self._count, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        self._parts += [_padded(header), _padded(data)]

    def end(self) -> bytes:
        """The whole archive."""
        self.add("TRAILER!!!", 0)
        return b"".join(self._parts)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
