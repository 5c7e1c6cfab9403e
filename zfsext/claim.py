"""Whose a disk is, as far as Ganeti's data on this node tells."""

import enum

from zfsext.cluster import Cluster
from zfsext.inventory import Disk, Inventory


class Claim(enum.Enum):
    """Who claims a disk."""

    HERE = enum.auto()  # an instance whose primary node this is
    ELSEWHERE = enum.auto()  # an instance whose primary node is another one
    DETACHED = enum.auto()  # Ganeti alone, which keeps it without an instance
    NOBODY = enum.auto()  # no instance, and Ganeti's data is complete
    UNSURE = enum.auto()


def of(disk: Disk, found: Inventory, known: Cluster | None) -> Claim:
    """Return who claims the disk."""
    if known is None:
        return Claim.UNSURE
    ganeti = known.disks.get(disk.origin)
    if ganeti is not None:
        return Claim.HERE if ganeti.node == known.node else Claim.ELSEWHERE
    if disk.origin in known.detached:
        return Claim.DETACHED
    if known.complete and found.instance(disk, known) not in known.instances:
        return Claim.NOBODY
    return Claim.UNSURE
