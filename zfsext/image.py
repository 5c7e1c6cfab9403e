"""The raw image: one sparse file on the disk's dataset, of exactly the disk's size."""

import errno
import os
import stat

from zfsext.errors import Refused, SystemRefused

NAME = "disk.raw"
MIB = 1 << 20


def path(directory: str) -> str:
    """Return the image's path, given where its dataset is mounted."""
    return f"{directory}/{NAME}"


def create(directory: str, size: int) -> None:
    """Make the image with size MiB of holes, and have it on stable storage.

    The full size is set at once, while the file is empty: ZFS then fixes the file's block size at recordsize.
    """
    os.chmod(directory, 0o700)
    file = os.open(path(directory), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(file, size * MIB)
        os.fsync(file)
    finally:
        os.close(file)
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def open_checked(directory: str) -> int:
    """Open the image for reading and writing, having seen that it is a plain file of the dataset mounted there.

    Returns the file descriptor. Raises Refused if it is anything else, SystemRefused if it cannot be opened.
    """
    name = path(directory)
    try:
        file = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        hint = "; 'zfs get readonly' and 'zpool get readonly' show why" if error.errno == errno.EROFS else ""
        raise SystemRefused(f"{name} could not be opened: {error.strerror}{hint}") from error
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_dev != os.stat(directory).st_dev or status.st_nlink != 1:
        os.close(file)
        raise Refused(f"{name} is not a plain file with one name on its own dataset; see 'ls -li {name}'")
    return file


def size(file: int) -> int:
    """Return the open image's size in MiB. Raises Refused if it is not a whole number of them."""
    mebibytes, rest = divmod(os.fstat(file).st_size, MIB)
    if rest:
        raise Refused(f"the image has {rest} bytes more than {mebibytes} MiB; somebody else resized it")
    return mebibytes


def grow(file: int, new_size: int) -> None:
    """Make the open image new_size MiB large and have that on stable storage."""
    os.ftruncate(file, new_size * MIB)
    os.fsync(file)


def blank(file: int) -> bool:
    """Tell whether the open image has nothing but holes."""
    try:  # what is not on disk yet is synced first, or counts as data (module/zfs/dmu.c: dmu_offset_next)
        os.lseek(file, 0, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # no data from here on
            return True
        raise
    return False
