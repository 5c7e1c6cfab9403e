"""Close, by what this node has and what was said of a move; and how a disk that was given away is taken back."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from conftest import WEB, Node

from zfsext import asking, attachment, groups, handover, local, lock, marks, records, zfs
from zfsext.config import Config
from zfsext.errors import AlreadyThere, Busy, NoSpace, NotHere, Refused, Speechless
from zfsext.local import Local
from zfsext.marks import Word
from zfsext.ownership import OWNER, REPLICA, SEALED, TICKET, Generation, Record, Round

CONFIG = Config(["zfs/vm"], "16K", "", "thin")
SECOND, THIRD = (WEB.replace("disk0", f"disk{number}") for number in (1, 2))
NODE1, NODE2, NODE3 = (f"node{number}.example.com" for number in (1, 2, 3))
OLD, NOW, NEXT = Generation(0, 1), Generation(0, 2), Generation(0, 3)
FINAL = Round(OLD, 4)


class Here:
    """This node's copy."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.volume = WEB


class Closed:
    """What close does: the hand-over, which may fail, and the end of the device; and what the target says."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.done: list[str] = []
        self.error: Exception | None = None
        self.has: Record | None = None
        patch.setattr(handover, "give", self.give)
        patch.setattr(attachment, "detach", self.detach)
        patch.setattr(asking, "ask", self.ask)

    def give(self, volumes: Sequence[str], target: str, *_: object) -> None:
        self.done.append(f"give {len(volumes)} to {target}")
        if self.error is not None:
            raise self.error

    def detach(self, volume: str, _: Config) -> None:
        assert lock.held(f"{lock.RUN}/{volume}.lock")
        self.done.append("detach")

    def ask(self, volumes: Sequence[str], names: Sequence[str], _: object) -> asking.Answers:
        self.done.append(f"ask {' '.join(names)}")
        return asking.Answers({NODE2: dict.fromkeys(volumes, self.has)}, {})

    def __call__(self, record: Record) -> None:
        self.patch.setattr(local, "require", lambda *_: Here(record))
        handover.close(WEB, CONFIG, None)  # type: ignore[arg-type]

    def refused(self, record: Record, words: str) -> None:
        with pytest.raises(Refused, match=words):
            self(record)


@pytest.fixture
def close(node: Node, monkeypatch: pytest.MonkeyPatch) -> Closed:
    assert node.datasets
    return Closed(monkeypatch)


GIVEN = Record(SEALED, OLD, issued=NOW, peer=NODE2, final=FINAL)
ANNOUNCED = Word(NODE2, [SECOND, WEB])


def test_a_disk_that_stays_loses_its_device(close: Closed) -> None:
    close(Record(OWNER))
    assert close.done == ["detach"]


def test_a_vm_whose_move_was_announced_is_given_away_with_all_its_disks(close: Closed) -> None:
    marks.set_word(ANNOUNCED)
    close(Record(OWNER))
    assert close.done == [f"give 2 to {NODE2}"]


@pytest.mark.parametrize("state", [TICKET, REPLICA])
@pytest.mark.parametrize("announced", [True, False])
def test_a_disk_that_is_not_in_use_here_is_closed(close: Closed, state: str, announced: bool) -> None:
    if announced:
        marks.set_word(ANNOUNCED)
    close(Record(state))
    assert close.done == []


def test_a_disk_that_was_given_with_the_others_is_closed(close: Closed) -> None:
    marks.set_word(ANNOUNCED)
    marks.set_given(WEB, str(NOW))
    close(GIVEN)
    assert close.done == []


def test_a_disk_that_may_not_have_arrived_is_given_again(close: Closed) -> None:
    marks.set_word(ANNOUNCED)
    marks.set_given(WEB, str(OLD))
    close(GIVEN)
    assert close.done == [f"ask {NODE2}", f"give 2 to {NODE2}"]


@pytest.mark.parametrize("state", [TICKET, OWNER])
def test_a_disk_that_arrived_though_nobody_heard_of_it_is_closed(close: Closed, state: str) -> None:
    marks.set_word(ANNOUNCED)
    close.has = Record(state, NOW)
    close(GIVEN)
    assert close.done == [f"ask {NODE2}"]
    assert marks.given(WEB) == str(NOW)
    close(GIVEN)
    assert close.done == [f"ask {NODE2}"]


@pytest.mark.parametrize("other", [None, Record(REPLICA, NOW), Record(TICKET, OLD), Record(OWNER, NEXT)])
def test_only_the_ticket_itself_has_arrived(close: Closed, other: Record | None) -> None:
    marks.set_word(ANNOUNCED)
    close.has = other
    close(GIVEN)
    assert close.done == [f"ask {NODE2}", f"give 2 to {NODE2}"]
    assert marks.given(WEB) == ""


def test_a_disk_that_is_on_its_way_elsewhere_says_how_it_comes_back(close: Closed) -> None:
    close.refused(GIVEN, f"is sealed for {NODE2}, .*'gnt-instance start INSTANCE' takes it back")
    marks.set_word(Word(NODE3, [WEB]))
    close.refused(GIVEN, f"is sealed for {NODE2}")
    assert close.done == []


@pytest.mark.parametrize("error", [NoSpace("no room there"), Speechless("it does not answer"), OSError(5, "I/O error")])
def test_a_move_that_failed_is_not_tried_disk_by_disk(close: Closed, error: NoSpace | Speechless | OSError) -> None:
    marks.set_word(ANNOUNCED)
    close.error = error
    with pytest.raises(type(error)):
        close(Record(OWNER))
    for volume in (WEB, SECOND):
        word = marks.word(volume)
        assert word is not None
        assert word.failed == str(error)
    for record in (Record(OWNER), GIVEN):
        close.refused(record, "the VM's disks stay on this node, since they could not be given away: ")
    assert close.done == [f"give 2 to {NODE2}"]


def test_a_disk_that_is_not_here_cannot_be_closed(close: Closed) -> None:
    def require(*_: object) -> Local:
        raise NotHere("it is not here")

    close.patch.setattr(local, "require", require)
    with pytest.raises(NotHere):
        handover.close(WEB, CONFIG, None)  # type: ignore[arg-type]


class Target:
    """The node that the disks were sealed for, and what it does before it answers."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.meanwhile: dict[str, str] = {}

    def line(self, name: str) -> "Target":
        assert not lock.held(f"{lock.RUN}/{WEB}.lock")
        self.asked.append((name,))
        return self

    def call(self, op: str, **fields: Any) -> None:
        self.asked.append((op, *fields.values()))
        if self.error is not None:
            raise self.error
        self.node.datasets[f"zfs/vm-standby/{WEB}"] |= self.meanwhile


