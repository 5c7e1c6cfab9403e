"""What the tests of the guards put in the place of a decision: the same without one of its conditions."""

from collections.abc import Collection, Iterable
from typing import Any

from rules import Answers

from zfsext import ownership
from zfsext.ownership import REPLICA, SEALED, TICKET, ZERO, Currency, Generation, Record, Round


def takes_silence_for_consent(
    me: str,
    mine: Record,
    answers: Answers,
    silent: Collection[str],
    offline: Collection[str],
    **boot: Any,
) -> Currency:
    """Care for a silent node only if it is marked offline."""
    silent = [node for node in silent if node in offline]
    return ownership.currency(me, mine, answers, silent, offline, **boot)


def does_not_listen(
    me: str,
    mine: Record,
    answers: Answers,
    silent: Collection[str],
    offline: Collection[str],
    **boot: Any,
) -> Currency:
    """Do not care what the others say, as long as they do not stay silent."""
    nothing = dict.fromkeys(answers)
    return ownership.currency(me, mine, nothing, silent, offline, **boot)


def forgets_the_offline(
    me: str,
    mine: Record,
    answers: Answers,
    silent: Collection[str],
    offline: Collection[str],
    **boot: Any,
) -> Currency:
    """Go on with the same epoch, though a node is silent that may come back."""
    found = ownership.currency(me, mine, answers, silent, offline, **boot)
    return Currency.OK if found is Currency.OFFLINE else found


def takes_all_data(mine: Record | None, generation: Generation, claim: Generation) -> bool:
    """Have any copy become a replica, an owner's too."""
    del mine, generation, claim
    return True


def keeps_what_is_sealed(mine: Record | None, generation: Generation, claim: Generation) -> bool:
    """Have a sealed copy stay what it is when the disk comes back."""
    return ownership.takes_data(mine, generation, claim) and (mine is None or mine.state != SEALED)


def takes_late_tickets(mine: Record | None, source: str, number: Generation, final: Round) -> bool:
    """Take a ticket that was revoked before it came."""
    return mine is not None and ownership.takes_ticket(mine._replace(floor=ZERO), source, number, final)


def takes_tickets_in_any_state(mine: Record | None, source: str, number: Generation, final: Round) -> bool:
    """Take a ticket also where the disk was received by nobody."""
    if mine is not None and mine.state != TICKET:
        mine = mine._replace(state=REPLICA)
    return ownership.takes_ticket(mine, source, number, final)


def gives_all_back(mine: Record | None, source: str, number: Generation) -> bool:
    """Give a ticket back though it was used."""
    del mine, source, number
    return True


def gives_nothing_back(mine: Record | None, source: str, number: Generation) -> bool:
    """Keep a ticket though it was not used."""
    del mine, source, number
    return False


def issues_what_it_issued(mine: Iterable[Record], floors: Iterable[Generation]) -> Generation | None:
    """Repeat the number of a ticket that was sent, or take the next one, whatever the other side has promised."""
    del floors
    records = list(mine)
    issued = [record.issued for record in records if record.issued is not None]
    return max(issued) if issued else max(record.generation for record in records).after()


def promotes_by_one(records: Iterable[Record], serial: int, nonce: int) -> Generation:
    """Have a promotion be the next generation, as a hand-over is."""
    del serial, nonce
    return max(max(record.generation, record.floor) for record in records).after()


def promotes_without_serial(records: Iterable[Record], serial: int, nonce: int) -> Generation:
    """Have an epoch be above those that this node has heard of, and no more."""
    del serial
    return ownership.promoted(records, 0, nonce)
