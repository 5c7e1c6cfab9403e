"""What there is of zfsext's on a node: each dataset, its image, its devices, its snapshots; the pools.

zfsext.survey finds it.
"""

from dataclasses import dataclass, field
from functools import cached_property

from zfsext import image, ownership, pool
from zfsext.cluster import Cluster
from zfsext.contract import EXPORT_SUFFIX

#: What a dataset is, by its place and its state. STRAY: made by zfsext, and outside of the configured parents.
LIVE, NEW, EXPORT, STANDBY, STRAY, FOREIGN = "live", "new", "export", "standby", "stray", "foreign"
#: What a copy of a disk is, by its state alone: a script that was killed may have left it in another place.
REPLICA, SEALED, TICKET, ASIDE = ownership.REPLICA, ownership.SEALED, ownership.TICKET, ownership.ASIDE
COPIES = (REPLICA, SEALED, TICKET, ASIDE)
#: What is no copy, and can become a disk again if somebody wants that, by what its name has after the volume's.
KEPT, REMOVED = ownership.KEPT, ownership.REMOVED
#: What zfsext counts as the disk, or can make it: of these a node has one at the most.
DISKS = (LIVE, TICKET, SEALED, REPLICA)


@dataclass(frozen=True, slots=True)
class Device:
    """A loop device on a file of a dataset: whether that is the image, and how it stands there (see loopdev.Loop)."""

    path: str
    on_image: bool = True
    whole: bool = True
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot's full name, the tags of its holds, the clones of it."""

    name: str
    holds: list[str] = field(default_factory=list)
    clones: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Target:
    """A node that a round was to go to last: when that ended, and the error that it ended with, if it did."""

    node: str
    time: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """A dataset with an image in it.

    volume is Ganeti's name of it, of a disk in the making the one that it will have, and of one that was set aside the
    one that it had. logical_bytes is what the image holds, before compression. size_mib is the zfsext:size,
    image_bytes the image's own size; either may be unknown. From generation to replicas, all is as zfsext.properties
    says; times are Unix seconds. written_bytes is what was written after the last snapshot, writable how it is mounted.
    busy is that somebody works on it, transfer that it is sent or received just now. snapshots are known in the whole
    inventory alone, snapshot_count also where it was asked for.
    """

    dataset: str
    volume: str
    role: str
    state: str = ""
    instance: str = ""
    size_mib: int | None = None
    image_bytes: int | None = None
    used_bytes: int = 0
    referenced_bytes: int = 0
    logical_bytes: int = 0
    recordsize_bytes: int = 0
    compression: str = ""
    refreservation_bytes: int = 0
    refquota_bytes: int = 0
    reservation_bytes: int = 0
    created: int = 0
    partial_receive: bool = False
    busy: bool = False
    transfer: bool = False
    guid: str = ""
    generation: str = ""
    peer: str = ""
    round: str = ""
    rounded: int | None = None
    promoted: int | None = None
    over: list[str] = field(default_factory=list)
    knows: list[str] = field(default_factory=list)
    replicas: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    written_bytes: int = 0
    writable: bool = False
    directory: str = ""
    devices: list[Device] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    snapshot_count: int | None = None

    @property
    def origin(self) -> str:
        """The volume that Ganeti lists: of an export, that of the disk."""
        return self.volume.removesuffix(EXPORT_SUFFIX)


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of the configuration: its state (empty: not imported), its figures if it works, its data errors."""

    name: str
    state: str
    size_bytes: int = 0
    allocated_bytes: int = 0
    free_bytes: int = 0
    errors: str = ""
    reserved_percent: int = 0

    @property
    def percent(self) -> int:
        """How full it is: what is allocated, or what the disks have no right to any more, whichever is more."""
        allocated = self.allocated_bytes * 100 // self.size_bytes if self.size_bytes else 0
        return max(allocated, self.reserved_percent)

    @property
    def works(self) -> bool:
        """Whether it could be asked."""
        return self.state in pool.WORKING


@dataclass(frozen=True)
class Inventory:
    """What there is: disks, pools, what the node lacks, what is left over in /run/zfsext, devices on hidden images.

    taken is when it was, in Unix seconds, whole whether it is all of that.
    """

    disks: list[Disk] = field(default_factory=list)
    pools: list[Pool] = field(default_factory=list)
    unfit: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    taken: int = 0
    whole: bool = True

    @property
    def complete(self) -> bool:
        """Whether a disk that is not in it is not on this node."""
        return bool(self.pools) and all(each.works for each in self.pools)

    def instance(self, disk: Disk, cluster: Cluster | None) -> str:
        """Return the instance that a disk is of: as Ganeti has it now, else as it said last; empty if it never did."""
        known = cluster.disks.get(disk.origin) if cluster else None
        return known.instance if known else disk.instance or self._said.get(disk.origin, "")

    @cached_property
    def _said(self) -> dict[str, str]:
        """What the disks say that they are of, by their volumes: an export is of what its disk is of."""
        return {disk.volume: disk.instance for disk in reversed(self.disks) if disk.instance}


def size(disk: Disk, cluster: Cluster | None) -> int | None:
    """Return a disk's size in MiB: the image's own, else what was noted, else what Ganeti has; None if nobody knows."""
    if disk.image_bytes is not None:
        return disk.image_bytes // image.MIB
    known = cluster.disks.get(disk.origin) if cluster else None
    return disk.size_mib or (known.size if known else None)
