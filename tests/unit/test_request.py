"""Requests to a node: what is malformed is an error before anything is touched, and what is not is taken.

The rules are written here a second time. What passes them runs into a trap as soon as it touches the system.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from asked import CONFIG, GOOD, SOURCE, Touched, answered, refused, touch
from conftest import WEB
from hostile import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hostile import DISK

from zfsext import (
    answers_copies,
    answers_disks,
    answers_people,
    cluster,
    command,
    config,
    lock,
    marks,
    nodes,
    pool,
    properties,
    zfs,
)
from zfsext.errors import PoolUnavailable

#: What may be left out.
OPTIONAL = {("replicate", "urgent"), ("forget", "owner"), ("forget", "dry")}


def set_trap(patch: pytest.MonkeyPatch) -> None:
    """Let nothing be touched: neither ZFS, nor another program or node, nor a lock, nor what Ganeti says."""
    patch.setattr(sys, "argv", ["answer", "2", SOURCE])
    patch.setattr(config, "load", lambda: CONFIG)
    patch.setattr(pool, "require", lambda _: None)
    patch.setattr(pool, "works", lambda _: True)
    for module, names in (
        (command, ("run",)),
        (zfs, ("lzc",)),
        (subprocess, ("run", "Popen")),
        (os, ("fork", "system", "kill", "mkdir", "rename", "unlink")),
        (nodes, ("_lines",)),
        (cluster, ("_config",)),
        (lock, ("run_directory",)),
        (marks, ("run_directory",)),
    ):
        for name in names:
            patch.setattr(module, name, touch)


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> None:
    set_trap(monkeypatch)


Rule = Callable[[object], bool]


def text(rule: str) -> Rule:
    return lambda value: isinstance(value, str) and re.fullmatch(rule, value) is not None


def each(rule: Rule, empty: bool = True) -> Rule:
    return lambda value: isinstance(value, list) and (empty or value != []) and all(map(rule, value))


def pairs(key: Rule, rule: Rule, empty: bool = True) -> Rule:
    return lambda value: (
        isinstance(value, dict) and (empty or value != {}) and all(key(a) and rule(b) for a, b in value.items())
    )


def fact(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) < 1024


def number(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def flag(value: object) -> bool:
    return isinstance(value, bool)


def SNAPSHOT(value: object) -> bool:  # noqa: N802 (a rule among rules)
    return text(r"[^/@#%]+")(value) and str(value).isprintable()


VOLUME, NODE = text(DISK.pattern), text(r"[a-zA-Z0-9][a-zA-Z0-9.-]{0,254}")
GENERATION, ROUND = text(r"[0-9]{1,18}\.[0-9]{1,18}"), text(r"[0-9]{1,18}\.[0-9]{1,18}-[0-9]{1,9}")
GIVEN = pairs(lambda name: name in properties.FACTS, fact)
#: What each field may be.
RULES: dict[str, Rule] = {
    "volume": VOLUME,
    "volumes": each(VOLUME, empty=False),
    "but": lambda value: each(VOLUME)(value) and WEB not in value,  # type: ignore[operator]
    "parent": lambda value: value in CONFIG.live,
    "snapshot": SNAPSHOT,
    "full": lambda value: isinstance(value, bool),
    "generation": GENERATION,
    "claim": GENERATION,
    "number": GENERATION,
    "before": GENERATION,
    "floor": GENERATION,
    "owner": GENERATION,
    "round": ROUND,
    "final": ROUND,
    "recordsize": lambda value: number(value) and value in [1 << bits for bits in range(12, 21)],
    "compression": lambda value: isinstance(value, str) and (value == "" or value in zfs.COMPRESSION),
    "taken": number,
    "token": lambda value: isinstance(value, str) and value != "",
    "bandwidth": number,
    "bases": pairs(NODE, each(ROUND)),
    "knows": each(NODE),
    "to": NODE,
    "on": NODE,
    "id": lambda value: value is None or isinstance(value, str),
    "urgent": lambda _: True,
    "moments": pairs(VOLUME, each(lambda value: isinstance(value, str))),
    "guid": lambda value: isinstance(value, str),
    "name": lambda value: value == "" or text(r"(?!zfsext-|taken-)[a-zA-Z0-9][a-zA-Z0-9._:-]{0,99}")(value),
    "keep": number,
    "quiesce": lambda value: value == "" or text(r"[a-zA-Z0-9][a-zA-Z0-9._+-]{0,127}")(value),
    "thaw_after": lambda value: type(value) is int and 1 <= value <= 600,
    "dry": flag,
    "began": flag,
    "snapshots": flag,
    "short": SNAPSHOT,
    "datasets": each(lambda value: isinstance(value, str), empty=False),
    "dataset": lambda value: isinstance(value, str),
}


def good(op: str, field: str, value: object) -> bool:
    """Tell whether the request is taken with this value."""
    if field == "facts":
        return pairs(VOLUME, GIVEN, empty=False)(value) if op in ("idle", "round", "prepare") else GIVEN(value)
    if (op, field) == ("receive", "parent"):
        return isinstance(value, str)  # a copy that is there stays where it is
    if (op, field) == ("rollback", "to"):
        return SNAPSHOT(value)
    if (op, field) in (("back", "generation"), ("drop", "generation")) and value == "":
        return True
    return RULES[field](value)


FIELDS = [(op, field) for op, fields in GOOD.items() for field in fields]
MALFORMED: list[object] = [
    *(None, True, False, -1, 0, 1, 3000, 1.5, 1 << 63, 1 << 70, 10**300, float("inf"), float("-inf"), float("nan")),
    *("", " ", ".", "..", "../x", "/etc/passwd", "a/b", "a@b", "a#b", "-x", "a b", "a\nb", "a\0b", "\ud800", "ä"),
    *("a" * 10_000, "9" * 10_000, "1.2", "1.2-3", "0.2\n", "web.new", "$(id)", "-oProxyCommand=id", "lz4", "zfs/vm"),
    *([], [[]], [None], [1], ["../x"], ["web", None], [WEB] * 1000, ["-oProxyCommand=id"], {}, {"": ""}, {"web": None}),
    *({"web": {}}, {"web": {"zfsext:id": 1}}, {"web": {"zfsext:state": "owner"}}, {"../x": {}}, {"web": "0.2-7"}),
    *({"zfsext:id": "x"}, {"zfsext:id": "a\nb"}, {"zfsext:id": "x" * 1024}, {"zfsext:stamp": "1"}, {"node3": "0.2"}),
]


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize("op", sorted(set(GOOD) - {"hello"}))
def test_the_trap_holds_who_passes_the_rules(op: str) -> None:
    with pytest.raises(Touched):
        answered({"op": op, **GOOD[op]})
    assert set(GOOD) == {*answers_copies.OPS, *answers_disks.OPS, *answers_people.OPS}


def judged(op: str, field: str, value: object) -> None:
    """See to it that the request with this value is taken, or refused, as the rules say."""
    request = {"op": op, **GOOD[op], field: value}
    if good(op, field, value):
        with pytest.raises(Touched):
            answered(request)
    else:
        refused(request)


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize(("op", "field"), FIELDS)
def test_a_malformed_value_is_an_error_and_nothing_is_touched(op: str, field: str) -> None:
    for value in MALFORMED:
        judged(op, field, value)


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize(("op", "field"), [each for each in FIELDS if each not in OPTIONAL])
def test_a_missing_value_is_named(op: str, field: str) -> None:
    assert refused({"op": op, **{name: value for name, value in GOOD[op].items() if name != field}}).endswith(field)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text(st.characters(), max_size=12),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=6), children, max_size=3),
    max_leaves=6,
)


@settings(HOSTILE, max_examples=3000)
@given(st.sampled_from(FIELDS), JSON | st.sampled_from(MALFORMED))
def test_any_value_is_taken_or_an_error(field: tuple[str, str], value: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        set_trap(patch)
        judged(*field, value)


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize("op", [None, "", "no", "_look", "look ", 1, True, ["look"], {"look": 1}, "a" * 10_000])
def test_what_is_no_request_is_an_error(op: object) -> None:
    assert "is no request" in refused({"op": op, **GOOD["receive"]})
    assert "is no request" in refused(GOOD["receive"])


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"", "JSONDecodeError"),
        (b"look", "JSONDecodeError"),
        (b'{"op": "look"', "JSONDecodeError"),
        (b"\xff\xfe\xff", "UnicodeDecodeError"),
        (b"[]", "BadInput"),
        (b'"look"', "BadInput"),
        (b"7", "BadInput"),
        (b"9" * 5000, "ValueError"),
        (b"[" * 200_000, "RecursionError"),
        (b'{"op":' * 100_000, "RecursionError"),
    ],
)
def test_a_line_that_is_no_object_is_an_error(line: bytes, kind: str) -> None:
    assert refused(line, kind).startswith(f"{kind}: " if kind != "BadInput" else "a request is an object")


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize("source", ["", "-x", "a b", "../x"])
def test_who_has_no_name_is_not_answered(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setattr(sys, "argv", ["answer", "2", source])
    assert "is no node's name" in refused({"op": "look", **GOOD["look"]})


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize("op", GOOD)
def test_a_node_without_its_pool_says_so_and_nothing_else(monkeypatch: pytest.MonkeyPatch, op: str) -> None:
    def require(name: str) -> None:
        if name == "tank":
            raise PoolUnavailable("pool tank is SUSPENDED: see zpool status")

    monkeypatch.setattr(pool, "require", require)
    if op == "hello":
        assert answered({"op": op}) == {}
    elif op in ("offline", "facts", "disks"):  # which are of Ganeti's configuration, or of just that
        with pytest.raises(Touched):
            answered({"op": op, **GOOD[op]})
    else:
        refused({"op": op, **GOOD[op]}, "PoolUnavailable")
