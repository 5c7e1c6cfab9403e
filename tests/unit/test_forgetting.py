"""The end of a disk: what was noted of it goes too."""

import pytest
from conftest import DB, WEB, Node

from zfsext import cluster, dropping, forgetting, local, outcome, removal, transfers
from zfsext.config import Config
from zfsext.errors import Busy
from zfsext.peer import Peers

CONFIG = Config(["zfs/vm"], "16K", "", "thin")


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("knows", ["", "node9.example.com"])
def test_how_its_rounds_ended_is_not_kept(
    node: Node, monkeypatch: pytest.MonkeyPatch, knows: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(forgetting, "NOTES", str(tmp_path_factory.mktemp("removed")))
    monkeypatch.setattr(local, "stands", lambda _: True)
    monkeypatch.setattr(removal, "remove", lambda *_: None)
    node.disk(WEB, **({"zfsext_knows": knows} if knows else {}))
    for volume in (WEB, DB):
        outcome.note(volume, "node9.example.com", "no room")
    forgetting.remove(WEB, CONFIG, Peers())
    assert outcome.of(WEB) == {}
    assert outcome.of(DB)


@pytest.mark.usefixtures("others")
def test_a_remove_that_fails_leaves_no_order_to_destroy_the_copies(
    node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(forgetting, "NOTES", str(tmp_path_factory.mktemp("removed")))
    monkeypatch.setattr(local, "stands", lambda _: True)

    def held(*_: object) -> None:
        assert forgetting.noted(), "a remove that is killed from here on must be known"
        raise Busy("somebody holds it")

    monkeypatch.setattr(removal, "remove", held)
    node.disk(WEB, zfsext_knows="node9.example.com")
    with pytest.raises(Busy):
        forgetting.remove(WEB, CONFIG, Peers())
    assert forgetting.noted() == {}


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("state", ["owner", "replica", None])
def test_no_transfer_of_a_disk_goes_on_while_it_is_removed(
    node: Node, monkeypatch: pytest.MonkeyPatch, state: str | None
) -> None:
    done = []

    def destroy(*_: object) -> None:
        with pytest.raises(Busy, match=transfers.REMOVAL), transfers.alone(WEB, "replication to node2"):
            raise AssertionError("a disk that is about to go was sent")
        done.append("destroyed")

    monkeypatch.setattr(removal, "remove", destroy)
    monkeypatch.setattr(dropping, "destroy", destroy)
    monkeypatch.setattr(forgetting, "_remove_elsewhere", lambda *_: None)
    if state:
        node.disk(WEB, "zfs/vm" if state == "owner" else "zfs/vm-standby", state)
    forgetting.remove(WEB, CONFIG, Peers())
    assert done == ["destroyed"]
    assert not transfers.under_way(WEB)


@pytest.mark.usefixtures("others")
def test_what_ganeti_has_is_not_swept(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(forgetting, "NOTES", str(tmp_path_factory.mktemp("removed")))
    monkeypatch.setattr(cluster, "knows", lambda _: True)
    forgetting.note(WEB, "id0", ["node9.example.com"])
    assert forgetting.sweep(CONFIG, Peers()) == [f"{WEB} is out of reach on node9.example.com"]
