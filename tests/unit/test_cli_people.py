"""snapshot, rollback, clone, undelete from the command line down to what does it, on the node that has the disks."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command import run
from conftest import CLUSTER, DB, WEB, Node

from zfsext import cluster, config, freeze, nodes, removed, rollback, zfs
from zfsext.config import Config
from zfsext.freeze import Stillness, Wish
from zfsext.rollback import Plan

WEB1, HERE = "web1.example.com", "node1.example.com"
LIVE = f"zfs/vm/{WEB}"
CONFIG = Config(["zfs/vm"], "16K", "", "thin")
GANETI: dict[str, Any] = {"instances": {"7": {"name": WEB1, "os": "noop", "beparams": {"maxmem": 512}, "nics": []}}}


@pytest.fixture(autouse=True)
def calls(node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, ...]]:
    """Return what is done. Let this be a cluster of one node, with the disk of web1."""
    node.disk(WEB, zfsext_instance=WEB1, zfsext_size="64", zfsext_generation="0.1", zfsext_id="11")
    node.snapshots[f"{LIVE}@monday"] = ([], [])
    node.snapshots[f"{LIVE}@taken-20260101T000000Z"] = ([], [])
    done: list[tuple[Any, ...]] = []

    def take(names: list[str]) -> None:
        done.append(("take", *names))
        node.snapshots.update({name: ([], []) for name in names})

    def prune(names: list[str]) -> list[str]:
        done.append(("destroy", *names))
        return names

    def ran(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        done.append(("run", *command))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(nodes, "DATA", str(tmp_path))
    monkeypatch.setattr(nodes, "peers", lambda *_: {})
    monkeypatch.setattr(nodes, "this_node", lambda *_: HERE)
    monkeypatch.setattr(nodes, "master", lambda *_: HERE)
    monkeypatch.setattr(cluster, "load", lambda *_: CLUSTER)
    monkeypatch.setattr(cluster, "configuration", lambda *_: GANETI)
    monkeypatch.setattr(cluster, "group", lambda *_: None)
    monkeypatch.setattr(config, "load", lambda: CONFIG)
    monkeypatch.setattr(zfs, "take_snapshots", take)
    monkeypatch.setattr(zfs, "destroy_free", prune)
    monkeypatch.setattr(zfs, "set_all", lambda *_: None)
    monkeypatch.setattr("zfsext.cli_gnt.subprocess.run", ran)
    return done


def test_a_snapshot_with_a_name(calls: list[tuple[Any, ...]]) -> None:
    done = run("snapshot", "web1", "tuesday")
    assert (done.exit_code, done.stderr, done.stdout) == (0, "", f"{WEB1}: tuesday of 1 disk\n")
    assert calls == [("take", f"{LIVE}@tuesday")]
    done = run("snapshot", "web1", "tuesday")
    assert (done.exit_code, len(calls)) == (1, 1)
    assert "is there already" in done.stderr


def test_a_snapshot_without_one_and_what_it_prunes(calls: list[tuple[Any, ...]]) -> None:
    done = run("snapshot", "web1", "--keep", "1")
    assert (done.exit_code, done.stderr) == (0, "")
    ((_, taken), destroyed) = calls
    assert taken.startswith(f"{LIVE}@taken-2")
    assert destroyed == ("destroy", f"{LIVE}@taken-20260101T000000Z")
    assert "1 older ones destroyed" in done.stdout


def test_a_guest_at_rest(calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def frozen(wish: Wish) -> Iterator[Stillness]:
        calls.append(("frozen", wish))
        stillness = Stillness()
        yield stillness
        stillness.milliseconds = 1500

    monkeypatch.setattr(freeze, "frozen", frozen)
    done = run("snapshot", "web1", "rest", "--quiesce", "--thaw-after", "7")
    assert "the guest stood still for 1.5 s" in done.stdout
    assert calls == [("frozen", Wish(WEB1, 7)), ("take", f"{LIVE}@rest")]


@pytest.mark.parametrize(
    "words",
    [
        *(("snapshot", "web1", "a/b"), ("snapshot", "web1", "taken-1"), ("snapshot", "web9")),
        *(("snapshot", "web1", "x", "--keep", "1"), ("snapshot", "web1", "--keep", "0")),
        *(("snapshot", "web1", "--quiesce", "--thaw-after", "0"), ("rollback", "web1", "monday", "--back")),
        *(("rollback", "web1", "--kept", "0.1"), ("rollback", "web1", "mondy"), ("rollback", "web1", "--drop")),
        *(("clone", "web1@", "web2"), ("clone", "web1@never", "web2"), ("clone", "web1@monday", "web1")),
        *(("clone", "web1@monday", "we b"), ("clone", "web1@monday", "web2", "--", "--submit")),
        *(("undelete", "web1"), ("mount", "web1"), ("mount", "web1@never"), ("umount", "web1@monday")),
    ],
)
def test_a_wrong_use_does_nothing(calls: list[tuple[Any, ...]], words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.exit_code in (1, 2)
    assert done.stderr
    assert "Traceback" not in done.stderr
    assert calls == []


def test_what_can_be_gone_back_to(node: Node) -> None:
    node.disk(f"{WEB}.kept-0.1", "zfs/vm-standby", "kept", zfsext_instead="@monday", used="2048")
    node.disk(f"{WEB}.kept-0.2", "zfs/vm-standby", "kept", zfsext_instead="0.1", used="2048")
    done = run("rollback", "web1")
    assert done.stdout.splitlines() == [
        *("monday", "taken-20260101T000000Z"),
        f"kept on {HERE}: generation 0.1, before it went back to monday, 2K",
        f"kept on {HERE}: generation 0.2, before --back to generation 0.1, 2K",
    ]


def test_what_can_be_gone_back_to_as_json(node: Node) -> None:
    node.disk(f"{WEB}.kept-0.1", "zfs/vm-standby", "kept", zfsext_instead="@monday", used="2048")
    told = json.loads(run("rollback", "web1", "--json").stdout)
    assert told["snapshots"] == ["monday", "taken-20260101T000000Z"]
    assert [(each["node"], each["instead"], each["used_bytes"]) for each in told["kept"]] == [(HERE, "@monday", 2048)]


def test_what_can_be_had_back_as_json(node: Node) -> None:
    name = aside(node, DB, 1796000000)
    (told,) = json.loads(run("undelete", "--json").stdout)
    assert (told["node"], told["dataset"], told["removed"], told["size_mib"]) == (HERE, name, 1796000000, 64)


def test_a_rollback_that_is_only_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def roll_back(volumes: list[str], short: str, *_: object, dry: bool) -> Plan:
        assert (volumes, short, dry) == ([WEB], "monday", True)
        return Plan([f"{LIVE}@tuesday"], [["promote", "zfs/x y"]])

    monkeypatch.setattr(rollback, "roll_back", roll_back)
    done = run("rollback", "web1", "monday", "--dry-run")
    assert done.stdout.splitlines() == [
        f"would go with what is kept: {LIVE}@tuesday",
        "zfs promote 'zfs/x y'",
        "nothing was done (--dry-run)",
    ]


def test_a_clone_is_an_instance_like_it(calls: list[tuple[Any, ...]]) -> None:
    done = run("clone", "web1@monday", "web2", "--", "-B", "memory=1G")
    assert (done.exit_code, done.stderr) == (0, "")
    assert calls == [
        (
            *("run", "gnt-instance", "add", "-t", "ext", "--no-install", "--no-start"),
            *("--disk", f"0:size=64M,provider=zfsfile,source={LIVE}@monday", "-n", HERE, "-o", "noop", "--no-nics"),
            *("-B", "memory=1G", "web2"),
        )
    ]


def aside(node: Node, volume: str, seconds: int, was: str = "-") -> str:
    facts = {"zfsext_instance": WEB1, "zfsext_size": "64", "zfsext_was": was}
    return node.disk(f"{volume}.removed-{seconds}", "zfs/vm-standby", "removed", **facts)


def test_a_removed_instance_comes_back_and_only_then_is_it_gone(
    node: Node, calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = aside(node, DB, 1796000000, f'{{"os": "noop", "volumes": ["{DB}"], "index": 0}}')
    handed: list[str] = []
    monkeypatch.setattr(removed, "hand_over", lambda each: handed.append(each.dataset))
    monkeypatch.setattr(removed, "purge", None)
    assert f"{WEB1} disk 0: removed" in run("undelete").stdout
    done = run("undelete", "web1", "--as", "web2")
    assert (done.exit_code, done.stderr) == (0, "")
    assert calls[0] == ("take", f"{name}@zfsext-removed-1796000000")
    assert f"0:size=64M,provider=zfsfile,source={name}@zfsext-removed-1796000000" in calls[1]
    assert handed == [name]


def test_a_removed_instance_of_which_a_disk_is_missing(node: Node, calls: list[tuple[Any, ...]]) -> None:
    aside(node, DB, 1796000000, f'{{"os": "noop", "volumes": ["{DB}", "other"], "index": 0}}')
    done = run("undelete", "web1", "--as", "web2")
    assert (done.exit_code, calls) == (1, [])
    assert "other is on no node" in done.stderr


def test_a_disk_that_was_removed_alone_is_added_again(
    node: Node, calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = aside(node, DB, 1796000000, f'{{"os": "noop", "volumes": ["{WEB}", "{DB}"], "index": 1}}')
    monkeypatch.setattr(removed, "hand_over", lambda _: None)
    assert run("undelete", "web1").exit_code == 0
    disk = f"add:size=64M,provider=zfsfile,source={name}@zfsext-removed-1796000000"
    assert calls[1] == ("run", "gnt-instance", "modify", "--disk", disk, WEB1)
    purged: list[str] = []
    monkeypatch.setattr(removed, "purge", lambda each: purged.append(each.dataset))
    assert run("undelete", "web1", "--purge").exit_code == 0
    assert purged == [name]


def test_of_two_removals_one_is_to_be_chosen(node: Node, calls: list[tuple[Any, ...]]) -> None:
    aside(node, DB, 1796000000)
    aside(node, WEB, 1796090000)
    done = run("undelete", "web1", "--as", "web2")
    assert (done.exit_code, calls) == (1, [])
    assert "--removed" in done.stderr