@pytest.fixture
def target(node: Node, monkeypatch: pytest.MonkeyPatch) -> Target:
    """Return node2. The VM has two disks that were sealed for it, under two numbers, and one for node3."""

    def change_all(changes: Mapping[str, Mapping[str, str | None]]) -> None:
        for name, given in changes.items():
            for key, value in given.items():
                node.datasets[name].pop(key, None)
                if value is not None:
                    node.datasets[name][key] = value

    def rename(name: str, wanted: str) -> None:
        node.datasets[wanted] = node.datasets.pop(name)

    monkeypatch.setattr(zfs, "change_all", change_all)
    monkeypatch.setattr(zfs, "rename", rename)
    for volume, issued, peer in ((WEB, NEXT, NODE2), (SECOND, NOW, NODE2), (THIRD, NOW, NODE3)):
        sealed(node, volume, Record(SEALED, OLD, OLD, issued, peer, knows=frozenset({peer}), final=FINAL))
    return Target(node)


def sealed(node: Node, volume: str, record: Record) -> None:
    name = node.disk(volume, "zfs/vm-standby")
    node.datasets[name] = {key: value for key, value in records.changes(record, "4711").items() if value is not None}


def take_back(target: Target) -> bool:
    return handover.take_back([WEB, SECOND, THIRD], CONFIG, target)  # type: ignore[arg-type]


def test_what_was_given_to_one_node_comes_back_at_once_and_under_a_new_number(target: Target) -> None:
    marks.set_given(WEB, str(NEXT))
    assert take_back(target)
    assert target.asked == [(NODE2,), ("revoke", [WEB, SECOND], str(NEXT), str(OLD))]
    for volume in (WEB, SECOND):
        found = local.find(volume, CONFIG)
        assert found is not None
        assert found.name == f"zfs/vm/{volume}"
        assert found.record == Record(OWNER, NEXT.after(), NEXT.after(), knows=frozenset({NODE2}))
    third = local.find(THIRD, CONFIG)
    assert third is not None
    assert third.record.state == SEALED
    assert marks.given(WEB) == ""


def test_what_the_other_node_uses_stays_there(target: Target) -> None:
    target.error = Refused("it is open here")
    before = {name: dict(given) for name, given in target.node.datasets.items()}
    assert not take_back(target)
    target.error = Speechless("node2 does not answer")
    with pytest.raises(Speechless):
        take_back(target)
    assert target.node.datasets == before


@pytest.mark.parametrize("meanwhile", [{"zfsext:issued": "0.9"}, {"zfsext:state": "replica"}])
def test_what_was_given_away_anew_meanwhile_does_not_come_back(target: Target, meanwhile: dict[str, str]) -> None:
    target.meanwhile = meanwhile
    with pytest.raises(Busy, match="were given away anew meanwhile"):
        take_back(target)
    found = local.find(SECOND, CONFIG)
    assert found is not None
    assert found.record.state == SEALED


def test_what_is_this_nodes_own_is_asked_for_nowhere(target: Target) -> None:
    for volume in (WEB, SECOND, THIRD):
        groups.change([local.require(volume, CONFIG)], state=OWNER, peer="")
    assert take_back(target)
    assert target.asked == []


def test_what_could_not_be_moved_out_of_its_place_is_not_sealed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is the target asked to prepare itself for it."""
    monkeypatch.setattr(zfs, "change_all", None)
    node.disk(WEB, zfsext_stamp="4711")
    group = [local.require(WEB, CONFIG)]
    node.datasets[f"zfs/vm-standby/{WEB}"] = {}
    with pytest.raises(AlreadyThere, match=f"zfs/vm-standby/{WEB} stands where the disk would be"):
        handover._seal(group, FINAL, NEXT, None, CONFIG)  # type: ignore[arg-type]
