"""Attach and open, by what this node has and what the others say: what is asked, done and given, in this order.

What the others say is judged by the real functions. ZFS, the other nodes' work, a hand-over and a promotion are a
world of one VM here, in which each does what it promises.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from conftest import WEB, Node

from zfsext import (
    arrived,
    attachment,
    cluster,
    groups,
    handover,
    local,
    lock,
    marks,
    nodes,
    opening,
    places,
    promotion,
    records,
    usable,
)
from zfsext.config import Config
from zfsext.errors import Busy, NotHere, Refused, Speechless, ZfsextError
from zfsext.marks import Word
from zfsext.ownership import NONCE_BITS, OWNER, REPLICA, SEALED, TICKET, Generation, Record, Round
from zfsext.places import Found

CONFIG = Config(["zfs/vm"], "16K", "", "thin")
SECOND = WEB.replace("disk0", "disk1")
NODE1, NODE2, NODE3 = (f"node{number}.example.com" for number in (1, 2, 3))
OLD, NOW, NEXT, PROMOTED = Generation(0, 1), Generation(0, 2), Generation(0, 3), Generation(7 << NONCE_BITS, 0)
FINAL = Round(OLD, 4)
DEVICE = "/dev/loop7"
#: What this node may have: a disk that was never sent, one that was, and each kind of a copy.
ALONE = Record(OWNER, NOW)
DISK = Record(OWNER, NOW, knows=frozenset({NODE2}))
GIVEN = Record(SEALED, OLD, issued=NOW, peer=NODE2, knows=frozenset({NODE2}), final=FINAL)
GOT = Record(TICKET, NOW, peer=NODE2, knows=frozenset({NODE2}), round=FINAL, final=FINAL)
COPY = Record(REPLICA, NOW, peer=NODE2, round=FINAL)
HELPS = "'gnt-node modify -O yes NODE'"


class Here:
    """This node's copy as it was when somebody looked."""

    def __init__(self, volume: str, record: Record) -> None:
        self.volume = volume
        self.record = record
        self.name = f"zfs/vm-standby/{volume}"


