"""The decisions one by one: what a node has, what the others say or are told, and what follows.

The model in tests/model runs them through every crash; here are the cases that were thought of by hand, and what that
model cannot show: its clock goes on between two promotions, as Ganeti's serial does.
"""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfsext import ownership
from zfsext.ownership import (
    NONCE_BITS,
    OWNER,
    REPLICA,
    SEALED,
    TICKET,
    ZERO,
    Currency,
    Generation,
    Record,
    Round,
    currency,
)

SERIAL = 7 << NONCE_BITS
LOWER, HIGHER = Generation(SERIAL + 1, 0), Generation(SERIAL + 2, 0)
OVER_ME, OVER_IT = frozenset({"me"}), frozenset({"it"})
#: A disk that was handed over once, what it was before, and what it will be; then what a promotion makes of it.
OLD, NOW, NEXT = Generation(0, 1), Generation(0, 2), Generation(0, 3)
PROMOTED = LOWER
FINAL, OTHER_FINAL = Round(NOW, 4), Round(NOW, 3)


def judge(mine: Record, *others: Record | None, silent: str = "", offline: str = "") -> Currency:
    """Judge a copy on node `me`; `it` and `third` are who else there is, in this order."""
    answers = dict(zip(("it", "third"), others, strict=False))
    return currency("me", mine, answers, silent.split(), offline.split())


@pytest.mark.parametrize(("mine", "other"), [(LOWER, HIGHER), (HIGHER, LOWER)])
def test_of_two_promoted_over_each_other_neither_is_opened(mine: Generation, other: Generation) -> None:
    assert judge(Record(OWNER, mine, over=OVER_IT), Record(OWNER, other, over=OVER_ME)) is Currency.CONFLICT


@pytest.mark.parametrize(("mine", "other"), [(LOWER, HIGHER), (HIGHER, LOWER)])
def test_the_one_that_passed_over_the_other_came_later(mine: Generation, other: Generation) -> None:
    assert judge(Record(OWNER, mine), Record(OWNER, other, over=OVER_ME)) is Currency.SUPERSEDED


@pytest.mark.parametrize(
    ("mine", "other", "verdict"), [(HIGHER, LOWER, Currency.OK), (LOWER, HIGHER, Currency.CONFLICT)]
)
def test_the_one_that_passed_over_the_other_is_not_set_aside_for_it(
    mine: Generation, other: Generation, verdict: Currency
) -> None:
    assert judge(Record(OWNER, mine, over=OVER_IT), Record(OWNER, other)) is verdict


def test_of_two_that_did_not_pass_over_each_other_the_higher_goes_on() -> None:
    assert judge(Record(OWNER, LOWER), Record(OWNER, HIGHER)) is Currency.CONFLICT
    assert judge(Record(OWNER, HIGHER), Record(OWNER, LOWER)) is Currency.OK


def test_a_later_serial_wins() -> None:
    later = Generation(SERIAL << 1, 0)
    assert judge(Record(OWNER, HIGHER, over=OVER_IT), Record(OWNER, later, over=OVER_ME)) is Currency.SUPERSEDED
    assert judge(Record(OWNER, later, over=OVER_IT), Record(OWNER, HIGHER, over=OVER_ME)) is Currency.OK


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        (None, Currency.OK),
        (Record(REPLICA, OLD), Currency.OK),
        (Record(REPLICA, NOW), Currency.OK),
        (Record(SEALED, OLD, issued=NOW), Currency.OK),
        (Record(OWNER, OLD), Currency.OK),
        (Record(OWNER, NEXT), Currency.SUPERSEDED),
        (Record(TICKET, NEXT), Currency.SUPERSEDED),
        (Record(SEALED, NEXT), Currency.SUPERSEDED),
        (Record(REPLICA, NEXT), Currency.SUPERSEDED),
        (Record(OWNER, PROMOTED), Currency.SUPERSEDED),
        (Record(REPLICA, NOW, floor=NEXT), Currency.OK),  # it has promised not to take my last ticket
        (Record(REPLICA, NOW, floor=PROMOTED), Currency.SUPERSEDED),
        (Record(REPLICA, OLD, used=True), Currency.USED),
        (Record(OWNER, NEXT, used=True), Currency.SUPERSEDED),
        (Record(OWNER, PROMOTED, over=OVER_ME), Currency.SUPERSEDED),
        (Record(OWNER, PROMOTED, over=OVER_IT), Currency.SUPERSEDED),
    ],
)
@pytest.mark.parametrize("state", [OWNER, TICKET])
def test_a_copy_is_current_if_nobody_has_more(state: str, other: Record | None, verdict: Currency) -> None:
    assert judge(Record(state, NOW), other) is verdict


