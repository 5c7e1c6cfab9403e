"""What attach did last for a volume, so that the next attach can answer at once.

Ganeti runs attach before every other action. A note in /run says which device attach gave out, and for which
image; it is believed only as far as the kernel confirms it now: the pool answers, the image is the same file of
the same dataset, and the device stands on just that file, whole, writable and lasting. A note that is not
confirmed is no error: attach then looks for itself. This module is on the path of a warm attach.
"""

import os

from zfsext import lock, loopdev, pool


class Note:
    """A device given out for an image, and the identity of the dataset that the image was seen on."""

    __slots__ = ("dataset", "device", "fsid", "image")

    def __init__(self, device: str, dataset: str, fsid: int, image: str) -> None:
        self.device = device
        self.dataset = dataset
        self.fsid = fsid  # from the dataset's guid, by statvfs (module/os/linux/zfs/zfs_vfsops.c: zfs_statvfs)
        self.image = image


def _path(volume: str) -> str:
    return f"{lock.run_directory()}/{volume}.attached"


def write(volume: str, device: str, dataset: str, image: str) -> None:
    """Note that device serves the volume's image; to be called under the volume's lock."""
    path = _path(volume)
    fsid = os.statvfs(image).f_fsid
    file = os.open(path + "~", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(file, f"{device}\n{dataset}\n{fsid}\n{image}\n".encode())
    finally:
        os.close(file)
    os.rename(path + "~", path)


def read(volume: str) -> Note | None:
    """Return the note on the volume, or None if there is none (or not a whole one)."""
    try:
        with open(_path(volume)) as file:
            lines = file.read().split("\n")
    except FileNotFoundError:
        return None
    if len(lines) != 5 or not lines[2].isdecimal():
        return None
    return Note(lines[0], lines[1], int(lines[2]), lines[3])


def forget(volume: str) -> None:
    """Remove the note, if there is one; to be called under the volume's lock."""
    try:
        os.unlink(_path(volume))
    except FileNotFoundError:
        return


def confirmed(volume: str) -> str | None:
    """Return the volume's device if the note on it holds in every point; None if attach must look for itself."""
    note = read(volume)
    if note is None or not pool.works(pool.of(note.dataset)):
        return None
    try:
        status = os.stat(note.image)
        fsid = os.statvfs(note.image).f_fsid
    except OSError:
        return None  # whatever it is, the long way says it
    loop = loopdev.look(note.device)
    if (
        loop is None
        or loop.backing != (status.st_dev, status.st_ino)
        or fsid != note.fsid
        or not loop.whole
        or not loop.lasting
        or loopdev.size(note.device) != status.st_size  # a grow that was killed
    ):
        return None
    return note.device
