"""The end of a VM's copies on one node: in which order, and what of the disk's own is given back."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from conftest import WEB, Node

from zfsext import answers, nodes, outcome, transfers, withdrawal, zfs
from zfsext.config import Config
from zfsext.errors import Busy, Refused, Speechless
from zfsext.peer import Peers

CONFIG = Config(["zfs/vm"], "16K", "", "thin")
SECOND = WEB.replace("disk0", "disk1")
NODE2, NODE3, NODE9 = (f"node{number}.example.com" for number in (2, 3, 9))
pytestmark = pytest.mark.usefixtures("others")


class Line:
    """The other node, that tells what it was asked before what the owner did then."""

    def __init__(self, done: list[tuple[Any, ...]], error: Exception | None = None) -> None:
        self.done = done
        self.error = error

    def call(self, op: str, seconds: float, **fields: Any) -> dict[str, Any]:
        assert seconds >= 60
        if self.error is not None:
            raise self.error
        assert fields.pop("dry") is False
        self.done.append((op, *fields.values()))
        return {"gone": [f"zfs/vm-standby/{fields['volume']}"]}


@pytest.fixture(name="done")
def _done(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Return what is done, in order. The disks have gone to node2 and node3 so far, the last round to both."""
    done: list[tuple[Any, ...]] = []

    def change_all(changes: Mapping[str, Mapping[str, str | None]]) -> None:
        done.append(("change", *changes))
        for name, properties in changes.items():
            for key, value in properties.items():
                node.datasets[name].pop(key, None)
                if value is not None:
                    node.datasets[name][key] = value

    def release(tags: Mapping[str, Sequence[str]]) -> None:
        for name, given in tags.items():
            done.append(("release", name, *given))
            node.snapshots[name] = ([tag for tag in node.snapshots[name][0] if tag not in given], [])

    def destroy(names: Sequence[str]) -> None:
        done.extend(("destroy", name) for name in names)

    monkeypatch.setattr(zfs, "change_all", change_all)
    monkeypatch.setattr(zfs, "release_holds", release)
    monkeypatch.setattr(zfs, "destroy_snapshots", destroy)
    monkeypatch.setattr(zfs, "destroy_bookmarks", destroy)
    for number, volume in enumerate((WEB, SECOND)):
        name = node.disk(
            volume,
            zfsext_id=f"id{number}",
            zfsext_knows=f"{NODE2} {NODE3}",
            zfsext_round="0.1-2",
            zfsext_replicas="node2 node3.example.com",
        )
        node.snapshots[f"{name}@daily"] = (["backup"], [])
        node.snapshots[f"{name}@zfsext-0.1-1"] = ([f"zfsext:{NODE2}"], [])
        node.snapshots[f"{name}@zfsext-0.1-2"] = ([f"zfsext:{NODE3}", f"zfsext:{NODE2}"], [])
    return done


def withdraw(monkeypatch: pytest.MonkeyPatch, name: str, line: Line) -> None:
    peers = Peers()
    monkeypatch.setattr(peers, "line", lambda _: line)
    withdrawal.withdraw([SECOND, WEB], name, CONFIG, peers)


def test_the_node_answers_before_the_owner_forgets_it(
    node: Node, monkeypatch: pytest.MonkeyPatch, done: list[tuple[Any, ...]]
) -> None:
    for name in (NODE2, NODE3):
        outcome.note(WEB, name, None)
    withdraw(monkeypatch, NODE2, Line(done))
    first, second = f"zfs/vm/{WEB}", f"zfs/vm/{SECOND}"
    assert done[:3] == [("forget", WEB, "id0", "0.1"), ("forget", SECOND, "id1", "0.1"), ("change", first, second)]
    assert node.datasets[second]["zfsext:knows"] == NODE3
    assert node.datasets[second]["zfsext:replicas"] == NODE3
    assert node.datasets[second]["zfsext:round"] == "0.1-2"
    assert {name: held for name, (held, _) in node.snapshots.items() if name.startswith(first)} == {
        f"{first}@daily": ["backup"],
        f"{first}@zfsext-0.1-1": [],
        f"{first}@zfsext-0.1-2": [f"zfsext:{NODE3}"],
    }
    assert [step for step in done if step[0] == "destroy"] == [
        ("destroy", f"{first}@zfsext-0.1-1"),
        ("destroy", f"{second}@zfsext-0.1-1"),
    ]
    assert list(outcome.of(WEB)) == [NODE3]


