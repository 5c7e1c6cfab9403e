"""The disks of one VM, which change their owner together or not at all."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from zfsext import cluster, local, places, properties, zfs
from zfsext.config import Config
from zfsext.errors import Refused
from zfsext.local import Local
from zfsext.lock import SECONDS, VolumeLock
from zfsext.ownership import CLAIMS, SEALED

#: How long another node's request waits for a lock here, in seconds.
BRIEF = 5


def of(volume: str, config: Config) -> list[str]:
    """Return the volumes of the VM that has this one, in the order of their names.

    Ganeti's configuration says it, where this node has it (Ganeti 3.1 attaches a disk to another VM without a word to
    its provider); elsewhere the instance's name that the disks carry.
    """
    told = cluster.group(volume)
    if told is not None:
        return sorted(told)
    here = local.find(volume, config)
    instance = here.copy.dataset.local(properties.INSTANCE) if here else None
    if not instance:
        return [volume]
    found = {volume}
    for parent in config.live:
        for root in (parent, f"{parent}-standby"):
            for dataset in zfs.tree([root], [properties.INSTANCE, properties.STATE]).values():
                name = dataset.name.removeprefix(f"{root}/")
                mine = dataset.local(properties.INSTANCE) == instance and dataset.local(properties.STATE) in CLAIMS
                if mine and places.is_disk(name):
                    found.add(name)
    return sorted(found)


def sealed(volume: str, config: Config) -> list[str]:
    """Return those of the VM's volumes that this node has sealed for the node that this one is for, and this one."""
    found = local.find_all(of(volume, config), config)
    missing = [each for each, here in found.items() if here is None]
    if missing:
        found |= local.find_all(missing, config)  # the first look may have met a rename
    peers = {each: here.record.peer for each, here in found.items() if here is not None and here.record.state == SEALED}
    return sorted({volume, *(each for each, peer in peers.items() if peer == peers.get(volume))})


@contextmanager
def locked(volumes: Sequence[str], verb: str, seconds: float = SECONDS) -> Iterator[None]:
    """Hold the locks of these volumes, taken in the order of their names. Raises Busy after so many seconds."""
    with ExitStack() as stack:
        for volume in sorted(volumes):
            lock = VolumeLock(volume, verb)
            lock.acquire(seconds)
            stack.callback(lock.release)
        yield


def require(volumes: Sequence[str], config: Config) -> list[Local]:
    """Return what this node has of these volumes, settled; under their locks.

    Raises NotHere for one that is not here, and Refused for disks in two pools: no transaction covers both.
    """
    found = [local.settle(here, config) for here in local.require_all(sorted(volumes), config)]
    require_one_pool(found)
    return found


def require_one_pool(group: Sequence[Local]) -> None:
    """Raise Refused for disks in two pools."""
    pools = {each.pool for each in group}
    if len(pools) > 1:
        raise Refused(
            f"the disks of this VM are in the pools {' and '.join(sorted(pools))}, and no transaction covers both: "
            "put them into one pool first"
        )


def change(group: Sequence[Local], **fields: Any) -> None:
    """Change these fields of the records of all disks of a VM, in one transaction."""
    zfs.change_all({each.name: each.changes(**fields) for each in group})


def refresh(group: Sequence[Local], config: Config) -> list[Local]:
    """Return the group as it is now."""
    return require([each.volume for each in group], config)
