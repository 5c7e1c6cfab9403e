"""The bars: for a terminal alone, and one for each disk, in however many streams that comes."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from zfsext import progress
from zfsext.transfer import Progress

ROOT = Path(__file__).resolve().parents[2]


class Terminal(io.StringIO):
    """What says that it is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("terminal", "quiet"), [(False, False), (True, True)])
def test_nothing_is_shown_elsewhere_or_if_unwanted(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, quiet: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
    with progress.shown({}, quiet=quiet) as said:
        said(Progress("a.ext.disk0", 1, 2))
    assert isinstance(sys.stderr, io.StringIO)
    assert sys.stderr.getvalue() == ""


def test_a_terminal_gets_a_bar_with_the_disks_title(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress.shown({"a.ext.disk0": "web1 disk 0"}) as said:
        said(Progress("a.ext.disk0", 1 << 20, 2 << 20))
        said(Progress("b.ext.disk0", 1 << 20, 1 << 20))
    assert isinstance(sys.stderr, io.StringIO)
    shown = sys.stderr.getvalue()
    assert "web1 disk 0" in shown
    assert "1.0/2.0 MiB" in shown
    assert "b.ext.disk0" in shown


def test_the_streams_of_a_disk_add_up() -> None:
    seen: list[tuple[int, int, int]] = []
    titles: list[str] = []

    def add(title: str, total: int) -> int:
        titles.append(title)
        return total and len(titles)

    steps = progress._Steps(add, lambda bar, completed, total: seen.append((bar, completed, total)), {})
    for told in [("a", 5, 10), ("a", 10, 10), ("b", 1, 1), ("a", 2, 4), ("a", 4, 4), ("a", 1, 3)]:
        steps(Progress(*told))
    assert titles == ["a", "b"]
    assert seen == [(1, 5, 10), (1, 10, 10), (2, 1, 1), (1, 12, 14), (1, 14, 14), (1, 15, 17)]


def test_rich_is_loaded_for_a_bar_alone() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from zfsext import cli, progress\n"
        "with progress.shown({}): print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code, str(ROOT)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
