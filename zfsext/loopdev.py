"""Loop devices, by ioctl: no fork, and each answer is the kernel's own.

Device and inode of the backing file come from LOOP_GET_STATUS64 (drivers/block/loop.c: loop_get_status), so a
device is known by what it writes to, and never by a path. Devices are buffered: direct-io livelocks on ZFS 2.1
and fails on 2.3.
"""

import errno
import fcntl
import os
import struct
import time

from zfsext.errors import Busy, SystemRefused

SET_STATUS64 = 0x4C04
GET_STATUS64 = 0x4C05
CLR_FD = 0x4C01
SET_CAPACITY = 0x4C07
CONFIGURE = 0x4C0A
CTL_GET_FREE = 0x4C82

READ_ONLY = 1
AUTOCLEAR = 4

#: struct loop_info64 (include/uapi/linux/loop.h): device, inode, rdevice, offset, sizelimit; number, encryption
#: type and key size, flags; file name, crypt name, key; init.
INFO64 = struct.Struct("=5Q4I64s64s32s2Q")
#: struct loop_config: fd, block size, loop_info64, reserved.
CONFIG_HEAD = struct.Struct("=2I")
CONFIG_TAIL = bytes(64)

#: How often a free device is asked for, and the seconds in between.
TRIES, PAUSE = 50, 0.1

CONTROL = "/dev/loop-control"
SYSFS = "/sys/block"


class Loop:
    """What the kernel says of one loop device that stands on a file."""

    __slots__ = ("backing", "flags", "offset", "path", "sizelimit")

    def __init__(self, path: str, backing: tuple[int, int], offset: int, sizelimit: int, flags: int) -> None:
        self.path = path
        self.backing = backing  # device and inode of the file
        self.offset = offset
        self.sizelimit = sizelimit
        self.flags = flags

    @property
    def whole(self) -> bool:
        """Whether it is the whole file, writable."""
        return not (self.offset or self.sizelimit or self.flags & READ_ONLY)

    @property
    def lasting(self) -> bool:
        """Whether it stays when its last user closes it."""
        return not self.flags & AUTOCLEAR


def look(path: str) -> Loop | None:
    """Return what stands behind the loop device at path, or None if nothing does."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO):
            return None
        raise
    try:
        info = bytearray(INFO64.size)
        try:
            fcntl.ioctl(file, GET_STATUS64, info)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENOTTY):  # not set up; not a loop device at all
                return None
            raise
    finally:
        os.close(file)
    device, inode, _, offset, sizelimit, _, _, _, flags, *_ = INFO64.unpack(info)
    return Loop(path, (device, inode), offset, sizelimit, flags)


def standing() -> list[Loop]:
    """Return every loop device that stands on a file."""
    names = [name for name in os.listdir(SYSFS) if name.startswith("loop") and os.path.exists(f"{SYSFS}/{name}/loop")]
    return [loop for loop in (look(f"/dev/{name}") for name in names) if loop is not None]


def within(device: int) -> list[Loop]:
    """Return every loop device that stands on a file, also a deleted one, of the file system of this device number."""
    return [loop for loop in standing() if loop.backing[0] == device]


def on(image: int | str) -> list[Loop]:
    """Return every loop device that stands on the image, an open file or a path."""
    status = os.stat(image)
    return [loop for loop in within(status.st_dev) if loop.backing[1] == status.st_ino]


def stands(path: str) -> bool:
    """Tell from sysfs whether the loop device at path has a backing file."""
    return os.path.exists(f"{SYSFS}/{os.path.basename(path)}/loop/backing_file")


def file_name(path: str) -> str:
    """Return the path of the file behind the device, as the kernel shows it now; empty if nothing is behind it."""
    try:
        with open(f"{SYSFS}/{os.path.basename(path)}/loop/backing_file", errors="surrogateescape") as file:
            return file.read().rstrip("\n")
    except FileNotFoundError:
        return ""


def size(path: str) -> int:
    """Return the device's size in bytes, from sysfs, which counts in sectors of 512."""
    with open(f"{SYSFS}/{os.path.basename(path)}/size") as file:
        return int(file.read()) * 512


