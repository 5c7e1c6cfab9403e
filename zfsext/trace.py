"""What --verbose and --dry-run print: each change of ZFS, on whichever node, as one would type it there.

libzfs_core makes most of them in one call for many datasets, or several in one transaction: what is printed says what
is done, and would do much the same by hand, if one after the other.
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

_note: Callable[[str], object] | None = None


def wanted() -> bool:
    """Tell whether somebody wants to know, so that other nodes are asked to tell too."""
    return _note is not None


def typed(*words: str) -> None:
    """Note one command of zfs, if somebody wants to know."""
    if _note is not None:
        _note(command(words))


def elsewhere(node: str, commands: Sequence[str]) -> None:
    """Note what another node says that it has done; what it had done by a third is named so already."""
    if _note is not None:
        for each in commands:
            _note(f"{node}: {each}" if each.startswith("zfs ") else each)


def command(words: Sequence[str]) -> str:
    """Return a command of zfs as one would type it."""
    return f"zfs {shlex.join(words)}"


def tell(note: Callable[[str], object]) -> None:
    """Have note called with each change of ZFS from here on."""
    global _note
    _note = note


@contextmanager
def collected() -> Iterator[list[str]]:
    """Give the list of what is changed meanwhile, in order."""
    global _note
    before, found = _note, list[str]()
    _note = found.append
    try:
        yield found
    finally:
        _note = before
