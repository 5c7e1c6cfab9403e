"""What Ganeti knows of its instances and their disks, read from its own files on this node.

A master candidate has all of it in config.data, which is JSON (src/Ganeti/Objects.hs; the same in 3.0 and 3.1). Any
other node has ssconf files alone: the instances' names, but not their disks.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

from zfsext import nodes
from zfsext.errors import Refused, SystemRefused
from zfsext.nodes import DATA

PROVIDER = "zfsfile"
CONFIG = "config.data"
INSTANCES = "ssconf_instance_list"


class Disk(NamedTuple):
    """A zfsfile disk as Ganeti has it: the index in its instance, the size in MiB, and the instance's primary node."""

    instance: str
    index: int  # type: ignore[assignment]  # hides a tuple's method, which nobody wants here
    volume: str
    size: int
    node: str


class Cluster(NamedTuple):
    """The name of this node, those of all instances and, if it is complete, all zfsfile disks by their volumes.

    detached are the disks that Ganeti keeps without an instance, which can be attached again: volumes with UUIDs.
    """

    node: str
    instances: frozenset[str]
    complete: bool = False
    disks: Mapping[str, Disk] = MappingProxyType({})
    detached: Mapping[str, str] = MappingProxyType({})


def load(data: str = DATA) -> Cluster | None:
    """Return what this node knows of its cluster; None if it is in none.

    Raises SystemRefused if Ganeti's files are not what they should be: nothing is taken for gone because of that.
    """
    if not nodes.in_cluster(data):
        return None
    here = nodes.this_node(data)
    config = _config(data)
    if config is None:
        with open(f"{data}/{INSTANCES}", encoding="utf-8", errors="surrogateescape") as file:
            return Cluster(here, frozenset(file.read().split()))
    with _as_written(data):
        names = frozenset(each["name"] for each in config["instances"].values() if each.get("name"))
        return Cluster(here, names, True, _by_volume(config), _detached(config))


def serial(data: str = DATA) -> int:
    """Return the serial number of Ganeti's configuration, which grows with each change. Master candidates have it.

    Raises SystemRefused anywhere else.
    """
    config = _config(data)
    if config is None:
        raise SystemRefused(f"{data}/{CONFIG} is not there, since this node is no master candidate: ask on the master")
    with _as_written(data):
        return int(config["serial_no"])


def offline(data: str = DATA) -> frozenset[str]:
    """Return the nodes that are marked offline, from the configuration itself: on the master it is the truth.

    Raises Refused on a node that does not have it.
    """
    config = _config(data)
    if config is None:
        raise Refused("this node is no master candidate, so it does not have Ganeti's configuration")
    with _as_written(data):
        return frozenset(node["name"] for node in config["nodes"].values() if node.get("offline"))


def group(volume: str, data: str = DATA) -> list[str] | None:
    """Return all zfsfile volumes of the instance that has this one, by their indexes; of a detached disk itself alone.

    None means that this node cannot tell: it is no master candidate, or its copy of the configuration is without it.
    """
    config = _config(data)
    if config is None:
        return None
    with _as_written(data):
        disks = _by_volume(config)
        if volume not in disks:
            return [volume] if volume in _detached(config) else None
        instance = disks[volume].instance
        return [disk.volume for disk in disks.values() if disk.instance == instance]


def knows(volume: str, data: str = DATA) -> bool | None:
    """Tell whether Ganeti has the volume, attached or detached; None if this node, no master candidate, cannot tell."""
    config = _config(data)
    if config is None:
        return None
    with _as_written(data):
        return volume in _by_volume(config) or volume in _detached(config)


def matching(name: str, instances: Mapping[str, Any] | frozenset[str]) -> list[str]:
    """Return the instances that a name means as gnt-instance takes it: the whole name, or its leading labels."""
    name = name.lower()
    return [name] if name in instances else sorted(each for each in instances if each.lower().startswith(name + "."))


def _config(data: str) -> dict[str, Any] | None:
    """Return the whole configuration; None if this node does not have it."""
    try:
        with _as_written(data), open(f"{data}/{CONFIG}", encoding="utf-8") as file:
            config: dict[str, Any] = json.load(file)
            return config
    except FileNotFoundError:
        return None


@contextmanager
def _as_written(data: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise SystemRefused(f"{data}/{CONFIG} is not what Ganeti writes: {type(error).__name__} {error}") from error


def configuration(data: str = DATA) -> dict[str, Any] | None:
    """Return Ganeti's whole configuration; None if this node, which is no master candidate, does not have it."""
    return _config(data)


def _by_volume(config: dict[str, Any]) -> dict[str, Disk]:
    """Return the attached disks, those of an instance in the order of their indexes."""
    return {disk.volume: disk for instance in config["instances"].values() for disk in _disks(instance, config)}


def _detached(config: dict[str, Any]) -> dict[str, str]:
    attached = _by_volume(config)
    ours = {disk["logical_id"][1]: uuid for uuid, disk in config["disks"].items() if _is_zfsfile(disk)}
    return {volume: uuid for volume, uuid in ours.items() if volume not in attached}


def _is_zfsfile(disk: dict[str, Any]) -> bool:
    return bool(disk["dev_type"] == "ext" and disk.get("logical_id") and disk["logical_id"][0] == PROVIDER)


def _disks(instance: dict[str, Any], config: dict[str, Any]) -> Iterator[Disk]:
    if not instance.get("primary_node"):  # one that is planned only (gnt-instance add --forthcoming)
        return
    node = config["nodes"][instance["primary_node"]]["name"]
    for index, uuid in enumerate(instance["disks"]):
        disk = config["disks"][uuid]
        if _is_zfsfile(disk):
            yield Disk(instance["name"], index, disk["logical_id"][1], int(disk["size"]), node)
