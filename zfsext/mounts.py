"""Mounting datasets, and what is mounted where.

mount(2) and umount(2) are called directly: the kernel needs neither mountpoint nor canmount nor the helper, and
libzfs ends in the same call (lib/libzfs/os/linux/libzfs_mount_os.c: do_mount). Never MNT_DETACH: it hides the
holder, and the dataset stays busy.
"""

import ctypes
import errno
import os
import re

from zfsext.errors import Busy, SystemRefused

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME = 2, 4, 8, 1024

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)


class Mount:
    """One line of a mount table: what is mounted, on which directory, as which device, and whether to be written to."""

    __slots__ = ("device", "directory", "kind", "source", "writable")

    def __init__(self, device: int, directory: str, kind: str, source: str, writable: bool = True) -> None:
        self.device = device
        self.directory = directory
        self.kind = kind
        self.source = source
        self.writable = writable


def table(process: str = "self") -> list[Mount]:
    """Return the mount table that the process sees, in the order of mounting (proc(5): mountinfo)."""
    mounts = []
    with open(f"/proc/{process}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            _, _, device, _, directory, options, *_ = fields.split(" ")
            kind, source, *more = rest.rstrip("\n").split(" ")
            major, _, minor = device.partition(":")
            number = os.makedev(int(major), int(minor))
            writable = "ro" not in ",".join([options, *more]).split(",")  # of this mount, or of the file system
            mounts.append(Mount(number, _plain(directory), kind, _plain(source), writable))
    return mounts


def of(datasets: list[str]) -> list[Mount]:
    """Return the mounts of these datasets that this process sees."""
    return [mount for mount in table() if mount.kind == "zfs" and mount.source in datasets]


def at(directory: str) -> Mount | None:
    """Return the mount whose files one sees in the directory; None if nothing is mounted just there."""
    return next((mount for mount in reversed(table()) if mount.directory == directory), None)


def mount(dataset: str, directory: str) -> None:
    """Mount the dataset on the directory, which is made if need be, unless it is mounted there.

    Raises Busy if the directory holds files that the mount would hide, or something else is mounted there or over it,
    and SystemRefused if the kernel will not mount.
    """
    directory = os.path.realpath(directory)  # as the mount table has it
    there = at(directory)
    if there is not None and (there.kind, there.source) == ("zfs", dataset):
        if not visible(there):
            raise Busy(f"{dataset} is on {directory}, but something is mounted over it: 'findmnt -T {directory}'")
        return
    if there is not None:
        raise Busy(
            f"{directory} should be the place of {dataset}, but {there.source} ({there.kind}) is mounted there: "
            f"'umount {directory}'"
        )
    os.makedirs(directory, mode=0o755, exist_ok=True)
    if os.listdir(directory):
        raise Busy(
            f"{directory} should be the place of {dataset}, but that is not mounted and the directory is not empty: "
            "look what was written there while it was unmounted, and move it away"
        )
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME
    if _libc.mount(os.fsencode(dataset), os.fsencode(directory), b"zfs", flags, None):
        code = ctypes.get_errno()
        raise SystemRefused(f"{dataset} could not be mounted on {directory}: {os.strerror(code)}")
    there = at(directory)
    if there is None or there.source != dataset or not visible(there):
        unmount(directory)
        raise SystemRefused(f"{directory} does not show {dataset}, though it was mounted there: 'findmnt {directory}'")


def unmount(directory: str) -> bool:
    """Unmount what is on the directory, and tell whether that was done.

    False means that somebody has a file or his working directory in there, or that something is mounted over it.
    """
    if _libc.umount2(os.fsencode(directory), 0):
        code = ctypes.get_errno()
        if code == errno.EBUSY:
            return False
        if code in (errno.EINVAL, errno.ENOENT):  # nothing is mounted there, as far as the path leads
            return at(directory) is None
        raise SystemRefused(f"{directory} could not be unmounted: {os.strerror(code)}")
    return True


def unmount_just(mount: Mount) -> bool:
    """Unmount this one, and tell whether that was done; what somebody else mounted over it is not ours to unmount."""
    top = at(mount.directory)
    if top is not None and (top.device, top.source) != (mount.device, mount.source):
        return False
    return unmount(mount.directory)


def over(mount: Mount) -> list[str]:
    """Return what is mounted on the same directory and hides this one, for an error that says who is in the way."""
    top = at(mount.directory)
    if top is None or (top.device, top.source) == (mount.device, mount.source):
        return []
    return [f"what is mounted over it ({top.source}, {top.kind})"]


def remove_directory(directory: str) -> None:
    """Remove a mount point that is empty; anything else is left as it is.

    Only once its dataset is gone: in other mount namespaces the kernel would detach what is mounted there, as
    MNT_DETACH does (fs/namei.c: vfs_rmdir, detach_mounts).
    """
    try:
        os.rmdir(directory)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EBUSY):
            raise


def visible(mount: Mount) -> bool:
    """Tell whether its directory leads to the mount, and not to something that is mounted over it."""
    try:
        return os.stat(mount.directory).st_dev == mount.device
    except FileNotFoundError:
        return False


def _plain(field: str) -> str:
    """Undo the octal escapes of blanks and the like."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
