"""Rounds: what is taken and held for whom, and what is destroyed once a node has the next one."""

from collections.abc import Mapping, Sequence

import pytest
from conftest import WEB, Node

from zfsext import arrived, local, rounds, streams, zfs
from zfsext.config import Config
from zfsext.errors import NotHere
from zfsext.local import Local
from zfsext.ownership import Generation, Record, Round
from zfsext.transfer import There
from zfsext.zfs import Bookmark, Dataset, Snapshot

CONFIG = Config(["zfs/vm"], "16K", "", "thin")
SECOND = WEB.replace("disk0", "disk1")
NAMES = (f"zfs/vm/{WEB}", f"zfs/vm/{SECOND}")
NOW = Generation(0, 2)
TWO, THREE = "zfsext:node2", "zfsext:node3"


class Pool:
    """Two disks with snapshots, holds, clones and bookmarks, and what is done to them, in order."""

    def __init__(self, node: Node, patch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self.held: dict[str, list[str]] = {}
        self.clones: dict[str, list[str]] = {}
        self.marks: dict[str, str] = {}
        self.written: dict[str, str] = {}
        self.done: list[str] = []
        for name, fake in {
            "snapshots": self.snapshots,
            "take_snapshots": self.take,
            "hold": self.hold,
            "holds": lambda name: list(self.held.get(name, [])),
            "release_holds": self.release,
            "destroy_snapshots": self.destroy,
            "bookmark": self.bookmark,
            "bookmarks": self.bookmarks,
            "destroy_bookmarks": self.destroy_bookmarks,
        }.items():
            patch.setattr(zfs, name, fake)
        for volume in (WEB, SECOND):
            node.disk(volume, zfsext_generation=str(NOW), zfsext_stamp="4711")
        self.group = [local.require(volume, CONFIG) for volume in (WEB, SECOND)]
        patch.setattr(zfs, "read", self.read)

    def have(self, short: str, *tags: str, only: str = "") -> None:
        """Let both disks, or one, have this snapshot, which is held with these tags."""
        for name in NAMES:
            if only in name:
                self.made.append(f"{name}@{short}")
                self.held[f"{name}@{short}"] = list(tags)

    def left(self) -> set[str]:
        """Return the snapshots that both disks have, by their short names; they must not differ."""
        first, second = ({name.partition("@")[2] for name in self.made if name.startswith(of)} for of in NAMES)
        assert first == second
        return first

    def read(self, names: Sequence[str], properties: Sequence[str]) -> dict[str, Dataset]:
        (what,) = properties
        found = {name: Dataset(name) for name in names}
        for name, dataset in found.items():
            dataset._properties[what] = (self.written.get(f"{name} {what}", "0"), "-")
        return found

    def snapshots(self, *datasets: str) -> list[Snapshot]:
        return [
            Snapshot(name, len(self.held.get(name, [])), self.clones.get(name, []), name, txg)
            for txg, name in enumerate(self.made, 1)
            if name.partition("@")[0] in datasets
        ]

    def take(self, names: Sequence[str]) -> None:
        self.done.append("take " + " ".join(names))
        self.made += names

    def hold(self, tags: Mapping[str, str]) -> None:
        for name, tag in tags.items():
            assert name in self.made
            self.held.setdefault(name, []).append(tag)

    def release(self, tags: Mapping[str, Sequence[str]]) -> None:
        for name, given in tags.items():
            self.held[name] = [tag for tag in self.held[name] if tag not in given]

    def destroy(self, names: Sequence[str]) -> None:
        for name in names:
            assert not self.held.get(name)
            assert not self.clones.get(name)
            self.made.remove(name)

    def bookmark(self, snapshots: Mapping[str, str]) -> None:
        self.marks |= snapshots

    def bookmarks(self, dataset: str) -> list[Bookmark]:
        return [Bookmark(name, guid, 1) for name, guid in self.marks.items() if name.startswith(f"{dataset}#")]

    def destroy_bookmarks(self, names: Sequence[str]) -> None:
        for name in names:
            del self.marks[name]


@pytest.fixture
def pool(node: Node, monkeypatch: pytest.MonkeyPatch) -> Pool:
    return Pool(node, monkeypatch)


def has(*shorts: str) -> There:
    return There("node2", None, None, dict(enumerate(shorts)), {}, "")  # type: ignore[arg-type]


def test_a_round_is_one_snapshot_of_all_disks_and_held_for_its_node(pool: Pool) -> None:
    assert rounds.take(pool.group, [has(), has()], "node2") == Round(NOW, 1)
    assert pool.done == [f"take {NAMES[0]}@zfsext-0.2-1 {NAMES[1]}@zfsext-0.2-1"]
    assert pool.held == {f"{name}@zfsext-0.2-1": [TWO] for name in NAMES}


def test_a_round_has_a_number_that_is_nowhere_yet(pool: Pool) -> None:
    pool.have("zfsext-0.2-3", only="disk1")
    assert rounds.take(pool.group, [has("zfsext-0.1-90", "daily"), has()], "node2").number == 4
    assert rounds.take(pool.group, [has(), has("zfsext-0.2-8", "zfsext-0.2-7")], "node2").number == 9
    assert rounds.take(pool.group, [has(), has()], "node2").number == 10


def node2_has(pool: Pool, *shorts: str, token: str = "") -> list[There]:
    return [
        There("node2", None, None, {f"{each.name}@{short}": short for short in shorts}, {}, token)
        for each in pool.group
    ]


def test_what_earlier_rounds_have_left_goes_before_the_next(pool: Pool) -> None:
    pool.have("daily", TWO)
    for number in range(1, 5):
        pool.have(f"zfsext-0.2-{number}", TWO)
    rounds.take(pool.group, node2_has(pool, "daily", "zfsext-0.2-1"), "node2")
    # The last of them may still be on its way.
    assert pool.left() == {"daily", "zfsext-0.2-1", "zfsext-0.2-4", "zfsext-0.2-5"}
    assert pool.held[f"{NAMES[0]}@daily"] == [TWO]


def test_what_the_next_round_begins_with_and_what_others_need_stays(pool: Pool) -> None:
    pool.have("zfsext-0.2-1", THREE)
    pool.have("zfsext-0.2-2", TWO, THREE)
    pool.have("zfsext-0.2-3", TWO, "backup")
    pool.have("zfsext-0.2-4", TWO)
    pool.have("zfsext-0.2-5", TWO)
    pool.have("zfsext-0.2-6", TWO)
    pool.have("zfsext-0.2-7")  # somebody else's round, just begun
    for each in pool.group:
        pool.clones[f"{each.name}@zfsext-0.2-4"] = ["zfs/clone"]
        each.record = each.record._replace(round=Round(NOW, 5))
    rounds.take(pool.group, node2_has(pool), "node2")
    assert pool.left() == {f"zfsext-0.2-{number}" for number in range(1, 9)}
    held = {number: pool.held[f"{NAMES[1]}@zfsext-0.2-{number}"] for number in range(1, 8)}
    assert held == {1: [THREE], 2: [THREE], 3: ["backup"], 4: [], 5: [TWO], 6: [TWO], 7: []}


@pytest.mark.parametrize(("resumable", "left"), [(True, {2, 3, 4, 5}), (False, {3, 4, 5})])
def test_what_an_interrupted_stream_is_of_stays_so_that_it_can_be_resumed(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, resumable: bool, left: set[int]
) -> None:
    def rest(token: str) -> tuple[str, int]:
        if not resumable:
            raise NotHere("it was destroyed")
        return f"{token}@zfsext-0.2-2", 4096

    monkeypatch.setattr(streams, "rest", rest)
    for number in range(1, 5):
        pool.have(f"zfsext-0.2-{number}", TWO)
    there = [There("node2", None, None, {f"{name}@zfsext-0.2-3": "zfsext-0.2-3"}, {}, name) for name in NAMES]
    rounds.take(pool.group, there, "node2")
    assert pool.left() == {f"zfsext-0.2-{number}" for number in left}


def test_a_node_that_was_not_looked_at_loses_nothing(pool: Pool) -> None:
    pool.have("zfsext-0.2-1", TWO)
    rounds.take(pool.group, [has(), has()], "node2")
    assert pool.left() == {"zfsext-0.2-1", "zfsext-0.2-2"}


def test_a_round_is_of_the_newest_generation_of_the_disks(pool: Pool) -> None:
    added: Local = pool.group[1]
    added.record = Record("owner", Generation(0, 1))
    pool.have("zfsext-0.1-5")
    assert rounds.take(pool.group, [has(), has()], "node2") == Round(NOW, 1)


def test_each_other_nodes_next_increment_begins_with_one_that_is_held_for_it(pool: Pool) -> None:
    pool.have("daily", "zfsext:node4")
    pool.have("zfsext-0.1-9", THREE, "backup")
    pool.have("zfsext-0.2-1", THREE, TWO, "zfsext")
    pool.have("zfsext-0.2-2", TWO, "zfsext:node5")
    three_and_five = {"node3": ["0.1-9", "0.2-1"], "node5": ["0.2-2"]}
    assert rounds.bases(pool.group, "node2") == three_and_five
    assert rounds.bases(pool.group, "node6") == {**three_and_five, "node2": ["0.2-1", "0.2-2"]}


def test_a_disk_is_idle_if_nothing_was_written_and_no_snapshot_taken(pool: Pool) -> None:
    last = Round(NOW, 1)
    pool.have("zfsext-0.2-1")
    assert rounds.idle(pool.group, last)
    pool.written[f"{NAMES[1]} written@zfsext-0.2-1"] = "4096"
    assert not rounds.idle(pool.group, last)
    pool.written[f"{NAMES[1]} written@zfsext-0.2-1"] = "-"
    assert not rounds.idle(pool.group, last)
    pool.written.clear()
    pool.have("daily", only="disk1")
    assert not rounds.idle(pool.group, last)


def test_once_a_node_has_a_round_the_ones_before_go(pool: Pool) -> None:
    pool.have("zfsext-0.1-6", "zfsext")  # the last before the hand-over, or the promotion
    for short in ("daily", "zfsext-0.1-7", "zfsext-0.2-1", "zfsext-0.2-2"):
        pool.have(short, *([] if short == "daily" else [TWO]))
    rounds.keep(pool.group, Round(NOW, 2), "node2")
    assert pool.left() == {"daily", "zfsext-0.2-2"}
    assert pool.held[f"{NAMES[0]}@zfsext-0.2-2"] == [TWO]


def test_what_others_need_stays(pool: Pool) -> None:
    pool.have("zfsext-0.1-7", THREE, TWO)
    pool.have("zfsext-0.1-8", "backup", TWO)
    pool.have("zfsext-0.1-9", TWO)
    for name in NAMES:
        pool.clones[f"{name}@zfsext-0.1-9"] = ["zfs/clone"]
    pool.have("zfsext-0.2-1", "zfsext", THREE)
    pool.have("zfsext-0.2-2", TWO)
    pool.have("zfsext-0.2-3")  # of a round to another node that was begun meanwhile
    rounds.keep(pool.group, Round(NOW, 2), "node2")
    assert pool.left() == {f"zfsext-{which}" for which in ("0.1-7", "0.1-8", "0.1-9", "0.2-1", "0.2-2", "0.2-3")}
    held = {name.partition("@")[2]: tags for name, tags in pool.held.items() if name.startswith(NAMES[1])}
    assert held["zfsext-0.1-7"] == [THREE]
    assert held["zfsext-0.1-8"] == ["backup"]
    assert held["zfsext-0.1-9"] == []


def test_the_last_round_leaves_a_mark_for_when_somebody_destroys_it(pool: Pool) -> None:
    for short in ("zfsext-0.2-1", "zfsext-0.2-2"):
        pool.have(short, TWO)
        rounds.keep(pool.group, Round(NOW, int(short[-1])), "node2")
    pool.have("zfsext-0.2-3", THREE)
    rounds.keep(pool.group, Round(NOW, 3), "node3")
    assert set(pool.marks) == {f"{name}#zfsext-0.2-{number}" for name in NAMES for number in (2, 3)}
    pool.marks[f"{NAMES[0]}#daily"] = "of somebody else"
    pool.have("zfsext-0.2-4", TWO)
    rounds.keep(pool.group, Round(NOW, 4), "node2")
    assert set(pool.marks) == {
        f"{NAMES[0]}#daily",
        *(f"{name}#zfsext-0.2-{number}" for name in NAMES for number in (3, 4)),
    }


def test_nothing_is_pruned_by_a_round_that_is_gone(pool: Pool) -> None:
    pool.have("zfsext-0.2-1", TWO)
    arrived.prune(pool.group[0], Round(NOW, 9), lambda *_: True)
    assert pool.left() == {"zfsext-0.2-1"}
    assert pool.held[f"{NAMES[0]}@zfsext-0.2-1"] == [TWO]


@pytest.mark.parametrize("which", ["0.1-7", "0.2-1"])
def test_which_holds_are_past_is_told_by_their_tag_and_round(pool: Pool, which: str) -> None:
    pool.have("zfsext-0.1-7", "tag", "other")
    pool.have("zfsext-0.2-1", "tag", "other")
    pool.have("zfsext-0.2-2", "tag", "other")
    for each in pool.group:
        arrived.prune(each, Round(NOW, 2), lambda tag, base: tag == "tag" and str(base) == which)
    held = {short: pool.held[f"{NAMES[0]}@zfsext-{short}"] for short in ("0.1-7", "0.2-1", "0.2-2")}
    assert held == {short: ["other"] if short == which else ["tag", "other"] for short in held}
    assert len(pool.left()) == 3
