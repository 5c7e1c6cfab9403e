"""Disks as people and programs read them: the table of `zfsext list`, the pages of `zfsext show`, and JSON."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click

from zfsext import human, inventory
from zfsext.cluster import Cluster
from zfsext.image import MIB
from zfsext.inventory import ASIDE, REPLICA, SEALED, TICKET, Disk, Inventory

#: The columns of the table, and which of them are numbers. NODE and SNAPS are there if they are asked for.
COLUMNS = (
    "INSTANCE",
    "DISK",
    "NODE",
    "VOLUME",
    "ROLE",
    "SIZE",
    "USED",
    "WRITTEN",
    "SNAPS",
    "DEVICE",
    "AGE",
    "REPLICAS",
)
NUMBERS = ("DISK", "SIZE", "USED", "WRITTEN", "SNAPS", "AGE")
#: The columns that are shortened on a narrow terminal, in this order, and how narrow they get.
SHORTENED = ("VOLUME", "REPLICAS", "INSTANCE", "DEVICE")
NARROWEST = 8


def known(found: Inventory, cluster: Cluster | None) -> list[dict[str, Any]]:
    """Return all that is known of each disk, by instance and index. Units are in the keys' names."""
    return in_order([_known(disk, found, cluster) for disk in found.disks])


def in_order(disks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return disks by instance and index, and those of one volume by node."""
    return sorted(
        disks,
        key=lambda disk: (
            *(disk["instance"] or "~", disk["disk"] or 0, disk["volume"]),
            *(disk.get("on_node") or "", disk["dataset"]),
        ),
    )


def _known(disk: Disk, found: Inventory, cluster: Cluster | None) -> dict[str, Any]:
    ganeti = cluster.disks.get(disk.origin) if cluster else None
    dated = disk.role == REPLICA and disk.rounded is not None
    joined = {
        "instance": found.instance(disk, cluster) or None,
        "disk": ganeti.index if ganeti else None,
        "size_mib": inventory.size(disk, cluster),
        "node": ganeti.node if ganeti else None,
        "age_seconds": max(0, found.taken - (disk.rounded or 0)) if dated else None,
    }
    told = {**asdict(disk), **joined}
    if not found.whole:  # then there may be some
        del told["snapshots"]
    return told


def table(disks: Sequence[dict[str, Any]], *, nodes: bool = False, snapshots: bool = False) -> None:
    """Print one line for each disk. Only on a terminal are lines shortened, to fit it.

    nodes and snapshots ask for the columns NODE and SNAPS. rich's tables, which do the same, take longer than ZFS does
    to list the datasets.
    """
    columns = [each for each in COLUMNS if (nodes or each != "NODE") and (snapshots or each != "SNAPS")]
    rows = [dict(zip(COLUMNS, map(str, _cells(disk)), strict=True)) for disk in disks]
    widths = {column: max(len(column), *(len(row[column]) for row in rows), 0) for column in columns}
    if sys.stdout.isatty():
        empty = [column for column in columns if all(row[column] == "-" for row in rows)]
        _fit(widths, empty, shutil.get_terminal_size().columns)
    for row in [{column: column for column in COLUMNS}, *rows]:
        click.echo("  ".join(_cell(row[each], width, right=each in NUMBERS) for each, width in widths.items()).rstrip())


def _fit(widths: dict[str, int], empty: Sequence[str], columns: int) -> None:
    """Make a line fit a terminal of that width, without empty columns, and with the beginnings of names alone."""

    def too_much() -> int:
        return max(0, sum(widths.values()) + 2 * (len(widths) - 1) - columns)

    for name in empty:
        if too_much():
            del widths[name]
    for name in filter(widths.__contains__, SHORTENED):
        widths[name] -= min(too_much(), max(0, widths[name] - NARROWEST))


def _cell(text: str, width: int, *, right: bool) -> str:
    text = text if len(text) <= width else text[: width - 1] + "…"
    return text.rjust(width) if right else text.ljust(width)


def _cells(disk: dict[str, Any]) -> Iterator[object]:
    yield disk["instance"] or "-"
    yield "-" if disk["disk"] is None else disk["disk"]
    yield (disk.get("on_node") or "-").partition(".")[0]
    yield disk["volume"]
    yield disk["role"]
    yield "-" if disk["size_mib"] is None else human.size(disk["size_mib"] * MIB)
    yield human.size(disk["used_bytes"])
    yield human.size(disk["written_bytes"])
    yield "-" if disk["snapshot_count"] is None else disk["snapshot_count"]
    yield ",".join(device["path"].removeprefix("/dev/") for device in disk["devices"]) or "-"
    yield "-" if disk["age_seconds"] is None else human.age(disk["age_seconds"])
    yield " ".join(name.partition(".")[0] for name in disk["replicas"]) or "-"


def pages(disks: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of what is known of each disk."""
    for disk in disks:
        yield f"disk {'?' if disk['disk'] is None else disk['disk']} of {disk['instance'] or 'no instance'}"
        for name, value in _lines(disk):
            yield f"  {name + ':':<15}{value}"


def _lines(disk: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "volume", disk["volume"]
    state = disk["state"] or "no state of its own"
    yield "role", disk["role"] if disk["role"] == state else f"{disk['role']} ({state})"
    yield "dataset", disk["dataset"]
    yield "image", f"{disk['directory']}/disk.raw" if disk["directory"] else "not mounted"
    yield "device", ", ".join(device["path"] for device in disk["devices"]) or "none"
    yield "size", "not known" if disk["size_mib"] is None else human.size(disk["size_mib"] * MIB)
    data = human.size(disk["logical_bytes"])
    yield "data", f"{data} before compression, {human.size(disk['referenced_bytes'])} on disk"
    yield "used", f"{human.size(disk['used_bytes'])} with its snapshots and what is set aside"
    yield "properties", f"recordsize={human.size(disk['recordsize_bytes'])} compression={disk['compression']}"
    yield "reservation", f"thick, {human.size(disk['reservation_bytes'])}" if disk["refreservation_bytes"] else "thin"
    yield "created", human.moment(disk["created"])
    if disk["node"]:
        yield "primary node", disk["node"]
    if disk["busy"]:
        yield "at work", "a script of Ganeti's works on it just now"
    if disk["transfer"]:
        yield "transfer", "it is sent or received just now"
    if disk["partial_receive"]:
        yield "receive", "a partial one is kept"
    yield from _copies(disk)
    yield "snapshots", str(len(disk["snapshots"]))
    for snapshot in disk["snapshots"]:
        for tag in snapshot["holds"]:
            yield "hold", f"{tag} on {snapshot['name']}"
        for clone in snapshot["clones"]:
            yield "clone", f"{clone} of {snapshot['name']}"


def _copies(disk: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the dataset is a copy of, or which copies of it there are."""
    if disk["generation"]:
        yield "generation", disk["generation"]
    peer = disk["peer"] or "a node that is not noted"
    words = {REPLICA: f"copy of the disk on {peer}", SEALED: f"given to {peer}", TICKET: f"given by {peer}"}
    if disk["role"] in words:
        yield "peer", words[disk["role"]]
    if disk["role"] == ASIDE:
        yield "aside", "a copy that another node's has passed over"
    if disk["round"]:
        taken = "" if disk["rounded"] is None else f", taken at {human.moment(disk['rounded'])}"
        age = "" if disk["age_seconds"] is None else f", {human.age(disk['age_seconds'])} ago"
        yield "last round", disk["round"] + taken + age
    if disk["promoted"] is not None:
        over = f" over {', '.join(disk['over'])}" if disk["over"] else ""
        yield "promoted", f"at {human.moment(disk['promoted'])}{over}"
    if disk["replicas"]:
        yield "replicas", " ".join(disk["replicas"])
    for target in disk["targets"]:
        how = "replicated" if target["error"] is None else f"failed: {' '.join(target['error'].split())}"
        yield "copy", f"on {target['node']}, {human.moment(target['time'])}: {how}"
    for node in disk["knows"]:
        if node not in [target["node"] for target in disk["targets"]]:
            yield "copy", f"on {node}, perhaps: it was sent data once"
