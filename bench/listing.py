"""Measures `zfsext list` beside one `zfs list` of the same datasets and columns, on node1; prints raw numbers as JSON.

The disks are datasets with the properties that disks have, made by hand. Both are measured in turn before there are
snapshots and after. Arguments: how many disks, how many snapshots of each, and how often.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence

PARENT, STANDBY = "zfs/vm", "zfs/vm-standby"
FACTS = {"state": "owner", "schema": "1", "generation": "0.1", "instance": "web1.example.com", "size": "64", "id": "1"}
#: What zfsext asks for (zfsext.inventory.PROPERTIES).
COLUMNS = (
    *("name", "used", "referenced", "logicalreferenced", "recordsize", "compression", "refreservation", "refquota"),
    *("reservation", "creation", "receive_resume_token", "guid", "written", *(f"zfsext:{name}" for name in FACTS)),
    *(f"zfsext:{name}" for name in ("stamp", "peer", "over", "knows", "round", "rounded", "promoted", "replicas")),
)


def run(*command: str) -> str:
    """Run a command and return its output."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def make(disks: int) -> None:
    """Make so many datasets that are disks to whoever looks."""
    options = [word for name, text in FACTS.items() for word in ("-o", f"zfsext:{name}={text}")]
    for number in range(disks):
        name = f"{PARENT}/00000000-0000-4000-8000-{number:012d}.ext.disk0"
        run("zfs", "create", "-o", "canmount=noauto", "-o", "recordsize=16K", *options, name)
        run("zfs", "set", f"zfsext:stamp={run('zfs', 'get', '-Hpo', 'value', 'guid', name).strip()}", name)


def seconds(command: Sequence[str]) -> float:
    """Return how long a command takes."""
    began = time.perf_counter()
    run(*command)
    return time.perf_counter() - began


def main() -> None:
    """Measure everything and print it."""
    disks, snapshots, times = (int(word) for word in (*sys.argv[1:], *("1000", "100", "5")[len(sys.argv) - 1 :]))
    sides = {
        "zfsext list": ("zfsext", "list"),
        "zfs list": ("zfs", "list", "-Hpr", "-t", "filesystem", "-o", ",".join(COLUMNS), PARENT, STANDBY),
        "zfsext list --snapshots": ("zfsext", "list", "--snapshots"),
    }
    make(disks)
    raw: dict[str, dict[str, list[float]]] = {}
    for count in (0, snapshots):
        for number in range(count):
            run("zfs", "snapshot", "-r", f"{PARENT}@{number}")
        kind = f"{disks} disks, {disks * count} snapshots"
        raw[kind] = {side: [] for side in sides}
        for _ in range(times + 1):
            for side, command in sides.items():
                raw[kind][side].append(seconds(command))
        for took in raw[kind].values():
            del took[0]  # the first fills the cache
    print(json.dumps({"seconds": raw, "zfs": run("cat", "/sys/module/zfs/version").strip()}, indent=1))


main()
