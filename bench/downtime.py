"""Measures how long a disk is away while its VM goes to the other node; prints raw numbers as JSON.

With zfsext that is from Ganeti's first call after the VM has stopped (close on node1) to its last before it starts
(attach on node2), after the hook has sent what there was, and the VM has written another 8 MiB. Beside it, in the same
run and with as much data: stop, copy the image with dd through ssh, start. Arguments: GiB of the disks, such as 1 2 4.
"""

import json
import os
import sys
import time

from pair import HERE, SSH, THERE, add, fill, run, script, script_there, shell, there, versions

INSTANCE = "bench1.example.com"
COPIED = "zfs/bench-copied"
HOOK = "/etc/ganeti/hooks/instance-failover-pre.d/zfsext"
TIMES = 3
WRITTEN = 8


def leave_word(volume: str) -> None:
    """Run the hook on node2 as Ganeti does while the VM runs."""
    variables = {
        "PATH": "/sbin:/bin:/usr/sbin:/usr/bin",
        "GANETI_HOOKS_PHASE": "pre",
        "GANETI_HOOKS_PATH": "instance-failover",
        "GANETI_OP_CODE": "OP_INSTANCE_FAILOVER",
        "GANETI_DATA_DIR": "/var/lib/ganeti",
        "GANETI_FAILOVER_CLEANUP": "False",
        "GANETI_SHUTDOWN_TIMEOUT": "120",
        "GANETI_INSTANCE_NAME": INSTANCE,
        "GANETI_INSTANCE_PRIMARY": HERE,
        "GANETI_OLD_PRIMARY": HERE,
        "GANETI_NEW_PRIMARY": THERE,
        "GANETI_INSTANCE_DISK_COUNT": "1",
        "GANETI_INSTANCE_DISK0_ID": volume,
        "GANETI_INSTANCE_DISK0_PROVIDER": "zfsfile",
    }
    there("env", "-i", *(f"{name}={value}" for name, value in variables.items()), HOOK)


def followed(gibibytes: int) -> list[dict[str, float]]:
    """Return how long the disk was away in each of some moves, and how long the hook took before each."""
    volume = add(INSTANCE, gibibytes * 1024)
    fill(script("attach", volume), gibibytes * 1024)
    run("zfsext", "replicate", INSTANCE, "--to", THERE, "--quiet")
    found = []
    for _ in range(TIMES):
        began = time.perf_counter()
        leave_word(volume)
        hook = time.perf_counter() - began
        fill(script("attach", volume), WRITTEN)
        began = time.perf_counter()
        script("close", volume)
        closed = time.perf_counter() - began
        script_there("attach", "open", "attach", volume=volume)
        found.append({"hook": hook, "close": closed, "seconds": time.perf_counter() - began})
        script_there("detach", volume=volume)
        script("open", volume)  # which fetches it back
    run("gnt-instance", "remove", "-f", INSTANCE)
    return found


def copied(gibibytes: int) -> list[dict[str, float]]:
    """Return how long the disk is away if the image is copied while the VM is stopped."""
    image = f"/{COPIED}/disk.raw"
    create = ("zfs", "create", "-o", "recordsize=16K", "-o", "compression=lz4", "-o", "atime=off", COPIED)
    for side in (run, there):
        side(*create)
        side("truncate", "-s", f"{gibibytes}G", image)
    device = run("losetup", "--find", "--show", image)
    fill(device, gibibytes * 1024)
    began = time.perf_counter()
    run("losetup", "-d", device)
    copy = f"dd of={image} bs=1M conv=notrunc,fsync iflag=fullblock status=none"
    shell(f"dd if={image} bs=1M status=none | ssh {' '.join(SSH)} {THERE} '{copy}'")
    device = there("losetup", "--find", "--show", image)
    seconds = time.perf_counter() - began
    there("losetup", "-d", device)
    there("udevadm", "settle")
    for side in (run, there):
        side("zfs", "destroy", COPIED)
    return [{"seconds": seconds}]


def main() -> None:
    """Measure everything and print it."""
    sizes = [int(word) for word in sys.argv[1:]] or [1, 2, 4]
    raw: dict[str, dict[str, list[dict[str, float]]]] = {}
    for size in sizes:
        raw[str(size)] = {}
        for side, move in (("zfsext", followed), ("stop, dd, start", copied)):
            sys.stderr.write(f"{size} GiB: {side}\n")
            raw[str(size)][side] = move(size)
            os.sync()
    json.dump({**versions(), "MiB written": WRITTEN, "GiB": raw}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
