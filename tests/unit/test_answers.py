"""What a node answers to others: each good request reaches who does it, with each value in its place."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from asked import CONFIG, FACTS, GOOD, SECOND, SOURCE, answered, refused
from conftest import WEB, Node

from zfsext import (
    answer,
    arrived,
    attempt,
    config,
    dropping,
    forgetting,
    groups,
    handover,
    lock,
    marks,
    opening,
    peer,
    pool,
    promotion,
    renaming,
    returning,
    taking,
    tickets,
    transfers,
    withdrawal,
)
from zfsext.config import Config
from zfsext.errors import Busy, NoSpace, Refused, Speechless
from zfsext.ownership import OWNER, Generation, Record, Round
from zfsext.taking import Offer

Say = Callable[[object], None]


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
    ],
)
def test_a_request_reaches_who_does_it(
    doer: Put, op: str, module: object, name: str, arguments: tuple[object, ...]
) -> None:
    called = doer(module, name, {}).called
    assert answered({"op": op, **GOOD[op]}) == {}
    assert called == [arguments]


def test_a_removed_disks_copy_is_ended_in_nobodys_name(doer: Put) -> None:
    called = doer(dropping, "forget", ["a"]).called
    assert answered({"op": "forget", "volume": WEB, "id": None}) == {"gone": ["a"]}
    assert answered({"op": "forget", **GOOD["forget"]}) == {"gone": ["a"]}
    assert called == [(WEB, None, None, CONFIG), (WEB, "11", G2, CONFIG)]


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


def test_the_end_of_a_copy_on_a_node_tells_what_is_gone(doer: Put) -> None:
    called = doer(withdrawal, "withdraw", ["a"]).called
    assert answered({"op": "withdraw", **GOOD["withdraw"]}) == {"gone": ["a"]}
    assert called[0][:3] == (GROUP, "node3", CONFIG)


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
