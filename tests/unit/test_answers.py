"""What a node answers to others: each value where it belongs, and of what is malformed nothing but an error.

The rules are written here a second time. What passes them runs into a trap as soon as it touches the system.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from conftest import WEB, Node
from hostile import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hostile import DISK

from zfsext import (
    answer,
    answers_copies,
    answers_disks,
    answers_people,
    arrived,
    attempt,
    cluster,
    config,
    dropping,
    forgetting,
    groups,
    handover,
    lock,
    marks,
    nodes,
    opening,
    peer,
    pool,
    promotion,
    properties,
    renaming,
    returning,
    taking,
    tickets,
    transfers,
    withdrawal,
    zfs,
)
from zfsext.config import Config
from zfsext.errors import BadInput, Busy, NoSpace, PoolUnavailable, Refused, Speechless
from zfsext.ownership import OWNER, Generation, Record, Round
from zfsext.peer import Line
from zfsext.taking import Offer

CONFIG = Config(["zfs/vm", "tank/vm"], "16K", "", "thin")
SOURCE = "node1.example.com"
SECOND = WEB.replace("disk0", "disk1")
FACTS = {"zfsext:id": "11", "zfsext:size": "64"}
BASES = {"node3": ["0.2-6"]}
KEEPS = {"bases": BASES, "moments": {WEB: ["taken-20261129T185100Z"], SECOND: []}}
#: A good request of each kind.
GOOD: dict[str, dict[str, Any]] = {
    "ask": {"volumes": [SECOND, WEB]},
    "look": {"volume": WEB},
    "room": {"parent": "tank/vm"},
    "receive": {
        "volume": WEB,
        "parent": "tank/vm",
        "snapshot": "zfsext-0.2-7",
        "full": True,
        "generation": "0.2",
        "claim": "0.3",
        "facts": FACTS,
        "recordsize": 65536,
        "compression": "lz4",
    },
    "abort": {"volume": WEB, "token": "1-af-c0"},
    "idle": {"facts": {WEB: FACTS, SECOND: {}}, "round": "0.2-7", "generation": "0.2", "taken": 17},
    "round": {"facts": {WEB: FACTS, SECOND: {}}, "round": "0.2-7", "generation": "0.2", "taken": 17, **KEEPS},
    "rewind": {"volume": WEB, "guid": "77", "id": "11", "generation": "0.3"},
    "prepare": {"facts": {WEB: FACTS, SECOND: {}}, "final": "0.2-7"},
    "ticket": {"volumes": [WEB], "number": "0.3", "final": "0.2-7", "knows": ["node3"], "bases": BASES},
    "revoke": {"volumes": [WEB], "number": "0.3", "before": "0.2"},
    "pull": {"volume": WEB, "but": []},
    "reclaim": {"volume": WEB},
    "accept": {"volume": WEB},
    "word": {"volumes": [WEB, SECOND]},
    "replicate": {"volume": WEB, "to": "node3", "bandwidth": 4096, "urgent": True, "but": []},
    "floor": {"volumes": [WEB], "floor": "7.0"},
    "forget": {"volume": WEB, "id": "11", "owner": "0.2"},
    "withdraw": {"volume": WEB, "on": "node3"},
    "remove": {"volume": WEB},
    "offline": {},
    "claims": {},
    "yield": {"volume": WEB, "generation": "7.0"},
    "snapshot": {"volume": WEB, "name": "monday", "keep": 3, "quiesce": "web1", "thaw_after": 30, "verbose": False},
    "rollback": {"volume": WEB, "to": "monday", "dry": True, "verbose": True},
    "back": {"volume": WEB, "generation": "0.2", "dry": False, "verbose": False},
    "drop": {"volumes": [WEB], "generation": "", "dry": False},
    "goals": {"volumes": [WEB]},
    "kept": {"volumes": [WEB]},
    "sources": {"volumes": [WEB], "short": "monday", "dry": False},
    "disks": {"snapshots": True},
    "facts": {},
    "removed": {},
    "revive": {"datasets": ["zfs/vm-standby/web.removed-17"], "dry": False},
    "purge": {"dataset": "zfs/vm-standby/web.removed-17", "began": True},
}
#: What may be left out.
OPTIONAL = {("replicate", "urgent"), ("forget", "owner")}


class Touched(BaseException):
    """Something that is not to be touched was; no handler takes this for an error."""


def touch(*_: object, **__: object) -> NoReturn:
    raise Touched


def set_trap(patch: pytest.MonkeyPatch) -> None:
    """Let nothing be touched: neither ZFS, nor another program or node, nor a lock, nor what Ganeti says."""
    patch.setattr(sys, "argv", ["answer", "2", SOURCE])
    patch.setattr(config, "load", lambda: CONFIG)
    patch.setattr(pool, "require", lambda _: None)
    patch.setattr(pool, "works", lambda _: True)
    for module, names in (
        (zfs, ("_command", "lzc")),
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


def answered(request: object) -> dict[str, Any]:
    """Return the answer to a request as it comes over the line, which must be one that can go back."""
    line = request if isinstance(request, bytes) else json.dumps(request).encode()
    found = answer._answered(line, touch)
    assert json.loads(json.dumps(found)) == found
    return found


def refused(request: object, kind: str = "BadInput") -> str:
    """Return what was said of a malformed request."""
    found = answered(request)
    assert (set(found), found["error"]) == ({"error", "text"}, kind), found
    assert 10 < len(found["text"]) < 1000
    return str(found["text"])


Rule = Callable[[object], bool]
Say = Callable[[object], None]


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
    "quiesce": lambda value: value == "" or text(r"[a-zA-Z0-9][a-zA-Z0-9._+-]*")(value),
    "thaw_after": lambda value: type(value) is int and 1 <= value <= 600,
    "verbose": flag,
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
@pytest.mark.parametrize("op", GOOD)
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
    if op in ("offline", "facts", "disks"):  # which are of Ganeti's configuration, or of just that
        with pytest.raises(Touched):
            answered({"op": op, **GOOD[op]})
    else:
        refused({"op": op, **GOOD[op]}, "PoolUnavailable")


# What is good reaches who does it, each value in its place.


class Doer:
    """Who does what is asked: it keeps what it was called with, and returns what the test says."""

    def __init__(self, returned: object = None) -> None:
        self.returned = returned
        self.called: list[tuple[object, ...]] = []

    def __call__(self, *arguments: object, **_: object) -> object:
        self.called.append(arguments)
        if isinstance(self.returned, Exception):
            raise self.returned
        return self.returned


G2, G3, G7 = Generation(0, 2), Generation(0, 3), Generation(7, 0)
ROUND7, SIX = Round(G2, 7), {"node3": [Round(G2, 6)]}
KEPT = {WEB: ["taken-20261129T185100Z"], SECOND: []}
GROUP = [WEB, SECOND]


Put = Callable[..., Doer]


@pytest.fixture
def works(node: Node, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Return a node on which nothing is in the way of an answer."""
    monkeypatch.setattr(sys, "argv", ["answer", "2", SOURCE])
    monkeypatch.setattr(config, "load", lambda: CONFIG)
    monkeypatch.setattr(pool, "require", lambda _: None)
    monkeypatch.setattr(groups, "of", lambda volume, _: GROUP if volume == WEB else [volume])
    return node


