"""A directory of slow results, each found by its inputs and there only when it is complete."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from settings import CACHE, HERE


def digest(*inputs: str | bytes) -> str:
    """One short name for all of INPUTS."""
    total = hashlib.sha256()
    for item in inputs:
        data = item.encode() if isinstance(item, str) else item
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:16]


def sources(*names: str) -> str:
    """One short name for the testbed's own files of these names; a directory counts with all in it."""
    parts: list[str | bytes] = []
    for path in _files(HERE / name for name in names):
        parts += [str(path.relative_to(HERE)), f"{path.stat().st_mode & 0o777:o}", path.read_bytes()]
    return digest(*parts)


def _files(roots: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for root in roots:
        found += [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else [root]
    return sorted(found)


def entry(name: str, build: Callable[[Path], None]) -> Path:
    """The cached directory NAME; BUILD fills it first if it isn't there.

    It is built under another name and renamed when complete, so a killed build leaves nothing that
    could be taken for a result, only rubbish, which the next build of the same thing removes.
    """
    place = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            making = CACHE / f"{name}.new"
            discard(making)
            making.mkdir()
            build(making)
            subprocess.run(["sync", "-f", making], check=True)
            making.rename(place)
            _forget_old(place)
        os.utime(place)
    return place


def _forget_old(newest: Path) -> None:
    """Remove entries of the same kind (what stands before the last dash) unused for ten days."""
    kind = newest.name.rpartition("-")[0]
    for other in CACHE.glob(f"{kind}-*"):
        if other.is_dir() and other != newest and other.stat().st_mtime < time.time() - 10 * 86400:
            discard(other)


def discard(directory: Path) -> None:
    """Remove a directory of ours with all in it, if it is there; never across a mount."""
    if directory.exists():
        for mount in reversed(_mounts_under(directory)):
            subprocess.run(["umount", mount], check=True)
        shutil.rmtree(directory)


def _mounts_under(directory: Path) -> list[str]:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [mount for mount in mounts if mount.startswith(f"{directory}/")]
