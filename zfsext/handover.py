"""The owner gives a VM's disks to another node: all of them, or none.

The order makes a crash at any point harmless. Before the seal this node is the owner; sealed, it may not open the disks
without asking the other; the ticket, one transaction on the other node, is the point of no return.
"""

from collections.abc import Callable, Sequence

from zfsext import (
    arrived,
    asking,
    attachment,
    groups,
    leftovers,
    local,
    marks,
    nodes,
    peer,
    promotion,
    records,
    renaming,
    replication,
    reservation,
    rounds,
    transfer,
    zfs,
)
from zfsext.config import Config
from zfsext.errors import Busy, Refused, Speechless, ZfsextError
from zfsext.local import Local
from zfsext.marks import Word
from zfsext.ownership import OWNER, SEALED, TICKET, Currency, Generation, Record, Round, to_issue
from zfsext.peer import Line, Peers
from zfsext.transfer import Progress
from zfsext.transfers import ended


def close(volume: str, config: Config, peers: Peers) -> None:
    """Give the VM to the node that the word names; without a word take the device away, and stay the owner.

    Ganeti closes one disk after the other: the first close gives all away, the others repeat its answer.
    """
    word = marks.word(volume)
    here = local.require(volume, config)
    state = here.record.state
    if state not in (OWNER, SEALED) or (state == SEALED and marks.given(volume) == str(here.record.issued)):
        return
    if state == OWNER and word is None:
        with groups.locked([volume], "close"):
            attachment.detach(volume, config)
            marks.forget(volume, marks.OPENED)
        return
    if word is None or (state == SEALED and word.target != here.record.peer):
        raise Refused(
            f"disk {volume} is sealed for {here.record.peer}, which has not confirmed that it has it: "
            "'gnt-instance start INSTANCE' takes it back"
        )
    if word.failed:
        raise Refused(f"the VM's disks stay on this node, since they could not be given away: {word.failed}")
    try:
        if state == SEALED and _has_it([here], here.record.peer, here.record.issued):
            marks.set_given(volume, str(here.record.issued))
            return
        give(word.volumes, word.target, config, peers)
    except (ZfsextError, OSError) as error:
        marks.set_word(Word(word.target, word.volumes, str(error)))
        raise


def give(
    volumes: Sequence[str],
    target: str,
    config: Config,
    peers: Peers,
    said: Callable[[Progress], None] | None = None,
    *,
    asked: bool = False,
) -> None:
    """Make the target the owner of these disks, which are all of a VM's. asked says that Ganeti did not close them.

    Raises Busy if one is in use, Refused or Speechless where the target cannot take them; the disks then stay here, or
    are sealed, and open takes them back.
    """
    with groups.locked(volumes, f"hand-over to {target}"), ended(volumes):
        for volume in volumes:
            leftovers.tidy(volume, config)
        group = groups.require(volumes, config)
        states = {each.record.state for each in group}
        if target not in nodes.peers() or nodes.peers()[target].offline:
            raise Refused(f"{target} is no other node of this cluster, or marked offline")
        transfer.require_plain(group)
        if states == {SEALED}:
            _resume(group, target, config, peers, said)
            return
        if not states <= {OWNER, TICKET}:
            raise Refused(f"this node does not have all the disks of the VM to give: {_states(group)}")
        in_use = [each.volume for each in group if local.used(each)] if asked else []
        if in_use:
            raise Busy(f"disk {', '.join(in_use)} is in use on this node: stop the VM here first")
        group = _current(group, config, peers, asked=asked)
        line = peers.line(target)
        group = replication.of_one_time(group, config)
        there = transfer.back_together(line, group, [transfer.look(line, each) for each in group])
        number = _number(group, [each.record.floor for each in there if each.record is not None])
        for each in group:
            if each.record.state == TICKET and each.record.final is not None:
                arrived.require_unwritten(each, each.record.final)
        groups.change(group, knows=_knows(group) | {target}, state=OWNER, peer="", final=None)
        for each in group:
            attachment.detach(each.volume, config)
            marks.forget(each.volume, marks.OPENED)
            attachment.unmounted(each.name)
        final = rounds.take(group, [*there], target)
        group = groups.refresh(group, config)
        _send(group, final, number, line, said)
        _seal(group, final, number, line, config)


def _resume(
    group: list[Local], target: str, config: Config, peers: Peers, said: Callable[[Progress], None] | None
) -> None:
    final = group[0].record.final
    if final is None or any(each.record.peer != target for each in group):
        raise Refused(f"the VM's disks are sealed for another node: {_states(group)}")
    line = peers.line(target)
    there = [transfer.look(line, each) for each in group]
    number = _number(group, [each.record.floor for each in there if each.record is not None])
    arrived = [each for each, has in zip(group, there, strict=True) if not _ticketed(has.record, final)]
    _send(arrived, final, number, line, said)
    _seal(group, final, number, line, config)