@pytest.fixture
def doer(works: Node, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Return what puts a doer in some function's place, on such a node."""

    def put(module: object, name: str, returned: object = None) -> Doer:
        assert works.datasets
        made = Doer(returned)
        monkeypatch.setattr(module, name, made)
        return made

    return put


@pytest.mark.parametrize(
    ("op", "module", "name", "arguments"),
    [
        ("look", taking, "look", (WEB, CONFIG)),
        ("abort", taking, "abort", (WEB, "1-af-c0", CONFIG)),
        ("round", arrived, "complete", ({WEB: FACTS, SECOND: {}}, ROUND7, G2, 17, SIX, KEPT, CONFIG)),
        ("ticket", tickets, "take", ([WEB], SOURCE, G3, ROUND7, frozenset({"node3"}), SIX, CONFIG)),
        ("revoke", tickets, "give_back", ([WEB], SOURCE, G3, G2, CONFIG)),
        ("floor", tickets, "raise_floor", ([WEB], G7, CONFIG)),
        ("forget", dropping, "forget", (WEB, "11", G2, CONFIG)),
    ],
)
def test_a_request_reaches_who_does_it(
    doer: Put, op: str, module: object, name: str, arguments: tuple[object, ...]
) -> None:
    called = doer(module, name, {}).called
    assert answered({"op": op, **GOOD[op]}) == {}
    assert called == [arguments]


def test_a_removed_disks_copy_is_ended_in_nobodys_name(doer: Put) -> None:
    called = doer(dropping, "forget").called
    assert answered({"op": "forget", "volume": WEB, "id": None}) == {}
    assert called == [(WEB, None, None, CONFIG)]


@pytest.mark.usefixtures("works")
def test_who_is_asked_tells_of_each_disk_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {WEB: Record(OWNER, G3)}
    monkeypatch.setattr(taking, "told", lambda volumes, _: {volume: there.get(volume) for volume in volumes})
    told = answered({"op": "ask", **GOOD["ask"]})["records"]
    assert told[SECOND] is None
    assert (told[WEB]["state"], told[WEB]["generation"]) == ("owner", "0.3")


def test_the_room_is_that_of_the_place_for_copies(works: Node) -> None:
    works.datasets["tank/vm-standby"] = {"available": "4711"}
    assert answered({"op": "room", "parent": "tank/vm"}) == {"free": 4711}
    del works.datasets["tank/vm-standby"]
    assert "tank/vm-standby does not exist: 'zfs create" in refused({"op": "room", "parent": "tank/vm"})


@pytest.mark.usefixtures("works")
def test_a_stream_is_taken_once_all_is_ready_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[str, Offer, Config, int]] = []
    said: list[object] = []

    def receive(volume: str, offer: Offer, config: Config, pipe: int, ready: Callable[[], None]) -> None:
        taken.append((volume, offer, config, pipe))
        ready()
        said.append("received")

    monkeypatch.setattr(taking, "receive", receive)
    line = json.dumps({"op": "receive", **GOOD["receive"]}).encode()
    assert answer._answered(line, said.append) == {}
    assert said == [{"ready": True}, "received"]
    ((volume, offer, config, pipe),) = taken
    assert (volume, config, pipe) == (WEB, CONFIG, 0)
    assert {name: getattr(offer, name) for name in Offer.__slots__} == {
        "source": SOURCE,
        "parent": "tank/vm",
        "snapshot": "zfsext-0.2-7",
        "generation": G2,
        "claim": G3,
        "facts": FACTS,
        "recordsize": 65536,
        "compression": 15,
        "full": True,
    }


