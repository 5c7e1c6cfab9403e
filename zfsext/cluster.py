"""What Ganeti knows of its instances and their disks, read from its own files on this node.

A master candidate has all of it in config.data, which is JSON (src/Ganeti/Objects.hs; the same in 3.0 and 3.1). Any
other node has ssconf files alone: the instances' names, but not their disks.
"""

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from zfsext.errors import Refused, SystemRefused

PROVIDER = "zfsfile"
DATA = "/var/lib/ganeti"
CONFIG = "config.data"
INSTANCES = "ssconf_instance_list"
ADDRESSES = "ssconf_node_primary_ips"


@dataclass(frozen=True, slots=True)
class Disk:
    """A zfsfile disk as Ganeti has it: the index in its instance, the size in MiB, and the instance's primary node."""

    instance: str
    index: int
    volume: str
    size: int
    node: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """The name of this node, those of all instances and, if it is complete, all zfsfile disks by their volumes.

    detached are the disks that Ganeti keeps without an instance, which can be attached again: volumes with UUIDs.
    """

    node: str
    instances: frozenset[str]
    complete: bool = False
    disks: dict[str, Disk] = field(default_factory=dict)
    detached: dict[str, str] = field(default_factory=dict)


def load(data: str = DATA) -> Cluster | None:
    """Return what this node knows of its cluster; None if it is in none.

    Raises SystemRefused if Ganeti's files are not what they should be: nothing is taken for gone because of that.
    """
    try:
        addresses = _addresses(data)
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise SystemRefused(f"{data}/{ADDRESSES} is not what Ganeti writes: {error}") from error
    names = [name for name, address in addresses.items() if _is_ours(address)]
    if len(names) > 1:  # net.ipv4.ip_nonlocal_bind=1 lets each address be bound
        names = [name for name in names if _label(name) == _label(socket.gethostname())]
    if len(names) != 1:
        raise SystemRefused(f"{data}/{ADDRESSES} has {' and '.join(names) or 'no node'} with an address of this one")
    try:
        with open(f"{data}/{CONFIG}", encoding="utf-8") as file:
            return _complete(names[0], json.load(file))
    except FileNotFoundError:
        with open(f"{data}/{INSTANCES}", encoding="utf-8", errors="surrogateescape") as file:
            return Cluster(names[0], frozenset(file.read().split()))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise SystemRefused(f"{data}/{CONFIG} is not what Ganeti writes: {type(error).__name__} {error}") from error


def is_this_node(name: str, data: str) -> bool:
    """Tell whether the node of this name is this one: its address, as Ganeti knows it, is one of ours."""
    addresses = _addresses(data)
    if name not in addresses:
        raise Refused(f"Ganeti's list of nodes has no {name or 'target'} ({data}/{ADDRESSES})")
    return _is_ours(addresses[name])


def matching(name: str, instances: Mapping[str, Any] | frozenset[str]) -> list[str]:
    """Return the instances that a name means as gnt-instance takes it: the whole name, or its leading labels."""
    name = name.lower()
    return [name] if name in instances else sorted(each for each in instances if each.lower().startswith(name + "."))


def _addresses(data: str) -> dict[str, str]:
    with open(f"{data}/{ADDRESSES}", encoding="utf-8") as file:
        lines = [line.split() for line in file if line.strip()]
    if any(len(fields) != 2 for fields in lines):
        raise SystemRefused(f"{data}/{ADDRESSES} is not what Ganeti writes: a name and an address on each line")
    return {fields[0]: fields[1] for fields in lines}


def _label(name: str) -> str:
    return name.partition(".")[0]


def _is_ours(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:  # EADDRNOTAVAIL: somebody else's
            return False
    return True


def _complete(node: str, data: dict[str, Any]) -> Cluster:
    instances = data["instances"].values()
    disks = {disk.volume: disk for instance in instances for disk in _disks(instance, data)}
    ours = {disk["logical_id"][1]: uuid for uuid, disk in data["disks"].items() if _is_zfsfile(disk)}
    detached = {volume: uuid for volume, uuid in ours.items() if volume not in disks}
    names = frozenset(instance["name"] for instance in instances if instance.get("name"))
    return Cluster(node, names, True, disks, detached)


def _is_zfsfile(disk: dict[str, Any]) -> bool:
    return bool(disk["dev_type"] == "ext" and disk.get("logical_id") and disk["logical_id"][0] == PROVIDER)


def _disks(instance: dict[str, Any], data: dict[str, Any]) -> Iterator[Disk]:
    if not instance.get("primary_node"):  # one that is planned only (gnt-instance add --forthcoming)
        return
    node = data["nodes"][instance["primary_node"]]["name"]
    for index, uuid in enumerate(instance["disks"]):
        disk = data["disks"][uuid]
        if _is_zfsfile(disk):
            yield Disk(instance["name"], index, disk["logical_id"][1], int(disk["size"]), node)
