"""Where a copy of a disk is: its role shows in the place it is in.

- PARENT/VOLUME is live: this node owns the disk
- PARENT-standby/VOLUME is a copy of a disk that lives elsewhere, or is on its way
- PARENT-standby/VOLUME.aside-GENERATION is a copy that was set aside, because another node has had the disk since
- PARENT-standby/VOLUME.kept-GENERATION is what a disk was before a rollback
- PARENT-standby/VOLUME.removed-SECONDS is a removed disk that can still be had back
- PARENT-standby/VOLUME.new is a disk in the making
- PARENT-standby/VOLUME.snap is a clone for gnt-backup export; Ganeti treats it as a volume of its own
"""

from collections.abc import Iterable, Sequence

from zfsext import contract, encryption, pool, properties, zfs
from zfsext.config import Config, standby
from zfsext.contract import EXPORT_SUFFIX, NEW_SUFFIX
from zfsext.errors import BadInput, Refused, SystemRefused
from zfsext.lock import run_directory
from zfsext.ownership import REPLICA
from zfsext.properties import STATE

#: The snapshot that an export is a clone of. There is one at a time, and no snapshot tool makes or prunes its like.
EXPORT_SNAPSHOT = "zfsext-export"

#: What stands between the volume and the generation in the name of a copy that is set aside.
ASIDE = ".aside-"
#: What the name of a copy that is set aside ends in, if it is ahead of the round at which it becomes the disk.
AHEAD = "-ahead"
#: What stands between the volume and the rest in the names of what a disk was, and of what is left of a removed one.
KEPT, REMOVED = ".kept-", ".removed-"

PROPERTIES = (
    *(
        "type",
        "mountpoint",
        "recordsize",
        "readonly",
        "refreservation",
        "refquota",
        "reservation",
        "origin",
        "written",
        "referenced",
    ),
    *("guid", "compression", "receive_resume_token", *encryption.PROPERTIES),
    *(*properties.RECORD, *properties.FACTS, *properties.FOR_PEOPLE, properties.UNOPENED),
)


class Copy:
    """One copy of a volume on this node: the parent it belongs to, its dataset, and whether it is in the live place."""

    __slots__ = ("dataset", "live", "parent")

    def __init__(self, parent: str, dataset: zfs.Dataset, live: bool) -> None:
        self.parent = parent
        self.dataset = dataset
        self.live = live

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.dataset.name

    @property
    def state(self) -> str | None:
        """What zfsext last made of it; None if zfsext did not make it. A state that was sent along is none."""
        return self.dataset.local(STATE)

    @property
    def mountpoint(self) -> str:
        """Where it is to be mounted: a live copy where its property says (if that is a path), any other in private."""
        return self.dataset["mountpoint"] if self.live else private_directory(self.name)

    def directory(self) -> str:
        """Return where it is to be mounted. Raises Refused if the administrator gave the parent no place."""
        directory = self.mountpoint
        if not directory.startswith("/"):
            raise Refused(
                f"{self.name} has mountpoint={directory}, so its image has no path: "
                f"'zfs set mountpoint=/{self.parent} {self.parent}'"
            )
        return directory


class Found:
    """What this node has of a volume: its copies, and the parents that there are, by name, with their properties."""

    __slots__ = ("copies", "parents")

    def __init__(self, copies: list[Copy], parents: dict[str, zfs.Dataset]) -> None:
        self.copies = copies
        self.parents = parents

    def parent(self, name: str) -> zfs.Dataset:
        """Return a parent. Raises SystemRefused, with the command that makes it, if it does not exist."""
        if name not in self.parents:
            raise SystemRefused(f"{name} does not exist on this node: {how_to_make(name)}")
        return self.parents[name]


def live_name(parent: str, volume: str) -> str:
    """Return the name of a live disk's dataset."""
    return f"{parent}/{volume}"


def standby_name(parent: str, volume: str) -> str:
    """Return the name of a volume's dataset beside the live ones; that of an export ends in its own suffix."""
    return f"{standby(parent)}/{volume}"


def new_name(parent: str, volume: str) -> str:
    """Return the name of a dataset in the making."""
    return standby_name(parent, volume) + NEW_SUFFIX


def aside_name(parent: str, volume: str, generation: str) -> str:
    """Return the name of a copy that is set aside."""
    return f"{standby_name(parent, volume)}{ASIDE}{generation}"


def kept_name(parent: str, volume: str, generation: str) -> str:
    """Return the name of what a disk was before a rollback."""
    return f"{standby_name(parent, volume)}{KEPT}{generation}"