@pytest.mark.parametrize("idle", [True, False])
def test_who_has_nothing_new_is_told_whether_that_is_so_here_too(doer: Put, idle: bool) -> None:
    called = doer(arrived, "idle", idle).called
    assert answered({"op": "idle", **GOOD["idle"]}) == {"idle": idle}
    assert called == [({WEB: FACTS, SECOND: {}}, ROUND7, G2, 17, CONFIG)]


def test_the_floors_are_told_to_who_prepares(doer: Put) -> None:
    called = doer(tickets, "prepare", [G2, G7]).called
    assert answered({"op": "prepare", **GOOD["prepare"]}) == {"floors": ["0.2", "7.0"]}
    assert called == [({WEB: FACTS, SECOND: {}}, SOURCE, ROUND7, CONFIG)]


@pytest.mark.parametrize("urgent", [True, False])
def test_a_round_for_another_node_is_of_all_disks_of_the_vm(doer: Put, urgent: bool) -> None:
    replicate, ended = doer(attempt, "replicate", 4711), doer(transfers, "ended", Nothing())
    assert answered({"op": "replicate", **GOOD["replicate"], "urgent": urgent}) == {"sent": 4711}
    ((volumes, target, config, _, _, bandwidth),) = replicate.called
    assert (volumes, target, config, bandwidth) == (GROUP, "node3", CONFIG, 4096)
    assert ended.called == ([(GROUP,)] if urgent else [])


