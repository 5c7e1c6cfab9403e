"""Ganeti's own files: what a master candidate has, what other nodes have, and what is no such file."""

import json
from pathlib import Path
from typing import Any

import pytest

from zfsext import cluster, nodes
from zfsext.errors import SystemRefused

WEB, DB = "81e8f43a-bb8f-4d09-8477-d35990fc50c3.ext.disk0", "0c1f5f0e-6f5e-4f6b-9a55-0b9a7d1d5c11.ext.disk1"
CONFIG: dict[str, Any] = {
    "nodes": {"n1": {"name": "node1.example.com", "primary_ip": "127.0.0.1"}, "n2": {"name": "node2.example.com"}},
    "instances": {
        "i1": {"name": "web1.example.com", "primary_node": "n1", "disks": ["d0", "d1"]},
        "i2": {"name": "db1.example.com", "primary_node": "n2", "disks": ["d2", "d3", "d4"]},
    },
    "disks": {
        "d0": {"dev_type": "plain", "logical_id": ["xenvg", "81e8.disk0"], "size": 512},
        "d1": {"dev_type": "ext", "logical_id": ["zfsfile", WEB], "size": 20480},
        "d2": {"dev_type": "drbd", "logical_id": ["n1", "n2", 11000, 0, 1, "secret"], "children": [], "size": 512},
        "d3": {"dev_type": "ext", "logical_id": ["rbdlike", "other"], "size": 1024},
        "d5": {"dev_type": "ext", "logical_id": ["zfsfile", "put.aside"], "size": 1024},
        "d4": {"dev_type": "ext", "logical_id": ["zfsfile", DB], "size": 1024},
    },
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the data directory of node1, which is no master candidate."""
    monkeypatch.setattr(nodes, "_is_ours", lambda address: address == "127.0.0.1")
    (tmp_path / nodes.ADDRESSES).write_text("node1.example.com 127.0.0.1\nnode2.example.com 192.0.2.2\n")
    (tmp_path / cluster.INSTANCES).write_text("web1.example.com\ndb1.example.com\n")
    return tmp_path


def test_no_ganeti_is_none(tmp_path: Path) -> None:
    assert cluster.load(str(tmp_path)) is None


def test_a_node_that_is_no_candidate_knows_names_only(data: Path) -> None:
    found = cluster.load(str(data))
    assert found == cluster.Cluster("node1.example.com", frozenset({"web1.example.com", "db1.example.com"}))
    assert not found.complete


def test_a_candidate_knows_the_zfsfile_disks_of_all_nodes(data: Path) -> None:
    (data / cluster.CONFIG).write_text(json.dumps(CONFIG))
    found = cluster.load(str(data))
    assert found is not None
    assert found.complete
    assert found.disks == {
        WEB: cluster.Disk("web1.example.com", 1, WEB, 20480, "node1.example.com"),
        DB: cluster.Disk("db1.example.com", 2, DB, 1024, "node2.example.com"),
    }
    assert found.detached == {"put.aside": "d5"}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", json.dumps({**CONFIG, "disks": {}}), json.dumps({**CONFIG, "nodes": []})],
)
def test_a_file_that_ganeti_did_not_write_is_an_error_and_no_empty_cluster(data: Path, text: str) -> None:
    (data / cluster.CONFIG).write_text(text)
    with pytest.raises(SystemRefused, match=r"config\.data is not what Ganeti writes"):
        cluster.load(str(data))


def test_a_list_of_nodes_without_this_one_is_an_error(data: Path) -> None:
    (data / nodes.ADDRESSES).write_text("node2.example.com 192.0.2.2\n")
    with pytest.raises(SystemRefused, match="no node"):
        cluster.load(str(data))


def test_the_disks_of_an_instance_are_a_group_in_the_order_of_their_indexes(data: Path) -> None:
    more = {
        "nodes": CONFIG["nodes"],
        "instances": {
            **CONFIG["instances"],
            "i3": {"name": "mail1.example.com", "primary_node": "n2", "disks": ["d7", "d0", "d6"]},
        },
        "disks": {
            **CONFIG["disks"],
            "d6": {"dev_type": "ext", "logical_id": ["zfsfile", "a.second"], "size": 1024},
            "d7": {"dev_type": "ext", "logical_id": ["zfsfile", "b.first"], "size": 1024},
        },
    }
    (data / cluster.CONFIG).write_text(json.dumps(more))
    assert cluster.group("a.second", str(data)) == ["b.first", "a.second"]
    assert cluster.group(WEB, str(data)) == [WEB]
    assert cluster.group("put.aside", str(data)) == ["put.aside"]
    assert cluster.group("other", str(data)) is None


def test_any_disk_that_ganeti_has_is_known(data: Path) -> None:
    (data / cluster.CONFIG).write_text(json.dumps(CONFIG))
    told = {volume: cluster.knows(volume, str(data)) for volume in (WEB, DB, "put.aside", "other", "gone")}
    assert told == {WEB: True, DB: True, "put.aside": True, "other": False, "gone": False}


def test_a_node_that_is_no_candidate_tells_nothing_of_disks(data: Path) -> None:
    assert cluster.group(WEB, str(data)) is None
    assert cluster.knows(WEB, str(data)) is None
    with pytest.raises(SystemRefused, match="no master candidate"):
        cluster.serial(str(data))


def test_the_serial_is_that_of_the_whole_configuration(data: Path) -> None:
    (data / cluster.CONFIG).write_text(json.dumps({**CONFIG, "serial_no": 4711}))
    assert cluster.serial(str(data)) == 4711
    (data / cluster.CONFIG).write_text(json.dumps(CONFIG))
    with pytest.raises(SystemRefused, match=r"config\.data is not what Ganeti writes"):
        cluster.serial(str(data))


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({**CONFIG, "disks": {}})])
def test_of_a_damaged_file_nothing_is_told_and_nothing_is_taken_for_gone(data: Path, text: str) -> None:
    (data / cluster.CONFIG).write_text(text)
    with pytest.raises(SystemRefused):
        cluster.group(WEB, str(data))
    with pytest.raises(SystemRefused):
        cluster.knows(WEB, str(data))


def test_a_name_is_whole_or_its_leading_labels() -> None:
    names = frozenset({"web1.example.com", "web1.example.org", "web10.example.com", "db.example.com", "db"})
    assert cluster.matching("web10", names) == ["web10.example.com"]
    assert cluster.matching("WEB1.example.com", names) == ["web1.example.com"]
    assert cluster.matching("web1", names) == ["web1.example.com", "web1.example.org"]
    assert cluster.matching("db", names) == ["db"]
    assert cluster.matching("we", names) == []
