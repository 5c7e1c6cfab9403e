"""What is complete on the node that a disk comes to."""

from collections.abc import Mapping, Sequence

import pytest
from conftest import WEB, Node

from zfsext import arrived, zfs
from zfsext.config import Config
from zfsext.ownership import Generation, Round

CONFIG = Config(["zfs/vm"], "16K", "", "thin")
SECOND = WEB.replace("disk0", "disk1")
PLACE = "zfs/vm-standby"
NOW, ROUND = Generation(0, 2), Round(Generation(0, 2), 7)
COPY = {"zfsext_id": "11", "zfsext_generation": "0.2", "zfsext_round": "0.2-7", "written@zfsext-0.2-7": "0"}


@pytest.mark.parametrize(
    ("second", "idle"),
    [
        ({}, True),
        (None, False),
        ({"state": "owner"}, False),
        ({"zfsext_round": "0.2-6"}, False),
        ({"zfsext_generation": "0.3"}, False),
        ({"zfsext_floor": "0.3"}, False),
        ({"zfsext_id": "12"}, False),
        ({"receive_resume_token": "1-af"}, False),
        ({"written@zfsext-0.2-7": "4096"}, False),
        ({"written@zfsext-0.2-7": "-"}, False),
    ],
)
def test_a_round_is_the_last_if_nothing_else_is_here_of_any_disk(
    node: Node, monkeypatch: pytest.MonkeyPatch, second: dict[str, str] | None, idle: bool
) -> None:
    noted: list[tuple[Sequence[str], Mapping[str, str]]] = []
    monkeypatch.setattr(zfs, "set_all", lambda *arguments: noted.append(arguments))
    node.disk(WEB, PLACE, "replica", **COPY)
    if second is not None:
        given = {**COPY, **second}
        node.disk(SECOND, PLACE, given.pop("state", "replica"), **given)
    facts = {volume: {"zfsext:id": "11"} for volume in (WEB, SECOND)}
    assert arrived.idle(facts, ROUND, NOW, 4711, CONFIG) is idle
    assert noted == ([([f"{PLACE}/{WEB}", f"{PLACE}/{SECOND}"], {"zfsext:rounded": "4711"})] if idle else [])


def test_what_the_disk_is_by_now_is_noted_though_nothing_was_written(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed: list[object] = []
    monkeypatch.setattr(zfs, "set_all", lambda *_: None)
    monkeypatch.setattr(zfs, "change_all", changed.append)
    node.disk(WEB, PLACE, "replica", **COPY)
    facts = {"zfsext:id": "11", "zfsext:instance": "web2.example.com"}
    assert arrived.idle({WEB: facts}, ROUND, NOW, 4711, CONFIG)
    ((name, properties),) = changed[0].items()  # type: ignore[attr-defined]
    assert (name, properties["zfsext:instance"]) == (f"{PLACE}/{WEB}", "web2.example.com")