class Nothing:
    """A context of which nothing comes."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.usefixtures("works")
def test_who_pulls_is_who_asked_and_only_what_is_idle_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    said: list[object] = []

    def give(volumes: Sequence[str], target: str, _: Config, __: object, told: Say, asked: bool) -> None:
        given.append((volumes, target, asked))
        told((WEB, 1, 2))

    monkeypatch.setattr(handover, "give", give)
    assert answer._answered(json.dumps({"op": "pull", **GOOD["pull"]}).encode(), said.append) == {}
    assert given == [(GROUP, SOURCE, True)]
    assert said == [{"progress": [WEB, 1, 2]}]


@pytest.mark.parametrize(
    ("op", "module", "name", "arguments"),
    [
        ("reclaim", opening, "reclaim", (WEB, CONFIG)),
        ("accept", opening, "accept", (WEB, CONFIG)),
        ("withdraw", withdrawal, "withdraw", (GROUP, "node3", CONFIG)),
        ("remove", forgetting, "remove", (WEB, CONFIG, SOURCE)),
    ],
)
def test_who_needs_other_nodes_for_it_has_them(
    doer: Put, op: str, module: object, name: str, arguments: tuple[object, ...]
) -> None:
    called = doer(module, name).called
    assert answered({"op": op, **GOOD[op]}) == {}
    (given,) = called
    assert tuple(each for each in given if not isinstance(each, peer.Peers)) == arguments
    assert len(given) == len(arguments) + 1


def test_a_removed_disk_leaves_no_lock(doer: Put) -> None:
    doer(forgetting, "remove")
    answered({"op": "remove", "volume": WEB})
    assert not Path(lock.RUN, f"{WEB}.lock").exists()
    doer(forgetting, "remove", Busy("pid 12 uses it"))
    refused({"op": "remove", "volume": WEB}, "Busy")
    assert Path(lock.RUN, f"{WEB}.lock").exists()


@pytest.mark.usefixtures("works")
def test_a_word_is_left_for_who_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "require", lambda volumes, _: list(volumes))
    monkeypatch.setattr(renaming, "require", _leave_in_the_way)
    refused({"op": "word", **GOOD["word"]}, "NoSpace")
    assert marks.word(WEB) is None
    monkeypatch.setattr(renaming, "require", _leave)
    assert answered({"op": "word", **GOOD["word"]}) == {}
    for volume in GROUP:
        word = marks.word(volume)
        assert word is not None
        assert (word.target, word.volumes, word.failed) == (SOURCE, sorted(GROUP), "")


def _leave(group: list[str], *, live: bool) -> None:
    assert (group, live) == (sorted(GROUP), False)


def _leave_in_the_way(group: list[str], *, live: bool) -> None:
    _leave(group, live=live)
    raise NoSpace("zfs/vm-standby has a quota")


@pytest.mark.usefixtures("works")
def test_a_word_waits_only_briefly_for_who_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "BRIEF", 0.2)
    with lock.VolumeLock(WEB, "grow"):
        refused({"op": "word", "volumes": [WEB]}, "Busy")
    assert marks.word(WEB) is None


def test_the_master_says_who_is_offline(doer: Put) -> None:
    doer(promotion, "own_word", promotion.Word(frozenset({"node3", "node2"}), 17))
    assert answered({"op": "offline"}) == {"offline": ["node2", "node3"], "serial": 17}
    doer(promotion, "own_word", Refused("node1 is not the master"))
    refused({"op": "offline"}, "Refused")


def test_who_returns_is_sure_of_nothing_any_more(doer: Put) -> None:
    doer(returning, "claims", {WEB: Record(OWNER, G2)})
    for volume in (WEB, SECOND):
        marks.note_opened(volume)
        marks.set_fresh(volume, "0.2")
        marks.set_overridden(volume, ["node2"])
    assert answered({"op": "claims"})["records"][WEB]["generation"] == "0.2"
    assert (marks.was_opened(WEB), marks.fresh(WEB, "0.2"), marks.overridden(WEB)) == (False, False, [])
    assert (marks.was_opened(SECOND), marks.fresh(SECOND, "0.2"), marks.overridden(SECOND)) == (True, True, ["node2"])


def test_who_was_passed_over_says_where_its_copy_is(doer: Put) -> None:
    called = doer(returning, "give_way", "zfs/vm-standby/web.aside-0.2").called
    assert answered({"op": "yield", **GOOD["yield"]}) == {"aside": "zfs/vm-standby/web.aside-0.2"}
    assert called == [(WEB, G7, CONFIG)]


@pytest.mark.parametrize("error", [NoSpace("full"), Speechless("node3 does not answer"), OSError(5, "I/O error")])
def test_what_goes_wrong_is_told_by_its_kind(doer: Put, error: Exception) -> None:
    doer(taking, "look", error)
    assert answered({"op": "look", "volume": WEB}) == {"error": type(error).__name__, "text": str(error)}


# The process at the other end of the line, and the line.

PROCESS = """
import os, sys
sys.path.insert(0, {root!r})
sys.argv = sys.argv[1:]
from zfsext import answer, answers, config, errors, pool, taking
config.load = lambda: config.Config(["zfs/vm"], "16K", "", "thin")
pool.require = lambda _: None

