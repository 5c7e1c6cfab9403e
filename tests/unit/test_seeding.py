"""What a hook does on the target before a VM moves: who has the disks, what is brought, and what vetoes the move."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import WEB, Node

from zfsext import asking, groups, local, nodes, renaming, seeding
from zfsext.asking import Answers
from zfsext.config import Config
from zfsext.errors import NoSpace, Refused, Speechless
from zfsext.ownership import OWNER, REPLICA, SEALED, TICKET, Generation, Record, Round

CONFIG = Config(["zfs/vm"], "16K", "", "thin")
SECOND = WEB.replace("disk0", "disk1")
BOTH = [SECOND, WEB]
NODE1, NODE2, NODE3 = (f"node{number}.example.com" for number in (1, 2, 3))
NOW, NEXT = Generation(0, 2), Generation(0, 3)
DISK, COPY = Record(OWNER, NOW), Record(REPLICA, NOW, peer=NODE2, round=Round(NOW, 1))
GOT = Record(TICKET, NEXT, peer=NODE2)
GIVEN = Record(SEALED, NOW, issued=NEXT, peer=NODE1)
MIB = 1 << 20


class Here:
    """This node's copy."""

    def __init__(self, volume: str, record: Record) -> None:
        self.volume = volume
        self.record = record


class World:
    """Node1, on which the hook runs, and the others, which do what they are asked. Two disks of one VM."""

    def __init__(self) -> None:
        self.mine: dict[str, Record | None] = dict.fromkeys(BOTH)
        self.told: dict[str, dict[str, Record | None]] = {node: dict.fromkeys(BOTH) for node in (NODE2, NODE3)}
        self.silent: set[str] = set()
        self.sent = [1]
        self.done: list[str] = []
        self.during: Callable[[], None] = lambda: None
        self.in_the_way: set[str] = set()

    def looked_at(self, group: list[str], live: bool) -> None:
        assert live
        assert len(self.done) > 1, "it is not here yet"
        if self.in_the_way & set(group):
            raise NoSpace("zfs/vm has a quota")

    def have(self, **records: Record) -> None:
        for name, record in records.items():
            if name == "node1":
                self.mine = dict.fromkeys(BOTH, record)
            else:
                self.told[f"{name}.example.com"] = dict.fromkeys(BOTH, record)

    def find(self, volume: str, _: Config) -> Here | None:
        record = self.mine[volume]
        return Here(volume, record) if record else None

    def ask(self, volumes: list[str], names: Iterable[str], _: object) -> Answers:
        assert (volumes, sorted(names)) == (BOTH, [NODE2, NODE3])
        self.done.append("ask")
        answers = {name: told for name, told in self.told.items() if name not in self.silent}
        return Answers(answers, {name: f"{name} does not answer" for name in sorted(self.silent)})

    def line(self, name: str) -> "Line":
        return Line(self, name)

    @contextmanager
    def peers(self) -> Iterator["World"]:
        yield self


