"""Which of a VM's disks a node has sealed together, and so takes back together."""

import pytest

from zfsext import groups, local
from zfsext.config import Config
from zfsext.ownership import OWNER, SEALED, TICKET, Record

CONFIG = Config(["zfs/vm"], "16K", "", "thin")


class Here:
    """This node's copy."""

    def __init__(self, state: str, peer: str = "") -> None:
        self.record = Record(state, peer=peer)


TWO, THREE = Here(SEALED, "node2"), Here(SEALED, "node3")


@pytest.mark.parametrize(
    ("first", "second", "sealed"),
    [
        (TWO, TWO, ["web0", "web1"]),
        (TWO, THREE, ["web0"]),
        (TWO, Here(OWNER), ["web0"]),
        (TWO, Here(TICKET, "node2"), ["web0"]),
        (TWO, None, ["web0"]),
        (Here(OWNER), TWO, ["web0"]),
        (None, TWO, ["web0"]),
    ],
)
def test_what_was_sealed_for_the_same_node(
    first: Here | None, second: Here | None, sealed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"web0": first, "web1": second}
    monkeypatch.setattr(groups, "of", lambda *_: ["web0", "web1"])
    monkeypatch.setattr(local, "find_all", lambda volumes, _: {volume: here[volume] for volume in volumes})
    assert groups.sealed("web0", CONFIG) == sealed


def test_what_was_renamed_just_then_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [{"web0": TWO, "web1": None}, {"web1": TWO}]
    monkeypatch.setattr(groups, "of", lambda *_: ["web0", "web1"])
    monkeypatch.setattr(local, "find_all", lambda *_: looks.pop(0))
    assert groups.sealed("web0", CONFIG) == ["web0", "web1"]
