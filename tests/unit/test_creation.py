"""What a new disk is made with, and that none is made beside another node's."""

from collections.abc import Iterable, Mapping

import pytest
from conftest import WEB

from zfsext import asking, cluster, creation, encryption, nodes, places, promotion, properties, zfs
from zfsext.asking import Answers
from zfsext.config import Config
from zfsext.contract import Request
from zfsext.errors import AlreadyThere, NoSpace, Refused, Speechless
from zfsext.ownership import FIRST, OWNER, REPLICA, Record
from zfsext.places import Found

#: The user properties of each dataset that was to be made.
Made = list[Mapping[str, str]]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Return the user properties of each dataset that was to be made, on a node where that fails."""
    asked: Made = []

    def create(_: str, __: Mapping[str, int], user: Mapping[str, str]) -> None:
        asked.append(user)
        raise NoSpace("full")

    monkeypatch.setattr(nodes, "peers", dict)
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
    made: Made, given: dict[str, str], configured: list[str], replicas: str | None
) -> None:
    request = Request("create", WEB)
    request.size, request.parameters = 64, given
    with pytest.raises(NoSpace):
        creation.create(request, Config(["zfs/vm"], "16K", "", "thin", configured))
    assert [user.get("zfsext:replicas") for user in made] == [replicas]
    assert made[0]["zfsext:state"] == "creating"


NODE2, NODE3 = "node2.example.com", "node3.example.com"


class Cluster:
    """What Ganeti knows of the disk, and what the other nodes say of it."""

    def __init__(self) -> None:
        self.known: bool | None = True
        self.told: dict[str, Record | None] = dict.fromkeys((NODE2, NODE3))
        self.offline: set[str] = set()
        self.asked: list[str] = []
        self.masters_error: Speechless | None = None

    def ask(self, volumes: list[str], names: Iterable[str], _: object) -> Answers:
        self.asked += names
        found: dict[str, dict[str, Record | None]] = {}
        for name, record in self.told.items():
            found[name] = dict.fromkeys(volumes, record)
        return Answers(found, {name: f"{name} does not answer" for name in (NODE2, NODE3) if name not in found})

    def masters_word(self, _: object) -> promotion.Word:
        if self.masters_error is not None:
            raise self.masters_error
        return promotion.Word(frozenset(self.offline), 7)


@pytest.fixture
def others_say(made: Made, others: dict[str, nodes.Node], monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Return a cluster of three nodes, in which this one makes a disk; that goes as far as `made`."""
    found = Cluster()
    assert made == []
    monkeypatch.setattr(nodes, "peers", lambda: others)
    monkeypatch.setattr(cluster, "knows", lambda _: found.known)
    monkeypatch.setattr(cluster, "serial", lambda: 7)
    monkeypatch.setattr(asking, "ask", found.ask)
    monkeypatch.setattr(promotion, "masters_word", found.masters_word)
    return found


def create() -> None:
    request = Request("create", WEB)
    request.size = 64
    creation.create(request, Config(["zfs/vm"], "16K", "", "thin"))


@pytest.mark.parametrize("known", [False, None])
def test_a_new_disk_is_asked_for_nowhere(made: Made, others_say: Cluster, known: bool | None) -> None:
    others_say.known = known
    others_say.told = {NODE2: Record(OWNER)}
    with pytest.raises(NoSpace):
        create()
    assert (len(made), others_say.asked) == (1, [])


def test_a_disk_that_ganeti_has_is_made_anew_where_nobody_has_it(made: Made, others_say: Cluster) -> None:
    others_say.masters_error = Speechless("whom nobody has to ask")
    with pytest.raises(NoSpace):
        create()
    assert (len(made), others_say.asked) == (1, [NODE2, NODE3])


@pytest.mark.parametrize("state", [OWNER, REPLICA])
def test_no_disk_is_made_beside_another_nodes(made: Made, others_say: Cluster, state: str) -> None:
    others_say.told = {NODE3: Record(state)}
    with pytest.raises(AlreadyThere, match=f"is on {NODE3} .*'gnt-instance modify --new-primary={NODE3} INSTANCE'"):
        create()
    assert made == []


def test_no_disk_is_made_that_a_silent_node_may_have(made: Made, others_say: Cluster) -> None:
    others_say.told = {}
    others_say.offline = {NODE2}
    with pytest.raises(Refused, match=rf"\({NODE3} does not answer\).*'gnt-node modify -O yes NODE'"):
        create()
    others_say.masters_error = Speechless("nor does the master")
    with pytest.raises(Speechless, match="nor does the master"):
        create()
    assert made == []


def test_a_disk_in_a_dead_nodes_stead_is_newer_than_what_that_may_have(made: Made, others_say: Cluster) -> None:
    others_say.told = {NODE2: None}
    others_say.offline = {NODE3}
    with pytest.raises(NoSpace):
        create()
    assert len(made) == 1
    assert creation._nodes_without_it(WEB) == {NODE3}
    first = creation._first(frozenset({NODE3}))
    assert first == Record(OWNER, first.generation, first.generation, over=frozenset({NODE3}), knows=frozenset({NODE3}))
    assert (first.generation.serial, first.generation.seq) == (7, 0)
    assert creation._first(frozenset()) == Record(OWNER, FIRST)