class World:
    """One VM's disks on this node and on two others, and all that is done, in order."""

    def __init__(self, others: dict[str, nodes.Node]) -> None:
        self.others = others
        self.mine: dict[str, Record] = {}
        self.theirs: dict[str, Record | None] = dict.fromkeys(others)
        self.silent: set[str] = set()
        self.volumes = [WEB]
        self.loop = False
        self.known: bool | None = True
        self.in_the_way: list[places.Copy] = []
        self.done: list[str] = []
        self.settled: set[tuple[str, str]] = set()
        self.error: Exception | None = None
        self.meanwhile: Record | None = None
        self.stays: list[str] = []

    def say(self, *words: str) -> None:
        self.done.append(" ".join(word.removesuffix(".example.com") for word in words))

    def unlocked(self) -> None:
        assert not lock.held(f"{lock.RUN}/{WEB}.lock")

    def locked(self) -> None:
        assert lock.held(f"{lock.RUN}/{WEB}.lock")

    def offline(self, *names: str) -> None:
        for name in names:
            self.others[name] = self.others[name]._replace(offline=True)
            self.silent.add(name)

    # This node.

    def find(self, volume: str, _: Config) -> Here | None:
        return Here(volume, self.mine[volume]) if volume in self.mine else None

    def require(self, volume: str, _: Config) -> Here:
        self.locked()
        return Here(volume, self.mine[volume])

    def settle(self, here: Here, _: Config) -> Here:
        self.locked()
        self.settled.add((here.volume, here.record.state))
        return here

    def refresh(self, group: Sequence[Here], config: Config) -> list[Here]:
        return [self.settle(self.require(here.volume, config), config) for here in group]

    def attach(self, volume: str, _: Config) -> str:
        self.say("device")
        assert lock.held(f"{lock.RUN}/{volume}.lock")
        return DEVICE

    def apply_reservation(self, _: Here) -> None:
        self.say("reserve")

    def set_aside(self, here: Here, _: Config) -> str:
        self.locked()
        self.say("aside")
        del self.mine[here.volume]
        return f"{here.name}.aside"

    def change(self, group: Sequence[Here], **fields: Any) -> None:
        self.locked()
        self.say("change", *(f"{name}={value}" for name, value in fields.items()))
        for here in group:
            self.mine[here.volume] = here.record._replace(**fields)

    def require_unwritten(self, _: Here, which: Round) -> None:
        self.locked()
        self.say("unwritten since", str(which))

    def take_back(self, volumes: Sequence[str], _: Config, __: object) -> bool:
        self.unlocked()
        self.say("take back")
        assert list(volumes) == self.volumes
        if self.error is not None:
            raise self.error
        other = self.theirs[NODE2]
        if other is not None and other.state == OWNER:
            return False
        self.mine[WEB] = Record(OWNER, NEXT, floor=NEXT, knows=self.mine[WEB].knows)
        return True

    def promote(self, group: Sequence[Here], _: Config, __: object) -> list[str]:
        self.unlocked()
        self.say("promote")
        assert [here.volume for here in group] == self.volumes
        over = frozenset(self.silent)
        for here in group:
            self.mine[here.volume] = Record(OWNER, PROMOTED, over=over, knows=over)
            marks.set_overridden(here.volume, over)
        return ["disk web is as it was 3 minutes ago"]

    # The others: this is also the line to each, and all of them.

    def ask(self, names: Sequence[str], op: str, volumes: Sequence[str]) -> Iterator[tuple[str, object]]:
        self.unlocked()
        self.say(op, *names)
        assert op == "ask"
        assert list(volumes) in ([WEB], self.volumes)
        for name in names:
            if name in self.silent:
                yield name, Speechless(f"{name} does not answer")
                continue
            record = self.theirs[name]
            told = {WEB: records.told(record) if record else None}
            yield name, {"records": {volume: told.get(volume) for volume in volumes}}
        if self.meanwhile is not None:
            self.mine[WEB], self.meanwhile = self.meanwhile, None

    def line(self, name: str) -> "Other":
        return Other(self, name)


