"""Every dataset of a volume on this node, found in bulk by a few of its properties."""

from collections.abc import Iterator, Sequence

from zfsext import places, pool, properties, records, zfs
from zfsext.config import Config, standby


def of(config: Config, names: Sequence[str]) -> Iterator[tuple[str, zfs.Dataset]]:
    """Yield each dataset directly below the parents, with its name below that one: the volume's, and what was added.

    Pools that do not work are left out; see ill.
    """
    for parent in config.live:
        if pool.works(pool.of(parent)):
            for root in (parent, standby(parent)):
                for name, dataset in zfs.tree([root], names).items():
                    short = name.removeprefix(f"{root}/")
                    if name != root and "/" not in short:
                        yield short, dataset


def ill(config: Config) -> list[str]:
    """Return the pools whose datasets `of` leaves out, in words."""
    names = [name for name in places.pools(config.live) if not pool.works(name)]
    return [f"pool {name} is {pool.state(name) or 'not imported'}" for name in names]


def volumes(instance: str, config: Config) -> list[str]:
    """Return the volumes of which this node has the disk or a copy that says that it is the instance's, by name."""
    found = of(config, [properties.INSTANCE, properties.STATE])
    mine = {name for name, each in found if each.local(properties.INSTANCE) == instance and _whole(name, each)}
    return sorted(mine)


def _whole(name: str, dataset: zfs.Dataset) -> bool:
    return dataset.local(properties.STATE) in records.STATES and places.is_disk(name)