def look(volume, _):
    print("to people", flush=True)
    os.system("echo and from a child")
    return {{"volume": volume, "argv": sys.argv[1:]}}

def receive(volume, offer, _, pipe, ready):
    if offer.compression is None:
        raise errors.Refused("it is older")
    ready()
    found = os.read(pipe, 5)
    if not offer.full:
        raise errors.NoSpace("full")
    with open({file!r}, "wb") as file:
        file.write(found)

taking.look, taking.receive = look, receive
answer.main()
"""


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """Return a line to another node, which runs the real answer there; a stream of five bytes ends up in a file."""
    script = PROCESS.format(root=str(Path(answer.__file__).parents[1]), file=str(tmp_path / "received"))
    monkeypatch.setattr(nodes, "ssh_command", lambda _: [sys.executable, "-c", script])
    monkeypatch.setattr(nodes, "this_node", lambda: SOURCE)
    made = Line(nodes.Node("node2", "192.0.2.2"))
    yield made
    made.close()


def test_nothing_but_answers_comes_over_the_line(line: Line) -> None:
    for volume in (WEB, SECOND):
        assert line.call("look", volume=volume) == {"volume": volume, "argv": ["2", SOURCE]}
    line._ssh.stdin.close()  # type: ignore[union-attr]
    assert line._ssh.wait(20) == 0
    assert line._ssh.stderr.read() == b"to people\nand from a child\n" * 2  # type: ignore[union-attr]


def test_an_error_does_not_end_the_line(line: Line) -> None:
    with pytest.raises(BadInput, match=r"node2: volume is '\.\./x'"):
        line.call("look", volume="../x")
    with pytest.raises(BadInput, match="is no request"):
        line.call("no")
    with pytest.raises(Refused, match="it is older"):
        line.stream("receive", lambda _: touch(), touch, **GOOD["receive"] | {"compression": "", "parent": "zfs/vm"})
    assert line.call("look", volume=WEB)["volume"] == WEB


def test_of_a_stream_no_byte_too_much_is_read(line: Line, tmp_path: Path) -> None:
    def write(pipe: int) -> None:
        os.write(pipe, b"12345")

    passed: list[int] = []
    assert line.stream("receive", write, passed.append, **GOOD["receive"]) == {}
    assert (tmp_path / "received").read_bytes() == b"12345"
    assert passed == [5]
    assert line.call("look", volume=WEB)["volume"] == WEB


def test_a_receiver_that_failed_in_a_stream_takes_no_request_from_it(line: Line) -> None:
    def write(pipe: int) -> None:
        os.write(pipe, b"12345" + json.dumps({"op": "look", "volume": WEB}).encode() + b"\n")

    with pytest.raises(NoSpace, match="node2: full"):
        line.stream("receive", write, lambda _: None, **GOOD["receive"] | {"full": False})
    assert line._ssh.wait(20) == 1


def process(*arguments: str) -> list[str]:
    script = PROCESS.format(root=str(Path(answer.__file__).parents[1]), file=os.devnull)
    return [sys.executable, "-c", script, "answer", *arguments]


def run(*arguments: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(process(*arguments), input=given, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("arguments", [(), ("2",), ("2", SOURCE, "more")])
def test_who_types_it_is_told_what_it_is(arguments: Sequence[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"Usage: answer PROTOCOL NODE")


@pytest.mark.parametrize("protocol", ["0", "1", "", "2.0"])
def test_one_who_speaks_another_protocol_is_told_so_and_not_listened_to(protocol: str) -> None:
    done = run(protocol, SOURCE, given=json.dumps({"op": "look", "volume": WEB}).encode() + b"\n")
    assert done.returncode == 3
    assert [sorted(json.loads(said)) for said in done.stdout.splitlines()] == [["protocol", "version"]]


def test_a_request_without_an_end_is_not_kept_for_ever() -> None:
    done = subprocess.Popen(process("2", SOURCE), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert done.stdin is not None
    with done, contextlib.suppress(BrokenPipeError):
        done.stdin.write(b"x" * (answer.LONGEST + (1 << 20)))
        assert done.wait(20) == 0  # though who writes it has not hung up


def test_a_request_that_breaks_off_is_not_answered() -> None:
    one = json.dumps({"op": "look", "volume": WEB}).encode()
    done = run("2", SOURCE, given=one + b"\n" + one)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)
