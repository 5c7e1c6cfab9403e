"""Copies that become disks together are of one moment."""

import pytest

from zfsext import promotion
from zfsext.errors import Refused
from zfsext.ownership import OWNER, REPLICA, Generation, Record, Round

FIRST, SECOND = (Round(Generation(0, 1), number) for number in (1, 2))


class Here:
    """This node's copy."""

    def __init__(self, volume: str, record: Record) -> None:
        self.volume = volume
        self.record = record


def require(*records: Record) -> None:
    group = [Here(f"web{number}", record) for number, record in enumerate(records)]
    promotion._require_one_round(group)  # type: ignore[arg-type]


def test_copies_of_different_moments_are_no_vm() -> None:
    require(Record(REPLICA, round=SECOND), Record(REPLICA, round=SECOND), Record(OWNER, round=FIRST))
    for other in (FIRST, None):
        with pytest.raises(Refused, match=r"are of different rounds .*web1"):
            require(Record(REPLICA, round=SECOND), Record(REPLICA, round=other))
