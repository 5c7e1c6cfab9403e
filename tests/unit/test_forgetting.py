"""The end of a disk: what was noted of it goes too."""

import pytest
from conftest import DB, WEB, Node

from zfsext import forgetting, local, outcome, removal
from zfsext.config import Config
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