def _ticketed(record: Record | None, final: Round) -> bool:
    """Tell whether the other node has a ticket of this node's for just this data: only the answer was lost."""
    return record is not None and record.state == TICKET and record.peer == local.me() and record.final == final


def _current(group: list[Local], config: Config, peers: Peers, *, asked: bool) -> list[Local]:
    """Return the group if this node may give it away. A device that Ganeti closes just now shows that it may."""
    for each in group:
        if local.stands(each) and not asked:
            continue
        verdict, answers = asking.judged(each, peers)
        if verdict is Currency.OFFLINE:
            promotion.promote_locked(group, config, peers)
            return groups.refresh(group, config)
        if verdict is not Currency.OK:
            raise asking.refused(each, verdict, answers)
    return group


def _number(group: Sequence[Local], floors: Sequence[Generation]) -> Generation:
    number = to_issue([each.record for each in group], floors)
    if number is None:
        raise Refused("the VM's disks were promoted on another node since: 'zfsext health' on each node tells more")
    return number


def _knows(group: Sequence[Local]) -> frozenset[str]:
    return frozenset().union(*(each.record.knows for each in group))


def _send(
    group: Sequence[Local], final: Round, claim: Generation, line: Line, said: Callable[[Progress], None] | None
) -> None:
    sender = transfer.Sender(line, local.me(), said=said)
    for each in group:
        sender.send(each, final, claim, transfer.look(line, each))


def _seal(group: list[Local], final: Round, number: Generation, line: Line, config: Config) -> None:
    """Seal this node's copies, and have the other node take the ticket."""
    volumes = [each.volume for each in group]
    facts = {each.volume: transfer.facts(each) for each in group}
    renaming.require(group, live=False)
    prepared = line.call("prepare", facts=facts, final=str(final))
    number = _number(group, [number, *(records.generation(text) for text in prepared["floors"])])
    groups.change(group, state=SEALED, peer=line.name, final=final, issued=number, floor=number)
    group = groups.refresh(group, config)  # which moves them to their place
    for each in group:
        marks.forget(each.volume, marks.FRESH, marks.OVERRIDDEN)
        reservation.drop(each.copy.dataset)
        name = records.snapshot("", final)
        if zfs.read([each.name], [f"written{name}"])[each.name][f"written{name}"] != "0":
            raise Refused(f"{each.name} was written to while it was sealed: 'gnt-instance start' here takes it back")
    fields = {"number": str(number), "final": str(final), "bases": rounds.bases(group, line.name)}
    try:
        line.call("ticket", volumes=volumes, knows=sorted(_knows(group)), seconds=peer.SECONDS, **fields)
    except Speechless as error:
        if not _has_it(group, line.name, number):
            raise Speechless(
                f"{error}; the disks are sealed, and whether {line.name} has them is not known: the next open asks it"
            ) from error
    for each in group:
        marks.set_given(each.volume, str(number))


def _has_it(group: Sequence[Local], target: str, number: Generation | None) -> bool:
    """Ask anew, after the ticket's answer was lost, whether the ticket was not; the disks may be open by now."""
    peers = Peers()
    try:
        answers = asking.ask([each.volume for each in group], [target], peers)
    finally:
        peers.close()
    found = [answers.of(each.volume).get(target) for each in group]
    return all(each is not None and each.state in (OWNER, TICKET) and each.generation == number for each in found)


def take_back(volumes: Sequence[str], config: Config, peers: Peers) -> bool:
    """Have sealed disks back from the node that they were sealed for; return False if that one says they are its own.

    Raises Speechless if it does not answer: it may have them.
    """
    with groups.locked(volumes, "take back"):
        group = [each for each in groups.require(volumes, config) if each.record.state == SEALED]
        if not group:
            return True
        first = group[0].record
        group = [each for each in group if each.record.peer == first.peer]
        number = max(each.record.issued for each in group if each.record.issued is not None)
        before = first.generation
    line = peers.line(first.peer)
    try:
        line.call("revoke", volumes=[each.volume for each in group], number=str(number), before=str(before))
    except Refused:
        return False
    except (Busy, Speechless):
        raise
    except ZfsextError as error:  # a node that cannot say, because of its pool for one, is silent
        raise Speechless(str(error)) from error
    with groups.locked(volumes, "take back"):
        again = groups.require([each.volume for each in group], config)
        same = [each for each in again if each.record.state == SEALED and (each.record.issued or number) <= number]
        if len(same) != len(group):
            raise Busy("the disks were given away anew meanwhile: try again")
        own = number.after()
        groups.change(same, state=OWNER, generation=own, floor=own, peer="", issued=None, final=None)
        groups.refresh(same, config)
        for each in same:
            marks.forget(each.volume, marks.GIVEN)
    return True


def _states(group: Sequence[Local]) -> str:
    return ", ".join(f"{each.name} is {each.record.state}" for each in group)
