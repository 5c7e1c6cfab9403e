"""From a disk to its block device, and back."""

import os
import time
from collections.abc import Callable
from functools import partial

from zfsext import attached, encryption, holders, image, loopdev, mounts, places, pool, usable
from zfsext.config import PATH, Config
from zfsext.errors import Busy, ConfigError
from zfsext.mounts import Mount
from zfsext.places import Copy

#: How long a device may stay open after CLR_FD before that counts as in use: udev looks into each device that changes.
SECONDS = 5
POLL = 0.05


def attach(volume: str, config: Config) -> str:
    """Return the block device of the volume, which is set up unless it stands. Never makes a volume.

    Raises NotHere for a volume that this node does not have, Refused for one that may not be opened here.
    """
    copy = usable.copy_of(volume, places.find(volume, config, everywhere=False).copies)
    directory = mounted(copy)
    file = image.open_checked(directory)
    try:
        image.size(file)
        status = os.fstat(file)
        device = loopdev.usable(loopdev.within(status.st_dev), status.st_ino, image.path(directory))
        if device is None:
            device = loopdev.attach(file, image.path(directory))
        elif loopdev.size(device) != status.st_size:
            loopdev.refresh(device)  # a grow that was killed before it came to this
    finally:
        os.close(file)
    attached.write(volume, device, copy.name, image.path(directory))
    return device


def mounted(copy: Copy) -> str:
    """Mount the copy where it belongs, unless it is mounted there, and return the directory.

    Raises KeyNotLoaded for an encrypted one whose data cannot be had now.
    """
    directory = copy.directory()
    encryption.require_key(copy.dataset)
    mounts.mount(copy.name, directory)
    return directory


def detach(volume: str, config: Config) -> None:
    """Take the volume's block device away and unmount its dataset. Done is what the kernel shows as done.

    Needs no answer from ZFS: a device that stands keeps its dataset mounted, and is found by that, whatever became of
    the image's name. Raises Busy, naming the holder, if the device is in use; the dataset then stays as it is. Somebody
    who only looks into the directory is no reason to fail. Raises PoolUnavailable if what is written to the device
    cannot get to the pool, ConfigError if the disk was attached below a parent that is not configured any more.
    """
    names = places.names(volume, config)
    note = attached.read(volume)
    if note is not None and note.dataset not in names:
        raise ConfigError(f"disk {volume} is attached as {note.dataset}: its parent is missing in {PATH}")
    mounted_as = mounts.of(names)
    if note is not None and not mounted_as and loopdev.file_name(note.device).removesuffix(" (deleted)") == note.image:
        raise Busy(
            f"{note.device} stands on {note.image}, but {note.dataset} is not mounted under that name: it or its "
            "parent was renamed meanwhile. 'zfs rename' it back, and try again"
        )
    for mount in mounted_as:
        pool.require(pool.of(mount.source))
        for loop in loopdev.within(mount.device):
            _take_device(loop.path, mount.directory)
        if not _soon(partial(mounts.unmount_just, mount)):
            who = _who(mount)
            os.write(2, f"zfsext: {mount.source} stays mounted on {mount.directory}: {who} uses it\n".encode())
    attached.forget(volume)


def unmounted(dataset: str) -> None:
    """See to it that the dataset is nowhere mounted. Raises Busy, naming who keeps it."""
    for mount in mounts.of([dataset]):
        if not _soon(partial(mounts.unmount_just, mount)):
            raise Busy(f"{dataset} is in use by {_who(mount)}")


def _who(mount: Mount) -> str:
    return ", ".join([*mounts.over(mount), *holders.of_dataset(mount.source)]) or "somebody"


def _take_device(device: str, directory: str) -> None:
    loopdev.detach(device)
    if _soon(lambda: not loopdev.stands(device)):
        return
    loopdev.keep(device)
    who = holders.of_device(device)
    if loopdev.stands(device):
        raise Busy(f"{device} on {directory} is in use by {', '.join(who) or 'somebody who just closed it: try again'}")


def _soon(done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SECONDS
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL)
    return True
