"""A snapshot of all disks of a VM, in one transaction, on the node that has them; if asked for, of a guest at rest."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from zfsext import (
    asking,
    freeze,
    groups,
    local,
    loopdev,
    marks,
    moments,
    mounts,
    zfs,
)
from zfsext.config import Config
from zfsext.errors import AlreadyThere, Refused, Speechless
from zfsext.local import Local
from zfsext.ownership import OWNER, TICKET, Currency
from zfsext.peer import Peers


class Taken(NamedTuple):
    """The name of a snapshot, how many milliseconds the guest stood still (None: it ran on), what was pruned."""

    name: str
    still: int | None
    pruned: list[str]


def take(
    volumes: Sequence[str], name: str, keep: int, quiesce: freeze.Wish | None, config: Config, peers: Peers
) -> Taken:
    """Take a snapshot of these disks, all of a VM's; without a name it gets that of the moment.

    keep is how many of those without a name of their own are to stay, and 0 all of them. Raises AlreadyThere for a
    name that one of the disks has, Refused where this node does not have the disks as they are now, and what
    zfsext.freeze raises.
    """
    with groups.locked(volumes, "snapshot"):
        group = groups.require(volumes, config)
        elsewhere = [each for each in group if each.record.state not in (OWNER, TICKET)]
        if elsewhere:
            raise Refused(f"{elsewhere[0].name} is {elsewhere[0].record.state} on this node, and no disk: try again")
        for each in group:
            require_current(each, peers)
        if name:
            _require_free(group, name)
        if quiesce is None:
            name = _now(group, name)
            still = None
        else:
            _flush(group)  # most of it before the guest stands still
            taken = ""
            try:
                with freeze.frozen(quiesce) as stillness:
                    taken = name = _now(group, name)
            except (Refused, Speechless) as error:
                if not taken:
                    raise
                raise type(error)(f"the snapshot {taken} is there, but {error}") from error
            still = stillness.milliseconds
        pruned = zfs.destroy_free(_surplus(group, keep)) if keep else []
    return Taken(name, still, pruned)


def require_current(here: Local, peers: Peers) -> None:
    """Raise Refused for a disk that may be old: another node has had it since, or who may know is silent."""
    if local.stands(here) and marks.was_opened(here.volume):
        return
    verdict, answers = asking.judged(here, peers)
    if verdict not in (Currency.OK, Currency.OFFLINE):
        raise asking.refused(here, verdict, answers)


def _now(group: Sequence[Local], name: str) -> str:
    _flush(group)
    while True:
        short = name or moments.name(time.time())
        try:
            zfs.take_snapshots([f"{each.name}@{short}" for each in group])
        except AlreadyThere:
            if name:
                raise
            time.sleep(0.1)  # two in one second: the next one's name is free
            continue
        return short


def _flush(group: Sequence[Local]) -> None:
    """Have on ZFS what the devices still keep, so that the snapshot has all that the guest wrote before it."""
    for mount in mounts.of([each.name for each in group]):
        for loop in loopdev.within(mount.device):
            loopdev.flush(loop.path)


def _require_free(group: Sequence[Local], name: str) -> None:
    taken = [each.name for each in zfs.snapshots(*(here.name for here in group)) if each.short == name]
    if taken:
        raise AlreadyThere(f"{taken[0]} is there already: take another name, or 'zfs rename' or destroy that one first")


def _surplus(group: Sequence[Local], keep: int) -> list[str]:
    snapshots = zfs.snapshots(*(each.name for each in group))
    return [
        name
        for here in group
        for name in moments.surplus([each for each in snapshots if each.dataset == here.name], keep)
    ]
