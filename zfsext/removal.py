"""The end of a disk: its device, its snapshots, its dataset; nothing that is not its own."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence

from zfsext import (
    attachment,
    holders,
    kept,
    leftovers,
    mounts,
    ownership,
    places,
    properties,
    usable,
    view,
    zfs,
)
from zfsext.config import Config
from zfsext.contract import EXPORT_SUFFIX
from zfsext.errors import AlreadyThere, Busy, Refused
from zfsext.kept import Kept
from zfsext.lock import VolumeLock
from zfsext.places import Copy

#: Of the holds on what replication needs: on a copy's last round and, with a node's name, on what it has.
TAG = "zfsext"


def remove(volume: str, config: Config) -> None:
    """Destroy the volume with its snapshots. One that is not there is removed already.

    Raises Busy, before anything is destroyed, if its device is in use, or if it has holds, clones or datasets below
    it, or is mounted in another mount namespace; Refused if zfsext did not make it.
    """
    copies = released(volume, config)
    for copy in copies:
        destroy(copy)
    for directory in _mount_points(volume, config):  # which a remove that was killed has left
        mounts.remove_directory(directory)
    if places.is_export(volume):
        _forget_origins(volume.removesuffix(EXPORT_SUFFIX), config.live)


def released(volume: str, config: Config) -> list[Copy]:
    """Return the copies of a volume that is to go, with all that depends on them gone: device, export, former states.

    Raises as remove does.
    """
    if not places.is_export(volume):
        leftovers.tidy(volume, config)
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
    former = kept.found([volume], config) if found.copies else []
    mine = {each.dataset for each in former}
    snapshots = [snapshot for copy in found.copies for snapshot in _removable(copy, volume, mine)]
    require_free([each for of in former for each in zfs.snapshots(of.dataset)], _ours_of(volume, former, config))
    export = VolumeLock(volume + EXPORT_SUFFIX, f"remove of {volume}")
    if any(set(snapshot.clones) - mine for snapshot in snapshots) or os.path.exists(export.path):
        with export:
            remove(volume + EXPORT_SUFFIX, config)
            export.forget()
    release(snapshots)
    drop(former, config)
    return found.copies


def _ours_of(volume: str, former: Iterable[Kept], config: Config) -> set[str]:
    """Return the names of all that is, or was, the disk: clones of each other that go together."""
    return {*places.names(volume, config), *(each.dataset for each in former)}


def _mount_points(volume: str, config: Config) -> list[str]:
    """Return where copies of the volume are mounted unless they have a mountpoint of their own."""
    private = [places.private_directory(name) for name in places.names(volume, config)]
    live = [parent["mountpoint"] for parent in zfs.read(config.live, ["mountpoint"]).values()]
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
    forget_mount_point(copy)


def forget_mount_point(copy: Copy) -> None:
    """Remove the directory that a copy, which is gone from there, was mounted on."""
    if copy.mountpoint.startswith("/"):
        mounts.remove_directory(copy.mountpoint)


def drop(former: Sequence[Kept], config: Config) -> None:
    """Destroy what rollbacks kept, with its snapshots; under the volumes' locks.

    What the disk, or another state that stays, is a clone of goes over to that first. Raises Busy, before anything is
    destroyed, for what somebody else holds or has cloned.
    """
    volumes = {each.volume for each in former}
    ours = {name for volume in volumes for name in places.names(volume, config)}
    ours |= {each.dataset for each in kept.found(sorted(volumes), config)}
    snapshots = {each.dataset: zfs.snapshots(each.dataset) for each in former}
    require_free([each for of in snapshots.values() for each in of], ours)
    for each in former:
        release(snapshots[each.dataset])
        clones = [clone for snapshot in zfs.snapshots(each.dataset) for clone in snapshot.clones]
        if clones:
            zfs.promote(clones[-1])  # that of the newest: the older snapshots go with it, and their clones
        destroy(Copy(each.parent, zfs.read([each.dataset], places.PROPERTIES)[each.dataset], live=False))


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


def _removable(copy: Copy, volume: str, former: set[str]) -> list[zfs.Snapshot]:
    attachment.unmounted(copy.name)
    snapshots = zfs.snapshots(copy.name)
    export = places.standby_name(copy.parent, volume + EXPORT_SUFFIX)
    reasons = in_the_way(snapshots, {export, *former})
    reasons += [f"{name} is below it" for name in zfs.below(copy.name)]
    reasons += [f"{copy.name} is mounted in {holder}" for holder in holders.in_namespaces(copy.name)]
    if reasons:
        raise Busy(
            f"disk {volume} was not removed: {'; '.join(reasons)}. 'zfs release' the holds, 'zfs promote' "
            "or destroy the clones, destroy what is below, end or unmount there what keeps it mounted, and try again"
        )
    return snapshots


def in_the_way(snapshots: Iterable[zfs.Snapshot], ours: Collection[str] = ()) -> list[str]:
    """Return, in words, what keeps snapshots from being destroyed: others' holds, clones that are not ours, mounts."""
    mounted = {mount.source: mount.directory for mount in mounts.table() if mount.kind == "zfs" and "@" in mount.source}
    return [words for each in snapshots for words in _in_the_way(each, ours, mounted.get(each.name))]


def _in_the_way(snapshot: zfs.Snapshot, ours: Collection[str], directory: str | None) -> Iterator[str]:
    tags = [tag for tag in (zfs.holds(snapshot.name) if snapshot.holds else []) if not tagged_by_us(tag)]
    if tags:
        yield f"{snapshot.name} is held ({', '.join(tags)})"
    for clone in snapshot.clones:
        if clone not in ours:
            hint = " (a removed disk: 'zfsext undelete' lists it, and purges it)" if places.REMOVED in clone else ""
            yield f"{snapshot.name} has the clone {clone}{hint}"
    if directory is not None:
        hint = " ('zfsext umount' lists it)" if directory.startswith(view.DIRECTORY) else ""
        yield f"{snapshot.name} is mounted on {directory}{hint}"


def require_free(snapshots: Iterable[zfs.Snapshot], ours: Collection[str] = ()) -> None:
    """Raise Busy for snapshots that cannot be destroyed, because somebody else holds, has cloned or mounted them."""
    reasons = in_the_way(snapshots, ours)
    if reasons:
        raise Busy(
            f"nothing was destroyed: {'; '.join(reasons)}. 'zfs release' the holds, 'zfs promote' or destroy the "
            "clones, unmount what is mounted"
        )


def release(snapshots: Iterable[zfs.Snapshot]) -> None:
    """Give back zfsext's own holds of these snapshots."""
    tags = {each.name: zfs.holds(each.name) for each in snapshots if each.holds}
    ours = {name: [tag for tag in held if tagged_by_us(tag)] for name, held in tags.items()}
    zfs.release_holds({name: held for name, held in ours.items() if held})


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