def attach(image: int, name: str) -> str:
    """Set up one loop device on the open file and return the device's path. name is shown by losetup.

    LOOP_CONFIGURE (Linux 5.8) does it in one call, so a killed script leaves either nothing or a whole device.
    Raises SystemRefused if the kernel has no loop devices to give, or gives one that somebody keeps from being set up.
    """
    info = INFO64.pack(0, 0, 0, 0, 0, 0, 0, 0, 0, name.encode()[:63], b"", b"", 0, 0)
    config = CONFIG_HEAD.pack(image, 0) + info + CONFIG_TAIL
    try:
        control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise SystemRefused(f"{CONTROL}: {error.strerror}; 'modprobe loop' makes it") from error
    try:
        tries = TRIES
        while not _configure(path := f"/dev/loop{fcntl.ioctl(control, CTL_GET_FREE)}", config):
            tries -= 1
            if not tries:
                raise SystemRefused(f"{path} is free, but somebody has it open for himself alone: 'fuser -v {path}'")
            time.sleep(PAUSE)
        return path
    except OSError as error:
        raise SystemRefused(f"no loop device could be set up on {name}: {error.strerror}") from error
    finally:
        os.close(control)


def _configure(path: str, config: bytes) -> bool:
    """Set the device up, unless somebody took it since it was free, or has it open for himself alone."""
    device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, CONFIGURE, config)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    finally:
        os.close(device)
    return True


def detach(path: str) -> None:
    """Ask the kernel to take the backing file away. Whether it did, only `stands` can tell.

    On a device that others have open the kernel says yes, and clears it when the last of them is gone.
    """
    try:
        device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(device, CLR_FD, 0)
        finally:
            os.close(device)
    except OSError as error:
        if error.errno != errno.ENXIO:  # nothing stood there
            raise


def keep(path: str) -> bool:
    """Take back what `detach` left on a device that is in use: it shall not vanish with its last user.

    False means that it vanished meanwhile, as it was told to.
    """
    try:
        device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            info = bytearray(INFO64.size)
            fcntl.ioctl(device, GET_STATUS64, info)
            fields = list(INFO64.unpack(info))
            fields[8] &= ~AUTOCLEAR
            fcntl.ioctl(device, SET_STATUS64, INFO64.pack(*fields))
        finally:
            os.close(device)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    return True


def refresh(path: str) -> None:
    """Let the device, and so the guest, see that its file has grown."""
    device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, SET_CAPACITY, 0)
    finally:
        os.close(device)


def flush(path: str) -> None:
    """Write to the file what the kernel still keeps of writes to the device."""
    device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(device)
    finally:
        os.close(device)


def usable(loops: list[Loop], inode: int, image: str) -> str | None:
    """Return the one device that can serve the image, among those on its file system; None if there is none at all.

    Raises Busy for a device that somebody set up by hand in another way, or for more than one; and for one on another
    file, which is what an image that was replaced or removed leaves behind, with whatever is written to it since.
    """
    if not loops:
        return None
    other = [loop.path for loop in loops if loop.backing[1] != inode]
    if other:
        raise Busy(
            f"{', '.join(other)} is on another file than {image}, in the same dataset: the image was replaced while in "
            "use. What is written to the device is not in the image: end its use, save what it has, 'losetup -d' it"
        )
    wrong = [loop.path for loop in loops if not loop.whole]
    if wrong:
        raise Busy(
            f"{', '.join(wrong)} on {image} was not set up by zfsext (it is read-only or a part of the file): end its "
            "use, then 'losetup -d' it"
        )
    if len(loops) > 1:
        raise Busy(
            f"{', '.join(loop.path for loop in loops)} all stand on {image}, and a disk has one device: end the use of "
            "those that the VM does not have, then 'losetup -d' them"
        )
    if not loops[0].lasting and not keep(loops[0].path):
        return None
    return loops[0].path
