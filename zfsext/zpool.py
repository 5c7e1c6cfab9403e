"""Pools: what the zpool command tells of them. libzfs_core does not know of pools.

Whether a pool works is not asked here, but of the kernel (zfsext.pool): a pool that is suspended answers nobody.
"""

from collections.abc import Sequence

from zfsext import command
from zfsext.errors import SystemRefused

COLUMNS = "name,size,allocated,free"
NO_ERRORS = "No known data errors"


def space(pools: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Return the size of each pool, what is allocated and what is free of it, in bytes."""
    rows = command.fields(command.output("zpool", "list", "-Hp", "-o", COLUMNS, *pools), 4, "zpool list")
    return {name: (int(size), int(allocated), int(free)) for name, size, allocated, free in rows}


def devices(pool: str) -> dict[str, int]:
    """Return the devices that the pool is on, by their paths, and how large ZFS took each for, in bytes.

    It looks at their size when it opens them, and for zpool online -e (module/zfs/vdev.c: vdev_open).
    """
    lines = command.output("zpool", "list", "-vHPp", pool).splitlines()
    rows = [line.split("\t")[1:3] for line in lines if line.startswith("\t/dev/")]
    return {path: int(size) for path, size in rows if size.isdecimal()}


def read_only(pool: str) -> bool:
    """Tell whether the pool was imported only to be read."""
    return properties(pool, ["readonly"])["readonly"] == "on"


def properties(pool: str, names: Sequence[str]) -> dict[str, str]:
    """Return these properties of the pool; sizes are in bytes."""
    said = command.output("zpool", "get", "-Hp", "-o", "property,value", ",".join(names), pool)
    return dict(command.fields(said, 2, "zpool get"))


def data_errors(pool: str) -> str:
    """Return what zpool status says of data that is lost in the pool; empty if none is known to be."""
    lines = command.output("zpool", "status", pool).splitlines()
    said = [line.removeprefix("errors: ") for line in lines if line.startswith("errors: ")]
    if not said:
        raise SystemRefused(f"zpool status {pool} says nothing of errors")
    return "" if said[0] == NO_ERRORS else said[0]
