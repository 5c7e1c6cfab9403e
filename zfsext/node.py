"""Whether a node has what zfsfile disks need."""

import errno
import os

from zfsext import encryption, loopdev, pool, zfs, zpool
from zfsext.config import Config, standby
from zfsext.errors import ZfsextError
from zfsext.places import how_to_make

LOGS = "/var/log/ganeti/extstorage"


def findings(config: Config) -> list[str]:
    """Return what is missing on this node, each with the way to mend it; nothing if all is well."""
    found = []
    for parent in config.live:
        try:
            pool.require(pool.of(parent))
            there = zfs.read([parent, standby(parent)], ["mountpoint", *encryption.PROPERTIES])
            if zpool.read_only(pool.of(parent)):
                found.append(f"pool {pool.of(parent)}: {zfs.HINTS[errno.EROFS]}")
        except ZfsextError as error:
            found.append(str(error))
            continue
        missing = [name for name in (parent, standby(parent)) if name not in there]
        found += [f"{name} does not exist: {how_to_make(name)}" for name in missing]
        if parent in there and not there[parent]["mountpoint"].startswith("/"):
            found.append(f"{parent} has no mountpoint: 'zfs set mountpoint=/{parent} {parent}'")
        if not missing:
            found += _encryption(there[parent], there[standby(parent)])
    if not os.path.exists(loopdev.CONTROL):
        found.append(f"{loopdev.CONTROL} is missing: 'modprobe loop'")
    if not os.path.isdir(LOGS):
        found.append(f"{LOGS} is missing, without which Ganeti runs no script: 'mkdir -m 750 {LOGS}'")
    return list(dict.fromkeys(found))  # parents may be in one pool


def _encryption(live: zfs.Dataset, beside: zfs.Dataset) -> list[str]:
    try:
        encryption.require_one_root(live, beside)
        encryption.require_key(live)
    except ZfsextError as error:
        return [str(error)]
    return []
