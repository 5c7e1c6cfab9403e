"""Which copy of a disk may be opened, decided from what the nodes say of their copies. Nothing here asks or changes.

A disk has one owner. Each copy has a record (zfsext.records keeps it in user properties); a change of owner is a
hand-over between two nodes, whose commit point is the ticket, or a promotion, when the administrator has said that
the owner is dead. Silence is never consent. These functions decide it all, and the model in tests/model runs them
through every crash and every cut.
"""

import enum
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

CREATING, OWNER, SEALED, TICKET, REPLICA, EXPORT = "creating", "owner", "sealed", "ticket", "replica", "export"
#: What a disk was before a rollback, and what is left of a removed one: neither is a copy, and neither is ever opened.
ASIDE, KEPT, REMOVED = "aside", "kept", "removed"
#: The states of a node that may say: this disk is mine, or I have just given it away and can have it back.
CLAIMS = (OWNER, TICKET, SEALED)

#: An epoch is Ganeti's configuration serial at the promotion, which grows with time, and random digits below it, so
#: that no two promotions have the same.
NONCE_BITS = 20


class Generation(NamedTuple):
    """How often a disk was promoted and, since then, handed over; a higher one is newer."""

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}"

    @property
    def serial(self) -> int:
        """When the epoch began, in Ganeti's configuration serials."""
        return self.epoch >> NONCE_BITS

    def after(self) -> "Generation":
        """Return the next generation of the same epoch."""
        return Generation(self.epoch, self.seq + 1)


ZERO = Generation(0, 0)
FIRST = Generation(0, 1)


class Round(NamedTuple):
    """A snapshot that all disks of a VM have in common: the owner's generation, and a number in that."""

    generation: Generation
    number: int

    def __str__(self) -> str:
        return f"{self.generation}-{self.number}"


class Record(NamedTuple):
    """What a node says of its copy of a disk.

    - generation: of an owner its own; of a replica, that of the owner it came from
    - floor: the highest generation that was ever seen, issued or promised here; nothing below it is taken
    - issued: the generation that a sealed copy's ticket has
    - peer: of a sealed copy whom it is for, of a ticket whom it is from, of a replica whose copy it is
    - over: the nodes that were silent and marked offline when this one was promoted
    - knows: the nodes that were ever sent a byte
    - round: the last one that is here for every disk of the VM
    - final: the last snapshot before a hand-over
    - used: whether the disk is in use (or was opened a moment ago)
    """

    state: str
    generation: Generation = FIRST
    floor: Generation = ZERO
    issued: Generation | None = None
    peer: str = ""
    over: frozenset[str] = frozenset()
    knows: frozenset[str] = frozenset()
    round: Round | None = None
    final: Round | None = None
    used: bool = False


class Currency(enum.Enum):
    """Whether an owner's or a ticket's copy may be opened, as far as the others' answers tell."""

    OK = "is current"
    SUPERSEDED = "is old: another node has had the disk since"
    CONFLICT = "was promoted on two nodes at once"
    USED = "is in use on another node"
    SILENT = "cannot be shown to be current: a node that may know better does not answer"
    OFFLINE = "is current, but for a node that is marked offline"


def currency(
    me: str,
    mine: Record,
    answers: Mapping[str, Record | None],
    silent: Collection[str],
    offline: Collection[str],
    *,
    fresh: bool = False,
    overridden: Collection[str] = (),
) -> Currency:
    """Judge my copy, an owner's or a ticket's, by what the nodes that may know better say of theirs.

    answers are those of the nodes that answered (None: it has no copy), silent the nodes that did not. fresh says that
    the copy's generation arrived here as a ticket in this boot and was never opened; overridden are the nodes that a
    promotion just now has passed over.
    """
    found = Currency.OK
    for node, other in answers.items():
        if other is None:
            continue
        if rivals(me, mine, node, other):
            return Currency.CONFLICT
        if other.state in CLAIMS and other.generation > mine.generation:
            return Currency.SUPERSEDED
        if other.floor.epoch > mine.generation.epoch or (other.state == REPLICA and other.generation > mine.generation):
            return Currency.SUPERSEDED
        if passed_over(me, mine, other):
            return Currency.SUPERSEDED
        if other.used:
            found = Currency.USED
    if found is Currency.USED:
        return found
    for node in silent:
        if node not in offline:
            if not fresh:
                return Currency.SILENT
        elif node not in overridden:
            found = Currency.OFFLINE
    return found


def rivals(me: str, mine: Record, node: str, other: Record) -> bool:
    """Tell whether both were promoted under the same serial, so that the random digits alone say which came later.

    Where only one has passed the other over, that one came later. Where neither has, the higher one goes on.
    """
    ours, theirs = mine.generation, other.generation
    if other.state not in CLAIMS or theirs.epoch == ours.epoch or theirs.serial != ours.serial:
        return False
    if me in other.over:
        return node in mine.over
    return theirs > ours