def test_one_who_passed_me_over_in_an_epoch_before_mine_does_not_count() -> None:
    later = Generation(SERIAL << 1, 0)
    assert judge(Record(OWNER, later), Record(OWNER, PROMOTED, over=OVER_ME)) is Currency.OK
    assert judge(Record(OWNER, later), Record(OWNER, later, over=OVER_ME)) is Currency.OK
    assert judge(Record(OWNER, later), Record(REPLICA, Generation(SERIAL << 1 | 1, 0))) is Currency.SUPERSEDED


@pytest.mark.parametrize("state", [REPLICA, TICKET])
def test_only_an_owner_has_passed_anybody_over(state: str) -> None:
    other = Record(state, Generation(HIGHER.epoch, 0), over=OVER_ME)
    assert not ownership.passed_over("me", Record(OWNER, LOWER), other)
    assert ownership.passed_over("me", Record(OWNER, LOWER), other._replace(state=OWNER))


@pytest.mark.parametrize("first", [True, False])
def test_that_it_is_old_goes_before_its_use_and_its_use_before_silence(first: bool) -> None:
    used, newer = Record(REPLICA, OLD, used=True), Record(OWNER, NEXT)
    others = (newer, used) if first else (used, newer)
    assert judge(Record(OWNER, NOW), *others, silent="fourth") is Currency.SUPERSEDED
    idle = Record(REPLICA, OLD)
    assert judge(Record(OWNER, NOW), *((used, idle) if first else (idle, used)), silent="fourth") is Currency.USED


@pytest.mark.parametrize(
    ("state", "silent", "offline", "fresh", "overridden", "verdict"),
    [
        (OWNER, "it", "", False, "", Currency.SILENT),
        (OWNER, "it", "", True, "", Currency.OK),  # it came here with another disk of the VM, and was not opened yet
        (OWNER, "it", "it", True, "", Currency.OFFLINE),
        (TICKET, "it", "", False, "", Currency.SILENT),
        (TICKET, "it", "", True, "", Currency.OK),
        (OWNER, "it", "it", False, "", Currency.OFFLINE),
        (TICKET, "it", "it", True, "", Currency.OFFLINE),
        (OWNER, "it", "it", False, "it", Currency.OK),
        (OWNER, "it", "it", False, "third", Currency.OFFLINE),
        (OWNER, "it", "", False, "it", Currency.SILENT),  # it is online again, and may have been used
        (OWNER, "it", "third", False, "", Currency.SILENT),
        (OWNER, "it third", "it", False, "", Currency.SILENT),
        (OWNER, "third it", "it", False, "", Currency.SILENT),
        (TICKET, "it third", "it", True, "", Currency.OFFLINE),
        (TICKET, "it third", "third", True, "", Currency.OFFLINE),
        (OWNER, "it third", "it third", False, "it", Currency.OFFLINE),
    ],
)
def test_silence_is_no_consent(
    state: str, silent: str, offline: str, fresh: bool, overridden: str, verdict: Currency
) -> None:
    judged = currency(
        "me", Record(state, NOW), {}, silent.split(), offline.split(), fresh=fresh, overridden=overridden.split()
    )
    assert judged is verdict


@pytest.mark.parametrize(
    ("other", "newer"),
    [
        (Record(OWNER, PROMOTED), True),
        (Record(TICKET, PROMOTED), True),
        (Record(SEALED, PROMOTED), True),
        (Record(REPLICA, PROMOTED), False),
        (Record(OWNER, NEXT), False),
        (Record(OWNER, NOW), False),
    ],
)
def test_a_claim_by_a_later_promotion_is_of_a_newer_epoch(other: Record, newer: bool) -> None:
    assert ownership.newer_epoch(other, Record(SEALED, NOW)) is newer
    assert not ownership.newer_epoch(other, Record(SEALED, HIGHER))


