"""A round of replication: a VM's disks, as they are at one moment, brought to another node."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from zfsext import chance, groups, local, moments, properties, rounds, transfer, zfs
from zfsext.config import Config
from zfsext.errors import NoSpace, Refused, Speechless
from zfsext.local import Local
from zfsext.ownership import OWNER, Round
from zfsext.peer import Line, Peers
from zfsext.transfer import Progress, There
from zfsext.transfers import alone

#: How long to wait before a node is called again in the middle of a round, in seconds: it may be booting.
PAUSES = (2, 5, 10, 20, 40, 60, 60)


def replicate(
    volumes: Sequence[str],
    node: str,
    config: Config,
    peers: Peers,
    said: Callable[[Progress], None] | None = None,
    bandwidth: int = 0,
) -> int:
    """Bring these disks, all of a VM's, to the node as they are now, and return the bytes that were sent.

    What an earlier round left half done is resumed. Raises Refused if this node is not their owner, or the other does
    not take them, Speechless if it does not answer, NoSpace if it has no room.
    """
    with ExitStack() as stack:
        for volume in sorted(volumes):
            stack.enter_context(alone(volume, f"replication to {node}"))
        line = peers.line(node)
        with groups.locked(volumes, f"replication to {node}"):
            group = owned(volumes, config)
            transfer.require_plain(group)
            group = of_one_time(group, config)
        last = group[0].record.round
        if last is not None and rounds.idle(group, last) and _tell(line, "idle", group, last)["idle"]:
            return 0
        zfs.load()  # while the other node is being called
        there = [transfer.look(line, each) for each in group]
        require_room(line, group, there)
        there = transfer.back_together(line, group, there)
        if any(node not in each.record.knows for each in group):  # before the first byte
            with groups.locked(volumes, f"replication to {node}"):
                group = owned(volumes, config)
                groups.change(group, knows=frozenset().union(*(each.record.knows for each in group)) | {node})
                group = owned(volumes, config)
        which = rounds.take(group, there, node)
        sender = transfer.Sender(line, local.me(), bandwidth, said)
        for each, has in zip(group, there, strict=True):
            _persist(sender, each, which, has, peers)
        line = sender.line
        with groups.locked(volumes, f"replication to {node}"):
            again = owned(volumes, config)
            if any(now.record.generation != then.record.generation for now, then in zip(again, group, strict=True)):
                raise Refused("the VM moved while it was replicated")
            _tell(line, "round", again, which, bases=rounds.bases(again, node), moments=_moments(again))
            groups.change(again, round=which)
        rounds.keep(group, which, node)
        return sender.sent


def _persist(sender: transfer.Sender, here: Local, which: Round, there: There | None, peers: Peers) -> None:
    """Send a disk, and call the node again if the connection breaks off: what arrived until then is not sent twice."""
    for pause in (*PAUSES, 0):
        try:
            has = there or transfer.look(sender.line, here)
            sender.send(here, which, here.record.generation, has)
            return
        except Speechless as error:
            if not pause:
                raise
            os.write(2, f"zfsext: {error}; trying again in {pause} s\n".encode(errors="replace"))
            peers.hang_up(sender.line.name, str(error))
            time.sleep(pause)
            there = None
            sender.line = peers.call_again(sender.line.name)


def owned(volumes: Sequence[str], config: Config) -> list[Local]:
    """Return the disks, of which this node must be the owner. Raises Refused if it is not; under their locks."""
    group = groups.require(volumes, config)
    for each in group:
        if each.record.state != OWNER:
            raise Refused(f"{each.name} is {each.record.state} on this node, and only a disk's owner replicates it")
    return group


def of_one_time(group: list[Local], config: Config) -> list[Local]:
    """Give an owner's disks what a disk has that travels, and all the same generation; return them as they are then.

    A disk that an earlier version made has no identity; one that was added to the VM later has a lower generation.
    """
    newest = max(each.record.generation for each in group)
    if all(each.identity is not None and each.record.generation == newest for each in group):
        return group
    for each in group:
        if each.identity is None:
            thick = each.copy.dataset.number("refreservation") > 0
            new = {properties.ID: chance.identity(), properties.RESERVATION: "thick" if thick else "thin"}
            zfs.change_all({each.name: {**each.changes(), **new}})
    groups.change(group, generation=newest)
    return groups.refresh(group, config)


def _tell(line: Line, op: str, group: Sequence[Local], which: Round, **fields: Any) -> dict[str, Any]:
    """Tell the other node of a round that is there for all disks, and which facts are the disks' now."""
    facts = {each.volume: transfer.facts(each) for each in group}
    generation = str(group[0].record.generation)
    return line.call(op, facts=facts, round=str(which), generation=generation, taken=int(time.time()), **fields)


def _moments(group: Sequence[Local]) -> dict[str, list[str]]:
    """Return which of the snapshots that `zfsext snapshot` took without a name the disks still have, by the volumes."""
    return {
        each.volume: [found.short for found in zfs.snapshots(each.name) if moments.is_one(found.short)]
        for each in group
    }


def require_room(line: Line, group: Sequence[Local], there: Sequence[There]) -> None:
    """Raise NoSpace if what is not there yet is more than the other node has room for."""
    new = [here for here, has in zip(group, there, strict=True) if transfer.anew(here, has)]
    needed = sum(each.copy.dataset.number("referenced") for each in new)
    if not new:
        return
    free = int(line.call("room", parent=group[0].copy.parent)["free"])
    if needed > free:
        raise NoSpace(
            f"{line.name} has {free >> 20} MiB free in {group[0].copy.parent}, and a first copy takes "
            f"{needed >> 20} MiB: make room there, 'zfs list -o space' shows what takes it"
        )
