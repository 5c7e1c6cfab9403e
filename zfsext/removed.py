"""Removed disks that can still be had back, for as long as keep_removed in /etc/zfsext.conf says.

Such a disk keeps its snapshots, sets nothing aside, and is in the standby place under a name that nobody looks for a
disk by: it is no copy, and never opened. `zfsext undelete` begins a new disk with it.
"""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from zfsext import (
    attachment,
    cluster,
    datasets,
    groups,
    instances,
    lock,
    places,
    properties,
    records,
    removal,
    reservation,
    source,
    zfs,
)
from zfsext.config import STANDBY_SUFFIX, Config, standby
from zfsext.errors import Busy, NotHere, Refused, SystemRefused, ZfsextError
from zfsext.ownership import OWNER, REMOVED
from zfsext.places import Copy

#: What a disk that is had back begins with: a snapshot of this name and the time of the removal, no earlier one's.
SNAPSHOT = "zfsext-removed-"
#: What is not noted of the instance, and what else is not if that is too much for a property (ZAP_MAXVALUELEN).
LEFT_OUT = (("osparams",), ("osparams", "hvparams"), ("osparams", "hvparams", "beparams", "nics"))
LONGEST = 8000


class Removed(NamedTuple):
    """A removed disk: its dataset, the volume that it was, of which instance and which index, when it was removed.

    was is what Ganeti had of the instance (zfsext.instances), as far as this node knew. used is in bytes, with its
    snapshots, size in MiB. since is from when its time counts; None if it is never over.
    """

    dataset: str
    volume: str
    instance: str
    index: int | None  # type: ignore[assignment]  # hides a tuple's method, which nobody wants here
    seconds: int
    size: int
    used: int
    was: dict[str, Any]
    since: int | None


def put_aside(volume: str, config: Config) -> None:
    """Put the disk aside instead of destroying it; under its lock. Raises what keeps a disk from being removed.

    What rollbacks have kept of it is destroyed all the same.
    """
    was = _was(volume)
    for copy in removal.released(volume, config):
        if not copy.live:
            removal.destroy(copy)
            continue
        attachment.unmounted(copy.name)
        reservation.drop(copy.dataset)
        now = int(time.time())
        name = places.removed_name(copy.parent, volume, now)
        zfs.rename(copy.name, name)  # under that name nobody looks for a disk
        _mark(name, now, was)
        removal.forget_mount_point(copy)


def _was(volume: str) -> str:
    """Return what Ganeti has of the volume's instance, as JSON; nothing where that is not known: it is no must."""
    try:
        known = instances.of_volume(volume)
    except SystemRefused:
        return ""
    # Everybody on the node can read a property, so what may be a secret is not in it; and ZFS takes so much of one.
    texts = (json.dumps({name: of for name, of in known.items() if name not in left}) for left in LEFT_OUT)
    return next((text for text in texts if known and len(text) < LONGEST), "")


def _mark(name: str, seconds: int, was: str) -> None:
    found: dict[str, str | None] = {properties.STATE: REMOVED, properties.REMOVED: str(seconds)}
    if was:
        found[properties.WAS] = was
    zfs.change_all({name: found})


def finish(volume: str, config: Config) -> None:
    """Mark what a put_aside that was killed has given its new name only; under the volume's lock."""
    for each in found(config):
        if each.volume == volume and each.since is None:
            _mark(each.dataset, each.seconds, _was(volume))


def found(config: Config) -> Iterator[Removed]:
    """Yield the removed disks on this node, the latest first. Pools that do not work are left out."""
    wanted = [properties.STATE, properties.INSTANCE, properties.SIZE, properties.REMOVED, properties.WAS, "used"]
    beside = {standby(parent) for parent in config.live}
    there = []
    for short, dataset in datasets.of(config, wanted):
        volume, mark, rest = short.partition(places.REMOVED)
        ours = mark and rest.isdecimal() and dataset.name.rpartition("/")[0] in beside
        # One that was killed between its new name and its state is removed too.
        if ours and dataset.local(properties.STATE) in (REMOVED, OWNER):
            was = instances.read(dataset.local(properties.WAS) or "")
            size = dataset.local(properties.SIZE) or ""
            there.append(
                Removed(
                    dataset.name,
                    volume,
                    dataset.local(properties.INSTANCE) or "",
                    instances.index_of(volume, was),
                    int(rest),
                    int(size) if size.isdecimal() else 0,
                    dataset.number("used"),
                    was,
                    _since(dataset),
                )
            )
    yield from sorted(there, key=lambda each: (-each.seconds, each.volume))


def _since(dataset: zfs.Dataset) -> int | None:
    """Return from when a removed disk's time counts; None for what nobody knows to be removed for good."""
    since = dataset.local(properties.REMOVED) or ""
    return int(since) if dataset.local(properties.STATE) == REMOVED and since.isdecimal() else None