@pytest.mark.parametrize(
    ("mine", "generation", "gives"),
    [
        (None, OLD, True),
        (Record(REPLICA, NOW), OLD, False),
        (Record(REPLICA, NOW), NOW, True),
        (Record(REPLICA, NOW, used=True), NEXT, True),
        (Record(OWNER, NOW), NEXT, False),
        (Record(OWNER, NOW), PROMOTED, True),
        (Record(OWNER, NOW, used=True), PROMOTED, False),
        (Record(OWNER, LOWER), HIGHER, False),  # promoted under one serial: which was first cannot be told
        (Record(OWNER, PROMOTED), NEXT, False),
        (Record(TICKET, NOW), NEXT, False),
        (Record(TICKET, NOW), PROMOTED, True),
        (Record(TICKET, NOW, used=True), PROMOTED, False),
        (Record(SEALED, NOW), NOW, False),
        (Record(SEALED, NOW), NEXT, True),
        (Record(SEALED, NOW, used=True), NEXT, False),
        (Record(SEALED, LOWER), HIGHER, True),
        (Record("aside", NOW), PROMOTED, False),
    ],
)
def test_a_copy_gives_way_to_a_newer_one(mine: Record | None, generation: Generation, gives: bool) -> None:
    assert ownership.gives_way(mine, generation) is gives
    assert ownership.takes_data(mine, generation, generation) is gives


def test_a_round_that_was_begun_before_the_disk_moved_on_is_not_taken() -> None:
    mine = Record(REPLICA, OLD, floor=NEXT)
    assert not ownership.takes_data(mine, NOW, NOW)
    assert ownership.takes_data(mine, NOW, NEXT)
    assert not ownership.takes_data(Record(OWNER, NOW), NEXT, PROMOTED)
    assert ownership.takes_data(None, OLD, ZERO)


@pytest.mark.parametrize(
    ("mine", "takes"),
    [
        (None, False),
        (Record(REPLICA, OLD, peer="it"), True),
        (Record(REPLICA, OLD, floor=NOW), True),
        (Record(REPLICA, OLD, floor=NEXT), False),  # the number was taken back
        (Record(REPLICA, NOW), False),
        (Record(TICKET, OLD, peer="it", final=FINAL), True),
        (Record(TICKET, NOW, peer="it", final=FINAL), True),  # the same again
        (Record(TICKET, NEXT, peer="it", final=FINAL), False),
        (Record(TICKET, NOW, peer="third", final=FINAL), False),
        (Record(TICKET, NOW, peer="it", final=OTHER_FINAL), False),
        (Record(TICKET, OLD, NEXT, peer="it", final=FINAL), False),
        (Record(OWNER, OLD, peer="it", final=FINAL), False),
        (Record(SEALED, OLD, peer="it", final=FINAL), False),
    ],
)
def test_a_ticket_is_taken_by_a_copy_that_nothing_newer_was_promised(mine: Record | None, takes: bool) -> None:
    assert ownership.takes_ticket(mine, "it", NOW, FINAL) is takes


@pytest.mark.parametrize(
    ("mine", "gives"),
    [
        (None, True),
        (Record(REPLICA, OLD), True),
        (Record(REPLICA, NOW), True),
        (Record(REPLICA, NEXT), False),
        (Record(REPLICA, OLD, floor=NEXT), True),
        (Record(REPLICA, OLD, floor=PROMOTED), False),
        (Record(TICKET, NOW, peer="it"), True),
        (Record(TICKET, OLD, peer="it"), True),
        (Record(TICKET, NEXT, peer="it"), False),
        (Record(TICKET, NOW, peer="third"), False),
        (Record(TICKET, NOW, floor=PROMOTED, peer="it"), False),
        (Record(OWNER, NOW, peer="it"), False),
        (Record(SEALED, NOW, peer="it"), False),
    ],
)
def test_a_ticket_is_given_back_until_it_is_used(mine: Record | None, gives: bool) -> None:
    assert ownership.gives_back(mine, "it", NOW) is gives


def test_a_number_that_was_taken_back_is_not_taken_when_it_comes_late() -> None:
    assert ownership.gives_back(Record(REPLICA, OLD), "it", NOW)
    given_back = Record(REPLICA, OLD, floor=NOW.after())
    assert not ownership.takes_ticket(given_back, "it", NOW, FINAL)
    again = ownership.to_issue([Record(SEALED, OLD, issued=NOW)], [given_back.floor])
    assert again is not None
    assert ownership.takes_ticket(given_back, "it", again, FINAL)


