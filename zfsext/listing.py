"""Disks as people and programs read them: the table of `zfsext list`, the pages of `zfsext show`, and JSON."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from zfsext import inventory
from zfsext.cluster import Cluster
from zfsext.image import MIB
from zfsext.inventory import Disk, Inventory

COLUMNS = ("INSTANCE", "DISK", "VOLUME", "ROLE", "SIZE", "USED", "DEVICE")
UNITS = "BKMGTPE"
WIDE = 10_000  # columns: no line of a file or a pipe is shortened


def known(found: Inventory, cluster: Cluster | None) -> list[dict[str, Any]]:
    """Return all that is known of each disk, by instance and index. Units are in the keys' names."""
    disks = [_known(disk, found, cluster) for disk in found.disks]
    return sorted(disks, key=lambda disk: (disk["instance"] or "~", disk["disk"] or 0, disk["volume"], disk["dataset"]))


def _known(disk: Disk, found: Inventory, cluster: Cluster | None) -> dict[str, Any]:
    ganeti = cluster.disks.get(disk.origin) if cluster else None
    joined = {
        "instance": found.instance(disk, cluster) or None,
        "disk": ganeti.index if ganeti else None,
        "size_mib": inventory.size(disk, cluster),
        "node": ganeti.node if ganeti else None,
    }
    return {**asdict(disk), **joined}


def table(disks: Sequence[dict[str, Any]]) -> None:
    """Print one line for each disk. Only a terminal gets colours, and lines that are shortened to fit it."""
    from rich.console import Console
    from rich.table import Table

    terminal = sys.stdout.isatty()
    console = Console(markup=False, highlight=False, emoji=False, width=None if terminal else WIDE)
    lines = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        right = column in ("DISK", "SIZE", "USED")
        lines.add_column(
            column, justify="right" if right else "left", no_wrap=column != "VOLUME", overflow="ellipsis", min_width=4
        )
    for disk in disks:
        lines.add_row(*(str(cell) for cell in _cells(disk)))
    console.print(lines)


def _cells(disk: dict[str, Any]) -> Iterator[object]:
    yield disk["instance"] or "-"
    yield "-" if disk["disk"] is None else disk["disk"]
    yield disk["volume"]
    yield disk["role"]
    yield "-" if disk["size_mib"] is None else human(disk["size_mib"] * MIB)
    yield human(disk["used_bytes"])
    yield ",".join(device["path"] for device in disk["devices"]) or "-"


def pages(disks: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of what is known of each disk."""
    for disk in disks:
        yield f"disk {'?' if disk['disk'] is None else disk['disk']} of {disk['instance'] or 'no instance'}"
        for name, value in _lines(disk):
            yield f"  {name + ':':<15}{value}"


def _lines(disk: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "volume", disk["volume"]
    yield "role", f"{disk['role']} ({disk['state'] or 'no state of its own'})"
    yield "dataset", disk["dataset"]
    yield "image", f"{disk['directory']}/disk.raw" if disk["directory"] else "not mounted"
    yield "device", ", ".join(device["path"] for device in disk["devices"]) or "none"
    yield "size", "not known" if disk["size_mib"] is None else human(disk["size_mib"] * MIB)
    holds = human(disk["logical_bytes"])
    yield "holds", f"{holds} before compression, {human(disk['referenced_bytes'])} on disk"
    yield "used", f"{human(disk['used_bytes'])} with its snapshots and what is set aside"
    yield "properties", f"recordsize={human(disk['recordsize_bytes'])} compression={disk['compression']}"
    yield "reservation", f"thick, {human(disk['reservation_bytes'])}" if disk["refreservation_bytes"] else "thin"
    yield "created", datetime.fromtimestamp(disk["created"]).astimezone().isoformat(" ", "minutes")
    if disk["node"]:
        yield "primary node", disk["node"]
    if disk["busy"]:
        yield "at work", "a script of Ganeti's works on it just now"
    if disk["partial_receive"]:
        yield "receive", "a partial one is kept"
    yield "snapshots", str(len(disk["snapshots"]))
    for snapshot in disk["snapshots"]:
        for tag in snapshot["holds"]:
            yield "hold", f"{tag} on {snapshot['name']}"
        for clone in snapshot["clones"]:
            yield "clone", f"{clone} of {snapshot['name']}"


def human(count: int) -> str:
    """Return a number of bytes as zfs prints it: 96K, 1.50G (lib/libzutil/zutil_nicenum.c: zfs_nicenum_format)."""
    power = max(0, (count.bit_length() - 1) // 10)
    unit = UNITS[power]
    if count % (1 << 10 * power) == 0:
        return f"{count >> 10 * power}{unit}"
    texts = [f"{count / (1 << 10 * power):.{digits}f}{unit}" for digits in (2, 1, 0)]
    return next((text for text in texts if len(text) <= 5), texts[-1])
