"""A round by hand: who sends, what is noted of its end, and how often before a hand-over."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from conftest import WEB

from zfsext import asking, attempt, handover, local, nodes, outcome, replication, seeding, whereabouts
from zfsext.asking import Answers
from zfsext.config import Config
from zfsext.errors import NoSpace, Refused
from zfsext.ownership import OWNER, REPLICA, SEALED, TICKET, Generation, Record
from zfsext.peer import Peers
from zfsext.transfer import Progress

pytestmark = pytest.mark.usefixtures("node", "others")
CONFIG = Config(["zfs/vm"], "16K", "", "thin")
NODE1, NODE2, NODE3 = (f"node{number}.example.com" for number in (1, 2, 3))
MIB = 1 << 20


class Line:
    """Another node, which answers all in the same way, and says that it is half done meanwhile."""

    def __init__(self, *sent: int) -> None:
        self.sent = list(sent)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def call(self, op: str, seconds: float = 0, **fields: Any) -> dict[str, Any]:
        del seconds
        self.asked.append((op, fields))
        return {}

    def follow(self, op: str, said: Callable[[list[Any]], None], seconds: float, **fields: Any) -> dict[str, Any]:
        said([WEB, 1, 2])
        return {**self.call(op, seconds, **fields), "sent": self.sent.pop(0)}


class Here:
    """This node's copy."""

    def __init__(self, record: Record) -> None:
        self.record = record


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let neither this node nor another one have a copy."""
    has(monkeypatch, None)


def has(monkeypatch: pytest.MonkeyPatch, mine: Record | None, **told: Record) -> None:
    """Let this node have a copy with this record, and the others with theirs."""
    answers = {NODE2: {WEB: told.get("node2")}, NODE3: {WEB: told.get("node3")}}
    monkeypatch.setattr(local, "find", lambda *_: Here(mine) if mine else None)
    monkeypatch.setattr(asking, "ask", lambda *_: Answers(answers, {"node4": "node4 does not answer"}))


def on(monkeypatch: pytest.MonkeyPatch, line: Line) -> Peers:
    """Let all other nodes be at this line."""
    peers = Peers()
    monkeypatch.setattr(peers, "line", lambda _: line)
    return peers


def ends(monkeypatch: pytest.MonkeyPatch, *ends: int | Exception) -> list[str]:
    """Let the rounds that this node sends end like this; return where they go."""
    left, seen = list(ends), []

    def replicate(volumes: Sequence[str], node: str, *_: object) -> int:
        assert list(volumes) == [WEB]
        seen.append(node)
        end = left.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    monkeypatch.setattr(replication, "replicate", replicate)
    return seen


def test_how_a_round_ended_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    ends(monkeypatch, NoSpace("no room"), 12)
    with pytest.raises(NoSpace):
        attempt.replicate([WEB], NODE2, CONFIG, Peers())
    assert outcome.of(WEB)[NODE2].error == "no room"
    assert attempt.replicate([WEB], NODE2, CONFIG, Peers()) == 12
    assert outcome.of(WEB)[NODE2].error is None


def test_that_nobody_listens_any_more_is_no_failure_of_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    ends(monkeypatch, BrokenPipeError(32, "Broken pipe"))
    with pytest.raises(BrokenPipeError):
        attempt.replicate([WEB], NODE2, CONFIG, Peers())
    assert outcome.of(WEB) == {}


def test_a_node_that_ganeti_lets_go_nowhere_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = ends(monkeypatch, 12)
    monkeypatch.setattr(nodes, "is_candidate", lambda: False)
    with pytest.raises(Refused, match="gnt-node modify -C yes"):
        attempt.replicate([WEB], NODE2, CONFIG, Peers())
    assert seen == []
    assert "master candidate" in str(outcome.of(WEB)[NODE2].error)


def test_the_owner_sends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, Record(OWNER))
    seen = ends(monkeypatch, 12)
    assert attempt.from_owner([WEB], NODE2, CONFIG, on(monkeypatch, Line()), lambda _: None) == 12
    assert seen == [NODE2]


def test_another_owner_is_asked_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, Record(REPLICA), node2=Record(OWNER))
    line, told = Line(12), list[Progress]()
    assert attempt.from_owner([WEB], NODE1, CONFIG, on(monkeypatch, line), told.append, 4096) == 12
    assert line.asked == [("replicate", {"volume": WEB, "to": NODE1, "bandwidth": 4096, "urgent": False, "but": []})]
    assert told == [Progress(WEB, 1, 2)]


@pytest.mark.parametrize("node", [NODE2, NODE3])
def test_no_copy_goes_to_the_owner_or_comes_from_nobody(monkeypatch: pytest.MonkeyPatch, node: str) -> None:
    has(monkeypatch, None, **({"node2": Record(OWNER)} if node == NODE2 else {}))
    words = "has the disks themselves" if node == NODE2 else f"no node that answers has disk {WEB}: node4 does not"
    with pytest.raises(Refused, match=words):
        attempt.from_owner([WEB], node, CONFIG, on(monkeypatch, Line()), lambda _: None)


def test_the_best_claim_counts_also_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = Record(TICKET, Generation(0, 2))
    has(monkeypatch, newer, node2=Record(SEALED))
    assert whereabouts.holder(WEB, CONFIG, Peers()) == (NODE1, TICKET)
    has(monkeypatch, Record(SEALED), node2=newer)
    assert whereabouts.holder(WEB, CONFIG, Peers()) == (NODE2, TICKET)


@pytest.mark.parametrize(
    ("each", "rounds"),
    [((12,), 1), ((900, 500, 12), 3), ((900, 900), 2), ((900, 950), 2), ((900, 800, 700, 600, 500, 400), 6)],
)
def test_rounds_go_on_as_long_as_they_help(monkeypatch: pytest.MonkeyPatch, each: tuple[int, ...], rounds: int) -> None:
    has(monkeypatch, Record(OWNER))
    seen = ends(monkeypatch, *(mebibytes * MIB for mebibytes in (*each, 1, 1)))
    sent = attempt.until_little_is_left([WEB], NODE2, CONFIG, Peers(), lambda _: None)
    assert (len(seen), sent) == (rounds, sum(each) * MIB)


def test_the_hook_does_not_wait_for_a_round_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(12)
    assert seeding.one(on(monkeypatch, line).line(NODE2), WEB, NODE1, lambda _: None, urgent=True) == 12
    assert [asked["urgent"] for _, asked in line.asked] == [True]


@pytest.mark.parametrize("owner", [{"node2": Record(OWNER)}, {"node3": Record(TICKET)}])
def test_nothing_is_sent_of_what_is_there_or_on_its_way(
    monkeypatch: pytest.MonkeyPatch, owner: dict[str, Record]
) -> None:
    has(monkeypatch, None, **owner)
    assert attempt.until_little_is_left([WEB], NODE2, CONFIG, Peers(), lambda _: None) == 0


def test_what_an_interrupted_move_has_sealed_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, Record(SEALED))
    seen = ends(monkeypatch, 12)

    def take_back(volumes: Sequence[str], *_: object) -> bool:
        assert list(volumes) == [WEB]
        has(monkeypatch, Record(OWNER))
        return True

    monkeypatch.setattr(handover, "take_back", take_back)
    assert attempt.until_little_is_left([WEB], NODE2, CONFIG, Peers(), lambda _: None) == 12
    assert seen == [NODE2]


def test_another_node_takes_back_what_it_has_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, None, node2=Record(SEALED))
    line = Line(12)
    peers = on(monkeypatch, line)
    assert attempt.until_little_is_left([WEB], NODE3, CONFIG, peers, lambda _: None) == 0  # it is still sealed here
    assert line.asked == [("reclaim", {"volume": WEB})]
