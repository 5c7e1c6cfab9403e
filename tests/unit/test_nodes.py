"""The other nodes, from ssconf: who there is, where, and how one logs in."""

from pathlib import Path

import pytest

from zfsext import nodes
from zfsext.errors import Refused, SystemRefused
from zfsext.nodes import Node

ONE, TWO, THREE = "node1.example.com", "node2.example.com", "node3.example.com"
SSCONF = {
    "node_list": f"{ONE}\n{TWO}\n{THREE}\n",
    "node_primary_ips": f"{ONE} 127.0.0.1\n{TWO} 192.0.2.2\n{THREE} 2001:db8::3\n",
    "node_secondary_ips": f"{ONE} 198.51.100.1\n{TWO} 198.51.100.2\n",
    "ssh_ports": f"{ONE}=22\n{TWO}=2222\n{THREE}=22\n",
    "offline_nodes": f"{THREE}\n",
    "master_candidates": f"{ONE}\n{TWO}\n",
    "master_node": f"{TWO}\n",
    "cluster_name": "cluster.example.com\n",
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the data directory of node1."""
    monkeypatch.setattr(nodes, "_is_ours", lambda address: address == "127.0.0.1")
    for name, text in SSCONF.items():
        (tmp_path / f"ssconf_{name}").write_text(text)
    return str(tmp_path)


def test_peers_are_all_other_nodes_by_their_secondary_address(data: str) -> None:
    assert nodes.peers(data) == {
        TWO: Node(TWO, "198.51.100.2", 2222, offline=False, candidate=True),
        THREE: Node(THREE, "2001:db8::3", 22, offline=True, candidate=False),
    }


def test_a_machine_that_is_in_no_cluster_has_no_peers(tmp_path: Path) -> None:
    assert nodes.peers(str(tmp_path)) == {}
    assert not nodes.in_cluster(str(tmp_path))
    with pytest.raises(SystemRefused, match="in no Ganeti cluster"):
        nodes.this_node(str(tmp_path))


@pytest.mark.parametrize("name", ["node_list", "node_secondary_ips", "ssh_ports", "offline_nodes", "master_candidates"])
def test_a_file_that_is_missing_is_named_and_no_node_is_left_out(data: str, name: str) -> None:
    Path(data, f"ssconf_{name}").unlink()
    with pytest.raises(SystemRefused, match=f"ssconf_{name} is missing"):
        nodes.peers(data)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ssh_ports", f"{TWO}=2222\n"),
        ("ssh_ports", f"{TWO}=2222\n{THREE}=ssh\n"),
        ("ssh_ports", f"{TWO} 2222\n"),
        ("node_list", f"{TWO}\nnode4.example.com\n"),
        ("node_primary_ips", f"{ONE} 127.0.0.1\n{TWO} 192.0.2.2\n"),
        ("node_secondary_ips", f"{TWO}\n"),
    ],
)
def test_what_ganeti_does_not_write_is_an_error(data: str, name: str, text: str) -> None:
    Path(data, f"ssconf_{name}").write_text(text)
    with pytest.raises(SystemRefused, match="ssconf"):
        nodes.peers(data)


def test_bytes_that_are_no_text_are_an_error(data: str) -> None:
    Path(data, "ssconf_node_list").write_bytes(b"node\xff\n")
    with pytest.raises(SystemRefused, match="node_list is not what Ganeti writes"):
        nodes.peers(data)


def test_this_node_is_known_by_its_address(data: str) -> None:
    assert nodes.this_node(data) == ONE
    assert nodes.is_this_node(ONE, data)
    assert not nodes.is_this_node(TWO, data)
    with pytest.raises(Refused, match="has no node4"):
        nodes.is_this_node("node4", data)


def test_where_each_address_can_be_bound_the_host_name_tells(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_is_ours", lambda _: True)
    monkeypatch.setattr("socket.gethostname", lambda: "node2")
    assert nodes.this_node(data) == TWO
    monkeypatch.setattr("socket.gethostname", lambda: "node4")
    with pytest.raises(SystemRefused, match="no node"):
        nodes.this_node(data)


def test_the_kernel_says_which_addresses_are_ours() -> None:
    assert nodes._is_ours("127.0.0.1")
    assert not nodes._is_ours("192.0.2.1")


def test_the_master_and_the_candidates_are_ganetis(data: str) -> None:
    assert nodes.master(data) == TWO
    assert nodes.is_candidate(data)
    Path(data, "ssconf_master_candidates").write_text(f"{TWO}\n")
    assert not nodes.is_candidate(data)
    Path(data, "ssconf_master_node").write_text("")
    with pytest.raises(SystemRefused, match="master_node"):
        nodes.master(data)


def test_one_logs_in_as_ganeti_does(data: str) -> None:
    assert nodes.ssh_command(nodes.peers(data)[TWO], data) == [
        "ssh",
        "-oBatchMode=yes",
        f"-oGlobalKnownHostsFile={data}/known_hosts",
        "-oUserKnownHostsFile=/dev/null",
        "-oHostKeyAlias=cluster.example.com",
        "-oStrictHostKeyChecking=yes",
        "-oConnectTimeout=10",
        "-oServerAliveInterval=10",
        "-oServerAliveCountMax=3",
        "-oPort=2222",
        "root@198.51.100.2",
    ]
    assert nodes.DATA == "/var/lib/ganeti"
