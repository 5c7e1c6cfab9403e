"""The commands for copies on other nodes: what they call, what they print, and the exit codes."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command import run
from conftest import CLUSTER, DB, WEB, Node

from zfsext import (
    asides,
    attempt,
    cluster,
    config,
    forgetting,
    groups,
    nodes,
    pool,
    progress,
    scheduled,
    whereabouts,
    withdrawal,
)
from zfsext.cluster import Cluster
from zfsext.config import Config
from zfsext.errors import NoSpace
from zfsext.peer import Peers
from zfsext.transfer import Progress
from zfsext.whereabouts import Holder

NODE1, NODE2 = "node1.example.com", "node2.example.com"
WEB1 = "web1.example.com"
SECOND = WEB.replace("disk0", "disk1")
DISK = CLUSTER.disks[WEB]
KNOWN = CLUSTER._replace(disks={SECOND: DISK._replace(index=1, volume=SECOND), WEB: DISK})
MIB = 1 << 20


@pytest.fixture(name="calls", autouse=True)
def _calls(node: Node, others: dict[str, nodes.Node], monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Return what is called. Let web1 have two disks on node1, which is this node and the master."""
    assert node.datasets
    assert NODE2 in others
    calls: list[tuple[Any, ...]] = []

    def sends(name: str) -> Callable[..., int]:
        def send(volumes: list[str], to: str, _config: Config, _peers: Peers, said: Any, bandwidth: int) -> int:
            calls.append((name, volumes, to, bandwidth))
            said(Progress(WEB, 1, 2))
            return 3 * MIB

        return send

    def scheduled_run(settings: Config, jobs: int) -> int:
        calls.append(("all", jobs, settings.bandwidth))
        return 0

    def withdraw(volumes: list[str], on: str, *_: object, dry: bool) -> list[str]:
        assert not dry
        calls.append(("withdraw", volumes, on))
        return []

    def swept(*_: object) -> list[str]:
        calls.append(("sweep",))
        return ["still there"]

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cluster, "load", lambda: KNOWN)
    monkeypatch.setattr(config, "load", lambda: Config(["zfs/vm"], "16K", "", "thin", bandwidth=7 * MIB))
    monkeypatch.setattr(Peers, "line", lambda *_: None)
    monkeypatch.setattr(attempt, "from_owner", sends("replicate"))
    monkeypatch.setattr(attempt, "until_little_is_left", sends("rounds"))
    monkeypatch.setattr(scheduled, "run", scheduled_run)
    monkeypatch.setattr(forgetting, "sweep", swept)
    monkeypatch.setattr(whereabouts, "holder", lambda *_: Holder(NODE1, "owner"))
    monkeypatch.setattr(withdrawal, "withdraw", withdraw)
    monkeypatch.setattr(pool, "require", lambda _: None)
    monkeypatch.setattr(groups, "of", lambda *_: [WEB, SECOND])
    return calls


def gnt_instance(monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]], code: int) -> None:
    """Let gnt-instance end with this code."""

    def ran(arguments: list[str], *, check: bool) -> "subprocess.CompletedProcess[str]":
        assert not check
        calls.append(tuple(arguments))
        return subprocess.CompletedProcess(arguments, code)

    monkeypatch.setattr(subprocess, "run", ran)


def test_replicate_sends_all_disks_and_says_how_much(calls: list[tuple[Any, ...]]) -> None:
    done = run("replicate", "web1", "--to", "node2")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{WEB1}: 3M sent to {NODE2} in ")
    assert done.stdout.endswith(" s\n")
    assert calls == [("replicate", [WEB, SECOND], NODE2, 7 * MIB)]


@pytest.mark.parametrize(("given", "rate"), [("50M", 50 * MIB), ("0", 0)])
def test_a_bandwidth_goes_before_that_of_the_configuration(
    calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, given: str, rate: int
) -> None:
    gnt_instance(monkeypatch, calls, 0)
    run("replicate", "web1", "--to", NODE2, "--bandwidth", given)
    run("move", "web1", NODE2, "--bandwidth", given)
    run("replicate", "--all", "--bandwidth", given)
    assert [call[-1] for call in calls if call[0] in ("replicate", "rounds", "all")] == [rate] * 3


