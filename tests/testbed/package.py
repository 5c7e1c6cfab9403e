"""The Debian package: built from the working tree, once for each content of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cache
import host
from progress import command, say, step
from settings import TREE, TestbedError
from ssh import Connection

NONE = "none"
"""The name of the package of a tree that has no debian/ yet."""

UNPACKAGED = ("tests/", "bench/", ".ci/", "doc/proof.txt")
"""What the tree has and no package is made of: a change here builds no new one."""


def _files() -> list[Path]:
    listed = command(["git", "-C", TREE, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    names = sorted(name for name in listed.split("\0") if name and not name.startswith(UNPACKAGED))
    return [Path(name) for name in names if os.path.lexists(TREE / name)]


def key() -> str:
    """The name of the package that the working tree would give now."""
    if not (TREE / "debian/control").exists():
        return NONE
    parts: list[str | bytes] = [cache.sources("package.py")]
    for name in _files():
        path = TREE / name
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        parts += [str(name), str(os.lstat(path).st_mode), content]
    return cache.digest(*parts)


def build(name: str) -> Path | None:
    """The .deb of the working tree whose key() is NAME; None if there is no debian/ yet."""
    if name == NONE:
        say("no debian/ yet: no package installed")
        return None

    def make(place: Path) -> None:
        log = place / "log"
        tree = place / "build" / "tree"
        for path in _files():
            target = tree / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TREE / path, target, follow_symlinks=False)
        host.install_build_dependencies(tree)
        with step("building the package", log):
            command(["dpkg-buildpackage", "-b", "-us", "-uc"], log, cwd=tree)
        packages = sorted((place / "build").glob("*.deb"))
        if len(packages) != 1:
            names = ", ".join(path.name for path in packages)
            raise TestbedError(f"debian/ should give one .deb, not: {names or 'none'} (see {log})")
        packages[0].rename(place / packages[0].name)
        shutil.rmtree(place / "build")

    return next(cache.entry(f"package-{name}", make).glob("*.deb"))


def install(connection: Connection, package: Path) -> None:
    """Install PACKAGE on the node; what it depends on is there already."""
    connection.copy(package, f"/root/{package.name}")
    connection.call("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "-i", f"/root/{package.name}")
