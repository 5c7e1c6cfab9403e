"""Copies that were set aside: what is told of them, and that nobody else's is lost with them."""

from collections.abc import Mapping, Sequence

import pytest
from conftest import WEB, Node

from zfsext import asides, removal, zfs
from zfsext.config import Config
from zfsext.errors import Busy
from zfsext.places import Copy

CONFIG = Config(["zfs/vm"], "16K", "", "thin")
NAME = f"zfs/vm-standby/{WEB}.aside-0.3"


@pytest.fixture(autouse=True)
def aside(node: Node) -> None:
    """Let there be a copy that was set aside, with two rounds, of which the last got nowhere."""
    node.disk(
        f"{WEB}.aside-0.3",
        "zfs/vm-standby",
        "aside",
        zfsext_instance="web1.example.com",
        zfsext_generation="0.3",
        zfsext_round="0.3-7",
        used="8192",
        **{"written@zfsext-0.3-7": "4096", "written@zfsext-0.3-8": "0", "written@zfsext-0.3-6": "5000"},
    )
    for number, short in enumerate(("zfsext-0.3-6", "zfsext-0.3-7", "daily", "zfsext-0.3-8")):
        node.snapshots[f"{NAME}@{short}"] = ([], [])
        node.guids[f"{NAME}@{short}"] = f"10{number}"


@pytest.fixture(name="done")
def _done(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return what is done."""
    done: list[object] = []

    def release(tags: Mapping[str, Sequence[str]]) -> None:
        done.append(dict(tags))

    def destroy(copy: Copy) -> None:
        done.append((copy.name, copy.parent, copy.live))
        del node.datasets[copy.name]

    monkeypatch.setattr(zfs, "release_holds", release)
    monkeypatch.setattr(removal, "destroy", destroy)
    return done


def test_what_is_told_of_it() -> None:
    (one,) = asides.found(CONFIG)
    assert one._replace(snapshots=[]) == (
        *(NAME, WEB, "web1.example.com", "0.3", 8192),
        *(4096, f"{NAME}@zfsext-0.3-7", []),
    )
    assert [each.short for each in one.snapshots] == ["zfsext-0.3-6", "zfsext-0.3-7", "daily", "zfsext-0.3-8"]


def test_one_that_was_renamed_and_does_not_say_so_yet_is_one(node: Node) -> None:
    node.datasets[NAME]["zfsext:state"] = "owner"
    assert [each.dataset for each in asides.found(CONFIG)] == [NAME]
    del node.datasets[NAME]["zfsext:state"]
    assert list(asides.found(CONFIG)) == []


def test_a_copy_of_the_disk_that_is_here_by_now_tells_what_they_share(node: Node) -> None:
    name = node.disk(WEB, "zfs/vm-standby", "replica")
    node.snapshots[f"{name}@renamed"] = ([], [])
    node.guids[f"{name}@renamed"] = "100"
    (one,) = asides.found(CONFIG)
    assert (one.written, one.since) == (5000, f"{NAME}@zfsext-0.3-6")


def test_what_was_ahead_of_a_promotion_is_measured_from_where_it_branched_off(node: Node) -> None:
    origin = f"zfs/vm/{WEB}@zfsext-0.3-7"
    node.datasets[NAME] |= {"origin": origin, f"written@{origin}": "12"}
    (one,) = asides.found(CONFIG)
    assert (one.written, one.since) == (12, origin)


def test_it_may_not_be_known_what_the_disk_does_not_have(node: Node) -> None:
    node.snapshots = {name: kept for name, kept in node.snapshots.items() if "zfsext" not in name}
    (one,) = asides.found(CONFIG)
    assert (one.written, one.since) == (None, None)


def test_no_other_copy_counts(node: Node) -> None:
    del node.datasets[NAME]
    node.disk(WEB, "zfs/vm-standby", "replica")
    assert list(asides.found(CONFIG)) == []


def test_it_goes_with_our_holds(node: Node, done: list[object]) -> None:
    node.snapshots[f"{NAME}@zfsext-0.3-7"] = (["zfsext:node2.example.com", "zfsext"], [])
    asides.drop(list(asides.found(CONFIG)), CONFIG)
    assert done == [
        {f"{NAME}@zfsext-0.3-7": ["zfsext:node2.example.com", "zfsext"]},
        (NAME, "zfs/vm", False),
    ]
    assert list(asides.found(CONFIG)) == []


def test_what_somebody_else_keeps_stays_and_all_else_with_it(node: Node, done: list[object]) -> None:
    node.datasets[f"{NAME}-1764000000"] = dict(node.datasets[NAME])
    node.snapshots[f"{NAME}-1764000000@daily"] = (["zfsext", "backup"], ["zfs/clone"])
    with pytest.raises(Busy) as caught:
        asides.drop(list(asides.found(CONFIG)), CONFIG)
    assert str(caught.value).startswith(
        f"nothing was destroyed: {NAME}-1764000000@daily is held (backup); "
        f"{NAME}-1764000000@daily has the clone zfs/clone. 'zfs release'"
    )
    assert done == []


def test_what_was_made_a_disk_again_meanwhile_stays(node: Node, done: list[object]) -> None:
    copies = list(asides.found(CONFIG))
    node.datasets[f"zfs/vm/{WEB}"] = node.datasets.pop(NAME)
    asides.drop(copies, CONFIG)
    assert done == []
