"""What --verbose and --dry-run print: each change of ZFS, as one would type it.

libzfs_core makes most of them in one call for many datasets, or several in one transaction: what is printed says what
is done, and would do much the same by hand, if one after the other.
"""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

_typed: list[str] | None = None


def typed(*words: str) -> None:
    """Note one command of zfs, if somebody collects them."""
    if _typed is not None:
        _typed.append(command(words))


def command(words: "list[str] | tuple[str, ...]") -> str:
    """Return a command of zfs as one would type it."""
    return f"zfs {shlex.join(words)}"


@contextmanager
def collected() -> Iterator[list[str]]:
    """Give the list of what this process changes from here on, in order."""
    global _typed
    before, _typed = _typed, []
    try:
        yield _typed
    finally:
        _typed = before
