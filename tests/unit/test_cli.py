"""The command line: what is printed where, and the exit codes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nagiosplugin
import pytest
from command import run
from conftest import CLUSTER, DB, WEB, Node

from zfsext import __version__, cluster, human, listing, outcome, survey, transfers
from zfsext.errors import PoolUnavailable, SystemRefused
from zfsext.inventory import Disk, Inventory

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def here(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the node have a disk of web1, attached, and half of another one."""
    name = node.disk(WEB, zfsext_instance="web1.example.com", zfsext_size="64", used="1610612736")
    node.loop(node.mount(name, 64))
    node.disk(DB + ".new", "zfs/vm-standby", "creating")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cluster, "load", lambda: CLUSTER)
    monkeypatch.setattr(nagiosplugin.runtime.Runtime, "instance", None)
    monkeypatch.setattr(nagiosplugin.runtime.Runtime, "stdout", None)  # 1.3 keeps what it was at import


def test_a_list_has_a_line_for_each_disk() -> None:
    done = run("list")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["INSTANCE", "DISK", "VOLUME", "ROLE", "SIZE", "USED", "WRITTEN", "DEVICE", "AGE", "REPLICAS"],
        ["web1.example.com", "0", WEB, "live", "64M", "1.50G", "0B", "loop0", "-", "-"],
        ["-", "-", DB, "new", "-", "96K", "0B", "-", "-", "-"],
    ]


def test_disks_are_in_the_order_of_their_indexes() -> None:
    second = CLUSTER.disks[WEB]._replace(index=1)
    first = second._replace(index=0, volume="zz.ext.disk0")
    two = CLUSTER._replace(disks={disk.volume: disk for disk in (second, first)})
    found = Inventory([Disk(f"zfs/vm/{volume}", volume, "live") for volume in two.disks])
    assert [disk["volume"] for disk in listing.known(found, two)] == ["zz.ext.disk0", WEB]


def test_json_has_units_in_its_keys() -> None:
    disk, _ = json.loads(run("list", "--json").stdout)
    assert {key: disk[key] for key in ("instance", "disk", "size_mib", "used_bytes", "node")} == {
        "instance": "web1.example.com",
        "disk": 0,
        "size_mib": 64,
        "used_bytes": 1610612736,
        "node": "node1.example.com",
    }


def test_what_a_pool_that_does_not_work_hides_is_said(tmp_path: Path) -> None:
    (tmp_path / "kstat/zfs/state").write_text("SUSPENDED\n")
    done = run("list")
    assert done.exit_code == 1
    assert done.stderr == "zfsext: pool zfs is SUSPENDED, so what is on it is not shown: 'zfsext health'\n"


def test_show_takes_the_first_label() -> None:
    done = run("show", "web1")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"disk 0 of web1.example.com\n  volume:        {WEB}\n")
    assert DB not in done.stdout
    assert "not on this node" not in done.stdout


def test_show_names_similar_instances() -> None:
    done = run("show", "wbe1")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no instance wbe1 is known to this node; similar are web1.example.com: 'zfsext list'" in done.stderr


def test_show_says_where_a_disk_is_that_is_not_here(node: Node) -> None:
    del node.datasets[f"zfs/vm/{WEB}"]
    assert "not on this node; Ganeti has it on node1.example.com" in run("show", "web1").stdout
    (absent,) = json.loads(run("show", "web1", "--json").stdout)["not_here"]
    assert absent == {"disk": 0, "volume": WEB, "node": "node1.example.com"}


def test_an_instance_without_a_disk_here_is_no_error() -> None:
    done = run("show", "db1")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "db1.example.com has no zfsfile disk on this node\n")


def test_only_root_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = run("list")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "zfsext: this needs root, as ZFS and Ganeti's files do: 'sudo zfsext …'\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["list", "--nonsense"], ["show"]])
def test_a_command_line_that_cannot_be_ends_with_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_the_script_finds_the_trees_library_and_survives_a_closed_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-I", ROOT / "sbin/zfsext", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"zfsext {__version__}\n"
    command = f"{sys.executable} -I {ROOT}/sbin/zfsext --help | true"
    piped = subprocess.run(["/bin/bash", "-c", command], capture_output=True, text=True, check=False)
    assert piped.stderr == ""


