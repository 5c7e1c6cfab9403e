"""What `zfsext doctor` has to know of a node, collected on it: one dictionary, told to the node that asks."""

import os
import platform
import time
from typing import Any

import zfsext
from zfsext import command, node, nodes, peer, places, pool, zfs, zpool
from zfsext.config import Config, standby
from zfsext.errors import Speechless, ZfsextError

#: What is to be the same on all nodes of what /etc/zfsext.conf says.
CONFIG = ("live", "recordsize", "compression", "reservation", "replicas", "bandwidth", "keep_removed")
PROVIDER = "/usr/share/ganeti/extstorage/zfsfile"
ARC_MAX = "/sys/module/zfs/parameters/zfs_arc_max"
#: What has to come in this order at boot: pools are imported and mounted before Ganeti looks. Its service is noded's
#: own, or, as in Debian, the one that starts all its daemons.
MOUNTS, DAEMONS = "zfs-mount.service", ("ganeti-noded.service", "ganeti.service")


def collected(config: Config) -> dict[str, Any]:
    """Return this node's facts. What could not be found out is in `trouble`, in words."""
    trouble: list[str] = []
    return {
        "node": nodes.this_node(),
        "version": zfsext.__version__,
        "time": time.time(),
        "candidate": nodes.is_candidate(),
        "provider": sorted(os.listdir(PROVIDER)) if os.path.isdir(PROVIDER) else [],
        "config": {name: getattr(config, name) for name in CONFIG},
        "unfit": node.findings(config),
        "kernel": platform.release(),
        "module": _first_line(zfs.MODULE_VERSION),
        "tools": _package("zfsutils-linux"),
        "ganeti": _package("ganeti"),
        "pools": {name: _pool(name, trouble) for name in places.pools(config.live)},
        "places": _places(config, trouble),
        **arc(),
        "daemon": (daemon := _daemon()),
        "mounts_before_daemon": MOUNTS in _said("systemctl", "list-dependencies", "--after", "--plain", daemon),
        "unreached": _unreached() if nodes.is_candidate() else {},
        "trouble": trouble,
    }


def arc() -> dict[str, Any]:
    """Return the most that ZFS's cache may take, as set (0: what ZFS chooses), and this node's memory in bytes."""
    return {"arc_max": _first_line(ARC_MAX), "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")}


def _pool(name: str, trouble: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"state": pool.state(name)}
    if not pool.works(name):
        return found
    try:
        found |= zpool.properties(name, ("ashift", "health"))
        size, allocated, free = zpool.space([name])[name]
        found |= {"size": size, "allocated": allocated, "free": free, "grown": _grown(name)}
    except ZfsextError as error:
        trouble.append(str(error))
    return found


def _grown(name: str) -> dict[str, int]:
    """Return the pool's devices that are larger than ZFS took them for, and by how many bytes, as after lvextend."""
    more = {path: _bytes_of(path) - size for path, size in zpool.devices(name).items()}
    return {path: number for path, number in more.items() if number > 0}


def _bytes_of(path: str) -> int:
    sectors = _first_line(f"/sys/class/block/{os.path.basename(os.path.realpath(path))}/size")
    return int(sectors or 0) * 512  # whatever the device's own sectors are (Documentation/ABI/stable/sysfs-block)


def _places(config: Config, trouble: list[str]) -> dict[str, dict[str, str]]:
    wanted = ("readonly", "com.sun:auto-snapshot", "sync")
    names = [name for parent in config.live if pool.works(pool.of(parent)) for name in (parent, standby(parent))]
    try:
        return {name: {key: each[key] for key in wanted} for name, each in zfs.read(names, wanted).items()}
    except ZfsextError as error:
        trouble.append(str(error))
        return {}


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().strip()
    except FileNotFoundError:
        return ""


def _package(name: str) -> str:
    return _said("dpkg-query", "-W", "-f", "${Version}", name)


def _daemon() -> str:
    """Return the service that starts Ganeti's noded here."""
    states = {unit: _said("systemctl", "show", "--value", "--property=LoadState", unit) for unit in DAEMONS}
    return next((unit for unit, state in states.items() if state == "loaded"), DAEMONS[0])


def _unreached() -> dict[str, str]:
    """Return the nodes that this one does not reach, and why: any that has disks may have to send them to any other."""
    known = [name for name, node in nodes.peers().items() if not node.offline]
    with peer.peers() as others:
        answers = others.ask(sorted(known), "hello")
        return {name: str(answer) for name, answer in answers if isinstance(answer, Speechless)}


def _said(*words: str) -> str:
    """Return what a command that only looks says; nothing if it is not there, or knows nothing."""
    try:
        return command.run(*words).stdout.strip()
    except FileNotFoundError:
        return ""
