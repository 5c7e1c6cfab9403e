"""A stopped VM goes back to a snapshot, and can come forth again: nothing is destroyed.

All its disks go back together. What they were is kept (zfsext.kept) with the snapshots that are newer, until somebody
drops it; copies on other nodes follow with the next round (zfsext.rewinding).
"""

import difflib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from zfsext import (
    asking,
    attachment,
    exchange,
    groups,
    kept,
    leftovers,
    local,
    marks,
    places,
    promotion,
    properties,
    records,
    removal,
    renaming,
    replication,
    zfs,
)
from zfsext.config import Config
from zfsext.errors import Busy, NoSpace, NotHere, Refused, ZfsextError
from zfsext.exchange import Coming
from zfsext.kept import Kept
from zfsext.local import Local
from zfsext.ownership import OWNER, Currency, Generation, Record, to_issue
from zfsext.peer import Peers
from zfsext.transfers import ended


class Plan(NamedTuple):
    """What a rollback does: the snapshots that are newer and go with what is kept, and the commands, in words."""

    newer: list[str]
    commands: list[list[str]]


def goals(volumes: Sequence[str], config: Config) -> list[str]:
    """Return the names of the snapshots that all of these disks, a VM's, have, oldest first, without replication's."""
    group = local.require_all(sorted(volumes), config)  # as it is: who only looks moves nothing
    shorts = [[each.short for each in zfs.snapshots(here.name)] for here in group]
    both = [short for short in shorts[0] if all(short in of for of in shorts)]
    return [short for short in both if records.of_snapshot(short) is None]


def roll_back(volumes: Sequence[str], short: str, config: Config, peers: Peers, *, dry: bool = False) -> Plan:
    """Make these disks, all of a VM's, what they were at the snapshot, and return what that does; dry does nothing.

    Raises NotHere for a snapshot that one of the disks does not have, Busy for a VM that runs, and what keeps the disks
    from being opened on this node.
    """
    with groups.locked(volumes, "rollback"), _quiet(volumes, dry):
        group, floors = _mine(volumes, config, peers, dry)
        snapshots = zfs.snapshots(*(each.name for each in group))
        for each in group:
            require(each, short, [found.short for found in snapshots if found.dataset == each.name])
        _require_not_done(group, short)
        _require_room(group)
        number = _number(group, floors)
        plan = _plan(group, short, snapshots)
        if not dry:
            _exchange(group, lambda each: exchange.clone(each, short), number, config)
    return plan


def back(volumes: Sequence[str], generation: str, config: Config, peers: Peers, *, dry: bool = False) -> Plan:
    """Make these disks what a rollback kept; without a generation, what the last one did. What they are is kept."""
    with groups.locked(volumes, "rollback"), _quiet(volumes, dry):
        group, floors = _mine(volumes, config, peers, dry)
        old = {each.volume: each for each in kept.of_one_rollback(volumes, generation, config)}
        _require_room(group)
        number = _number(group, floors)
        commands = [words for each in group for words in _back_commands(each, old[each.volume])]
        if not dry:
            _exchange(group, lambda each: _fetch(each, old[each.volume]), number, config)
    return Plan([], commands)


def _fetch(here: Local, old: Kept) -> Coming:
    return exchange.fetch(here, old.dataset, old.generation)


def _exchange(group: Sequence[Local], prepare: Callable[[Local], Coming], number: Generation, config: Config) -> None:
    """Let what is prepared for each disk take its place. What fails before that leaves the disks as they are."""
    for each in group:
        attachment.detach(each.volume, config)
        marks.forget(each.volume, marks.OPENED)
        attachment.unmounted(each.name)
    group = replication.of_one_time(list(group), config)
    try:
        exchange.commit([prepare(each) for each in group], number)
    except (ZfsextError, OSError):
        for each in group:
            leftovers.tidy(each.volume, config)
        raise
    for each in exchange.settled([each.volume for each in group], config):
        local.apply_reservation(each)


def drop(volumes: Sequence[str], generation: str, config: Config, *, dry: bool = False) -> list[str]:
    """Destroy what rollbacks kept of these volumes on this node, of a generation or all; return the datasets."""
    with groups.locked(volumes, "drop"):
        if not dry:
            _finish(volumes, config)
        there = [each for each in kept.found(volumes, config) if generation in ("", each.generation)]
        if not dry:
            removal.drop(there, config)
    return [each.dataset for each in there]


def _quiet(volumes: Sequence[str], dry: bool) -> AbstractContextManager[None]:
    """End the transfers of the disks, and let none begin, unless nothing is to be done."""
    return nullcontext() if dry else ended(volumes)


