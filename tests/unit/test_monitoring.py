"""What monitoring reads: one line of Nagios, and a file of Prometheus."""

import os
from pathlib import Path

import nagiosplugin
import pytest
from conftest import CLUSTER, MIB, WEB

from zfsext import nagios, textfile
from zfsext.finding import CRITICAL, NOTICE, UNKNOWN, WARNING, Finding, Limits
from zfsext.inventory import Disk, Inventory, Pool

FOUND = Inventory(
    [Disk(f"zfs/vm/{WEB}", WEB, "live", size_mib=64, used_bytes=98304, logical_bytes=MIB)],
    [Pool("zfs", "ONLINE", 1000, 425, 575), Pool("ssd", "SUSPENDED")],
)
ORPHAN = Finding(WARNING, "orphan", "web", "zfs/vm/web is of\nno | instance", "look")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nagiosplugin.runtime.Runtime, "instance", None)
    monkeypatch.setattr(nagiosplugin.runtime.Runtime, "stdout", None)  # 1.3 keeps what it was at import


def said(findings: list[Finding], capsys: pytest.CaptureFixture[str]) -> tuple[str, object]:
    with pytest.raises(SystemExit) as ended:
        nagios.report(lambda: (FOUND, findings), Limits())
    return capsys.readouterr().out, ended.value.code


def test_all_is_well_in_one_line_with_performance_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert said([Finding(NOTICE, "hold", "a@b", "held")], capsys) == (
        "ZFSEXT OK - 1 disk in 2 pools, 1 notice | disks=1;;;0 findings_critical=0;;;0 findings_notice=1;;;0 "
        "findings_unknown=0;;;0 findings_warning=0;;;0 pool_zfs=42%;80;90;0;100\n",
        0,
    )


def test_a_single_fault_is_said_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    line, code = said([ORPHAN], capsys)
    assert (line.count("\n"), line.count("|"), code) == (1, 1, 1)
    assert line.startswith("ZFSEXT WARNING - 1 disk in 2 pools, 1 warning; orphan: zfs/vm/web is of no / instance | ")


def test_of_many_faults_the_worst_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    line, code = said([Finding(CRITICAL, "pool-state", "ssd", "SUSPENDED"), *[ORPHAN] * 4], capsys)
    assert code == 2
    assert "1 critical, 4 warnings; pool-state ssd; orphan web; orphan web; 2 more | " in line


def test_what_is_not_known_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    line, code = said([Finding(UNKNOWN, "disks", "node", "zfs did not answer")], capsys)
    assert (line.partition(" - ")[0], code) == ("ZFSEXT UNKNOWN", 3)


def test_unexpected_trouble_is_unknown_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def examined() -> tuple[Inventory, list[Finding]]:
        raise ValueError("nobody thought of that")

    with pytest.raises(SystemExit) as ended:
        nagios.report(examined, Limits())
    assert ended.value.code == 3
    assert capsys.readouterr().out == "UNKNOWN: ValueError: nobody thought of that\n"


def test_a_replica_has_the_moment_of_its_last_round(tmp_path: Path) -> None:
    path = tmp_path / "zfsext.prom"
    copies = [
        Disk("zfs/vm-standby/a", "a", "replica", instance="web1", rounded=1764000000),
        Disk("zfs/vm-standby/b", "b", "replica", instance="web1"),
        Disk("zfs/vm-standby/c", "c", "sealed", instance="web1", rounded=1764000000),
    ]
    textfile.write(str(path), Inventory(copies), None, [])
    lines = [line for line in path.read_text().splitlines() if line.startswith("zfsext_copy_round")]
    assert lines == ['zfsext_copy_round_timestamp_seconds{instance="web1",role="replica",volume="a"} 1.764e+09']


def test_the_file_is_whole_readable_and_has_the_documented_names(tmp_path: Path) -> None:
    path = tmp_path / "zfsext.prom"
    before = os.umask(0o077)
    textfile.write(str(path), FOUND, CLUSTER, [ORPHAN, ORPHAN])
    assert os.umask(before) == 0o077
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["zfsext.prom"]
    metrics = dict(line.rsplit(" ", 1) for line in path.read_text().splitlines() if not line.startswith("#"))
    assert float(metrics.pop("zfsext_health_timestamp_seconds")) > 1e9
    labels = f'{{instance="web1.example.com",role="live",volume="{WEB}"}}'
    assert {name: float(value) for name, value in metrics.items()} == {
        'zfsext_pool_capacity_ratio{pool="zfs"}': 0.425,
        'zfsext_pool_healthy{pool="zfs"}': 1,
        'zfsext_pool_healthy{pool="ssd"}': 0,
        "zfsext_disks": 1,
        f"zfsext_disk_size_bytes{labels}": 64 * MIB,
        f"zfsext_disk_used_bytes{labels}": 98304,
        f"zfsext_disk_logical_bytes{labels}": MIB,
        'zfsext_findings{kind="orphan",severity="warning"}': 2,
        "zfsext_health_status": 1,
    }
