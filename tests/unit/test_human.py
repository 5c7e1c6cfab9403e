"""Numbers as people read them."""

import time

import pytest

from zfsext import human


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (512, "512B"), (98304, "96K"), (3 << 29, "1.50G"), (20 << 30, "20G"), (21_500_000_000, "20.0G")],
)
def test_sizes_look_as_in_zfs(count: int, text: str) -> None:
    assert human.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h"),
        (2 * 86400 - 1, "47h"),
        (2 * 86400, "2d"),
        (1000 * 86400, "1000d"),
    ],
)
def test_an_age_has_two_of_its_unit_at_least(seconds: int, text: str) -> None:
    assert human.age(seconds) == text


def test_a_moment_is_local_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        assert human.moment(1764000000) == "2025-11-24 18:00+02:00"
    finally:
        monkeypatch.undo()
        time.tzset()