@pytest.mark.parametrize(
    ("mine", "floors", "number"),
    [
        ([Record(OWNER, OLD)], [], NOW),
        ([Record(OWNER, OLD, floor=NOW)], [], NEXT),
        ([Record(SEALED, OLD, issued=NOW)], [], NEXT),
        ([Record(OWNER, OLD)], [ZERO, NOW], NEXT),
        ([Record(OWNER, OLD), Record(OWNER, NOW)], [], NEXT),
        ([Record(OWNER, NOW), Record(OWNER, OLD)], [OLD], NEXT),
        ([Record(OWNER, PROMOTED)], [NEXT], PROMOTED.after()),
        ([Record(OWNER, OLD)], [PROMOTED], None),
        ([Record(OWNER, OLD, floor=PROMOTED)], [], None),
        ([Record(OWNER, PROMOTED)], [HIGHER], None),
    ],
)
def test_a_ticket_has_a_number_above_all_that_was_seen(
    mine: list[Record], floors: list[Generation], number: Generation | None
) -> None:
    assert ownership.to_issue(iter(mine), iter(floors)) == number


@pytest.mark.parametrize(
    ("mine", "answers", "holder"),
    [
        (None, {}, None),
        (None, {"a": None, "b": Record(REPLICA, NEXT)}, None),
        (None, {"a": Record(OWNER, OLD), "b": Record(REPLICA, NEXT)}, "a"),
        (None, {"a": Record(SEALED, OLD), "b": Record(TICKET, NOW)}, "b"),
        (None, {"a": Record(OWNER, NOW), "b": Record(SEALED, OLD)}, "a"),
        (None, {"a": Record(SEALED, NOW), "b": Record(OWNER, NOW), "c": Record(SEALED, NOW)}, "b"),
        (None, {"a": Record(OWNER, LOWER), "b": Record(OWNER, HIGHER), "c": Record(OWNER, NEXT)}, "b"),
        (Record(REPLICA, PROMOTED), {"a": Record(OWNER, NEXT)}, None),  # it returns, and was passed over
        (Record(REPLICA, HIGHER), {"a": Record(OWNER, LOWER)}, "a"),
        (Record(REPLICA, NEXT), {"a": Record(OWNER, OLD)}, "a"),
        (Record(SEALED, NOW), {"a": Record(OWNER, OLD)}, None),
        (Record(SEALED, NOW), {"a": Record(OWNER, NOW)}, "a"),
        (Record(SEALED, NOW), {"a": Record(TICKET, NEXT)}, "a"),
        (Record(SEALED, PROMOTED), {"a": Record(OWNER, NEXT)}, None),
        (Record(OWNER, PROMOTED), {"a": Record(OWNER, OLD)}, "a"),
    ],
)
def test_the_newest_claim_is_the_best(
    mine: Record | None, answers: Mapping[str, Record | None], holder: str | None
) -> None:
    assert ownership.best(mine, answers) == holder
    assert ownership.best(mine, dict(reversed(list(answers.items())))) == holder


@pytest.mark.parametrize(
    ("mine", "other", "better"),
    [
        (Record(REPLICA, NOW, round=OTHER_FINAL), Record(REPLICA, NOW, round=FINAL), True),
        (Record(REPLICA, NOW, round=FINAL), Record(REPLICA, NOW, round=FINAL), False),
        (Record(REPLICA, NOW, round=FINAL), Record(REPLICA, NOW, round=OTHER_FINAL), False),
        (Record(REPLICA, NOW, round=FINAL), Record(REPLICA, NEXT, round=OTHER_FINAL), True),
        (Record(REPLICA, NOW, round=OTHER_FINAL), Record(REPLICA, OLD, round=FINAL), False),
        (Record(REPLICA, NOW, round=OTHER_FINAL), Record(REPLICA, NOW), False),
        (Record(REPLICA, NOW, round=OTHER_FINAL), Record(OWNER, NOW, round=FINAL), False),
        (Record(REPLICA, NOW, round=OTHER_FINAL), None, False),
        (Record(REPLICA, NOW), Record(REPLICA, NOW, round=FINAL), True),
        (Record(SEALED, NOW, final=FINAL), Record(REPLICA, NEXT, round=FINAL), True),
        (Record(SEALED, NOW, final=FINAL), Record(REPLICA, NOW, round=OTHER_FINAL), False),
        (Record(OWNER, NOW, round=OTHER_FINAL), Record(REPLICA, NOW, round=FINAL), False),
    ],
)
def test_a_replica_with_a_newer_round_is_the_better_one(mine: Record, other: Record | None, better: bool) -> None:
    answers = {"worse": Record(REPLICA, OLD, round=Round(OLD, 1)), "it": other}
    assert ownership.better_replica(mine, answers) == ("it" if better else None)


