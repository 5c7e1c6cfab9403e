"""A disk that becomes larger. A disk never becomes smaller."""

import os

from zfsext import attachment, image, loopdev, places, properties, reservation, usable, zfs
from zfsext.config import Config
from zfsext.contract import Request
from zfsext.errors import Refused, ZfsextError
from zfsext.places import Copy


def grow(request: Request, config: Config) -> None:
    """Make the volume request.new_size MiB large; its device, and so the running guest, sees the new size.

    A thick disk's reservation grows first. Raises Refused for a size below the image's own, NoSpace for a thick disk
    that the pool cannot hold; the disk is then as it was.
    """
    copy = usable.copy_of(request.volume, places.find(request.volume, config).copies)
    file = image.open_checked(attachment.mounted(copy))
    try:
        now = image.size(file)
        if request.new_size < now:
            raise Refused(f"disk {request.volume} has {now} MiB and cannot shrink to {request.new_size}")
        if copy.dataset.number("refreservation"):
            _reserve(copy, reservation.properties(request.new_size, copy.dataset.number("recordsize")))
        image.grow(file, request.new_size)
        for loop in loopdev.on(file):
            loopdev.refresh(loop.path)
    finally:
        os.close(file)
    zfs.set_property(copy.name, properties.SIZE, str(request.new_size))


def _reserve(copy: Copy, wanted: dict[str, int]) -> None:
    """Set the reservation's properties, all or none: a refquota above its refreservation makes no write wait."""
    before = zfs.read([copy.name], list(wanted))[copy.name]
    try:
        for name, value in wanted.items():
            zfs.set_property(copy.name, name, str(value))
    except ZfsextError:
        for name in reversed(wanted):
            zfs.set_property(copy.name, name, before[name] if before.number(name) else "none")
        raise
