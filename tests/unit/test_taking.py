"""The node that a disk comes to: what it says of its copy."""

from conftest import WEB, Node

from zfsext import taking
from zfsext.config import Config

CONFIG = Config(["zfs/vm"], "16K", "", "thin")
NAME = f"zfs/vm-standby/{WEB}"


def test_a_look_tells_how_far_a_copy_is_ahead_of_each_of_its_snapshots(node: Node) -> None:
    node.disk(WEB, "zfs/vm-standby", "replica", written="4096")
    for number, written in enumerate((98304, 0, 8192)):
        node.snapshots[f"{NAME}@{number}"] = ([], [])
        node.guids[f"{NAME}@{number}"] = f"guid{number}"
        node.written[f"{NAME}@{number}"] = written
    told = taking.look(WEB, CONFIG)
    assert told["snapshots"] == {"guid0": "0", "guid1": "1", "guid2": "2"}
    assert list(told["snapshots"]) == ["guid0", "guid1", "guid2"]  # oldest first
    assert told["written"] == {"guid0": 12288, "guid1": 12288, "guid2": 4096}


def test_a_look_at_what_is_not_there(node: Node) -> None:
    assert taking.look(WEB, CONFIG) == {"record": None, "id": None, "snapshots": {}, "written": {}, "token": ""}
    node.disk(WEB, "zfs/vm-standby", "replica", receive_resume_token="1-af")  # noqa: S106
    told = taking.look(WEB, CONFIG)
    assert (told["snapshots"], told["written"], told["token"]) == ({}, {}, "1-af")
