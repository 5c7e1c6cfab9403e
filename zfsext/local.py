"""What this node has of a disk: one copy with its record, in the place that the record's state says."""

import time
from collections.abc import Sequence
from typing import Any

from zfsext import (
    attachment,
    holders,
    leftovers,
    loopdev,
    marks,
    mounts,
    nodes,
    places,
    properties,
    records,
    reservation,
    zfs,
)
from zfsext.config import Config
from zfsext.errors import NotHere, Refused
from zfsext.ownership import ASIDE, OWNER, REPLICA, Record
from zfsext.places import Copy


class Local:
    """A copy of a volume on this node, and its record."""

    __slots__ = ("copy", "record", "volume")

    def __init__(self, volume: str, copy: Copy, record: Record) -> None:
        self.volume = volume
        self.copy = copy
        self.record = record

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.copy.name

    @property
    def pool(self) -> str:
        """The pool that the dataset is in."""
        return self.name.partition("/")[0]

    @property
    def identity(self) -> str | None:
        """The disk's incarnation; None for one that an earlier version made, until it is sent for the first time."""
        return self.copy.dataset.local(properties.ID)

    def changes(self, **fields: Any) -> dict[str, str | None]:
        """Return the properties that change these fields of the record."""
        return records.changes(self.record._replace(**fields), self.copy.dataset["guid"])


def find(volume: str, config: Config) -> Local | None:
    """Return what this node has of the volume; None if there is no copy that could be a disk.

    Raises Refused if there are several, or one that cannot be read, and what ZFS or its pool raise: only ZFS's word
    for it makes a disk that is not here.
    """
    return find_all([volume], config)[volume]


def find_all(volumes: Sequence[str], config: Config) -> dict[str, "Local | None"]:
    """Return what this node has of each of the volumes, as find does, and asking ZFS but once."""
    found = places.find_all(volumes, config, everywhere=False)  # an ill pool stops no other's disks
    return {volume: among(volume, each.copies) for volume, each in found.items()}


def among(volume: str, copies: list[Copy]) -> Local | None:
    """Return the one of the copies that is, or can be, the disk."""
    found = []
    for copy in copies:
        record = records.of(copy.dataset) if copy.name != places.new_name(copy.parent, volume) else None
        if record is not None:
            found.append(Local(volume, copy, record))
    if len(found) > 1:
        raise Refused(
            f"disk {volume} is more than once on this node: {', '.join(each.name for each in found)}. Only one "
            "can be the VM's: find out which by looking into them, and 'zfs rename' the other out of the parent"
        )
    return found[0] if found else None


def require(volume: str, config: Config) -> Local:
    """Return what this node has of the volume. Raises NotHere if that is nothing."""
    return require_all([volume], config)[0]


def require_all(volumes: Sequence[str], config: Config) -> list[Local]:
    """Return what this node has of these volumes, in their order. Raises NotHere for one of which that is nothing."""
    found = []
    for volume, here in find_all(volumes, config).items():
        if here is None:
            raise NotHere(f"disk {volume} is not on this node")
        found.append(here)
    return found


def settle(local: Local, config: Config) -> Local:
    """Move the dataset to where its state says, if something was killed before it could; under the volume's lock."""
    parent, volume = local.copy.parent, local.volume
    ahead = ahead_of(local)
    if ahead is not None:
        take_over(local.name, ahead)
        local = require(volume, config)
    live = local.record.state == OWNER
    wanted = places.live_name(parent, volume) if live else places.standby_name(parent, volume)
    if local.name == wanted:
        return local
    attachment.detach(volume, config)
    attachment.unmounted(local.name)
    directory = local.copy.mountpoint
    if local.name.endswith(places.AHEAD):
        _destroy_unfinished(wanted, local.name)
    leftovers.tidy(volume, config)  # what a rollback was killed at may stand there
    zfs.rename(local.name, wanted)
    if directory.startswith("/"):
        mounts.remove_directory(directory)
    return require(volume, config)


def ahead_of(local: Local) -> str | None:
    """Return the copy that this one, a clone, was about to take the place of when something was killed; or None."""
    origin = local.copy.dataset["origin"].partition("@")[0]
    unfinished = local.record.state == REPLICA and origin.startswith(
        places.aside_name(local.copy.parent, local.volume, "")
    )
    return origin if unfinished else None


def _destroy_unfinished(clone: str, origin: str) -> None:
    """Destroy a clone that was to take its origin's place, and that a power cut has left without its properties."""
    there = zfs.read([clone], ["origin", properties.STATE])
    if (
        clone in there
        and there[clone]["origin"].startswith(f"{origin}@")
        and there[clone].local(properties.STATE) is None
    ):
        zfs.destroy(clone)


def take_over(clone: str, ahead: str) -> None:
    """Make a clone the copy, with the snapshots before it, in the stead of what it was cloned from, which is ahead."""
    zfs.change(ahead, {properties.STATE: ASIDE})  # first: a copy that is no clone's origin any more is put back
    zfs.promote(clone)


def apply_reservation(local: Local) -> None:
    """Set aside what a thick disk has a right to, on the node that it now lives on. Raises NoSpace."""
    wanted = rights(local)
    for name, value in wanted.items():
        if local.copy.dataset.number(name) < value:
            zfs.set_property(local.name, name, str(value))


def rights(local: Local) -> dict[str, int]:
    """Return what the disk has a right to set aside, by ZFS's properties in bytes; nothing for a thin one."""
    size = local.copy.dataset.local(properties.SIZE)
    if local.copy.dataset.local(properties.RESERVATION) != "thick" or not size:
        return {}
    return reservation.properties(int(size), local.copy.dataset.number("recordsize"))


def note_opened(local: Local) -> None:
    """Note on a disk that went back to a snapshot that it is opened: it may be written to from here on."""
    if local.copy.dataset.local(properties.UNOPENED) is not None:
        zfs.change(local.name, {}, [properties.UNOPENED])


def stands(local: Local) -> bool:
    """Tell whether a loop device is on the copy's image."""
    return any(loopdev.within(mount.device) for mount in mounts.of([local.name]))


def used(local: Local) -> bool:
    """Tell whether somebody has the disk: its device is open, or Ganeti opened it just now and QEMU is on its way."""
    if marks.opened(local.volume):
        return True
    return any(
        holders.of_device(loop.path) for mount in mounts.of([local.name]) for loop in loopdev.within(mount.device)
    )


def set_aside(local: Local, config: Config) -> str:
    """Put a copy out of the way, because another node has had the disk since, and return its new name.

    Nothing of it is destroyed. Raises Busy if somebody uses it.
    """
    attachment.detach(local.volume, config)
    attachment.unmounted(local.name)
    reservation.drop(local.copy.dataset)
    leftovers.tidy(local.volume, config)
    directory = local.copy.mountpoint
    name = places.aside_name(local.copy.parent, local.volume, str(local.record.generation))
    if zfs.read([name], ["type"]):  # the same generation was set aside before
        name = f"{name}-{int(time.time())}"
    zfs.rename(local.name, name)  # under that name nobody looks for a disk
    zfs.change(name, {properties.STATE: ASIDE})
    if directory.startswith("/"):
        mounts.remove_directory(directory)
    marks.forget(local.volume)
    return name


def me() -> str:
    """Return this node's name; empty in no cluster."""
    return nodes.this_node() if nodes.peers() else ""
