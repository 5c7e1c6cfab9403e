"""What --verbose tells of, here and on other nodes."""

import pytest

from zfsext import trace


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what whoever wants to know is told."""
    lines: list[str] = []
    monkeypatch.setattr(trace, "_note", lines.append)
    return lines


def test_nobody_is_told_who_does_not_ask() -> None:
    assert not trace.wanted()
    trace.typed("destroy", "zfs/vm/web@monday")
    trace.elsewhere("node2", ["zfs destroy zfs/vm/web@monday"])


def test_each_change_is_told_as_one_would_type_it(told: list[str]) -> None:
    assert trace.wanted()
    trace.typed("set", "zfsext:instance=a b", "zfs/vm/web")
    assert told == ["zfs set 'zfsext:instance=a b' zfs/vm/web"]


def test_a_change_is_told_with_the_node_that_made_it(told: list[str]) -> None:
    trace.elsewhere("node2", ["zfs destroy zfs/vm/web@monday", "node3: zfs rename zfs/vm/web zfs/vm/db"])
    assert told == ["node2: zfs destroy zfs/vm/web@monday", "node3: zfs rename zfs/vm/web zfs/vm/db"]


def test_what_is_collected_is_told_to_nobody_else(told: list[str]) -> None:
    with trace.collected() as found:
        trace.typed("promote", "zfs/vm/web")
    trace.typed("promote", "zfs/vm/db")
    assert (found, told) == (["zfs promote zfs/vm/web"], ["zfs promote zfs/vm/db"])
