"""What a rollback that was killed has left in a disk's places, and how it is put away."""

from zfsext import attachment, mounts, ownership, places, pool, properties, records, reservation, zfs
from zfsext.config import Config
from zfsext.errors import Refused
from zfsext.ownership import FIRST, KEPT, OWNER


def tidy(volume: str, config: Config) -> None:
    """Put away what an exchange of states that was killed has left of the disk; under its lock.

    Before the transaction that is a clone which nobody needs, or what was kept and is so again; after it, what the disk
    was, in the live place. Raises Refused for a clone that somebody has taken snapshots of.
    """
    for parent in (each for each in config.live if pool.works(pool.of(each))):
        live, beside = places.live_name(parent, volume), places.standby_name(parent, volume)
        for name, dataset in zfs.read([live, beside], places.PROPERTIES).items():
            if dataset.local(properties.STATE) == KEPT:
                put_away(volume, parent, dataset)
            elif name == beside and _unfinished(dataset, live):
                if zfs.snapshots(name):
                    raise Refused(
                        f"{name} is left of a rollback, and has snapshots: look whose, and 'zfs rename' it away"
                    )
                attachment.unmounted(name)
                mounts.remove_directory(places.private_directory(name))
                zfs.destroy(name)


def is_exchanged(volume: str, config: Config) -> bool:
    """Tell whether an exchange of the disk's states was killed after its transaction, and its places do not follow."""
    for parent in (each for each in config.live if pool.works(pool.of(each))):
        live, beside = places.live_name(parent, volume), places.standby_name(parent, volume)
        there = zfs.read([live, beside], [properties.STATE, properties.ROLLED, properties.GENERATION])
        if live in there and there[live].local(properties.STATE) == KEPT:
            return True
        came = beside in there and there[beside].local(properties.STATE) == OWNER
        rolled = there[beside].local(properties.ROLLED) if came else None
        if rolled is not None and rolled == there[beside].local(properties.GENERATION):
            return True  # its generation began with the rollback
    return False


def _unfinished(dataset: zfs.Dataset, live: str) -> bool:
    """Tell whether it is a clone of the disk that was to take its place; a power cut may leave it without a state."""
    state = dataset.local(properties.STATE)
    if not dataset["origin"].startswith(f"{live}@"):
        return False
    return state == ownership.CREATING or (state is None and dataset.number("written") == 0)


def put_away(volume: str, parent: str, dataset: zfs.Dataset) -> None:
    """Move what a disk was before a rollback to its place; its device must be gone."""
    attachment.unmounted(dataset.name)
    reservation.drop(dataset)
    number = dataset.local(properties.GENERATION) or str(FIRST)
    zfs.rename(dataset.name, places.kept_name(parent, volume, str(records.generation(number))))
