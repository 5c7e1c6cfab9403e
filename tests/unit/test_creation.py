"""What a new disk is made with."""

from collections.abc import Mapping

import pytest
from conftest import WEB

from zfsext import creation, encryption, places, properties, zfs
from zfsext.config import Config
from zfsext.contract import Request
from zfsext.errors import NoSpace
from zfsext.places import Found


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, str]]:
    """Return the user properties of each dataset that was to be made, on a node where that fails."""
    asked: list[Mapping[str, str]] = []

    def create(_: str, __: Mapping[str, int], user: Mapping[str, str]) -> None:
        asked.append(user)
        raise NoSpace("full")

    monkeypatch.setattr(places, "find", lambda *_: Found([], {name: zfs.Dataset(name) for name in PARENTS}))
    monkeypatch.setattr(encryption, "require_one_root", lambda *_: None)
    monkeypatch.setattr(encryption, "require_key", lambda _: None)
    monkeypatch.setattr(properties, "native", lambda _: {})
    monkeypatch.setattr(zfs, "read", lambda *_: {})
    monkeypatch.setattr(zfs, "create", create)
    return asked


PARENTS = ("zfs/vm", "zfs/vm-standby")


@pytest.mark.parametrize(
    ("given", "configured", "replicas"),
    [
        ({}, [], None),
        ({"replicas": "node2:node3"}, [], "node2 node3"),
        ({}, ["node4"], "node4"),
        ({"replicas": ""}, ["node4"], None),
    ],
)
def test_the_nodes_to_replicate_to_are_on_the_disk_from_the_start(
    made: list[Mapping[str, str]], given: dict[str, str], configured: list[str], replicas: str | None
) -> None:
    request = Request("create", WEB)
    request.size, request.parameters = 64, given
    with pytest.raises(NoSpace):
        creation.create(request, Config(["zfs/vm"], "16K", "", "thin", configured))
    assert [user.get("zfsext:replicas") for user in made] == [replicas]
    assert made[0]["zfsext:state"] == "creating"