class Line:
    """The line to another node."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name

    def call(self, op: str, **fields: Any) -> dict[str, Any]:
        assert fields.pop("seconds", 0) == (seeding.STILL if op in ("reclaim", "accept") else 0)
        told = " ".join(str(value) for value in fields.values())
        self.world.done.append(f"{op} {self.name.removesuffix('.example.com')} {told}")
        if op == "reclaim":
            self.world.told[self.name] = dict.fromkeys(BOTH, Record(OWNER, NEXT.after()))
            self.world.mine = dict.fromkeys(BOTH, COPY)
        return {}

    def follow(self, op: str, said: Callable[[list[Any]], None], seconds: float, **fields: Any) -> dict[str, Any]:
        assert seconds == seeding.STILL
        self.call(op, **fields)
        self.world.during()
        said([WEB, 1, 2])
        return {"sent": self.world.sent.pop(0) * MIB}


@pytest.fixture
def world(node: Node, others: dict[str, nodes.Node], monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    assert node.datasets
    assert others
    monkeypatch.setattr(local, "find", found.find)
    monkeypatch.setattr(asking, "ask", found.ask)
    monkeypatch.setattr(seeding, "peers", found.peers)
    monkeypatch.setattr(groups, "require", lambda volumes, _: list(volumes))
    monkeypatch.setattr(renaming, "require", lambda group, *, live: found.looked_at(group, live))
    monkeypatch.setattr(renaming, "require_room", lambda group: found.looked_at(group, True))
    return found


def seed(world: World) -> list[str]:
    assert seeding.seed(BOTH, "web1", NODE2, CONFIG) == ""
    return world.done


ROUND = f"replicate node2 {SECOND} {NODE1} 0 True []"
WORD = f"word node2 {[WEB, SECOND]}"


@pytest.mark.parametrize("mine", [None, COPY])
def test_the_disks_come_in_rounds_and_the_word_is_the_last(world: World, mine: Record | None) -> None:
    world.have(node2=DISK, **({"node1": mine} if mine else {}))
    world.sent = [900, 100, 1]
    assert seed(world) == ["ask", ROUND, ROUND, ROUND, WORD]


def test_disks_that_cannot_live_here_veto_the_move_while_the_vm_runs(world: World) -> None:
    world.have(node2=DISK)
    world.in_the_way = {WEB}
    with pytest.raises(NoSpace, match="has a quota"):
        seed(world)
    assert world.done == ["ask", ROUND]


def test_what_an_interrupted_move_has_sealed_is_taken_back_first(world: World) -> None:
    world.have(node2=GIVEN, node1=COPY)
    assert seed(world) == ["ask", f"reclaim node2 {SECOND}", ROUND, WORD]
    world.done.clear()
    world.told[NODE2] = {WEB: GIVEN, SECOND: DISK}
    world.sent = [1]
    assert seed(world) == ["ask", f"reclaim node2 {SECOND}", ROUND, WORD]


def test_a_move_that_got_as_far_as_the_ticket_is_made_again(world: World) -> None:
    world.have(node1=GOT, node2=GIVEN)
    assert seed(world) == [f"reclaim node2 {SECOND}", "ask", ROUND, WORD]


@pytest.mark.parametrize("mine", [DISK, GOT._replace(peer=NODE3)])
def test_there_is_nothing_to_bring_to_who_has_the_disks(world: World, mine: Record) -> None:
    """Ganeti would have to close them where they are not, which it leaves out only on a node that is offline."""
    world.have(node1=mine, node2=COPY)
    with pytest.raises(
        Refused, match=f"its disks are on {NODE1}, .* for them on {NODE2}: .*--new-primary={NODE1} web1"
    ):
        seed(world)
    world.done.clear()
    offline(NODE2)
    assert seed(world) == ["ask"]


def test_disks_that_are_on_a_third_node_are_not_where_ganeti_closes_them(world: World) -> None:
    world.have(node3=DISK)
    with pytest.raises(Refused, match=f"its disks are on {NODE3}"):
        seed(world)
    assert world.done == ["ask"]


def test_what_was_its_own_once_is_brought_as_if_it_were_not_there(world: World) -> None:
    world.have(node1=DISK, node2=Record(OWNER, NEXT))
    assert seed(world) == ["ask", ROUND, WORD]


def test_a_disk_that_was_added_here_is_not_brought(world: World) -> None:
    world.have(node2=DISK)
    offline(NODE2)
    world.told[NODE2][SECOND], world.mine[SECOND] = None, DISK
    assert seed(world) == ["ask", ROUND.replace(SECOND, WEB).replace("[]", str([SECOND])), f"word node2 {[WEB]}"]


def test_a_node_that_has_but_one_of_the_disks_does_not_have_the_vm(world: World) -> None:
    world.have(node2=DISK)
    world.mine[WEB] = Record(OWNER, NOW)
    assert seed(world) == ["ask", ROUND, WORD]


def test_what_was_moved_and_never_started_is_made_its_nodes_own_first(world: World) -> None:
    world.have(node3=COPY, node2=Record(TICKET, NEXT, peer=NODE3))
    assert seed(world) == ["ask", f"accept node2 {SECOND}", f"accept node2 {WEB}", ROUND, WORD]


def test_the_disks_are_brought_though_a_third_node_is_silent(world: World) -> None:
    world.have(node2=DISK)
    world.silent = {NODE3}
    assert seed(world) == ["ask", ROUND, WORD]


def offline(*names: str) -> None:
    for name in names:
        nodes.peers()[name] = nodes.peers()[name]._replace(offline=True)


@pytest.mark.parametrize("state", [REPLICA, SEALED])
def test_of_a_dead_nodes_disks_complete_copies_will_do(world: World, state: str) -> None:
    world.have(node1=COPY._replace(state=state, round=COPY.round if state == REPLICA else None))
    world.silent = {NODE2}
    offline(NODE2)
    assert seed(world) == ["ask"]


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (COPY, None, f"disk {SECOND} has no copy on {NODE1}, and its owner does not answer"),
        (None, COPY, f"disk {WEB} has no copy on {NODE1}"),
        (COPY, COPY._replace(round=None), f"the copy of {SECOND} on {NODE1} was never complete"),
    ],
)
def test_of_a_dead_nodes_disks_all_must_be_here_and_complete(
    world: World, first: Record | None, second: Record | None, words: str
) -> None:
    world.mine = {WEB: first, SECOND: second}
    world.silent = {NODE2}
    offline(NODE2)
    with pytest.raises(Refused, match=words):
        seed(world)


def test_of_a_dead_nodes_disks_a_newer_copy_goes_before(world: World) -> None:
    world.have(node1=COPY, node3=COPY._replace(round=Round(NOW, 2)))
    world.silent = {NODE2}
    offline(NODE2)
    with pytest.raises(Refused, match=f"'gnt-instance failover -n {NODE3} INSTANCE'"):
        seed(world)


def test_no_copy_will_do_where_most_nodes_do_not_answer(world: World) -> None:
    world.have(node1=COPY)
    world.silent = {NODE2, NODE3}
    offline(NODE2, NODE3)
    with pytest.raises(Refused, match="no majority of the cluster's nodes"):
        seed(world)


def test_a_silent_node_that_may_live_vetoes_the_move(world: World) -> None:
    world.have(node1=COPY)
    world.silent = {NODE2, NODE3}
    offline(NODE3)
    with pytest.raises(Refused, match=rf"and is not marked offline: {NODE2} does not answer$"):
        seed(world)
    assert world.done == ["ask"]


def test_disks_on_different_nodes_are_brought_from_neither(world: World) -> None:
    world.told[NODE2][WEB] = world.told[NODE3][SECOND] = DISK
    with pytest.raises(Refused, match="has no copy on"):
        seed(world)
    assert world.done == ["ask"]


def test_a_target_that_ganeti_lets_go_nowhere_vetoes_the_move(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.have(node2=DISK)
    monkeypatch.setattr(nodes, "is_candidate", lambda: False)
    with pytest.raises(Refused, match=f"{NODE1} is no master candidate"):
        seed(world)
    assert world.done == []


def test_a_first_copy_that_takes_too_long_vetoes_the_move_and_says_what_brings_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    world.have(node2=DISK)
    now[0] = seeding.HOOK_SECONDS
    assert seed(world)[-1] == WORD

    def long() -> None:
        now[0] += seeding.HOOK_SECONDS + 1

    world.during, world.sent = long, [1]
    world.done.clear()
    with pytest.raises(Refused, match=f"'zfsext move web1 {NODE1}' on the master"):
        seed(world)
    assert world.done == ["ask", ROUND]


def test_a_round_that_fails_vetoes_the_move_without_a_word(world: World) -> None:
    def cut() -> None:
        raise Speechless("node2 does not answer")

    world.have(node2=DISK)
    world.during = cut
    with pytest.raises(Speechless):
        seed(world)
    assert world.done == ["ask", ROUND]
