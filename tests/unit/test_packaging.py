"""What Ganeti and Debian expect to find in the files that are not Python."""

import re
from pathlib import Path

import zfsext
from zfsext import cli

ROOT = Path(__file__).resolve().parents[2]


def test_parameters_list_is_one_that_gnt_storage_survives() -> None:
    # Ganeti splits each line into a name and a description; a blank line or a bare name makes it crash.
    lines = (ROOT / "extstorage/zfsfile/parameters.list").read_text(encoding="utf-8").splitlines()
    names = [line.split(None, 1)[0] for line in lines]
    assert names == ["dataset", "recordsize", "compression", "reservation", "replicas", "source"]
    assert all(len(line.split(None, 1)) == 2 for line in lines)


def test_the_package_and_the_library_have_one_version() -> None:
    newest = (ROOT / "debian/changelog").read_text(encoding="utf-8").splitlines()[0]
    found = re.match(r"ganeti-extstorage-zfs \((\S+)\) ", newest)
    assert found is not None
    assert found[1] == zfsext.__version__


def test_each_command_is_in_the_man_page() -> None:
    page = (ROOT / "doc/man/zfsext.8.rst").read_text(encoding="utf-8")
    assert [name for name in cli.commands.commands if f"\n| **zfsext {name}**" not in page] == []


def test_each_kind_of_finding_and_each_metric_is_in_the_man_page() -> None:
    page = (ROOT / "doc/man/zfsext.8.rst").read_text(encoding="utf-8")
    modules = ("health", "copies", "former", "cli_health")
    sources = "".join((ROOT / f"zfsext/{name}.py").read_text(encoding="utf-8") for name in modules)
    kinds = set(re.findall(r"Finding\([\w.]+, \"([\w-]+)\"", sources))
    documented = re.findall(r"^([\w-]+) \((?:notice|warning|critical|unknown)", page, re.MULTILINE)
    assert sorted(kinds) == documented
    table = (ROOT / "doc/health.md").read_text(encoding="utf-8")
    assert [kind for kind in kinds - {"ganeti", "root", "disks"} if f"`{kind}`" not in table] == []
    gauges = re.findall(r"gauge\(\"(\w+)\"", (ROOT / "zfsext/textfile.py").read_text(encoding="utf-8"))
    assert [f"zfsext_{name}" for name in gauges if f"\nzfsext_{name}" not in page] == []