def these(names: Sequence[str], config: Config) -> list[Removed]:
    """Return the removed disks in these datasets. Raises NotHere for one that is none, or is here no more."""
    there = {each.dataset: each for each in found(config)}
    missing = [name for name in names if name not in there]
    if missing:
        raise NotHere(f"{', '.join(missing)} is no removed disk on this node: 'zfsext undelete' lists them")
    return [there[name] for name in names]


class Source(NamedTuple):
    """What a new disk that begins with a removed one has to be, and whether one has begun with it already."""

    parameters: dict[str, str]
    began: bool


def sources(names: Sequence[str], config: Config, *, dry: bool = False) -> dict[str, Source]:
    """Return what a new disk that begins with a removed one has to be, of each; its snapshot is taken if need be.

    Raises Busy for a disk whose removal Ganeti has not finished.
    """
    volumes = sorted({each.volume for each in these(names, config)})
    with groups.locked(volumes, "undelete"):
        removed = these(names, config)  # again: one of them may have been purged meanwhile
        for each in removed:
            _require_gone(each)
        snapshots = {each.name: each for each in zfs.snapshots(*names)}
        missing = [_source(each) for each in removed if _source(each) not in snapshots]
        if not dry:
            zfs.set_all(names, {properties.STATE: REMOVED, properties.REMOVED: str(int(time.time()))})
            if missing:
                zfs.take_snapshots(missing)
        there = zfs.read(names, places.PROPERTIES)
    return {
        each.dataset: Source(
            source.parameters_of(there[each.dataset], _parent(each), f"{SNAPSHOT}{each.seconds}", config),
            _has_begun(snapshots.get(_source(each))),
        )
        for each in removed
    }


def _require_gone(each: Removed) -> None:
    if cluster.knows(each.volume) is True:
        raise Busy(f"Ganeti still has {each.volume}: 'gnt-instance remove' again ends what it began")


def _has_begun(taken: zfs.Snapshot | None) -> bool:
    """Tell whether a disk has begun with this snapshot of a removed one; it may have gone to another node since."""
    clones = taken.clones if taken is not None else []
    return any(of.local(properties.STATE) in records.STATES for of in zfs.read(clones, [properties.STATE]).values())


def _parent(each: Removed) -> str:
    return each.dataset.rpartition("/")[0].removesuffix(STANDBY_SUFFIX)


def _source(each: Removed) -> str:
    return f"{each.dataset}@{SNAPSHOT}{each.seconds}"


def purge(each: Removed) -> None:
    """Destroy a removed disk with its snapshots; a disk that began with it takes over what it needs.

    Raises Busy for what somebody else holds or has cloned, or is about to have back, and for a disk whose removal
    Ganeti has not finished.
    """
    with lock.VolumeLock(each.volume, "purge") as held:
        there = zfs.read([each.dataset], [*places.PROPERTIES, properties.REMOVED])
        if each.dataset not in there:
            return
        if _since(there[each.dataset]) != each.since:
            raise Busy(f"{each.dataset} is being had back just now: 'zfsext undelete' lists it if it is not")
        _require_gone(each)
        snapshots = zfs.snapshots(each.dataset)
        clones = [clone for snapshot in snapshots for clone in snapshot.clones]
        ours = {
            name for name, of in zfs.read(clones, [properties.STATE]).items() if of.local(properties.STATE) == OWNER
        }
        removal.require_free(snapshots, ours)
        removal.release(snapshots)
        if clones:
            zfs.promote(clones[-1])
        removal.destroy(Copy(_parent(each), there[each.dataset], live=False))
        begun_with = [f"{name}@{SNAPSHOT}{each.seconds}" for name in ours]
        taken = {found.name: found for found in zfs.snapshots(*ours)} if ours else {}
        zfs.destroy_snapshots([name for name in begun_with if name in taken and not taken[name].clones])
        held.forget()


def hand_over(each: Removed) -> None:
    """Let the disk that began with a removed one take its snapshots over, and destroy what is left of that.

    Raises Refused, with nothing destroyed, if no disk has begun with it.
    """
    taken = next((found for found in zfs.snapshots(each.dataset) if found.name == _source(each)), None)
    if not _has_begun(taken):
        raise Refused(f"no disk has begun with {each.dataset}, which was left as it is: 'zfsext undelete' lists it")
    purge(each)


def purge_old(config: Config) -> list[str]:
    """Destroy the removed disks whose time is over, if any is; return in words those that could not be.

    One that somebody has begun to have back has its time anew.
    """
    trouble = []
    for each in overdue(config):
        try:
            purge(each)
        except ZfsextError as error:
            trouble.append(str(error))
    return trouble


def overdue(config: Config) -> list[Removed]:
    """Return the removed disks whose time is over; none is, where none is kept any more."""
    if not config.keep_removed:
        return []
    now = time.time()
    return [each for each in found(config) if each.since is not None and now - each.since > config.keep_removed]
