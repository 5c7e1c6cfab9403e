"""The end of a disk: its device, its snapshots, its dataset; nothing that is not its own."""

import os
from collections.abc import Iterable

from zfsext import attachment, holders, mounts, ownership, places, properties, usable, zfs
from zfsext.config import Config
from zfsext.contract import EXPORT_SUFFIX
from zfsext.errors import AlreadyThere, Busy, Refused
from zfsext.lock import VolumeLock
from zfsext.places import Copy, Found

#: Of the holds on what replication needs: on a copy's last round and, with a node's name, on what it has.
TAG = "zfsext"


def remove(volume: str, config: Config) -> None:
    """Destroy the volume with its snapshots. One that is not there is removed already.

    Raises Busy, before anything is destroyed, if its device is in use, or if it has holds, clones or datasets below
    it, or is mounted in another mount namespace; Refused if zfsext did not make it.
    """
    found = places.find(volume, config)
    if len([copy for copy in found.copies if copy.live]) > 1:
        usable.copy_of(volume, found.copies)
    for copy in found.copies:
        if not _ours(copy, volume):
            raise Refused(
                f"{copy.name} is not a disk that zfsext made here ({properties.STATE} is not what it would be), so it "
                f"was left alone: look into it, and 'zfs destroy' it yourself"
            )
    attachment.detach(volume, config)
    snapshots = [snapshot for copy in found.copies for snapshot in _removable(copy, volume)]
    export = VolumeLock(volume + EXPORT_SUFFIX, f"remove of {volume}")
    if any(snapshot.clones for snapshot in snapshots) or os.path.exists(export.path):
        with export:
            remove(volume + EXPORT_SUFFIX, config)
            export.forget()
    for copy in found.copies:
        destroy(copy)
    for directory in _mount_points(volume, found, config):  # which a remove that was killed has left
        mounts.remove_directory(directory)
    if places.is_export(volume):
        _forget_origins(volume.removesuffix(EXPORT_SUFFIX), config.live)


def _mount_points(volume: str, found: Found, config: Config) -> list[str]:
    """Return where copies of the volume are mounted unless they have a mountpoint of their own."""
    private = [places.private_directory(name) for name in places.names(volume, config)]
    live = [found.parent(parent)["mountpoint"] for parent in config.live]
    return [*private, *(f"{directory}/{volume}" for directory in live if directory.startswith("/"))]


def destroy(copy: Copy) -> None:
    """Destroy one copy of a volume, whose device is gone, with its snapshots."""
    attachment.unmounted(copy.name)
    zfs.destroy_snapshots([snapshot.name for snapshot in zfs.snapshots(copy.name)])
    try:
        zfs.destroy(copy.name)
    except AlreadyThere as error:
        raise Busy(f"{copy.name} was not destroyed: there are datasets below it, 'zfs list -r {copy.name}'") from error
    except Busy as error:
        meanwhile = [f"somebody took {snapshot.name} just now" for snapshot in zfs.snapshots(copy.name)]
        reasons = ", ".join(meanwhile + holders.of_dataset(copy.name))
        raise Busy(f"{copy.name} was not destroyed: {reasons or error}. Try again") from error
    if copy.mountpoint.startswith("/"):
        mounts.remove_directory(copy.mountpoint)


def abandoned(copy: Copy, volume: str) -> bool:
    """Tell whether the copy is a disk in the making that nobody makes any more; to be called under the volume's lock.

    A power cut inside the call that makes a dataset can leave it without its properties (module/zfs/zfs_ioctl.c:
    zfs_ioc_create sets them in transactions of their own). Such a one is known by its name and by having nothing in it.
    """
    if copy.name != places.new_name(copy.parent, volume):
        return False
    if copy.dataset.local(properties.INSTANCE) is not None:  # a live disk that somebody renamed to here
        return False
    return copy.state in (ownership.CREATING, ownership.OWNER) or (copy.state is None and _empty(copy))


def _empty(copy: Copy) -> bool:
    if copy.dataset["type"] != "filesystem" or zfs.snapshots(copy.name):
        return False
    for mount in mounts.of([copy.name]):  # at boot, say, for want of the property that keeps it from that
        return mounts.visible(mount) and not os.listdir(mount.directory)
    directory = attachment.mounted(copy)
    try:
        return not os.listdir(directory)
    finally:
        attachment.unmounted(copy.name)
        mounts.remove_directory(directory)


def _untouched(copy: Copy, volume: str) -> bool:
    """Tell whether the copy is a clone that its snapshot script did not finish: nothing was ever written to it."""
    origin = f"{places.live_name(copy.parent, volume.removesuffix(EXPORT_SUFFIX))}@{places.EXPORT_SNAPSHOT}"
    return copy.dataset["origin"] == origin and copy.dataset.number("written") == 0 and not zfs.snapshots(copy.name)


def _removable(copy: Copy, volume: str) -> list[zfs.Snapshot]:
    attachment.unmounted(copy.name)
    snapshots = zfs.snapshots(copy.name)
    export = places.standby_name(copy.parent, volume + EXPORT_SUFFIX)
    tags = {snapshot.name: zfs.holds(snapshot.name) for snapshot in snapshots if snapshot.holds}
    others = {name: [tag for tag in held if not tagged_by_us(tag)] for name, held in tags.items()}
    reasons = [f"{name} is held ({', '.join(held)})" for name, held in others.items() if held]
    reasons += [f"{name} is below it" for name in zfs.below(copy.name)]
    reasons += [f"{copy.name} is mounted in {holder}" for holder in holders.in_namespaces(copy.name)]
    reasons += [
        f"{snapshot.name} has the clone {clone}"
        for snapshot in snapshots
        for clone in snapshot.clones
        if clone != export
    ]
    if reasons:
        raise Busy(
            f"disk {volume} was not removed: {'; '.join(reasons)}. 'zfs release' the holds, 'zfs promote' "
            "or destroy the clones, destroy what is below, end or unmount there what keeps it mounted, and try again"
        )
    zfs.release_holds(tags)
    return snapshots


def tagged_by_us(tag: str) -> bool:
    """Tell whether a hold is zfsext's own, which keeps what the next round of replication begins with."""
    return tag == TAG or tag.startswith(f"{TAG}:")


def _forget_origins(volume: str, parents: Iterable[str]) -> None:
    """Destroy the snapshot that an export of the volume was a clone of, also one that a killed remove left.

    Only of a disk of ours. One that somebody holds or has cloned since stays, and the disk's own remove names that.
    """
    disks = zfs.read([places.live_name(parent, volume) for parent in parents], [properties.STATE])
    for disk in disks.values():
        if disk.local(properties.STATE) == ownership.OWNER:
            name = f"{disk.name}@{places.EXPORT_SNAPSHOT}"
            if any(each.name == name and not each.clones and not each.holds for each in zfs.snapshots(disk.name)):
                zfs.destroy_snapshots([name])


def _ours(copy: Copy, volume: str) -> bool:
    if copy.live:
        return copy.state == ownership.OWNER
    if places.is_export(volume):
        return copy.state == ownership.EXPORT or (copy.state is None and _untouched(copy, volume))
    return abandoned(copy, volume)