def passed_over(me: str, mine: Record, other: Record) -> bool:
    """Tell whether the other was promoted over my silence, in an epoch that is not older than mine."""
    return (
        other.state == OWNER
        and me in other.over
        and other.generation.epoch != mine.generation.epoch
        and other.generation.serial >= mine.generation.serial
    )


def newer_epoch(other: Record, mine: Record) -> bool:
    """Tell whether the other claims the disk by a promotion that is newer than my copy."""
    return other.state in CLAIMS and other.generation.serial > mine.generation.serial


def gives_way(mine: Record | None, generation: Generation) -> bool:
    """Tell whether my copy may become a replica of a sender of this generation (and be set aside for it if need be)."""
    if mine is None:
        return True
    if mine.state == REPLICA:
        return mine.generation <= generation
    if mine.used or mine.state not in CLAIMS:
        return False
    if generation.serial > mine.generation.serial:
        return True
    return mine.state == SEALED and generation > mine.generation


def takes_data(mine: Record | None, generation: Generation, claim: Generation) -> bool:
    """Tell whether data of this generation is taken; claim is what the sender is about to issue, or its generation.

    A round that was begun before the disk moved on is refused by the claim.
    """
    return mine is None or (mine.floor <= claim and gives_way(mine, generation))


def takes_ticket(mine: Record | None, source: str, number: Generation, final: Round) -> bool:
    """Tell whether a ticket of this number is taken by a copy that ends in just the final snapshot, unwritten since."""
    if mine is None or mine.floor > number:
        return False
    if mine.state == TICKET:
        return mine.peer == source and mine.generation <= number and mine.final == final
    return mine.state == REPLICA and mine.generation < number


def gives_back(mine: Record | None, source: str, number: Generation) -> bool:
    """Tell whether the sealed source may have its disk back: its ticket here, up to this number, is not used yet."""
    if mine is None:
        return True
    if mine.floor.epoch > number.epoch:
        return False
    if mine.state == TICKET:
        return mine.peer == source and mine.generation <= number
    return mine.state == REPLICA and mine.generation <= number


def to_issue(mine: Iterable[Record], floors: Iterable[Generation]) -> Generation | None:
    """Return the number of a new ticket, above all that either side has seen; None if another epoch has begun."""
    records = list(mine)
    seen = [each.generation for each in records] + [each.floor for each in records]
    seen += [each.issued for each in records if each.issued is not None]
    highest = max([*seen, *floors])
    if highest.epoch != max(each.generation for each in records).epoch:
        return None
    return highest.after()


def best(mine: Record | None, answers: Mapping[str, Record | None]) -> str | None:
    """Return the node with the best claim to the disk; None if nobody who answered has one.

    My own copy's epoch is the least that counts, and what I have sealed myself is not taken back by anything older.
    """
    least = mine.generation.serial if mine is not None and mine.state in (REPLICA, SEALED) else 0
    claims = {
        node: other
        for node, other in answers.items()
        if other is not None and other.state in CLAIMS and other.generation.serial >= least
    }
    if not claims:
        return None
    first = max(claims, key=lambda node: (claims[node].generation, claims[node].state != SEALED, node))
    if mine is not None and mine.state == SEALED and mine.generation > claims[first].generation:
        return None
    return first


def better_replica(mine: Record, answers: Mapping[str, Record | None]) -> str | None:
    """Return a node whose replica is newer than my copy, by its generation and its last complete round."""
    for node, other in answers.items():
        if other is None or other.state != REPLICA or other.round is None:
            continue
        if other.generation > mine.generation:
            return node
        if (
            mine.state == REPLICA
            and other.generation == mine.generation
            and (mine.round is None or other.round > mine.round)
        ):
            return node
    return None


def claimed(mine: Record, answers: Mapping[str, Record | None]) -> str | None:
    """Return a node that answered and has a claim as new as my copy, which therefore is not promoted."""
    for node, other in answers.items():
        if other is None or other.state not in CLAIMS:
            continue
        if other.generation.serial >= mine.generation.serial and other.generation >= mine.generation:
            return node
    return None


def promoted(records: Iterable[Record], serial: int, nonce: int) -> Generation:
    """Return the generation of a promotion, newer than all that was seen; serial is that of Ganeti's configuration."""
    highest = max((epoch for each in records for epoch in (each.generation.epoch, each.floor.epoch)), default=0)
    return Generation((max(serial, (highest >> NONCE_BITS) + 1) << NONCE_BITS) | nonce, 0)
