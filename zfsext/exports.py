"""What gnt-backup reads: a clone of the disk as it is now, which Ganeti treats as a volume of its own."""

import contextlib

from zfsext import loopdev, mounts, ownership, places, properties, removal, usable, zfs
from zfsext.config import Config
from zfsext.contract import Request
from zfsext.errors import ZfsextError
from zfsext.lock import VolumeLock


def snapshot(request: Request, config: Config) -> None:
    """Make request.snapshot, a clone of the volume as a power cut now would leave it.

    One that an interrupted export left behind is replaced. Raises Busy if that one is still in use.
    """
    copy = usable.copy_of(request.volume, places.find(request.volume, config).copies)
    with VolumeLock(request.snapshot, f"snapshot of {request.volume}") as lock:
        try:
            _make(request, config, copy)
        except (ZfsextError, OSError):
            lock.forget()  # nobody removes an export that was never made
            raise


def _make(request: Request, config: Config, copy: places.Copy) -> None:
    removal.remove(request.snapshot, config)
    for device in _devices(copy):
        loopdev.flush(device)
    name = f"{copy.name}@{places.EXPORT_SNAPSHOT}"
    zfs.destroy_snapshots([name])  # left by an export that was interrupted before it cloned
    zfs.take_snapshots([name])
    native = properties.native(copy.dataset.number("recordsize"))
    clone = places.standby_name(copy.parent, request.snapshot)
    try:
        zfs.clone(name, clone, native, {properties.STATE: ownership.EXPORT, properties.SIZE: str(request.size)})
    except ZfsextError:
        with contextlib.suppress(ZfsextError):  # the next export or remove does it then
            zfs.destroy_snapshots([name])
        raise


def _devices(copy: places.Copy) -> list[str]:
    return [loop.path for mount in mounts.of([copy.name]) for loop in loopdev.within(mount.device)]
