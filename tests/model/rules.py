"""The rules of the protocol: the decisions of zfsext.ownership, and what the scripts keep to besides.

A test of a guard replaces one of them, and the search must then find how a VM is lost.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from zfsext import ownership
from zfsext.ownership import Currency, Generation, Record, Round

Answers = Mapping[str, Record | None]


class Judgement(Protocol):
    """The type of ownership.currency."""

    def __call__(
        self,
        me: str,
        mine: Record,
        answers: Answers,
        silent: Collection[str],
        offline: Collection[str],
        *,
        fresh: bool = False,
        overridden: Collection[str] = (),
    ) -> Currency:
        """Judge my copy."""


@dataclass(frozen=True)
class Rules:
    """What the scripts of the model go by; as it is made without arguments, the protocol."""

    currency: Judgement = ownership.currency
    passed_over: Callable[[str, Record, Record], bool] = ownership.passed_over
    takes_data: Callable[[Record | None, Generation, Generation], bool] = ownership.takes_data
    takes_ticket: Callable[[Record | None, str, Generation, Round], bool] = ownership.takes_ticket
    gives_back: Callable[[Record | None, str, Generation], bool] = ownership.gives_back
    to_issue: Callable[[Iterable[Record], Iterable[Generation]], Generation | None] = ownership.to_issue
    best: Callable[[Record | None, Answers], str | None] = ownership.best
    better_replica: Callable[[Record, Answers], str | None] = ownership.better_replica
    claimed: Callable[[Record, Answers], str | None] = ownership.claimed
    promoted: Callable[[Iterable[Record], int, int], Generation] = ownership.promoted

    #: A node that is marked offline is asked all the same, before it is passed over.
    asks_the_offline: bool = True
    #: close hands over all disks of the VM or none, with one ticket.
    hands_over_groups: bool = True
    #: A ticket is used, revoked and taken back for all disks in one transaction.
    revokes_groups: bool = True
    #: A promotion takes all disks of the VM in one transaction.
    promotes_groups: bool = True
    #: Only what is complete for all disks is promoted, and each disk goes back to it.
    promotes_rounds: bool = True
    #: A hand-over has its disks locked until it ends.
    locks: bool = True
    #: open on a sealed copy may take the ticket back.
    reclaims: bool = True
    #: Who has a ticket becomes the owner before it hands on.
    consumes_first: bool = True
    #: A script goes by the state, which is changed before the place; else by the place, which is changed before.
    goes_by_state: bool = True
    #: What was ever promised to others is remembered, on both sides.
    leaves_floors: bool = True
    #: A round belongs to the generation in which it began, and ends with it.
    ends_stale_rounds: bool = True
    #: ZFS takes an increment only onto the snapshot that it begins with.
    continues_streams: bool = True
    #: A copy of another epoch that an increment does not continue is set aside, and the disk is sent anew.
    sets_aside: bool = True
    #: A rollback is noted on the disk, and what is older goes back before it takes the next stream.
    notes_rollbacks: bool = True
    #: A node that comes online again sets aside what was promoted elsewhere meanwhile.
    reconciles: bool = True


PROTOCOL = Rules()
