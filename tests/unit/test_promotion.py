"""A copy that is ahead of the round at which it becomes the disk: a clone takes its place, whenever that is killed."""

from collections.abc import Callable, Mapping

import pytest
from conftest import WEB, Node

from zfsext import asides, attachment, local, places, promotion, properties, survey, zfs
from zfsext.config import Config
from zfsext.errors import AlreadyThere, NotHere

CONFIG = Config(["zfs/vm"], "16K", "", "thin")
NAME = f"zfs/vm-standby/{WEB}"
AHEAD = f"{NAME}.aside-0.2-ahead"
ROUND = "zfsext-0.2-7"
SINCE = f"written@{ROUND}"


class Killed(BaseException):
    """Raised after the last thing that the process did."""


class Pool:
    """The copies in the standby place, changed by what is done to them until the process is killed."""

    def __init__(self, node: Node, patch: pytest.MonkeyPatch) -> None:
        self.node = node
        self.left = -1  # how many things are done before the process is killed; a negative number is all
        self.done: list[str] = []
        patch.setattr(attachment, "detach", lambda *_: None)
        patch.setattr(properties, "native", lambda size: {"canmount": 2, "readonly": 0, "recordsize": size})
        for name in ("rename", "clone", "promote", "change", "destroy"):
            patch.setattr(zfs, name, self.killable(name, getattr(self, name)))

    def killable(self, name: str, work: Callable[..., None]) -> Callable[..., None]:
        def do(*given: object) -> None:
            work(*given)
            self.done.append(name)
            self.left -= 1
            if not self.left:
                raise Killed

        return do

    def rename(self, name: str, wanted: str) -> None:
        if wanted in self.node.datasets:
            raise AlreadyThere(wanted)
        self.node.datasets[wanted] = self.node.datasets.pop(name)
        for of in self.node.datasets.values():
            origin, _, short = of.get("origin", "-").partition("@")
            if origin == name:
                of["origin"] = f"{wanted}@{short}"

    def clone(self, snapshot: str, name: str, native: Mapping[str, int], user: Mapping[str, str]) -> None:
        assert "readonly" not in native
        compression = {"compression": "gzip"} if native.get("compression") == zfs.COMPRESSION["gzip"] else {}
        self.node.datasets[name] = {"origin": snapshot, SINCE: "-", **compression, **user}

    def promote(self, name: str) -> None:
        origin = self.node.datasets[name].pop("origin").partition("@")[0]
        self.node.datasets[name][SINCE] = "0"
        self.node.datasets[origin] |= {SINCE: "-", "origin": f"{name}@{ROUND}"}

    def change(self, name: str, user: Mapping[str, str]) -> None:
        self.node.datasets[name] |= user

    def destroy(self, name: str) -> None:
        assert not any(of.get("origin", "").startswith(f"{name}@") for of in self.node.datasets.values())
        del self.node.datasets[name]

    def back_to_round(self) -> None:
        """Do what a promotion does."""
        promotion._back_to_round(local.settle(local.require(WEB, CONFIG), CONFIG))


@pytest.fixture
def pool(node: Node, monkeypatch: pytest.MonkeyPatch) -> Pool:
    found = Pool(node, monkeypatch)
    facts = {"zfsext_id": "11", "zfsext_instance": "web1", "compression": "gzip", SINCE: "4096", "origin": "-"}
    record = {"zfsext_generation": "0.2", "zfsext_peer": "node2", "zfsext_round": "0.2-7", "zfsext_schema": "1"}
    node.disk(WEB, "zfs/vm-standby", "replica", **record, **facts)
    return found


def test_a_clone_of_the_round_takes_the_place_of_what_is_ahead_of_it(node: Node, pool: Pool) -> None:
    before = dict(node.datasets[NAME])
    pool.back_to_round()
    assert node.datasets[NAME] == {**{name: text for name, text in before.items() if name != "origin"}, SINCE: "0"}
    assert node.datasets[AHEAD]["zfsext:state"] == "aside"
    assert node.datasets[AHEAD]["origin"] == f"{NAME}@{ROUND}"


def test_what_is_not_ahead_stays_as_it_is(node: Node, pool: Pool) -> None:
    node.datasets[NAME][SINCE] = "0"
    pool.back_to_round()
    assert pool.done == []


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_killed_at_any_point_it_is_finished_by_the_next(node: Node, pool: Pool, after: int) -> None:
    pool.left = after
    with pytest.raises(Killed):
        pool.back_to_round()
    here = local.require(WEB, CONFIG)  # it is never missing
    assert (here.identity, here.record.round is not None) == ("11", True)
    if here.name == AHEAD:  # nor is it offered to be dropped
        assert list(asides.found(CONFIG)) == []
        assert [(disk.volume, disk.role) for disk in survey.take(CONFIG).disks] == [(WEB, "replica")]
    pool.back_to_round()
    assert node.datasets[NAME][SINCE] == "0"
    assert node.datasets[NAME]["compression"] == "gzip"
    assert [each.dataset for each in asides.found(CONFIG)] == [AHEAD]
    assert local.require(WEB, CONFIG).name == NAME


def test_a_clone_that_a_power_cut_left_bare_is_made_anew(node: Node, pool: Pool) -> None:
    pool.left = 2
    with pytest.raises(Killed):
        pool.back_to_round()
    node.datasets[NAME] = {"origin": f"{AHEAD}@{ROUND}"}
    assert local.require(WEB, CONFIG).name == AHEAD
    pool.back_to_round()
    assert node.datasets[NAME][SINCE] == "0"
    assert pool.done[2:4] == ["destroy", "rename"]


@pytest.mark.usefixtures("pool")
def test_what_somebody_else_put_in_its_place_stays(node: Node) -> None:
    node.datasets[AHEAD] = node.datasets.pop(NAME)
    node.datasets[NAME] = {"origin": "-"}
    with pytest.raises(AlreadyThere):
        local.settle(local.require(WEB, CONFIG), CONFIG)
    assert node.datasets[NAME] == {"origin": "-"}


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("name", [f"{NAME}.aside-0.2-ahead", f"{NAME}.aside-0.2"])
def test_what_was_set_aside_is_no_copy_when_the_disk_is_gone(node: Node, name: str) -> None:
    node.datasets[name] = {**node.datasets.pop(NAME), "zfsext:state": "aside" if name == AHEAD else "replica"}
    with pytest.raises(NotHere):
        local.require(WEB, CONFIG)
    assert places.find(WEB, CONFIG).copies == []