class Other:
    """The line to another node."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name

    def call(self, op: str, seconds: float, volume: str) -> dict[str, Any]:
        assert (volume, seconds) == (WEB, opening.GIVING)
        self.world.unlocked()
        self.world.say(op, self.name)
        return {}

    def follow(self, op: str, said: object, seconds: float, volume: str, but: list[str]) -> dict[str, Any]:
        assert callable(said)
        assert but == self.world.stays
        self.call(op, seconds, volume)
        if self.world.error is not None:
            raise self.world.error
        number = max(each.generation for each in self.world.theirs.values() if each is not None).after()
        for each in self.world.volumes:
            self.world.mine[each] = Record(TICKET, number, peer=self.name, knows=frozenset({self.name}), final=FINAL)
            marks.set_fresh(each, str(number))
        self.world.theirs[self.name] = Record(SEALED, NOW, issued=number, peer=NODE1)
        return {}


@pytest.fixture
def world(node: Node, others: dict[str, nodes.Node], monkeypatch: pytest.MonkeyPatch) -> World:
    found = World(others)
    for module, names in (
        (local, ("find", "require", "settle", "set_aside", "apply_reservation")),
        (attachment, ("attach",)),
        (arrived, ("require_unwritten",)),
        (handover, ("take_back",)),
        (promotion, ("promote",)),
        (groups, ("change", "refresh")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, getattr(found, name))
    monkeypatch.setattr(local, "note_opened", lambda _: None)
    monkeypatch.setattr(local, "stands", lambda _: found.loop)
    monkeypatch.setattr(groups, "of", lambda *_: found.volumes)
    monkeypatch.setattr(cluster, "knows", lambda _: found.known)
    monkeypatch.setattr(places, "find", lambda *_: Found(found.in_the_way, {}))
    monkeypatch.setattr(usable, "not_usable", lambda *_: "something is in the way")
    assert node.datasets
    return found


def attach(world: World, mine: Record | None, volume: str = WEB, **theirs: Record) -> str:
    has(world, mine, **theirs)
    return opening.attach(volume, CONFIG, world)  # type: ignore[arg-type]


def open_(world: World, mine: Record | None, volume: str = WEB, **theirs: Record) -> list[str]:
    """Open, and return what was done for it."""
    has(world, mine, **theirs)
    opening.open_(volume, CONFIG, world)  # type: ignore[arg-type]
    assert marks.opened(volume) is not volume.endswith(".snap")
    assert volume.endswith(".snap") or world.mine[WEB].state == OWNER
    return world.done


def has(world: World, mine: Record | None, **theirs: Record) -> None:
    """Let this node have a copy with this record, and node2 and node3 theirs."""
    if mine is not None:
        world.mine = {WEB: mine}
    world.theirs |= {f"{name}.example.com": record for name, record in theirs.items()}


def refuses(world: World, words: str, error: type[ZfsextError] = Refused, **has: Any) -> list[str]:
    """See to it that neither attach nor open gives a device, and return what open did before it came to that."""
    mine = has.pop("mine")
    with pytest.raises(error, match=words):
        open_(world, mine, **has)
    assert "device" not in world.done
    assert not marks.opened(WEB)
    return world.done


LIVE = ["reserve", "device"]

# Attach, which moves nothing.


@pytest.mark.parametrize("loop", [True, False])
def test_a_disk_that_was_never_sent_is_asked_for_nowhere(world: World, loop: bool) -> None:
    world.loop = loop
    world.silent = {NODE2, NODE3}
    assert attach(world, ALONE) == DEVICE
    assert world.done == LIVE
    assert not marks.opened(WEB)
    assert world.settled == {(WEB, OWNER)}


def test_a_disk_whose_device_stands_is_not_judged(world: World) -> None:
    world.loop = True
    assert attach(world, DISK, node2=Record(OWNER, PROMOTED)) == DEVICE
    assert world.done == LIVE


def test_a_disk_that_was_sent_is_given_once_all_who_may_know_have_said_that_it_is_current(world: World) -> None:
    assert attach(world, DISK._replace(peer=NODE3), node2=COPY) == DEVICE
    assert world.done == ["ask node2 node3", *LIVE]


def test_a_disk_that_another_node_has_had_since_is_set_aside(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    assert attach(world, DISK, node2=Record(OWNER, NEXT)) == ""
    assert world.done == ["ask node2", "aside"]
    assert f"what was here is zfs/vm-standby/{WEB}.aside now, and nothing of it is lost" in capfd.readouterr().err


def test_a_disk_that_changed_while_others_were_asked_is_not_set_aside(world: World) -> None:
    world.meanwhile = Record(OWNER, NEXT)
    assert attach(world, DISK, node2=Record(OWNER, NEXT)) == ""
    assert world.done == ["ask node2"]


def test_a_disk_that_changed_while_others_were_asked_is_not_given(world: World) -> None:
    world.meanwhile = GIVEN
    with pytest.raises(Refused, match="changed its owner just now: try again"):
        attach(world, DISK)
    assert world.done == ["ask node2"]


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (Record(REPLICA, NOW, used=True), f"is in use on another node \\({NODE2}\\): end its use there first"),
        (Record(OWNER, Generation(PROMOTED.epoch + 1, 0)), "was promoted on two nodes at once: 'zfsext health'"),
    ],
)
def test_a_disk_in_doubt_is_neither_given_nor_opened(world: World, theirs: Record, words: str) -> None:
    mine = DISK._replace(generation=PROMOTED if theirs.state == OWNER else NOW)
    with pytest.raises(Refused, match=words):
        attach(world, mine, node2=theirs)
    assert refuses(world, words, mine=mine) == ["ask node2", "ask node2"]
    assert world.mine == {WEB: mine}


def test_a_disk_that_a_silent_node_may_have_had_since_is_neither_given_nor_opened(world: World) -> None:
    world.silent = {NODE2}
    with pytest.raises(Refused, match=f"{NODE2} does not answer.*{HELPS}"):
        attach(world, DISK)
    assert refuses(world, f"{NODE2} does not answer.*{HELPS}", mine=DISK) == ["ask node2", "ask node2"]


def test_a_disk_whose_copy_is_on_a_dead_node_is_given_to_look_at(world: World) -> None:
    world.offline(NODE2)
    assert attach(world, DISK) == DEVICE
    assert world.done == ["ask node2", *LIVE]
    assert world.mine == {WEB: DISK}
    assert not marks.was_opened(WEB)


@pytest.mark.parametrize(
    ("mine", "fresh"), [(GIVEN, False), (COPY, False), (GOT, False), (GIVEN, True), (COPY, True), (GOT, True)]
)
def test_a_disk_that_is_elsewhere_is_given_as_nothing(world: World, mine: Record, fresh: bool) -> None:
    if fresh:  # what came in this boot has gone again
        marks.set_fresh(WEB, str(NOW))
    world.silent = {NODE2, NODE3}
    assert attach(world, mine) == ""
    assert world.done == []
    assert world.mine == {WEB: mine}


TAKEN = [f"unwritten since {FINAL}", "change state=owner peer= final=None"]


def test_a_disk_that_is_not_here_but_elsewhere_is_given_as_nothing(world: World) -> None:
    world.silent = {NODE2}
    assert attach(world, None, node3=COPY) == ""
    assert world.done == ["ask node2 node3"]


@pytest.mark.parametrize("known", [True, None])
def test_a_disk_that_is_nowhere_is_no_disk(world: World, known: bool | None) -> None:
    world.known = known
    with pytest.raises(NotHere, match="on no node of this cluster"):
        attach(world, None)
    world.silent = {NODE3}
    with pytest.raises(Refused, match=f"is not on this node, and {NODE3} does not answer"):
        attach(world, None)
    assert world.done == ["ask node2 node3"] * 2


def test_a_disk_that_ganeti_does_not_know_is_looked_for_nowhere(world: World) -> None:
    world.known = False
    with pytest.raises(NotHere):
        attach(world, None, node2=DISK)
    refuses(world, "Ganeti has no such disk", NotHere, mine=None)
    assert world.done == []


def test_a_node_in_no_cluster_asks_nobody(world: World) -> None:
    world.others.clear()
    with pytest.raises(NotHere):
        attach(world, None)
    refuses(world, "is not on this node", NotHere, mine=None)
    refuses(world, "is a copy, and all nodes answer", mine=COPY)
    assert world.done == []


def test_what_stands_in_the_way_is_told(world: World) -> None:
    world.in_the_way = [None]  # type: ignore[list-item]
    with pytest.raises(Refused, match="something is in the way"):
        attach(world, None, node2=DISK)
    assert world.done == []


def test_an_export_is_this_nodes_alone(world: World) -> None:
    export = f"{WEB}.snap"
    assert attach(world, None, export, node2=DISK) == DEVICE
    assert open_(world, None, export) == ["device", "device"]


# Open: an owner's.


@pytest.mark.parametrize(("mine", "loop"), [(ALONE, False), (ALONE, True), (DISK, True)])
def test_open_asks_nobody_where_nobody_can_know_better(world: World, mine: Record, loop: bool) -> None:
    world.loop = loop
    world.silent = {NODE2, NODE3}
    if mine == DISK:
        marks.note_opened(WEB)
    assert open_(world, mine) == LIVE


def test_open_trusts_no_device_that_attach_has_left(world: World) -> None:
    world.loop = True
    assert open_(world, DISK, node2=Record(OWNER, NEXT))[:3] == ["ask node2", "aside", "ask node2 node3"]


def test_a_disk_that_came_with_another_is_opened_though_its_source_is_gone(world: World) -> None:
    marks.set_fresh(WEB, str(NOW))
    world.silent = {NODE2}
    assert open_(world, DISK) == ["ask node2", *LIVE]
    world.done.clear()
    with pytest.raises(Refused, match=HELPS):  # from now on it may have been elsewhere since
        opening.open_(WEB, CONFIG, world)  # type: ignore[arg-type]


def test_open_ends_what_was_said_of_a_move(world: World) -> None:
    marks.set_word(Word(NODE2, [WEB]))
    assert open_(world, DISK, node2=COPY) == ["ask node2", *LIVE]
    assert marks.word(WEB) is None


def test_open_fetches_what_another_node_has_had_since(world: World) -> None:
    assert open_(world, DISK, node2=Record(OWNER, NEXT)) == [
        "ask node2",
        "aside",
        "ask node2 node3",
        "pull node2",
        "ask node2",
        *TAKEN,
        *LIVE,
    ]


def test_open_promotes_over_a_dead_node_that_may_have_had_the_disk(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    world.offline(NODE2)
    assert open_(world, DISK) == ["ask node2", "promote", "ask node2", *LIVE]
    assert "zfsext: disk web is as it was 3 minutes ago\n" in capfd.readouterr().err


def test_open_looks_anew_at_a_disk_that_changed_while_others_were_asked(world: World) -> None:
    world.meanwhile = DISK._replace(generation=NEXT)
    assert open_(world, DISK) == ["ask node2", "ask node2", *LIVE]


# Open: a ticket's.


def test_open_takes_what_was_handed_over(world: World) -> None:
    assert open_(world, GOT, node2=GIVEN) == ["ask node2", *TAKEN, *LIVE]
    assert (world.mine[WEB].generation, world.mine[WEB].peer, world.mine[WEB].final) == (NOW, "", None)


@pytest.mark.parametrize(("mine", "done"), [(GOT, ["ask node2", *TAKEN]), (DISK, []), (COPY, [])])
def test_what_was_handed_over_and_is_to_go_on_is_made_this_nodes_own(
    world: World, mine: Record, done: list[str]
) -> None:
    has(world, mine, node2=GIVEN)
    opening.accept(WEB, CONFIG, world)  # type: ignore[arg-type]
    assert world.mine[WEB].state == (OWNER if mine is GOT else mine.state)
    assert world.done == done
    assert not marks.opened(WEB)


def test_open_takes_all_disks_that_were_handed_over_together_and_no_other(world: World) -> None:
    third = WEB.replace("disk0", "disk2")
    world.mine = {SECOND: GOT._replace(generation=NEXT), third: GOT._replace(peer=NODE3)}
    world.volumes = [WEB, SECOND, third, "gone"]
    world.mine[WEB] = GOT
    has(world, None, node2=GIVEN)
    opening.open_(WEB, CONFIG, world)  # type: ignore[arg-type]
    assert world.done.count(TAKEN[0]) == 2
    assert world.done.count(TAKEN[1]) == 1
    assert [world.mine[volume].state for volume in (WEB, SECOND, third)] == [OWNER, OWNER, TICKET]
    assert world.settled == {(WEB, TICKET), (WEB, OWNER), (SECOND, OWNER)}


def test_open_does_not_take_what_was_written_to_since(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(*_: object) -> None:
        raise Refused("was written to")

    monkeypatch.setattr(arrived, "require_unwritten", written)
    refuses(world, "was written to", mine=GOT, node2=GIVEN)
    assert world.mine == {WEB: GOT}


def test_open_takes_a_ticket_of_this_boot_though_its_source_is_silent(world: World) -> None:
    world.silent = {NODE2}
    refuses(world, HELPS, mine=GOT)
    marks.set_fresh(WEB, str(NOW))
    assert open_(world, GOT) == ["ask node2", "ask node2", *TAKEN, *LIVE]


def test_open_does_not_take_a_ticket_that_was_taken_back_meanwhile(world: World) -> None:
    world.meanwhile = COPY
    assert open_(world, GOT, node2=GIVEN)[:2] == ["ask node2", "ask node2 node3"]
    assert world.done[2:4] != TAKEN


def test_open_of_an_old_ticket_fetches_the_disk(world: World) -> None:
    done = open_(world, GOT, node2=Record(OWNER, PROMOTED))
    assert done[:4] == ["ask node2", "aside", "ask node2 node3", "pull node2"]


# Open: what was given away.


def test_open_takes_back_what_was_not_opened_there(world: World) -> None:
    assert open_(world, GIVEN, node2=GOT._replace(peer=NODE1)) == [
        "ask node2 node3",
        "take back",
        "ask node2",
        *LIVE,
    ]


FETCHED = ["pull node2", "ask node2", *TAKEN, *LIVE]


def test_open_fetches_what_is_another_nodes_by_now(world: World) -> None:
    assert open_(world, GIVEN, node2=DISK) == ["ask node2 node3", "take back", "ask node2 node3", *FETCHED]


def test_open_takes_nothing_back_that_was_promoted_elsewhere_since(world: World) -> None:
    done = open_(world, GIVEN, node2=COPY, node3=Record(OWNER, PROMOTED))
    assert done[:3] == ["ask node2 node3", "ask node2 node3", "pull node3"]
    assert "take back" not in done


def test_open_does_not_take_silence_for_a_give_back(world: World) -> None:
    world.silent = {NODE2}
    world.error = Speechless(f"{NODE2} does not answer")
    words = f"was given to {NODE2}, which does not answer and may have it: .*{HELPS}"
    assert refuses(world, words, mine=GIVEN) == ["ask node2 node3", "take back"]
    assert world.mine == {WEB: GIVEN}


def test_open_promotes_what_was_given_to_a_dead_node(world: World) -> None:
    world.offline(NODE2)
    world.error = Speechless(f"{NODE2} does not answer")
    assert open_(world, GIVEN) == [
        "ask node2 node3",
        "take back",
        "ask node2 node3",
        "promote",
        "ask node2",
        *LIVE,
    ]


# What a third node wants.


def reclaim(world: World, mine: Record) -> list[str]:
    has(world, mine)
    world.require = lambda volume, _: Here(volume, world.mine[volume])  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "require", world.require)
        opening.reclaim(WEB, CONFIG, world)  # type: ignore[arg-type]
    return world.done


def test_what_was_given_away_is_taken_back_for_a_third_node(world: World) -> None:
    assert reclaim(world, GIVEN) == ["take back"]
    world.done.clear()
    assert reclaim(world, DISK) == []


def test_what_was_given_to_a_dead_node_is_promoted_for_a_third_node(world: World) -> None:
    world.error = Speechless(f"{NODE2} does not answer")
    with pytest.raises(Refused, match=f"which does not answer and may have it.*{HELPS}"):
        reclaim(world, GIVEN)
    world.offline(NODE2)
    world.done.clear()
    assert reclaim(world, GIVEN) == ["take back", "promote"]


# Open: a copy.


@pytest.mark.parametrize(
    ("theirs", "fetched"),
    [
        ({"node2": DISK}, ["pull node2"]),
        ({"node2": Record(SEALED, NOW, issued=NEXT, peer=NODE1)}, ["pull node2"]),
        ({"node2": Record(SEALED, NOW, issued=NEXT, peer=NODE3)}, ["reclaim node2", "pull node2"]),
        ({"node2": Record(SEALED, NOW, peer=NODE3), "node3": Record(TICKET, NEXT, peer=NODE2)}, ["pull node3"]),
        ({"node2": Record(OWNER, NOW), "node3": Record(OWNER, PROMOTED)}, ["pull node3"]),
    ],
)
@pytest.mark.parametrize("mine", [COPY, None])
def test_open_fetches_the_disk_from_the_best_claim(
    world: World, mine: Record | None, theirs: dict[str, Record], fetched: list[str]
) -> None:
    has(world, mine, **theirs)
    done = open_(world, None)
    assert done[: len(fetched) + 1] == ["ask node2 node3", *fetched]
    assert done[-2:] == LIVE


def test_open_fetches_the_disk_though_a_third_node_is_silent(world: World) -> None:
    world.silent = {NODE3}
    assert open_(world, COPY, node2=DISK) == ["ask node2 node3", *FETCHED]


def test_open_leaves_what_was_added_here_while_the_other_disks_were_elsewhere(world: World) -> None:
    world.volumes, world.stays = [WEB, SECOND], [SECOND]
    world.mine[WEB], world.mine[SECOND] = COPY, ALONE
    has(world, None, node2=DISK)
    opening.open_(WEB, CONFIG, world)  # type: ignore[arg-type]
    assert world.done[:2] == ["ask node2 node3", "pull node2"]


def test_open_says_whom_it_fetches_the_disk_from(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    open_(world, COPY, node2=DISK)
    assert f"zfsext: fetching disk {WEB} from {NODE2}\n" in capfd.readouterr().err


@pytest.mark.parametrize("error", [Busy("it is in use"), Speechless("it fell silent")])
def test_open_fetches_nothing_that_is_not_given(world: World, error: Busy | Speechless) -> None:
    world.error = error
    assert refuses(world, str(error), type(error), mine=COPY, node2=DISK)[-1] == "pull node2"


def test_open_promotes_no_copy_while_a_silent_node_may_live(world: World) -> None:
    world.silent = {NODE2}
    assert refuses(world, f"{NODE2} does not answer.*{HELPS}", mine=COPY) == ["ask node2 node3"]
    world.offline(NODE3)
    refuses(world, f"\\({NODE2} does not answer\\)", mine=COPY)


def test_open_promotes_a_copy_of_a_dead_nodes_disk(world: World) -> None:
    world.offline(NODE2)
    assert open_(world, COPY, node3=COPY) == ["ask node2 node3", "promote", "ask node2", *LIVE]


def test_open_promotes_a_copy_of_a_disk_whose_node_has_left_the_cluster(world: World) -> None:
    del world.others[NODE2]
    del world.theirs[NODE2]
    assert open_(world, COPY)[:2] == ["ask node3", "promote"]


def test_open_promotes_no_copy_whose_owner_says_that_it_has_nothing(world: World) -> None:
    refuses(world, "is a copy, and all nodes answer .*'zfsext health'", mine=COPY)
    assert world.done == ["ask node2 node3"]


def test_open_does_not_fetch_what_is_older_than_the_copy(world: World) -> None:
    refuses(world, "is a copy, and all nodes answer", mine=Record(REPLICA, PROMOTED, peer=NODE3), node2=DISK)
    world.offline(NODE3)
    assert open_(world, None)[-4:] == ["promote", "ask node3", *LIVE]
    assert "pull node2" not in world.done


def test_open_promotes_all_disks_of_the_vm_or_none(world: World) -> None:
    world.offline(NODE2)
    world.volumes = [WEB, SECOND]
    refuses(world, f"does not have all the disks of the VM \\({WEB}, {SECOND}\\), so none is promoted", mine=COPY)
    assert "promote" not in world.done
    world.mine = {WEB: COPY, SECOND: COPY}
    assert open_(world, None)[-2:] == LIVE
    assert world.mine[SECOND].generation == PROMOTED


# Open: nothing.


@pytest.mark.parametrize("known", [True, None])
def test_open_makes_no_disk(world: World, known: bool | None) -> None:
    world.known = known
    refuses(world, "is on no node of this cluster that answers", NotHere, mine=None)
    world.offline(NODE2)
    refuses(world, "is on no node of this cluster that answers", NotHere, mine=None)
    world.silent = {NODE3}
    refuses(world, f"{NODE3} does not answer.*{HELPS}", mine=None)
    assert world.mine == {}


def test_open_does_not_chase_a_disk_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def follow(other: Other, op: str, *_: object, **__: object) -> dict[str, Any]:
        other.world.say(op, other.name)
        return {}

    monkeypatch.setattr(Other, "follow", follow)
    refuses(world, "does not come to rest", mine=COPY, node2=DISK)
    assert world.done.count("pull node2") == opening.STEPS
