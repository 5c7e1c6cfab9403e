"""Snapshots by name and by moment: which names can be, and which go so that so many stay."""

import pytest

from zfsext import moments
from zfsext.errors import BadInput
from zfsext.zfs import Snapshot

LIVE = "zfs/vm/web.ext.disk0"


def taken(*shorts: str, holds: int = 0, clones: tuple[str, ...] = ()) -> list[Snapshot]:
    return [Snapshot(f"{LIVE}@{short}", holds, list(clones), txg=number) for number, short in enumerate(shorts, 1)]


def test_a_moment_has_a_name_that_is_known_again() -> None:
    assert moments.name(1796000000.9) == "taken-20261130T005320Z"
    assert moments.is_one(moments.name(0))
    assert not any(map(moments.is_one, ["taken-", "taken-20261129T221320Z-1", "xtaken-20261129T221320Z", "monday"]))


@pytest.mark.parametrize("name", ["monday", "before-upgrade", "1", "a.b_c:d", "x" * 100])
def test_a_name_of_ones_own(name: str) -> None:
    assert moments.checked(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "-a", ".", ":", "a/b", "a@b", "a b", "ä", "x" * 101, None, 7),
        *("zfsext-1.2-3", "zfsext-", "taken-1", "zfsext-export"),
    ],
)
def test_a_name_that_cannot_be(name: object) -> None:
    with pytest.raises(BadInput):
        moments.checked(name)


def test_the_oldest_go_and_what_is_not_ours_stays() -> None:
    three = [f"taken-2026112{day}T000000Z" for day in (3, 1, 2)]  # which the clock went back between
    snapshots = taken(*three, "monday", "autosnap_2026", "zfsext-0.1-1")
    assert moments.surplus(snapshots, 1) == [f"{LIVE}@{short}" for short in three[:2]]
    assert moments.surplus(snapshots, 3) == []
    assert moments.surplus(taken(*three, holds=1), 1) == []
    assert moments.surplus(taken(*three, clones=("zfs/vm/x",)), 1) == []


def test_a_copy_loses_what_the_disk_has_lost_but_nothing_newer_than_the_round() -> None:
    names = [f"taken-2026112{day}T000000Z" for day in range(4)]
    snapshots = taken(*names, "monday")
    assert moments.gone(snapshots, 4, names[1:2]) == [f"{LIVE}@{names[0]}", f"{LIVE}@{names[2]}"]
    assert moments.gone(taken(*names, holds=1), 9, ()) == []