@pytest.mark.parametrize(
    ("mine", "other", "claims"),
    [
        (NOW, Record(OWNER, NOW), True),
        (NOW, Record(SEALED, NEXT), True),
        (NOW, Record(TICKET, NEXT), True),
        (NOW, Record(OWNER, OLD), False),
        (NOW, Record(REPLICA, NEXT), False),
        (NOW, None, False),
        (PROMOTED, Record(OWNER, NEXT), False),
        (NEXT, Record(OWNER, PROMOTED), True),
        (HIGHER, Record(OWNER, LOWER), False),
    ],
)
def test_nothing_is_promoted_beside_a_claim_as_new(mine: Generation, other: Record | None, claims: bool) -> None:
    answers = {"none": None, "it": other, "old": Record(OWNER, ZERO)}
    assert ownership.claimed(Record(REPLICA, mine), answers) == ("it" if claims else None)


generations = st.builds(Generation, st.integers(0, 1 << 40), st.integers(0, 1 << 20))
records = st.builds(Record, st.sampled_from([OWNER, SEALED, TICKET, REPLICA]), generations, generations)


@given(st.lists(records), st.integers(0, 1 << 20), st.integers(0, (1 << NONCE_BITS) - 1))
def test_a_promotion_is_newer_than_all_that_was_seen(seen: list[Record], serial: int, nonce: int) -> None:
    number = ownership.promoted(iter(seen), serial, nonce)
    assert all(number.serial > max(each.generation.serial, each.floor.serial) for each in seen)
    assert number.serial >= serial
    assert (number.epoch & ((1 << NONCE_BITS) - 1), number.seq) == (nonce, 0)


@pytest.mark.parametrize(("serial", "newer"), [(1, 8), (7, 8), (8, 8), (90, 90)])
def test_a_promotion_is_of_ganetis_serial_unless_that_is_behind(serial: int, newer: int) -> None:
    assert ownership.promoted([Record(OWNER, PROMOTED)], serial, 3).serial == newer
    assert ownership.promoted([Record(OWNER, NOW, floor=PROMOTED)], serial, 3).serial == newer


# What an attack on the first draft of the protocol found, each as far as one of these decisions prevents it.


def test_an_owner_that_returns_is_not_opened_while_who_was_promoted_is_silent() -> None:
    """node1 dies, node2 is promoted, node1 returns, node2 crashes, and the VM is started on node1."""
    assert judge(Record(OWNER, NOW), silent="it") is Currency.SILENT


def test_a_promotion_and_a_hand_over_of_the_dead_owner_never_have_the_same_number() -> None:
    """node1 issues a ticket to node2 and dies; node3 knows only what was before, and is promoted."""
    ticket = ownership.to_issue([Record(OWNER, NOW)], [])
    assert ticket == NEXT
    number = ownership.promoted([Record(REPLICA, NOW)], 7, 1)
    assert judge(Record(TICKET, NEXT), Record(OWNER, number)) is Currency.SUPERSEDED
    assert not ownership.gives_back(Record(REPLICA, NOW, floor=number), "it", NEXT)


def test_a_living_owner_that_is_marked_offline_keeps_its_disk() -> None:
    assert ownership.claimed(Record(REPLICA, NOW), {"it": Record(OWNER, NOW, used=True)}) == "it"
    assert judge(Record(OWNER, NOW), Record(REPLICA, NOW, used=True), offline="it") is Currency.USED


def test_a_disk_that_came_back_is_not_advanced_by_a_round_from_before() -> None:
    back = Record(REPLICA, NOW, floor=NEXT)  # it had the disk as NEXT, and gave it away again
    assert not ownership.takes_data(back, NOW, NOW)


def test_the_dead_branch_is_not_extended_once_a_promotion_has_left_its_floor() -> None:
    third = Record(REPLICA, NOW, floor=PROMOTED)
    assert not ownership.takes_data(third, NOW, NEXT)
    assert not ownership.takes_ticket(third, "it", NEXT, FINAL)


def test_a_late_revoke_does_not_take_a_disk_from_who_uses_it() -> None:
    assert not ownership.gives_back(Record(OWNER, NEXT), "it", NEXT)
    assert not ownership.gives_back(Record(REPLICA, NEXT.after()), "it", NEXT)


def test_a_ticket_from_before_a_promotion_is_not_used_after_it() -> None:
    """node1 hands over to node2, which dies; node1 is promoted; node2 returns, with its ticket."""
    ticket = Record(TICKET, NEXT, peer="it")
    assert judge(ticket, Record(OWNER, PROMOTED, over=OVER_ME)) is Currency.SUPERSEDED
    assert judge(ticket, silent="it") is Currency.SILENT
