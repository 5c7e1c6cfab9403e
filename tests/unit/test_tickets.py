"""The ticket: what is looked at before a node is given a disk, and what it holds from then on."""

from collections.abc import Mapping

import pytest
from conftest import WEB, Node

from zfsext import tickets, zfs
from zfsext.config import Config
from zfsext.errors import NoSpace
from zfsext.ownership import Generation, Round

CONFIG = Config(["zfs/vm"], "16K", "", "thin")
NAME = f"zfs/vm-standby/{WEB}"


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("quota", ["0", "4096"])
def test_what_could_not_become_live_is_not_prepared(node: Node, monkeypatch: pytest.MonkeyPatch, quota: str) -> None:
    done = []

    def change_all(changes: Mapping[str, Mapping[str, str | None]]) -> None:
        done.append("round" if changes[NAME].get("zfsext:round") else "facts")

    monkeypatch.setattr(zfs, "change_all", change_all)
    monkeypatch.setattr(zfs, "hold", lambda _: done.append("hold"))
    node.datasets["zfs/vm"]["quota"] = quota
    record = {"zfsext_generation": "0.2", "zfsext_peer": "node2"}
    node.disk(WEB, "zfs/vm-standby", "replica", **record, **{"written@zfsext-0.2-7": "0"})
    final = Round(Generation(0, 2), 7)
    if quota == "0":
        assert tickets.prepare({WEB: {}}, "node2", final, CONFIG) == [Generation(0, 0)]
        assert done == ["facts", "hold", "round"]
        return
    with pytest.raises(NoSpace, match="has a quota"):
        tickets.prepare({WEB: {}}, "node2", final, CONFIG)
    assert done == ["facts"]


@pytest.mark.usefixtures("others")
def test_what_the_next_increments_begin_with_is_held_also_for_the_node_that_gave_the_disk(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[str, str]] = []
    monkeypatch.setattr(zfs, "change_all", lambda _: None)
    monkeypatch.setattr(zfs, "hold", lambda tags: held.extend(tags.items()))
    released: list[object] = []
    monkeypatch.setattr(zfs, "release_holds", released.append)
    record = {"zfsext_generation": "0.2", "zfsext_peer": "node2", "zfsext_round": "0.2-7"}
    node.disk(WEB, "zfs/vm-standby", "replica", **record, **{"written@zfsext-0.2-7": "0"})
    for number in (5, 7):
        node.snapshots[f"{NAME}@zfsext-0.2-{number}"] = (["zfsext:node2"], [])
    now = Generation(0, 2)
    bases = {"node3": [Round(now, 5), Round(now, 4)], "node4": [Round(now, 6)]}
    tickets.take([WEB], "node2", now.after(), Round(now, 7), frozenset(), bases, CONFIG)
    assert held == [(f"{NAME}@zfsext-0.2-5", "zfsext:node3"), (f"{NAME}@zfsext-0.2-7", "zfsext:node2")]
    assert released == [{f"{NAME}@zfsext-0.2-5": ["zfsext:node2"]}]