def test_the_bars_have_the_instances_name(calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def shown(titles: dict[str, str], *, quiet: bool) -> Iterator[Callable[[Progress], None]]:
        yield lambda told: calls.append((titles[told.volume], quiet))

    monkeypatch.setattr(progress, "shown", shown)
    gnt_instance(monkeypatch, calls, 0)
    run("replicate", "web1", "--to", "node2", "--quiet")
    run("move", "web1", "node2")
    assert [call for call in calls if call[0] == f"{WEB1} disk 0"] == [
        (f"{WEB1} disk 0", True),
        (f"{WEB1} disk 0", False),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("replicate",),
        ("replicate", "web1"),
        ("replicate", "--to", "node2"),
        ("replicate", "--all", "web1"),
        ("replicate", "--all", "--to", "node2"),
        ("replicate", "--all", "--jobs", "0"),
        ("replicate", "web1", "--to", "node2", "--bandwidth", "50"),
        ("move", "web1"),
        ("forget", "web1"),
    ],
)
def test_what_cannot_be_meant_is_a_wrong_usage(calls: list[tuple[Any, ...]], arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout, calls) == (2, "", [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("replicate", "web1", "--to", "node4"), "this cluster has no node node4; similar are"),
        (("replicate", "web2", "--to", "node2"), f"no instance web2 is known to this node; similar are {WEB1}"),
        (("replicate", "db1", "--to", "node2"), "db1.example.com has no zfsfile disk\n"),
        (("move", "web1", "node"), "this cluster has no node node; similar are"),
        (("forget", "web1", "--on", "node4"), "this cluster has no node node4"),
        (("forget", "web1", "--on", "node/4.example.com"), "is no node's name"),
        (("forget", "web1", "--on", "node1"), f"{NODE1} has the disks of {WEB1} themselves, and they stay"),
    ],
)
def test_what_is_not_there_is_an_error(calls: list[tuple[Any, ...]], arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout, calls) == (1, "", [])
    assert words in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("replicate", "web1", "--to", "node2"),
        ("replicate", "--all"),
        ("move", "web1", "node2"),
        ("forget", "web1", "--on", "node2"),
        ("resolve", "web1"),
        ("sweep",),
    ],
)
def test_only_root_may(
    monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]], arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = run(*arguments)
    assert (done.exit_code, done.stdout, calls) == (1, "", [])
    assert done.stderr.startswith("zfsext: this needs root")


@pytest.mark.parametrize("arguments", [("replicate", "web1", "--to", "node2"), ("replicate", "--all")])
def test_a_node_in_no_cluster_has_nobody_to_send_to(
    monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]], arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr(cluster, "load", lambda: None)
    done = run(*arguments)
    assert (done.exit_code, done.stdout, calls) == (1, "", [])
    assert "in no Ganeti cluster" in done.stderr


def test_where_ganeti_does_not_say_it_the_disks_do(
    node: Node, monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]]
) -> None:
    monkeypatch.setattr(cluster, "load", lambda: Cluster(NODE1, frozenset({WEB1})))
    done = run("replicate", "web1", "--to", "node2")
    assert (done.exit_code, done.stderr) == (
        1,
        f"zfsext: {WEB1} has no zfsfile disk that this node knows of: try it on the master\n",
    )
    node.disk(SECOND, zfsext_instance=WEB1)
    node.disk(WEB, "zfs/vm-standby", "replica", zfsext_instance=WEB1)
    node.disk(WEB + ".aside-0.1", "zfs/vm-standby", "aside", zfsext_instance=WEB1)
    node.disk(DB + ".new", "zfs/vm-standby", "owner", zfsext_instance=WEB1)
    node.disk(DB, zfsext_instance="db1.example.com")
    assert run("replicate", "web1", "--to", "node2").exit_code == 0
    assert calls[0][1] == [WEB, SECOND]


def test_what_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise NoSpace("node2.example.com has no room")

    monkeypatch.setattr(attempt, "from_owner", full)
    done = run("replicate", "web1", "--to", "node2")
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", "zfsext: node2.example.com has no room\n")


@pytest.mark.parametrize("failed", [0, 3])
def test_all_is_followed_by_a_sweep_and_fails_if_one_does(
    monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]], failed: int
) -> None:
    def ran(_: Config, jobs: int) -> int:
        calls.append(("all", jobs))
        return failed

    monkeypatch.setattr(scheduled, "run", ran)
    done = run("replicate", "--all", "--jobs", "3")
    assert (done.exit_code, done.stdout) == (min(failed, 1), "")
    assert calls == [("all", 3), ("sweep",)]


def test_a_sweep_names_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "sweep", lambda *_: [])
    assert run("sweep").exit_code == 0
    monkeypatch.setattr(forgetting, "sweep", lambda *_: [f"{WEB} on {NODE2}", f"{DB} on {NODE2}"])
    done = run("sweep")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"zfsext: not all is ended: {WEB} on {NODE2}; {DB} on {NODE2}\n"


@pytest.mark.parametrize(("code", "ended"), [(0, 0), (1, 1), (-15, 143)])
def test_move_sends_first_and_passes_on_the_code(
    monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]], code: int, ended: int
) -> None:
    gnt_instance(monkeypatch, calls, code)
    done = run("move", "web1", "node2")
    assert (done.exit_code, done.stderr) == (ended, "")
    assert done.stdout.startswith(f"{WEB1}: 3M sent to {NODE2} in ")
    assert calls == [
        ("rounds", [WEB, SECOND], NODE2, 7 * MIB),
        ("gnt-instance", "failover", "-f", "-n", NODE2, WEB1),
    ]


def test_move_to_where_it_is_does_nothing(calls: list[tuple[Any, ...]]) -> None:
    done = run("move", "web1", "node1")
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{WEB1} is on {NODE1} already\n", "")
    assert calls == []


