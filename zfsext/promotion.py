"""A copy becomes the disk though nobody gave it away: its owner is dead, and the administrator has said so.

Ganeti's mark `offline` is that word, and it is asked for at the master, whose configuration is the truth. Everybody who
answers is asked first: a mark is no proof that nobody uses the disk.
"""

import os
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from zfsext import (
    asking,
    chance,
    cluster,
    exchange,
    groups,
    human,
    local,
    marks,
    nodes,
    properties,
    records,
    streams,
    zfs,
)
from zfsext.asking import Answers
from zfsext.config import Config
from zfsext.errors import Busy, Refused, Speechless, ZfsextError
from zfsext.local import Local
from zfsext.ownership import OWNER, REPLICA, Generation, Record, better_replica, claimed, promoted
from zfsext.peer import Peers
from zfsext.transfers import ended


class Word(NamedTuple):
    """What the master says: which nodes are marked offline, and its configuration's serial number."""

    offline: frozenset[str]
    serial: int


def masters_word(peers: Peers) -> Word:
    """Ask the master. Raises Speechless if it does not answer: what this node was told earlier is no proof."""
    master = nodes.master()
    if master == local.me():
        return own_word()
    try:
        answer = peers.line(master).call("offline")
    except Speechless as error:
        raise Speechless(
            f"only the master can say which nodes are marked offline, and {error}. If it is dead, 'gnt-cluster "
            "master-failover' on another candidate makes that the master"
        ) from error
    return Word(frozenset(records.node(name) for name in answer["offline"]), int(answer["serial"]))


def own_word() -> Word:
    """Return what this node, the master, says. Raises Refused if it is not the master."""
    if nodes.master() != local.me():
        raise Refused(f"{local.me()} is not the master")
    return Word(cluster.offline(), cluster.serial())


def promote(group: list[Local], config: Config, peers: Peers) -> list[str]:
    """Make this node's copies of a VM's disks the disks, as they were at the last round that is complete.

    Returns what is to be said of it. Raises Refused where somebody who answers has a better claim or copy, or somebody
    who does not answer is not marked offline.
    """
    volumes = [each.volume for each in group]
    with groups.locked(volumes, "promotion"), ended(volumes):
        now = groups.require(volumes, config)
        if {each.volume: each.record for each in now} != {each.volume: each.record for each in group}:
            raise Busy("the disks changed their owner just now: try again")
        return promote_locked(now, config, peers)


def promote_locked(group: list[Local], config: Config, peers: Peers) -> list[str]:
    """Promote as promote does, for who has the disks' locks and has ended their transfers.

    The others are asked under the locks: what they say must not be older than what is here.
    """
    volumes = [each.volume for each in group]
    others = list(nodes.peers())
    word = masters_word(peers)
    answers = asking.ask(volumes, others, peers)
    for each in group:
        require_nobody_better(each, answers, word.offline)
    require_majority(others, answers)
    _require_one_round(group)
    said = [_back_to_round(each) for each in group if each.record.state == REPLICA]
    group = groups.refresh(group, config)
    over = frozenset(answers.silent)
    number = _number(group, answers, word.serial)
    now = str(int(time.time()))
    zfs.change_all(
        {
            each.name: {
                **each.changes(
                    state=OWNER,
                    generation=number,
                    floor=max(each.record.floor, number),
                    issued=None,
                    peer="",
                    final=None,
                    over=over,
                    knows=_still_there(each, over, answers),
                ),
                properties.PROMOTED: now,
            }
            for each in group
        }
    )
    for each in group:
        marks.set_overridden(each.volume, over)
    groups.refresh(group, config)
    for node in answers.records:  # who took part knows from now on that the older epoch is over
        try:
            peers.line(node).call("floor", volumes=volumes, floor=str(number))
        except ZfsextError as error:
            os.write(2, f"zfsext: {node} was not told of the promotion: {error}\n".encode(errors="replace"))
    return said