def test_without_any_copy_no_round_is_kept(
    node: Node, monkeypatch: pytest.MonkeyPatch, done: list[tuple[Any, ...]]
) -> None:
    name = f"zfs/vm/{WEB}"
    node.bookmarks = [f"{name}#zfsext-0.1-2", f"{name}#syncoid"]
    node.snapshots[f"{name}@zfsext-0.1-2"][0].append("zfsext")
    other = f"zfs/vm/{SECOND}@zfsext-0.1-2"
    node.snapshots[other][0].append("backup")
    withdraw(monkeypatch, NODE2, Line(done))
    withdraw(monkeypatch, NODE3, Line(done))
    assert "zfsext:knows" not in node.datasets[name]
    assert "zfsext:round" not in node.datasets[name]
    assert "zfsext:replicas" not in node.datasets[name]
    assert node.snapshots[f"{name}@zfsext-0.1-2"][0] == []
    assert ("destroy", f"{name}@zfsext-0.1-2") in done
    assert ("destroy", f"{name}#zfsext-0.1-2") in done
    assert (node.snapshots[other][0], ("destroy", other) in done) == (["backup"], False)
    assert not [step for step in done if f"{name}@daily" in step or f"{name}#syncoid" in step]


def test_the_first_copy_to_another_node_keeps_what_it_begins_with(
    node: Node, monkeypatch: pytest.MonkeyPatch, done: list[tuple[Any, ...]]
) -> None:
    for volume in (WEB, SECOND):
        del node.datasets[f"zfs/vm/{volume}"]["zfsext:round"]
    withdraw(monkeypatch, NODE2, Line(done))
    assert node.snapshots[f"zfs/vm/{WEB}@zfsext-0.1-2"][0] == [f"zfsext:{NODE3}"]
    assert not [step for step in done if step[0] == "destroy"]


@pytest.mark.parametrize("error", [Speechless("node2 does not answer"), Busy("somebody has it")])
def test_a_node_that_does_not_do_it_stays_known(
    node: Node, monkeypatch: pytest.MonkeyPatch, done: list[tuple[Any, ...]], error: Exception
) -> None:
    before = {name: dict(properties) for name, properties in node.datasets.items()}
    with pytest.raises(type(error)):
        withdraw(monkeypatch, NODE2, Line(done, error))
    assert (node.datasets, done) == (before, [])


def test_a_node_that_has_left_the_cluster_is_forgotten_unasked(
    node: Node, monkeypatch: pytest.MonkeyPatch, done: list[tuple[Any, ...]], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Refused, match="no copy of these disks was ever there"):
        withdraw(monkeypatch, NODE9, Line(done))
    assert done == []
    for volume in (WEB, SECOND):
        node.datasets[f"zfs/vm/{volume}"] |= {"zfsext:knows": f"{NODE2} {NODE9}", "zfsext:over": f"{NODE3} {NODE9}"}
    withdraw(monkeypatch, NODE9, Line(done, Speechless("never asked")))
    assert node.datasets[f"zfs/vm/{WEB}"]["zfsext:knows"] == NODE2
    assert node.datasets[f"zfs/vm/{WEB}"]["zfsext:over"] == NODE3
    assert "what it has is not destroyed" in capfd.readouterr().err


def test_a_node_that_was_passed_over_and_may_return_stays_passed_over(
    node: Node, monkeypatch: pytest.MonkeyPatch, done: list[tuple[Any, ...]]
) -> None:
    node.datasets[f"zfs/vm/{WEB}"]["zfsext:over"] = NODE2
    withdraw(monkeypatch, NODE2, Line(done))
    assert node.datasets[f"zfs/vm/{WEB}"]["zfsext:over"] == NODE2


def test_nothing_is_withdrawn_from_under_a_transfer_or_by_another_than_the_owner(
    node: Node, monkeypatch: pytest.MonkeyPatch, done: list[tuple[Any, ...]]
) -> None:
    with transfers.alone(WEB, "replication to node3"), pytest.raises(Busy, match="replication to node3"):
        withdraw(monkeypatch, NODE2, Line(done))
    node.datasets[f"zfs/vm-standby/{WEB}"] = {**node.datasets.pop(f"zfs/vm/{WEB}"), "zfsext:state": "replica"}
    with pytest.raises(Refused, match="only a disk's owner"):
        withdraw(monkeypatch, NODE2, Line(done))
    assert done == []


def test_another_node_has_its_owner_do_it(monkeypatch: pytest.MonkeyPatch, node: Node) -> None:
    seen: list[object] = []

    def withdraw(volumes: list[str], name: str, *_: object, dry: bool) -> list[str]:
        seen.extend([volumes, name, dry])
        return []

    monkeypatch.setattr(withdrawal, "withdraw", withdraw)
    monkeypatch.setattr(nodes, "in_cluster", lambda *_: False)
    node.disk(WEB)
    request = {"op": "withdraw", "volume": WEB, "on": NODE2, "dry": False}
    assert answers.answer(request, NODE3, CONFIG, lambda _: None) == {"gone": []}
    assert seen == [[WEB], NODE2, False]
