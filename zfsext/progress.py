"""What a terminal shows while something takes long: of a transfer how far it is, how fast, how long it still takes."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zfsext.transfer import Progress


@contextmanager
def shown(titles: Mapping[str, str], *, quiet: bool = False) -> "Iterator[Callable[[Progress], None]]":
    """Give what is to be called with each step of a transfer; it shows them if stderr is a terminal.

    titles says what to call a volume.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        yield _Steps(bars.add_task, bars.update, titles)


@contextmanager
def working(words: str) -> Iterator[None]:
    """Show, if stderr is a terminal, that something goes on of which nobody knows how long it takes."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(words):
        yield


class _Steps:
    """One bar for each volume. A volume may come in several streams, of which each tells its own bytes from 0 on."""

    def __init__(self, add: Callable[..., int], update: Callable[..., None], titles: Mapping[str, str]) -> None:
        self._add = add
        self._update = update
        self._titles = titles
        self._bars: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def __call__(self, told: "Progress") -> None:
        volume = told.volume
        if volume not in self._bars:
            self._bars[volume] = self._add(self._titles.get(volume, volume), total=told.total)
        if told.done < self._last.get(volume, 0):
            self._before[volume] = self._before.get(volume, 0) + self._last[volume]
        self._last[volume] = told.done
        before = self._before.get(volume, 0)
        self._update(self._bars[volume], completed=before + told.done, total=before + told.total)
