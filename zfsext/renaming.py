"""Whether a VM's disks can be renamed to the live place, or out of it, and live there: asked before they change node.

A disk that was given away, and that ZFS then does not rename, would stay where its state does not belong. ZFS refuses a
name that is taken or too long, another encryption root, and more than the new parent's quota (module/zfs/dsl_dir.c:
dsl_dir_rename_check); root is not kept from anything by filesystem_limit and snapshot_limit.
"""

from collections.abc import Iterable, Sequence

from zfsext import encryption, local, places, zfs
from zfsext.config import standby
from zfsext.errors import AlreadyThere, NoSpace, Refused
from zfsext.local import Local

LONGEST = 255  # of the name of a dataset or a snapshot (include/sys/fs/zfs.h: ZFS_MAX_DATASET_NAME_LEN, less the NUL)
PROPERTIES = ("quota", "used", "reservation", *encryption.PROPERTIES)


def require(group: Sequence[Local], *, live: bool) -> None:
    """Raise unless all of the group can be renamed to their live places, or to those beside them.

    That is AlreadyThere, Refused, NoSpace, or SystemRefused for a parent that does not exist.
    """
    name = places.live_name if live else places.standby_name
    moves = {name(each.copy.parent, each.volume): each for each in group}
    moves = {wanted: each for wanted, each in moves.items() if each.name != wanted}
    parents = {each.copy.parent for each in moves.values()}
    both = [place for parent in parents for place in (parent, standby(parent))]
    there = zfs.read([*both, *moves, *(each.name for each in moves.values())], PROPERTIES) if moves else {}
    found = places.Found([], there)
    for wanted in moves:
        if wanted in there:
            raise AlreadyThere(f"{wanted} stands where the disk would be: look into it, and 'zfs rename' it away")
    for parent in parents:
        beside = found.parent(standby(parent))
        encryption.require_one_root(found.parent(parent), beside)
        mine = [each for each in moves.values() if each.copy.parent == parent]
        _require_quota(found.parent(parent) if live else beside, mine, there, live=live)
    if moves and not live:
        snapshots = zfs.snapshots(*(each.name for each in moves.values()))
        for wanted, each in moves.items():
            require_short(wanted, [snapshot for snapshot in snapshots if snapshot.dataset == each.name])


def require_room(group: Sequence[Local]) -> None:
    """Raise NoSpace if this node could not set aside what the disks, all of a VM's, have a right to."""
    wanted = {each.name: local.rights(each).get("reservation", 0) for each in group}
    thick = [each for each in group if wanted[each.name]]
    parents = sorted({each.copy.parent for each in thick})
    names = [*parents, *(each.name for each in thick)]
    there = zfs.read(names, ["available", "referenced"]) if thick else {}
    for parent in parents:
        names = [each.name for each in thick if each.copy.parent == parent]
        free = there[parent].number("available") + sum(there[name].number("referenced") for name in names)
        needed = sum(wanted[name] for name in names)
        if needed > free:
            raise NoSpace(
                f"the VM's disks are thick and have a right to {needed >> 20} MiB, and {parent} has {free >> 20} MiB: "
                "make room, 'zfs list -o space' shows what takes it"
            )


def _require_quota(place: zfs.Dataset, disks: Iterable[Local], there: dict[str, zfs.Dataset], *, live: bool) -> None:
    quota, used = place.number("quota"), place.number("used")
    needed = sum(
        max(
            there[each.name].number("used"),
            there[each.name].number("reservation"),
            local.rights(each).get("reservation", 0) if live else 0,
        )
        for each in disks
    )
    if quota and used + needed > quota:
        raise NoSpace(
            f"{place.name} has a quota of {quota >> 20} MiB, of which {used >> 20} MiB are used, and the VM's disks "
            f"take {needed >> 20} MiB there: 'zfs set quota=SIZE {place.name}' gives it more"
        )


def require_short(standby_name: str, snapshots: Iterable[zfs.Snapshot]) -> None:
    """Raise Refused for a snapshot of a live disk that would have too long a name in the standby place."""
    for each in snapshots:
        if len(f"{standby_name}@{each.short}") > LONGEST:
            raise Refused(f"{each.name} would have too long a name in the standby place: 'zfs rename' the snapshot")