def test_move_is_for_the_master(monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]]) -> None:
    monkeypatch.setattr(nodes, "master", lambda: NODE2)
    done = run("move", "web1", "node2")
    assert (done.exit_code, done.stdout, calls) == (1, "", [])
    assert f"'zfsext move {WEB1} {NODE2}' on {NODE2}" in done.stderr


@pytest.mark.parametrize("on", ["node2", "node9.example.com"])
def test_forget_also_takes_a_node_that_has_left(calls: list[tuple[Any, ...]], on: str) -> None:
    done = run("forget", "web1", "--on", on)
    node = NODE2 if on == "node2" else on
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{WEB1}: no copy on {node} any more\n", "")
    assert calls == [("withdraw", [WEB, SECOND], node)]


def test_another_owner_is_asked_to_forget(monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]]) -> None:
    class Line:
        def call(self, op: str, seconds: float, **fields: object) -> dict[str, list[str]]:
            assert seconds > 120
            calls.append((op, fields))
            return {"gone": ["zfs/vm-standby/x"]}

    monkeypatch.setattr(whereabouts, "holder", lambda *_: Holder("node3.example.com", "owner"))
    monkeypatch.setattr(Peers, "line", lambda _, name: Line() if name == "node3.example.com" else None)
    assert run("forget", "web1", "--on", "node2").exit_code == 0
    assert calls == [("withdraw", {"volume": WEB, "on": NODE2, "dry": False})]
    assert "would destroy zfs/vm-standby/x" in run("forget", "web1", "--on", "node2", "--dry-run").stdout
    assert calls[1:] == [("withdraw", {"volume": WEB, "on": NODE2, "dry": True})]


@pytest.fixture(name="aside")
def _aside(node: Node) -> str:
    """Return the name of a copy that was set aside."""
    name = node.disk(
        WEB + ".aside-0.3", "zfs/vm-standby", "aside", zfsext_instance=WEB1, zfsext_round="0.3-7", used="8192"
    )
    node.datasets[name]["written@zfsext-0.3-7"] = "4096"
    node.snapshots = {f"{name}@{short}": ([], []) for short in ("zfsext-0.3-7", "daily")}
    return name


def test_resolve_says_what_a_copy_has_and_destroys_nothing(
    aside: str, monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]]
) -> None:
    monkeypatch.setattr(asides, "drop", lambda *_: calls.append(("drop",)))
    done = run("resolve", "web1")
    assert (done.exit_code, done.stderr, calls) == (0, "", [])
    assert done.stdout == (
        f"{aside}, set aside\n"
        f"  disk:          {WEB} of {WEB1}\n"
        "  generation:    0.3\n"
        "  used:          8K, with its snapshots\n"
        "  written:       4K since zfsext-0.3-7, the last that the disk is known to have too\n"
        "  snapshot:      zfsext-0.3-7\n"
        "  snapshot:      daily\n"
        f"look into one: mount -t zfs -o ro,zfsutil {aside} /mnt\n"
        f"destroy all of these: zfsext resolve {WEB1} --drop\n"
    )


def test_resolve_says_what_it_does_not_know(node: Node, aside: str) -> None:
    node.snapshots = {}
    done = run("resolve", "web1")
    assert aside in done.stdout
    assert "  written:       how much is not in the disk is not known\n" in done.stdout


def test_resolve_drops_only_what_is_of_the_instance(node: Node, aside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[str] = []
    monkeypatch.setattr(asides, "drop", lambda copies, _: dropped.extend(each.dataset for each in copies))
    node.disk(DB + ".aside-0.1", "zfs/vm-standby", "aside", zfsext_instance="db1.example.com")
    done = run("resolve", "web1", "--drop")
    assert (done.exit_code, done.stderr, dropped) == (0, "", [aside])
    assert done.stdout.endswith(f"\n{WEB1}: 1 dropped\n")


def test_resolve_knows_an_instance_that_is_gone_by_its_copies(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "load", lambda: None)
    node.disk(DB + ".aside-0.1", "zfs/vm-standby", "aside", zfsext_instance="old.example.com")
    assert run("resolve", "old").exit_code == 0
    assert run("resolve", "web1").exit_code == 1


def test_nothing_to_resolve_is_no_error(tmp_path: Path) -> None:
    done = run("resolve", "web1", "--drop")
    assert (done.exit_code, done.stdout) == (0, f"{WEB1} has no copy on this node that was set aside\n")
    (tmp_path / "kstat/zfs/state").write_text("SUSPENDED\n")
    done = run("resolve", "web1")
    assert (done.exit_code, done.stderr) == (1, "zfsext: pool zfs is SUSPENDED, so what is on it is not shown\n")


@pytest.mark.parametrize("command", ["replicate", "move", "forget", "resolve", "sweep"])
def test_each_has_a_help_with_examples(command: str) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0
    assert f"\n    zfsext {command}" in done.stdout
