"""What the timer replicates: which disks, where to, and that no failure of one is another's."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import CLUSTER, DB, WEB, Node

from zfsext import attempt, cluster, nodes, scheduled, transfers
from zfsext.config import Config
from zfsext.errors import NoSpace

pytestmark = pytest.mark.usefixtures("others")
CONFIG = Config(["zfs/vm"], "16K", "", "thin", bandwidth=4096)
SECOND = WEB.replace("disk0", "disk1")
GROUPS = {WEB: [WEB, SECOND], SECOND: [WEB, SECOND], DB: [DB]}
NODE1, NODE2, NODE3 = (f"node{number}.example.com" for number in (1, 2, 3))


@pytest.fixture(autouse=True)
def rounds(node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the file that tells, a line each, which rounds there were. Those of a single disk to node3 fail."""
    path = tmp_path / "rounds"
    path.touch()

    def replicate(volumes: Sequence[str], node: str, *_: object, bandwidth: int) -> int:
        with path.open("a") as file:
            file.write(f"{len(volumes)} {node} {bandwidth} {os.getpid()}\n")
        if len(volumes) == 1 and node == NODE3:
            raise NoSpace("node3.example.com has no room")
        return 0

    monkeypatch.setattr(attempt, "replicate", replicate)
    monkeypatch.setattr(cluster, "group", lambda volume: GROUPS.get(volume))
    node.disk(WEB, zfsext_instance="web1.example.com", zfsext_replicas="node2 node1")
    node.disk(SECOND, zfsext_instance="web1.example.com", zfsext_replicas="node3.example.com")
    node.disk(DB, "zfs/vm-standby", "replica", zfsext_replicas="node2")
    return path


def replicated(rounds: Path) -> list[tuple[str, ...]]:
    return [tuple(line.split()[:2]) for line in rounds.read_text().splitlines()]


def test_a_vm_goes_to_all_nodes_that_its_disks_name_but_this_one(
    rounds: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert scheduled.run(CONFIG, 2) == 0
    assert replicated(rounds) == [("2", NODE2), ("2", NODE3)]
    assert rounds.read_text().split()[2] == "4096"
    assert capfd.readouterr() == ("", "")


def test_each_round_is_a_process_of_its_own(rounds: Path) -> None:
    scheduled.run(CONFIG, 2)
    assert len({line.split()[3] for line in rounds.read_text().splitlines()} | {str(os.getpid())}) == 3


@pytest.mark.parametrize("jobs", [1, 4])
def test_an_error_stops_nothing_else(node: Node, rounds: Path, capfd: pytest.CaptureFixture[str], jobs: int) -> None:
    del node.datasets[f"zfs/vm-standby/{DB}"]
    node.disk(DB, zfsext_instance="db1.example.com", zfsext_replicas="node3 node2")
    assert scheduled.run(CONFIG, jobs) == 1
    assert sorted(replicated(rounds)) == [("1", NODE2), ("1", NODE3), ("2", NODE2), ("2", NODE3)]
    assert capfd.readouterr().err == (
        "zfsext: db1.example.com was not replicated to node3.example.com: node3.example.com has no room\n"
    )


def test_a_hand_over_ends_the_round_of_its_vm_alone(
    rounds: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def replicate(volumes: Sequence[str], node: str, *_: object, bandwidth: int) -> int:
        del bandwidth
        if node == NODE2:
            os.kill(os.getpid(), signal.SIGTERM)
        with rounds.open("a") as file:
            file.write(f"{len(volumes)} {node}\n")
        return 0

    monkeypatch.setattr(attempt, "replicate", replicate)
    assert scheduled.run(CONFIG, 2) == 1
    assert replicated(rounds) == [("2", NODE3)]
    assert "web1.example.com to node2.example.com ended with status -15\n" in capfd.readouterr().err


def test_a_node_that_is_offline_is_passed_over(
    rounds: Path, others: dict[str, nodes.Node], capfd: pytest.CaptureFixture[str]
) -> None:
    others[NODE2] = others[NODE2]._replace(offline=True)
    assert scheduled.run(CONFIG, 2) == 0
    assert replicated(rounds) == [("2", NODE3)]
    assert capfd.readouterr().err == (
        "zfsext: web1.example.com is not replicated to node2.example.com, which is marked offline\n"
    )


def test_a_node_that_is_none_is_a_failure(node: Node, rounds: Path, capfd: pytest.CaptureFixture[str]) -> None:
    node.datasets[f"zfs/vm/{WEB}"]["zfsext:replicas"] = "node9"
    assert scheduled.run(CONFIG, 2) == 1
    assert replicated(rounds) == [("2", NODE3)]
    assert "to be replicated to node9, which is no node of this cluster\n" in capfd.readouterr().err


def test_what_is_on_its_way_already_is_left_to_that(rounds: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with transfers.alone(SECOND, "replication to node3"):
        assert scheduled.run(CONFIG, 2) == 0
    assert replicated(rounds) == []
    assert f"just now: replication to node3 (pid {os.getpid()}) is under way\n" in capfd.readouterr().err


def test_what_cannot_be_read_stops_nothing_else(node: Node, rounds: Path, capfd: pytest.CaptureFixture[str]) -> None:
    node.disk(CLUSTER.node, zfsext_generation="nonsense", zfsext_replicas="node2")
    assert scheduled.run(CONFIG, 2) == 1
    assert len(replicated(rounds)) == 2
    assert "has properties that zfsext did not write" in capfd.readouterr().err


def test_a_pool_that_does_not_work_is_a_failure(
    rounds: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kstat/zfs/state").write_text("SUSPENDED\n")
    assert scheduled.run(CONFIG, 2) == 1
    assert replicated(rounds) == []
    assert capfd.readouterr().err == "zfsext: pool zfs is SUSPENDED\n"
