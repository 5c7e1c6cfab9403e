"""Attach and open: what makes a disk usable on this node, from wherever it is.

Attach never moves a disk: Ganeti attaches to look, too (gnt-cluster verify, gnt-instance info). For a disk that is
known and not here it says nothing and succeeds; Ganeti then opens, and attaches again. Open is the one call that means
that the VM is about to write: it fetches the disk, takes it back, or promotes its copy. Nothing is asked of other nodes
for a disk that was never sent to one.
"""

import os
from collections.abc import Sequence

from zfsext import (
    arrived,
    asking,
    attachment,
    cluster,
    groups,
    handover,
    local,
    marks,
    nodes,
    places,
    promotion,
    usable,
    whereabouts,
)
from zfsext.config import Config
from zfsext.errors import NotHere, Refused, Speechless, ZfsextError
from zfsext.local import Local
from zfsext.ownership import OWNER, REPLICA, SEALED, TICKET, Currency, Record, best, newer_epoch
from zfsext.peer import Peers

#: How many steps open takes at the most: each brings the disk nearer, unless other nodes move it at the same time.
STEPS = 6
#: How long another node may take to give a disk away, in seconds, and be silent meanwhile.
GIVING = 580


def attach(volume: str, config: Config, peers: Peers) -> str:
    """Return the disk's block device; an empty text for a disk that is known and not here.

    Raises NotHere for one that nobody has, Refused for one that is old, or cannot be shown not to be.
    """
    if places.is_export(volume):
        with groups.locked([volume], "attach"):
            return attachment.attach(volume, config)
    with groups.locked([volume], "attach"):
        here = local.find(volume, config)
        if here is not None and here.record.state == OWNER:
            here = local.settle(here, config)
            if not asking.who_may_know(here) or local.stands(here):
                return _device(here, config)
    if here is None:
        _require_known(volume, config, peers)
        return ""
    if here.record.state != OWNER:
        return ""
    verdict, answers = asking.judged(here, peers)
    if verdict is Currency.SUPERSEDED:
        _set_aside(here, config)
        return ""
    if verdict not in (Currency.OK, Currency.OFFLINE):  # which open promotes, by the master's word
        raise asking.refused(here, verdict, answers)
    with groups.locked([volume], "attach"):
        again = local.require(volume, config)
        if again.record != here.record:
            raise Refused(f"disk {volume} changed its owner just now: try again")
        return _device(again, config)


def _device(here: Local, config: Config) -> str:
    """Set up the device of this node's own disk, and what that has a right to, which a copy does not set aside."""
    local.apply_reservation(here)
    return attachment.attach(here.volume, config)


def open_(volume: str, config: Config, peers: Peers) -> None:
    """Make the disk this node's own, with the VM's other disks, and set its device up.

    Raises Refused with what to do where that could open an old copy, or open the disk on two nodes.
    """
    if places.is_export(volume):
        with groups.locked([volume], "open"):
            attachment.attach(volume, config)
        return
    for _ in range(STEPS):
        with groups.locked([volume], "open"):
            here = local.find(volume, config)
            if here is not None:
                here = local.settle(here, config)
                # A device alone proves nothing: attach sets it up also for who only looks, and leaves it.
                simple = not asking.who_may_know(here) or (marks.was_opened(volume) and local.stands(here))
                if here.record.state == OWNER and simple:
                    _go_live(here, config)
                    return
        if here is None or here.record.state == REPLICA:
            _seek(volume, here, config, peers)
        elif here.record.state == SEALED:
            _reclaim(here, config, peers)
        elif (mine := _usable(here, config, peers)) is not None:
            with groups.locked([volume], "open"):
                again = local.require(volume, config)
                if again.record == mine.record:
                    _go_live(again, config)
                    return
    raise Refused(f"disk {volume} does not come to rest: other nodes move it at the same time. Try again")


def _go_live(here: Local, config: Config) -> None:
    local.note_opened(here)
    _device(here, config)
    marks.note_opened(here.volume)


def _usable(here: Local, config: Config, peers: Peers) -> Local | None:
    """Judge an owner's copy or a ticket's, and return the owner's that may be opened now; None if it is not so far.

    What was judged by its ticket is not judged anew as the owner's: the node that it came from may be gone by now.
    """
    verdict, answers = asking.judged(here, peers)
    if verdict is Currency.SUPERSEDED:
        _set_aside(here, config)
        return None
    if verdict is Currency.OFFLINE:
        _promote(here, config, peers)
        return None
    if verdict is not Currency.OK:
        raise asking.refused(here, verdict, answers)
    if here.record.state == OWNER:
        return here
    consume(here, config)
    with groups.locked([here.volume], "open"):
        now = local.settle(local.require(here.volume, config), config)
    return now if now.record.state == OWNER else None


def accept(volume: str, config: Config, peers: Peers) -> None:
    """Make the disks that this node has a ticket for its own, without a device: they are about to go on to another."""
    with groups.locked([volume], "accept"):
        here = local.settle(local.require(volume, config), config)
    if here.record.state == TICKET:
        _usable(here, config, peers)


def consume(here: Local, config: Config) -> None:
    """Make what this node has a ticket for its own: all disks that came from the same node, in one transaction."""
    volumes = groups.of(here.volume, config)
    with groups.locked(volumes, "open"):
        group = [
            each
            for volume in volumes
            if (each := local.find(volume, config)) is not None
            and each.record.state == TICKET
            and each.record.peer == here.record.peer
        ]
        for each in group:
            if each.record.final is not None:
                arrived.require_unwritten(each, each.record.final)
        if group:
            groups.change(group, state=OWNER, peer="", final=None)
            groups.refresh(group, config)


