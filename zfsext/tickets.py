"""The ticket, with which a VM's disks become the node's own that they came to; and how it is given back."""

from collections.abc import Mapping, Sequence

from zfsext import arrived, groups, local, marks, records, removal, renaming, streams, zfs
from zfsext.config import Config
from zfsext.errors import Refused
from zfsext.groups import BRIEF, locked
from zfsext.ownership import REPLICA, TICKET, Generation, Round, gives_back, takes_ticket
from zfsext.transfers import ended


def prepare(facts: Mapping[str, Mapping[str, str]], source: str, final: Round, config: Config) -> list[Generation]:
    """Check that the VM's disks can become this node's own, and return the floors that its ticket must not be below.

    facts are those of each volume now, which may have grown since its last round.
    """
    volumes = list(facts)
    with locked(volumes, "prepare", BRIEF), ended(volumes):
        group = groups.require(volumes, config)
        for here in group:
            if here.record.state not in (REPLICA, TICKET) or here.record.peer != source:
                raise Refused(f"{here.name} is {here.record.state} of {here.record.peer or 'nobody'}, not of {source}")
            if here.copy.dataset["receive_resume_token"] not in ("-", ""):
                streams.abort(here.name)
            arrived.require_unwritten(here, final)
        zfs.change_all({here.name: arrived.new_facts(facts, here) for here in group})
        group = groups.refresh(group, config)
        renaming.require(group, live=True)
        renaming.require_room(group)
        if any(here.record.state == REPLICA and here.record.round != final for here in group):
            zfs.hold({records.snapshot(here.name, final): removal.TAG for here in group})
            groups.change(group, round=final)  # all of it is here, should the source die before it gives the ticket
        return [here.record.floor for here in group]


def take(
    volumes: Sequence[str],
    source: str,
    number: Generation,
    final: Round,
    knows: frozenset[str],
    bases: Mapping[str, Sequence[Round]],
    config: Config,
) -> None:
    """Take the ticket for a VM's disks: from here on they are this node's. One transaction, the point of no return."""
    with locked(volumes, "ticket", BRIEF):
        group = groups.require(volumes, config)
        for here in group:
            if not takes_ticket(here.record, source, number, final):
                raise Refused(
                    f"{here.name} takes no ticket {number}: it is {here.record.state}, generation "
                    f"{here.record.generation}, floor {here.record.floor}"
                )
            arrived.require_unwritten(here, final)
        for here in group:
            arrived.keep(here, {**bases, source: [final]})  # as its last round it is held since it was prepared
            arrived.release(here, final, f"{removal.TAG}:{source}")  # what it needed before
            marks.set_fresh(here.volume, str(number))
        groups.change(
            group,
            state=TICKET,
            generation=number,
            floor=number,
            issued=None,
            peer=source,
            over=frozenset(),
            knows=(knows | {source}) - {local.me()},
            round=final,
            final=final,
        )


def give_back(volumes: Sequence[str], source: str, number: Generation, before: Generation, config: Config) -> None:
    """Give the source its disks back, and promise never to take a ticket up to this number.

    Raises Refused if they are this node's own by now.
    """
    with locked(volumes, "revoke", BRIEF):
        found = [here for volume in volumes if (here := local.find(volume, config)) is not None]
        for here in found:
            if not gives_back(here.record, source, number):
                raise Refused(f"{here.name} is {here.record.state} of generation {here.record.generation} on this node")
        if not found:
            return
        zfs.change_all(
            {
                here.name: here.changes(
                    state=REPLICA,
                    generation=before if here.record.state == TICKET else here.record.generation,
                    floor=max(here.record.floor, number.after()),
                    final=None,
                )
                for here in found
            }
        )


def raise_floor(volumes: Sequence[str], floor: Generation, config: Config) -> None:
    """Take nothing below the floor any more: another node was promoted."""
    with locked(volumes, "floor", BRIEF):
        found = [here for volume in volumes if (here := local.find(volume, config)) is not None]
        raised = [here for here in found if here.record.state == REPLICA and here.record.floor < floor]
        if raised:
            zfs.change_all({here.name: here.changes(floor=floor) for here in raised})
