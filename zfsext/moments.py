"""The snapshots of a VM's disks that `zfsext snapshot` takes: their names, and which of them have had their time.

One that is given no name gets that of its moment, taken-YYYYMMDDTHHMMSSZ in UTC. Only these are ever destroyed for
--keep: what has a name of its own stays, and so does what any other tool made.
"""

import re
import time
from collections.abc import Collection, Sequence

from zfsext import contract, records, zfs
from zfsext.errors import BadInput
from zfsext.places import EXPORT_SNAPSHOT

PREFIX = "taken-"
LONGEST = 100  # of a name: a dataset's and a snapshot's may have 255 together
_MOMENT = re.compile(rf"{PREFIX}[0-9]{{8}}T[0-9]{{6}}Z")
_START = contract.NAME_START
_REST = contract.NAME_REST | frozenset(":")


def name(seconds: float) -> str:
    """Return the name of a snapshot of that moment, in Unix seconds."""
    return time.strftime(f"{PREFIX}%Y%m%dT%H%M%SZ", time.gmtime(seconds))


def is_one(short: str) -> bool:
    """Tell whether a snapshot, by its name after the @, has such a name."""
    return _MOMENT.fullmatch(short) is not None


def checked(given: object) -> str:
    """Return the name that somebody wants to give a snapshot. Raises BadInput for one that cannot be, or is ours."""
    if not isinstance(given, str) or not given or given[0] not in _START or not _REST.issuperset(given):
        raise BadInput(
            f"{contract.shown(str(given))} cannot be a snapshot's name: letters, digits and . _ - : make one up, and "
            "a letter or a digit begins it"
        )
    if len(given) > LONGEST:
        raise BadInput(f"{contract.shown(given)} is too long for a snapshot's name, which can have {LONGEST} letters")
    if given.startswith((records.PREFIX, PREFIX)) or given == EXPORT_SNAPSHOT:
        raise BadInput(f"names that begin with {records.PREFIX} or {PREFIX} are zfsext's own: take another one")
    return given


def surplus(snapshots: Sequence[zfs.Snapshot], keep: int) -> list[str]:
    """Return the full names of those, of one disk's snapshots, that go so that `keep` of this kind stay.

    What somebody holds or has cloned stays too, and is not counted.
    """
    free = [each for each in snapshots if is_one(each.short) and not each.holds and not each.clones]
    oldest_first = sorted(free, key=lambda each: each.txg)
    return [each.name for each in oldest_first[: max(0, len(oldest_first) - keep)]]


def gone(snapshots: Sequence[zfs.Snapshot], until: int, there: Collection[str]) -> list[str]:
    """Return the full names of those of a copy's snapshots that the disk, which has `there`, has no more.

    until is the transaction group of the copy's last round: what came later is not the owner's to know of.
    """
    old = [each for each in snapshots if is_one(each.short) and each.txg < until and each.short not in there]
    return [each.name for each in old if not each.holds and not each.clones]
