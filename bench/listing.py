"""Measures `zfsext list` beside one `zfs list` of the same datasets and columns, on node1; prints raw numbers as JSON.

The disks are datasets with the properties that disks have. Both are measured in turn before there are snapshots and
after. Arguments: how many disks, how many snapshots of each, and how often.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence

import libzfs_core

PARENT, STANDBY = "zfs/vm", "zfs/vm-standby"
FACTS = {"state": "owner", "schema": "1", "generation": "0.1", "instance": "web1.example.com", "size": "64", "id": "1"}
#: What zfsext asks for (zfsext.survey.PROPERTIES).
COLUMNS = (
    *("name", "used", "referenced", "logicalreferenced", "recordsize", "compression", "refreservation", "refquota"),
    *("reservation", "creation", "receive_resume_token", "guid", "written", *(f"zfsext:{name}" for name in FACTS)),
    *(f"zfsext:{name}" for name in ("stamp", "peer", "over", "knows", "round", "rounded", "promoted", "replicas")),
)
NOAUTO = 2  # canmount


def names(disks: int) -> list[str]:
    """Return the names of so many disks' datasets."""
    return [f"{PARENT}/00000000-0000-4000-8000-{number:012d}.ext.disk0" for number in range(disks)]


def make(disks: int) -> None:
    """Make so many datasets that are disks to whoever looks."""
    properties: dict[bytes, int | bytes] = {f"zfsext:{name}".encode(): text.encode() for name, text in FACTS.items()}
    for name in names(disks):
        libzfs_core.lzc_create(name.encode(), "zfs", {**properties, b"canmount": NOAUTO, b"recordsize": 16384})


def seconds(command: Sequence[str]) -> float:
    """Return how long a command takes."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Measure everything and print it."""
    disks, snapshots, times = (int(word) for word in (*sys.argv[1:], *("1000", "100", "5")[len(sys.argv) - 1 :]))
    sides = {
        "zfsext list": ("zfsext", "list"),
        "zfs list": ("zfs", "list", "-Hpr", "-t", "filesystem", "-o", ",".join(COLUMNS), PARENT, STANDBY),
    }
    make(disks)
    raw: dict[str, dict[str, list[float]]] = {}
    for count in (0, snapshots):
        for number in range(count):
            libzfs_core.lzc_snapshot([f"{name}@{number}".encode() for name in names(disks)])
        kind = f"{disks} disks, {disks * count} snapshots"
        raw[kind] = {side: [] for side in sides}
        for _ in range(times + 1):
            for side, command in sides.items():
                raw[kind][side].append(seconds(command))
        for took in raw[kind].values():
            del took[0]  # the first fills the cache
        print(json.dumps(raw[kind]), file=sys.stderr, flush=True)
    with open("/sys/module/zfs/version", encoding="ascii") as file:
        version = file.readline().strip()
    print(json.dumps({"seconds": raw, "zfs": version}, indent=1))


main()
