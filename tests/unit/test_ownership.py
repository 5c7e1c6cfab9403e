"""What the model in tests/model cannot show: its clock goes on between two promotions, as Ganeti's serial does."""

import pytest

from zfsext.ownership import NONCE_BITS, OWNER, Currency, Generation, Record, currency

SERIAL = 7 << NONCE_BITS
LOWER, HIGHER = Generation(SERIAL + 1, 0), Generation(SERIAL + 2, 0)
OVER_ME, OVER_IT = frozenset({"me"}), frozenset({"it"})


def judge(mine: Record, other: Record) -> Currency:
    return currency("me", mine, {"it": other}, [], [])


@pytest.mark.parametrize(("mine", "other"), [(LOWER, HIGHER), (HIGHER, LOWER)])
def test_of_two_promoted_over_each_other_neither_is_opened(
    mine: Generation, other: Generation
) -> None:
    assert judge(Record(OWNER, mine, over=OVER_IT), Record(OWNER, other, over=OVER_ME)) is Currency.CONFLICT


@pytest.mark.parametrize(("mine", "other"), [(LOWER, HIGHER), (HIGHER, LOWER)])
def test_the_one_that_passed_over_the_other_came_later(mine: Generation, other: Generation) -> None:
    assert judge(Record(OWNER, mine), Record(OWNER, other, over=OVER_ME)) is Currency.SUPERSEDED


def test_of_two_that_did_not_pass_over_each_other_the_higher_goes_on() -> None:
    assert judge(Record(OWNER, LOWER), Record(OWNER, HIGHER)) is Currency.CONFLICT
    assert judge(Record(OWNER, HIGHER), Record(OWNER, LOWER)) is Currency.OK


def test_a_later_serial_wins() -> None:
    later = Generation(SERIAL << 1, 0)
    assert judge(Record(OWNER, HIGHER, over=OVER_IT), Record(OWNER, later, over=OVER_ME)) is Currency.SUPERSEDED
    assert judge(Record(OWNER, later, over=OVER_IT), Record(OWNER, HIGHER, over=OVER_ME)) is Currency.OK