def test_the_scripts_that_ganeti_calls_load_none_of_the_commands_libraries() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import zfsext.provider, zfsext.verbs\n"
        "print(sorted({'click', 'rich', 'nagiosplugin', 'prometheus_client', 'dataclasses'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-ISc", code, str(ROOT)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_replica_has_an_age_and_what_it_is_of(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1764000600)
    node.disk(
        DB,
        "zfs/vm-standby",
        "replica",
        zfsext_instance="db1.example.com",
        zfsext_peer="node2.example.com",
        zfsext_generation="0.3",
        zfsext_round="0.3-17",
        zfsext_rounded="1764000000",
    )
    (line,) = [line.split() for line in run("list").stdout.splitlines() if " replica " in line]
    assert (line[0], line[3], line[-2]) == ("db1.example.com", "replica", "10m")
    page = run("show", "db1").stdout
    assert "  generation:    0.3\n  peer:          copy of the disk on node2.example.com\n" in page
    assert "  last round:    0.3-17, taken at 2025-11-2" in page
    assert ", 10m ago\n" in page
    assert "transfer" not in page
    with transfers.alone(DB, "receive"):
        assert "  transfer:      it is sent or received just now\n" in run("show", "db1").stdout
    assert json.loads(run("show", "db1", "--json").stdout)["disks"][0]["age_seconds"] == 600


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("sealed", "peer:          given to node2\n"),
        ("ticket", "peer:          given by node2\n"),
        ("aside", "aside:         a copy that another node's has passed over\n"),
    ],
)
def test_what_is_no_replica_has_no_age(node: Node, state: str, words: str) -> None:
    node.disk(
        DB, "zfs/vm-standby", state, zfsext_instance="db1.example.com", zfsext_peer="node2", zfsext_rounded="1764000000"
    )
    (line,) = [line.split() for line in run("list").stdout.splitlines() if f" {state} " in line]
    assert line[-1] == "-"
    assert words in run("show", "db1").stdout


def test_a_disk_has_its_copies(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "copy" not in run("show", "web1").stdout
    node.datasets[f"zfs/vm/{WEB}"] |= {
        "zfsext:replicas": "node2 node3",
        "zfsext:knows": "node2 node3 node4",
        "zfsext:promoted": "1764000000",
        "zfsext:over": "node5",
    }
    monkeypatch.setattr("time.time", lambda: 1764000600)
    outcome.note(WEB, "node2", None)
    outcome.note(WEB, "node3", "no\nspace")
    page = run("show", "web1").stdout
    lines = dict.fromkeys(line.strip() for line in page.splitlines() if line.startswith("  copy:"))
    moment = human.moment(1764000600)
    assert sorted(lines) == [
        f"copy:          on node2, {moment}: replicated",
        f"copy:          on node3, {moment}: failed: no space",
        "copy:          on node4, perhaps: it was sent data once",
    ]
    assert "  replicas:      node2 node3\n" in page
    assert f"  promoted:      at {human.moment(1764000000)} over node5\n" in page


def test_the_age_from_which_a_copy_is_old_can_be_chosen(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.datasets[f"zfs/vm/{WEB}"]["zfsext:replicas"] = "node2"
    monkeypatch.setattr("time.time", lambda: 1764000000)
    outcome.note(WEB, "node2", None)
    monkeypatch.setattr("time.time", lambda: 1764000600)
    for minutes, old in (("10", True), ("11", False)):
        told = json.loads(run("health", "--json", "--copy-warning", minutes).stdout)["findings"]
        assert ("copy-old" in [each["kind"] for each in told]) == old


def test_health_ends_with_the_code_in_each_form(tmp_path: Path) -> None:
    path = tmp_path / "zfsext.prom"
    done = run("health")
    assert (done.exit_code, done.stderr) == (1, "")
    assert done.stdout.startswith(f"warning: half-made: zfs/vm-standby/{DB}.new is what a killed create left.")
    assert f"\n    zfs destroy zfs/vm-standby/{DB}.new\n" in done.stdout
    assert done.stdout.endswith("\nzfsext warning: 2 disks in 1 pool, 1 warning\n")
    assert run("health", "--nagios").exit_code == 1
    told = run("health", "--json")
    assert (told.exit_code, json.loads(told.stdout)["findings"][0]["kind"]) == (1, "half-made")
    written = run("health", "--prometheus", str(path))
    assert (written.exit_code, written.stdout) == (1, "")
    assert "zfsext_health_status 1.0\n" in path.read_text()


def test_health_without_root_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for arguments in ([], ["--json"], ["--nagios"]):
        done = run("health", *arguments)
        assert done.exit_code == 3
        assert "this needs root" in done.stdout


def test_health_goes_on_without_ganetis_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        raise SystemRefused("config.data is not what Ganeti writes")

    monkeypatch.setattr(cluster, "load", load)
    kinds = [each["kind"] for each in json.loads(run("health", "--json").stdout)["findings"]]
    assert kinds == ["ganeti", "half-made"]


def test_a_pool_that_stops_meanwhile_is_still_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def take(_: object) -> None:
        raise PoolUnavailable("pool zfs is SUSPENDED, and the look at the disks waits for it")

    (tmp_path / "kstat/zfs/state").write_text("SUSPENDED\n")
    monkeypatch.setattr(survey, "take", take)
    done = run("health", "--json")
    assert [(each["severity"], each["kind"]) for each in json.loads(done.stdout)["findings"]] == [
        ("critical", "pool-state"),
        ("unknown", "disks"),
    ]
    assert done.exit_code == 2


def test_one_form_at_a_time() -> None:
    assert run("health", "--json", "--nagios").exit_code == 2


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_table_fits_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    found = Inventory([Disk(f"zfs/vm/{WEB}", WEB, "live", instance="web1.example.com")])
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))
    listing.table(listing.known(found, CLUSTER), nodes=True, snapshots=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert max(map(len, lines)) <= columns
    assert ("DEVICE" in lines[0]) is (columns == 200)  # nothing is in it
    assert (WEB in lines[1]) is (columns == 200)