def _mine(volumes: Sequence[str], config: Config, peers: Peers, dry: bool) -> tuple[list[Local], list[Generation]]:
    """Return the disks, which this node may open and nobody uses, and what was promised elsewhere.

    What was killed is finished, and what has to be so that the disks may be opened is done, unless this is dry.
    """
    if dry:
        group = local.require_all(sorted(volumes), config)
        groups.require_one_pool(group)
    else:
        _finish(volumes, config)
        group = groups.require(volumes, config)
    for each in group:
        if each.record.state != OWNER:
            raise Refused(f"{each.name} is {each.record.state} on this node: 'zfsext list' shows where the disk is")
    floors: list[Generation] = []
    for each in group:
        verdict, answers = asking.judged(each, peers)
        if verdict is Currency.OFFLINE and not dry:  # as open does: a node that was passed over must never go on
            promotion.promote_locked(group, config, peers)
            return _mine(volumes, config, peers, dry)
        if verdict not in (Currency.OK, Currency.OFFLINE):
            raise asking.refused(each, verdict, answers)
        told: list[Record] = [record for record in answers.of(each.volume).values() if record is not None]
        floors += [record.floor for record in told]
    used = [each.volume for each in group if local.used(each)]
    if used:
        raise Busy(
            f"disk {', '.join(used)} is in use, or was opened just now: 'gnt-instance stop INSTANCE' first. A VM that "
            "runs cannot go back"
        )
    exports = [places.standby_name(each.copy.parent, f"{each.volume}.snap") for each in group]
    if reading := list(zfs.read(exports, ["type"])):
        raise Busy(f"{reading[0]} is what gnt-backup reads of the disk: let that end, or 'zfsext health' tells of it")
    if not dry:
        renaming.require(group, live=False)
    for each in group:
        beside = places.kept_name(each.copy.parent, each.volume, str(each.record.generation))
        renaming.require_short(beside, zfs.snapshots(each.name))
    return group, floors


def _finish(volumes: Sequence[str], config: Config) -> None:
    """Finish what was killed. Raises Refused if that was a rollback: who asks again shall first see what it came to."""
    killed = [volume for volume in volumes if leftovers.is_exchanged(volume, config)]
    for volume in volumes:
        leftovers.tidy(volume, config)
    if killed:
        for here in local.require_all(killed, config):
            local.apply_reservation(local.settle(here, config))
        raise Refused(
            "a rollback of these disks had been killed half way, and is finished now. 'zfsext rollback INSTANCE' shows "
            "what they were before that; type your command again if you still want it"
        )


def require(here: Local, short: str, there: Sequence[str]) -> None:
    """Raise NotHere, naming similar ones, if the disk has no snapshot of this name."""
    if short in there:
        return
    similar = difflib.get_close_matches(short, there, 3)
    hint = f"; similar are {', '.join(similar)}" if similar else f"; it has {', '.join(there) or 'no snapshot at all'}"
    raise NotHere(f"disk {here.volume} has no snapshot {short}{hint}")


def _require_not_done(group: Sequence[Local], short: str) -> None:
    """Raise Refused if the disks went back to this snapshot, and were not opened since.

    Who was cut off, and asks again, means it once: else what they were before would be one rollback further away.
    """
    rolled = [each.copy.dataset.local(properties.ROLLED) == str(each.record.generation) for each in group]
    there = all(each.copy.dataset.local(properties.UNOPENED) == f"@{short}" for each in group)
    if there and all(rolled):
        raise Refused(f"these disks are what they were at {short} already, and were not opened since")


def _require_room(group: Sequence[Local]) -> None:
    """Raise NoSpace if thick disks could not set aside again what their states of now give back."""
    wanted = {each.name: local.rights(each).get("reservation", 0) for each in group}
    thick = [each for each in group if wanted[each.name]]
    for parent in sorted({each.copy.parent for each in thick}):
        names = [each.name for each in thick if each.copy.parent == parent]
        there = zfs.read([parent, *names], ["available", "usedbyrefreservation"])
        free = there[parent].number("available") + sum(there[name].number("usedbyrefreservation") for name in names)
        needed = sum(wanted[name] for name in names)
        if needed > free:
            raise NoSpace(
                f"the VM's disks are thick, and what they are now is kept beside them: that takes {needed >> 20} MiB, "
                f"and {parent} has {free >> 20} MiB. Make room: 'zfs list -o space' shows what takes it"
            )


def _number(group: Sequence[Local], floors: Sequence[Generation]) -> Generation:
    number = to_issue([each.record for each in group], floors)
    if number is None:
        raise Refused("another epoch of these disks has begun elsewhere: 'zfsext health' on each node tells more")
    return number


def _plan(group: Sequence[Local], short: str, snapshots: Sequence[zfs.Snapshot]) -> Plan:
    newer, commands = [], []
    for each in group:
        mine = [found.short for found in snapshots if found.dataset == each.name]
        newer += [f"{each.name}@{name}" for name in mine[mine.index(short) + 1 :]]
        beside = places.standby_name(each.copy.parent, each.volume)
        aside = places.kept_name(each.copy.parent, each.volume, str(each.record.generation))
        commands += [
            ["clone", f"{each.name}@{short}", beside],
            ["promote", beside],
            ["rename", each.name, aside],
            ["rename", beside, each.name],
        ]
    return Plan(newer, commands)


def _back_commands(here: Local, old: kept.Kept) -> list[list[str]]:
    aside = places.kept_name(here.copy.parent, here.volume, str(here.record.generation))
    return [["promote", old.dataset], ["rename", here.name, aside], ["rename", old.dataset, here.name]]