def removed_name(parent: str, volume: str, seconds: int) -> str:
    """Return the name of a disk that was removed at that time, in Unix seconds."""
    return f"{standby_name(parent, volume)}{REMOVED}{seconds}"


def is_export(volume: str) -> bool:
    """Tell whether the volume is a clone that the snapshot script made for gnt-backup."""
    return volume.endswith(EXPORT_SUFFIX)


def is_disk(name: str) -> bool:
    """Tell whether a dataset of this name below a parent can be a disk or a copy of one.

    It is none in the making, no export, none that was set aside, and no name that Ganeti cannot say.
    """
    try:
        contract.volume_name("name", name)
    except BadInput:
        return False
    return not any(mark in name for mark in (ASIDE, KEPT, REMOVED)) and not is_export(name)


def private_directory(dataset: str) -> str:
    """Return where a dataset that is no live disk is mounted: a directory that only root can reach."""
    return f"{run_directory()}/{dataset.rpartition('/')[2]}"


def names(volume: str, config: Config) -> list[str]:
    """Return every name that a dataset of this volume can have."""
    return [
        name
        for parent in config.live
        for name in (live_name(parent, volume), standby_name(parent, volume), new_name(parent, volume))
    ]


def pools(parents: Iterable[str]) -> list[str]:
    """Return the pools of the parents, each once."""
    return sorted({pool.of(parent) for parent in parents})


def find(volume: str, config: Config, everywhere: bool = True) -> Found:
    """Return what this node has of the volume, in all parents.

    everywhere means that the answer must be complete, so each pool has to work and each parent to be there; without
    it that is asked only if no live copy is found. Raises PoolUnavailable or SystemRefused where it is not so.
    """
    return find_all([volume], config, everywhere)[volume]


def find_all(volumes: Sequence[str], config: Config, everywhere: bool = True) -> dict[str, Found]:
    """Return what this node has of each of the volumes, as find does, and asking ZFS but once."""
    all_found = _find(volumes, [parent for parent in config.live if pool.works(pool.of(parent))])
    for volume, found in all_found.items():
        if everywhere or not any(copy.live for copy in found.copies):
            for parent in config.live:
                pool.require(pool.of(parent))
                found.parent(parent)
                found.parent(standby(parent))
        if not any(copy.state for copy in found.copies):
            found.copies += _ahead(volume, [parent for parent in config.live if standby(parent) in found.parents])
    return all_found


def _find(volumes: Sequence[str], parents: list[str]) -> dict[str, Found]:
    if not parents:
        return {volume: Found([], {}) for volume in volumes}
    both = [name for parent in parents for name in (parent, standby(parent))]
    places: dict[str, dict[str, tuple[str, bool]]] = {volume: {} for volume in volumes}
    for volume, names_of in places.items():
        for parent in parents:
            names_of[live_name(parent, volume)] = (parent, True)
            names_of[standby_name(parent, volume)] = (parent, False)
            names_of[new_name(parent, volume)] = (parent, False)
    # The parents are asked for before and after: what is not there while they are renamed is not missing.
    datasets = zfs.read([*both, *(name for names_of in places.values() for name in names_of), *both], PROPERTIES)
    there = {name: datasets[name] for name in both if name in datasets}
    return {
        volume: Found(
            [Copy(of, datasets[name], live) for name, (of, live) in names_of.items() if name in datasets], there
        )
        for volume, names_of in places.items()
    }


def _ahead(volume: str, parents: Iterable[str]) -> list[Copy]:
    names = {
        name: parent
        for parent in parents
        for name in zfs.below(standby(parent))
        if name.startswith(aside_name(parent, volume, "")) and name.endswith(AHEAD)
    }
    datasets = zfs.read(list(names), PROPERTIES) if names else {}
    copies = [Copy(names[name], dataset, live=False) for name, dataset in datasets.items()]
    return [copy for copy in copies if is_put_back(copy.name, copy.state)]


def is_put_back(name: str, state: str | None) -> bool:
    """Tell whether a copy by the name of one set aside is the copy: a promotion was killed before a clone of it was."""
    return name.endswith(AHEAD) and state == REPLICA


def how_to_make(parent: str) -> str:
    """Return the command that makes a parent."""
    if parent.endswith(standby("")):
        return f"'zfs create -o mountpoint=none -o canmount=off -o readonly=on -o com.sun:auto-snapshot=false {parent}'"
    return f"'zfs create -o mountpoint=/{parent} -o canmount=off -o compression=lz4 -o atime=off {parent}'"
