"""A round: whether the other node has the room for it."""

from typing import Any

import pytest
from conftest import WEB, Node

from zfsext import local, replication
from zfsext.config import Config
from zfsext.errors import NoSpace
from zfsext.ownership import REPLICA, Generation, Record
from zfsext.transfer import There

CONFIG = Config(["zfs/vm"], "16K", "", "thin")


class Line:
    """A node with 64 MiB free."""

    name = "node2"

    def call(self, op: str, **fields: Any) -> dict[str, Any]:
        assert (op, fields) == ("room", {"parent": "zfs/vm"})
        return {"free": 64 << 20}


@pytest.mark.parametrize(("epoch", "fits"), [(0, True), (7 << 20, False)])
def test_what_takes_the_place_of_a_copy_needs_room_as_a_first_one_does(node: Node, epoch: int, fits: bool) -> None:
    """The copy has 4096 bytes that the disk has not: what is of the disk's own time is not set aside for that."""
    name = node.disk(WEB, zfsext_generation="0.2", zfsext_stamp="4711", referenced=str(65 << 20))
    node.snapshots[f"{name}@zfsext-0.2-1"] = ([], [])
    there = There("node2", Record(REPLICA, Generation(epoch, 2)), None, {"4711": "zfsext-0.2-1"}, {"4711": 4096}, "")
    here = local.require(WEB, CONFIG)
    if fits:
        replication.require_room(Line(), [here], [there])  # type: ignore[arg-type]
        return
    with pytest.raises(NoSpace, match="has 64 MiB free in zfs/vm, and a first copy takes 65 MiB"):
        replication.require_room(Line(), [here], [there])  # type: ignore[arg-type]
