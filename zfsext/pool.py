"""Whether a pool can work, told without touching it.

The kernel keeps each imported pool's state in /proc/spl/kstat/zfs/POOL/state, readable without a lock that a
suspended pool could hold (module/zfs/spa_stats.c: spa_state_addr). Any other question to a suspended pool may
leave the asking process stuck in the kernel, where nothing can kill it.
"""

import os

from zfsext.errors import PoolUnavailable

KSTAT = "/proc/spl/kstat/zfs"
WORKING = ("ONLINE", "DEGRADED")


def of(dataset: str) -> str:
    """Return the name of the pool that dataset belongs to."""
    return dataset.partition("/")[0]


def state(name: str) -> str:
    """Return the pool's state as the kernel says it, in one word; an empty one if no such pool is imported."""
    try:
        with open(f"{KSTAT}/{name}/state") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def imported() -> list[str]:
    """Return the names of the imported pools, whatever their state."""
    try:
        return sorted(name for name in os.listdir(KSTAT) if os.path.exists(f"{KSTAT}/{name}/state"))
    except FileNotFoundError:  # the module is not loaded
        return []


def works(name: str) -> bool:
    """Tell whether the pool is imported and answers."""
    return state(name) in WORKING


def require(name: str) -> None:
    """Raise PoolUnavailable, with what to do, unless the pool is imported and answers."""
    now = state(name)
    if not now:
        raise PoolUnavailable(f"pool {name} is not imported on this node: 'zpool import {name}' says why it cannot be")
    if now not in WORKING:
        raise PoolUnavailable(
            f"pool {name} is {now}: see 'zpool status {name}'; when its devices are back, 'zpool clear {name}'"
        )
