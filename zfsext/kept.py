"""What a VM's disks were before a rollback, on this node: it is kept until somebody drops it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from zfsext import (
    places,
    pool,
    properties,
    records,
    zfs,
)
from zfsext.config import Config
from zfsext.errors import BadInput, NotHere, Refused
from zfsext.ownership import ASIDE, KEPT


class Kept(NamedTuple):
    """What a disk was: its dataset, the disk's volume, its generation, what the disk became instead.

    instead is @SNAPSHOT, or the generation of what had been kept and was had back. used is in bytes, with its own
    snapshots. copy says that it was a copy of the disk, which went back after the disk did: of several disks those need
    not be of one moment, so it is never made the disk.
    """

    dataset: str
    parent: str
    volume: str
    generation: str
    instead: str
    used: int
    copy: bool
    identity: str | None


def found(volumes: Sequence[str], config: Config) -> list[Kept]:
    """Return what is kept of these volumes here, by generation, the newest last."""
    there = [each for parent in config.live if pool.works(pool.of(parent)) for each in _below(parent, volumes)]
    return sorted(there, key=lambda each: (records.generation(each.generation), each.volume))


def _below(parent: str, volumes: Sequence[str]) -> Iterator[Kept]:
    prefix = places.standby_name(parent, "")
    names = [
        name
        for name in zfs.below(prefix.rstrip("/"))
        if places.KEPT in name and name.removeprefix(prefix).partition(places.KEPT)[0] in volumes
    ]
    wanted = [properties.STATE, properties.ID, properties.PEER, properties.INSTEAD, "used"]
    for name, dataset in zfs.read(names, wanted).items():
        volume, _, generation = name.removeprefix(prefix).partition(places.KEPT)
        # Of a copy it may have the state that it had when something was killed.
        if dataset.local(properties.STATE) in (KEPT, ASIDE) and _is_generation(generation):
            instead = dataset.local(properties.INSTEAD) or "@"
            copy = dataset.local(properties.PEER) is not None
            identity = dataset.local(properties.ID)
            yield Kept(name, parent, volume, generation, instead, dataset.number("used"), copy, identity)


def _is_generation(text: str) -> bool:
    try:
        records.generation(text)
    except BadInput:  # somebody renamed it: it is his
        return False
    return True


def of_one_rollback(volumes: Sequence[str], generation: str, config: Config) -> list[Kept]:
    """Return what one rollback kept of all these volumes; without a generation the last one.

    Raises NotHere if there is none, Refused where a disk lacks it: no VM was ever as the rest would be. Without a
    generation also if the last rollback was undone already: who asks twice, since he was cut off, means it once.
    """
    there = [each for each in found(volumes, config) if not each.copy]
    if not there:
        raise NotHere("nothing is kept of these disks on this node: they were not rolled back, or that was dropped")
    if not generation and not there[-1].instead.startswith("@"):
        raise Refused(
            f"these disks are what they were before the rollback (generation {there[-1].instead}): that was undone "
            f"already. --kept {there[-1].generation} makes them again what they were in between"
        )
    wanted = generation or there[-1].generation
    right = [each for each in there if each.generation == wanted]
    if not right:
        known = ", ".join(dict.fromkeys(each.generation for each in there))
        raise NotHere(f"nothing of generation {wanted} is kept of these disks; there is {known}")
    missing = set(volumes) - {each.volume for each in right}
    if missing:
        raise Refused(
            f"generation {wanted} is not kept of all of the VM's disks: {', '.join(sorted(missing))} lacks it"
        )
    return right
