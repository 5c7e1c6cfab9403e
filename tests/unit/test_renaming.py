"""Whether disks can be renamed to the live place and back: each thing for which ZFS would refuse it, by itself."""

import pytest
from conftest import WEB, Node

from zfsext import local, renaming
from zfsext.config import Config
from zfsext.errors import AlreadyThere, NoSpace, Refused, SystemRefused, ZfsextError
from zfsext.local import Local

CONFIG = Config(["zfs/vm"], "16K", "", "thin")
SECOND = WEB.replace("disk0", "disk1")
LIVE, BESIDE = "zfs/vm", "zfs/vm-standby"
MIB = 1 << 20


@pytest.fixture(params=[True, False], ids=["to live", "from live"])
def live(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def group(node: Node, live: bool, **properties: str) -> list[Local]:
    """Return two disks of 10 MiB that are to be live, or to be it no more."""
    for volume in (WEB, SECOND):
        given = {"used": str(10 * MIB), "zfsext_stamp": "4711", **properties}
        node.disk(volume, *((BESIDE, "ticket") if live else (LIVE, "owner")), **given)
    return [local.require(volume, CONFIG) for volume in (WEB, SECOND)]


def places(live: bool) -> tuple[str, str]:
    """Return where they are and where they are to be."""
    return (BESIDE, LIVE) if live else (LIVE, BESIDE)


def test_where_nothing_stands_in_the_way(node: Node, live: bool) -> None:
    renaming.require(group(node, live), live=live)


def test_what_is_in_its_place_already(node: Node, live: bool) -> None:
    disks = group(node, live)
    for name in (LIVE, BESIDE):
        node.datasets[name]["quota"] = "1"
    node.asked.clear()
    renaming.require(disks, live=not live)
    assert node.asked == []


def test_a_name_that_is_taken(node: Node, live: bool) -> None:
    disks = group(node, live)
    _, to = places(live)
    node.datasets[f"{to}/{SECOND}"] = {}
    with pytest.raises(AlreadyThere, match=f"{to}/{SECOND} stands where the disk would be"):
        renaming.require(disks, live=live)


def test_another_encryption_root(node: Node, live: bool) -> None:
    disks = group(node, live)
    node.datasets[BESIDE]["encryptionroot"] = BESIDE
    with pytest.raises(Refused, match="are not encrypted with one key"):
        renaming.require(disks, live=live)


@pytest.mark.parametrize(("quota", "error"), [(0, None), (25, None), (24, NoSpace)])
def test_a_quota(node: Node, live: bool, quota: int, error: type[ZfsextError] | None) -> None:
    disks = group(node, live)
    at, to = places(live)
    node.datasets[at] |= {"quota": str(MIB), "used": str(MIB)}  # what they leave may be as full as it likes
    node.datasets[to] |= {"quota": str(quota * MIB), "used": str(5 * MIB)}
    if error is None:
        renaming.require(disks, live=live)
        return
    with pytest.raises(error, match=f"{to} has a quota of 24 MiB, of which 5 MiB are used, and .* take 20 MiB"):
        renaming.require(disks, live=live)


def test_what_is_set_aside_counts_where_it_is_so_when_it_is_renamed(node: Node, live: bool) -> None:
    """On the way to live the right of a thick disk counts, which it has there; out of there what it has set aside."""
    thick = {"zfsext_reservation": "thick", "zfsext_size": "64"}
    reserved = {} if live else {"reservation": str(60 * MIB)}
    disks = group(node, live, **thick, **reserved)
    _, to = places(live)
    node.datasets[to] |= {"quota": str(100 * MIB), "used": "0"}
    with pytest.raises(NoSpace):
        renaming.require(disks, live=live)
    node.datasets[to]["quota"] = str(1000 * MIB)
    renaming.require(disks, live=live)


@pytest.mark.parametrize(("length", "fits"), [(255, True), (256, False)])
def test_a_snapshot_whose_name_is_too_long_beside(node: Node, length: int, fits: bool) -> None:
    disks = group(node, live=False)
    short = "x" * (length - len(f"{BESIDE}/{SECOND}@"))
    node.snapshots[f"{LIVE}/{SECOND}@{short}"] = ([], [])
    if fits:
        renaming.require(disks, live=False)
        return
    with pytest.raises(Refused, match=f"{LIVE}/{SECOND}@{short} would have too long a name"):
        renaming.require(disks, live=False)


def test_a_place_that_is_not_there(node: Node, live: bool) -> None:
    disks = group(node, live)
    _, to = places(live)
    del node.datasets[to]
    with pytest.raises(SystemRefused, match=f"{to} does not exist on this node: 'zfs create "):
        renaming.require(disks, live=live)


@pytest.mark.parametrize(("free", "error"), [(600, None), (400, NoSpace)])
def test_room_for_what_all_disks_together_set_aside(node: Node, free: int, error: type[ZfsextError] | None) -> None:
    thick = {"zfsext_reservation": "thick", "zfsext_size": "64", "recordsize": "16384", "referenced": "0"}
    disks = group(node, True, **thick)
    node.datasets[LIVE]["available"] = str(free * MIB)
    if error is None:
        renaming.require_room(disks)
    else:
        with pytest.raises(error, match="make room"):
            renaming.require_room(disks)
    renaming.require_room(group(node, True, zfsext_reservation="thin"))