def _set_aside(here: Local, config: Config) -> None:
    with groups.locked([here.volume], "set aside"):
        again = local.require(here.volume, config)
        if again.record == here.record:
            name = local.set_aside(again, config)
            _say(
                f"another node has had disk {here.volume} since: what was here is {name} now, and nothing of it is lost"
            )


def _reclaim(here: Local, config: Config, peers: Peers) -> None:
    """Take a sealed disk back from the node that it was sealed for, or find out who has it."""
    told = asking.ask([here.volume], nodes.peers(), peers).of(here.volume).values()
    if any(other is not None and newer_epoch(other, here.record) for other in told):
        _seek(here.volume, here, config, peers)  # whoever it was sealed for, another node was promoted since
        return
    if not _taken_back(here, config, peers):
        _seek(here.volume, here, config, peers)


def reclaim(volume: str, config: Config, peers: Peers) -> None:
    """Have a disk back that this node has sealed, for a third node that wants it; if its addressee is dead, promote it.

    Raises Refused if the addressee may have it.
    """
    here = local.require(volume, config)
    if here.record.state == SEALED and not _taken_back(here, config, peers) and asking.given_up([here.record.peer]):
        _promote(here, config, peers)


def _taken_back(here: Local, config: Config, peers: Peers) -> bool:
    """Take a sealed disk back; return False if its addressee says that it is its own, or is dead."""
    try:
        return handover.take_back(groups.sealed(here.volume, config), config, peers)
    except Speechless as error:
        if not asking.given_up([here.record.peer]):
            raise Refused(
                f"disk {here.volume} was given to {here.record.peer}, which does not answer and may have it: {error}. "
                "When it is back this works; if it is dead, make sure that it is, and 'gnt-node modify -O yes NODE'"
            ) from error
    return False


def _seek(volume: str, here: Local | None, config: Config, peers: Peers) -> None:
    """Find the node that has the disk, and have it given to this one; or promote this one's copy."""
    others = list(nodes.peers())
    if here is None and (not others or cluster.knows(volume) is False):
        raise NotHere(f"disk {volume} is not on this node, and Ganeti has no such disk")
    if not others:
        raise _unknown(volume, here)
    volumes = groups.of(volume, config)
    answers = asking.ask(volumes, others, peers)
    told = answers.of(volume)
    holder = best(here.record if here else None, told)
    if holder is not None and (record := told[holder]) is not None:
        mine = [each for each in volumes if each != volume and whereabouts.is_here(each, config, answers)]
        _fetch(volume, holder, record, mine, peers)
        return
    silent = {node: why for node, why in answers.silent.items() if not asking.given_up([node])}
    if silent:
        raise Refused(
            f"disk {volume} is not live on this node, and who may have it does not answer "
            f"({'; '.join(silent.values())}). When that node is back this works; if it is dead, make sure that it is, "
            "and 'gnt-node modify -O yes NODE'"
        )
    left = asking.who_may_know(here) - set(others) if here else set()
    if here is None or not (answers.silent or left):
        raise _unknown(volume, here)
    _promote(here, config, peers)


def _unknown(volume: str, here: Local | None) -> ZfsextError:
    if here is None:
        return NotHere(f"disk {volume} is on no node of this cluster that answers")
    return Refused(
        f"{here.name} is a copy, and all nodes answer that they do not have the disk itself: look on each for what was "
        "set aside ('zfsext health') before you do anything"
    )


def _fetch(volume: str, holder: str, record: Record, mine: Sequence[str], peers: Peers) -> None:
    """Have the VM's disks given to this node, but those that it has: what was added while Ganeti had the VM here."""
    _say(f"fetching disk {volume} from {holder}")
    line = peers.line(holder)
    if record.state == SEALED and record.peer != local.me():
        line.call("reclaim", seconds=GIVING, volume=volume)
    line.follow("pull", lambda _: None, GIVING, volume=volume, but=mine)


def _promote(here: Local, config: Config, peers: Peers) -> None:
    volumes = groups.of(here.volume, config)
    group = [each for volume in volumes if (each := local.find(volume, config)) is not None]
    if len(group) != len(volumes):
        raise Refused(f"this node does not have all the disks of the VM ({', '.join(volumes)}), so none is promoted")
    for words in promotion.promote(group, config, peers):
        _say(words)


def _require_known(volume: str, config: Config, peers: Peers) -> None:
    """Raise NotHere for a volume that nobody has, Refused where that is not certain."""
    found = places.find(volume, config)
    if found.copies:
        raise Refused(usable.not_usable(volume, found.copies))
    if cluster.knows(volume) is False or not nodes.peers():
        raise NotHere(f"disk {volume} is not on this node")
    answers = asking.ask([volume], nodes.peers(), peers)
    if any(answers.of(volume).values()):
        return
    if answers.silent:
        raise Refused(f"disk {volume} is not on this node, and {'; '.join(answers.silent.values())}")
    raise NotHere(f"disk {volume} is on no node of this cluster")


def _say(words: str) -> None:
    os.write(2, f"zfsext: {words}\n".encode(errors="backslashreplace"))