def _still_there(here: Local, over: frozenset[str], answers: Answers) -> frozenset[str]:
    """Return the nodes that may have a copy, or become its owner: who has one now, too, as a replica is not told that.

    Those that have left the cluster are left out, by Ganeti's word for their end. One that is added again is looked at
    by the hook node-add-post.
    """
    record = here.record
    told = record.knows | over | ({record.peer} if record.peer else frozenset())
    copies = {node for node, other in answers.of(here.volume).items() if other is not None}
    return frozenset((told | copies) & set(nodes.peers()))


def require_nobody_better(here: Local, answers: Answers, offline: Collection[str]) -> None:
    """Raise Refused if one who answers has the disk, a newer copy of it or a use for it, or one may who is silent.

    offline are the nodes that are marked so: their silence is no objection.
    """
    alive = [f"{node} ({why})" for node, why in answers.silent.items() if node not in offline]
    if alive:
        raise Refused(
            f"disk {here.volume} is not taken from a node that is silent and not marked offline: {', '.join(alive)}. "
            "When it is back this works; if it is dead, make sure that it is, and 'gnt-node modify -O yes NODE'"
        )
    told = answers.of(here.volume)
    rival = claimed(here.record, told)
    if rival is not None:
        raise Refused(f"{rival} answers, and has disk {here.volume}: it is fetched from there, and not promoted here")
    better = better_replica(here.record, told)
    if better is not None:
        raise Refused(f"{better} has a newer copy of disk {here.volume}: 'gnt-instance failover -n {better} INSTANCE'")
    users = [node for node, record in told.items() if record is not None and record.used]
    if users:
        raise Refused(f"disk {here.volume} is in use on {', '.join(users)}, offline or not: end its use there first")


def require_majority(others: Sequence[str], answers: Answers) -> None:
    """Raise Refused unless most nodes of the cluster answer, this one among them; of two nodes one will do."""
    if len(others) > 1 and 2 * (len(answers.records) + 1) <= len(others) + 1:
        raise Refused(
            f"only {len(answers.records)} of {len(others)} other nodes answer ({'; '.join(answers.silent.values())}): "
            "no majority of the cluster's nodes, so nothing is promoted here"
        )


def _require_one_round(group: Sequence[Local]) -> None:
    """Raise Refused for copies that are of different moments: no VM was ever as they are together."""
    found = {each.volume: each.record.round for each in group if each.record.state == REPLICA}
    if len(set(found.values())) > 1:
        words = ", ".join(f"{volume} of {which or 'none'}" for volume, which in found.items())
        raise Refused(
            f"the copies of the VM's disks on this node are of different rounds ({words}), so none is promoted"
        )


def _number(group: Sequence[Local], answers: Answers, serial: int) -> Generation:
    seen: list[Record] = [each.record for each in group]
    for each in group:
        seen += [record for record in answers.of(each.volume).values() if record is not None]
    return promoted(seen, serial, chance.nonce())


def _back_to_round(here: Local) -> str:
    """See to it that the copy is as it was at its last complete round, destroying nothing; return its age in words."""
    which = here.record.round
    if which is None:
        raise Refused(f"the copy of {here.volume} on this node was never complete, so it cannot become the disk")
    if here.copy.dataset["receive_resume_token"] not in ("-", ""):
        streams.abort(here.name)
    name = records.snapshot("", which)
    written = zfs.read([here.name], [f"written{name}"])[here.name][f"written{name}"]
    if written == "-":
        raise Speechless(f"{here.name} has lost its last round {name}, so what it holds is not known")
    if written != "0":
        exchange.back_to(here, name[1:], here.record)
    rounded = here.copy.dataset.local(properties.ROUNDED) or ""
    age = human.age(int(time.time()) - int(rounded)) if rounded.isdecimal() else "an unknown time"
    return f"disk {here.volume} is as it was {age} ago, at its last round of replication ({name[1:]})"
