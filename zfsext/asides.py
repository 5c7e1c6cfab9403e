"""Copies that were set aside, because the disk went on without them: what they have that it has not, and their end."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from zfsext import datasets, ownership, places, properties, records, removal, streams, zfs
from zfsext.config import STANDBY_SUFFIX, Config
from zfsext.lock import VolumeLock
from zfsext.places import ASIDE, Copy


class Aside(NamedTuple):
    """A copy that was set aside: its dataset, the disk's volume, the instance as it was last called.

    written is how many bytes of what it holds were written after the snapshot `since`, the last that the disk has too
    as far as this node can tell; both are None if it cannot. snapshots are in the order in which they were taken.
    """

    dataset: str
    volume: str
    instance: str
    generation: str
    used: int
    written: int | None
    since: str | None
    snapshots: list[zfs.Snapshot]


def found(config: Config) -> Iterator[Aside]:
    """Yield the copies on this node that were set aside, by name."""
    names = [properties.STATE, properties.INSTANCE, properties.GENERATION, properties.ROUND, "used", "origin"]
    there = {dataset.name: (short, dataset) for short, dataset in datasets.of(config, names) if ASIDE in short}
    for name, (short, dataset) in sorted(there.items()):
        if _ours(dataset):
            volume, _, rest = short.partition(ASIDE)
            snapshots = zfs.snapshots(name)
            since = _common(dataset, volume, snapshots)
            yield Aside(
                name,
                volume,
                dataset.local(properties.INSTANCE) or "",
                dataset.local(properties.GENERATION) or rest,
                dataset.number("used"),
                _written(name, since) if since is not None else None,
                since,
                snapshots,
            )


def _ours(dataset: zfs.Dataset) -> bool:
    """Tell whether what has such a name is a copy: also one that somebody was killed at before its state said so."""
    state = dataset.local(properties.STATE)
    return state in (ownership.ASIDE, *records.STATES) and not places.is_put_back(dataset.name, state)


def _common(dataset: zfs.Dataset, volume: str, snapshots: Sequence[zfs.Snapshot]) -> str | None:
    """Return the full name of the last snapshot that the copy and the disk have in common, as far as can be told here.

    That is: with the copy of the disk that is here by now, else the last round that is known to be complete elsewhere.
    """
    if dataset["origin"] not in ("", "-"):
        return dataset["origin"]
    parent = dataset.name.rpartition("/")[0].removesuffix(STANDBY_SUFFIX)
    copies = zfs.read([places.live_name(parent, volume), places.standby_name(parent, volume)], ["type"])
    guids = {each.guid for name in copies for each in zfs.snapshots(name)}
    shared = [each.name for each in snapshots if each.guid in guids]
    if shared:
        return shared[-1]
    ours = [each.name for each in snapshots if records.of_snapshot(each.short) is not None]
    last = f"{dataset.name}@{records.PREFIX}{dataset.local(properties.ROUND)}"
    return last if last in ours else next(reversed(ours), None)


def _written(name: str, since: str) -> int | None:
    key = f"written@{since if since.partition('@')[0] != name else since.partition('@')[2]}"
    text = zfs.read([name], [key])[name][key]
    return int(text) if text.isdecimal() else None


def drop(copies: Sequence[Aside], config: Config) -> None:
    """Destroy these copies with their snapshots.

    Raises Busy, before anything is destroyed, for what somebody else holds or has cloned.
    """
    require_free(copies)
    for each in copies:
        with VolumeLock(each.volume, "resolve"):
            _destroy(each, config)


def require_free(copies: Sequence[Aside]) -> None:
    """Raise Busy for what somebody else holds of these copies, or has cloned."""
    removal.require_free(snapshot for each in copies for snapshot in each.snapshots)


def _destroy(aside: Aside, config: Config) -> None:
    parent = next(each for each in config.live if aside.dataset.startswith(places.standby_name(each, "")))
    there = zfs.read([aside.dataset], places.PROPERTIES)
    if aside.dataset not in there or not _ours(there[aside.dataset]):
        return  # it was dropped, or made a disk again, meanwhile
    copy = Copy(parent, there[aside.dataset], live=False)
    removal.release(zfs.snapshots(copy.name))
    if copy.dataset["receive_resume_token"] not in ("-", ""):
        streams.abort(copy.name)
    removal.destroy(copy)
