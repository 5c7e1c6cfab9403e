"""The node's end of tests/faults: it does what lines of JSON tell it, and answers in the same way.

It is told so by tests/faults, from outside the node, which may lose its power.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import quick
from conftest import Disk, finish, loops, mounts, read_device, run, start, write_device
from killed import Life, lasting
from killpoints import Point, calls_of, hold, kill, points, trace

BLOCK = 4096
LOG = Path("/root/strace")
held: list["subprocess.Popen[str]"] = []


def scripts(calls: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    """Start all of these scripts at once, and tell how each ended; one with kill_after dies after so many seconds."""
    running = [start(call["action"], call["volume"], call["variables"]) for call in calls]
    timers = [
        threading.Timer(call["kill_after"], _kill, [script])
        for call, script in zip(calls, running, strict=True)
        if call.get("kill_after") is not None
    ]
    for timer in timers:
        timer.start()
    done = [finish(script) for script in running]
    for timer in timers:
        timer.cancel()
    return [(each.code, each.out, each.err) for each in done]


def _kill(script: "subprocess.Popen[str]") -> None:
    if script.poll() is None:
        script.send_signal(signal.SIGKILL)


def quickly(calls: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    """Run all of these scripts at once as scripts does, in forks of this process: for what is only to be done."""
    running = [quick.begin(call["action"], call["volume"], call["variables"]) for call in calls]
    return [(done.code, done.out, done.err) for done in [each.finish() for each in running]]


def before_move(environ: dict[str, str]) -> tuple[int, str, str]:
    """Run the hook of failover and migrate in a fork of this process, and tell how it ended."""
    done = quick.before_move(environ)
    return done.code, done.out, done.err


def begin(call: dict[str, Any], seconds: float) -> None:
    """Start a script, and come back after so many seconds, whatever it does."""
    start(call["action"], call["volume"], call["variables"])
    time.sleep(seconds)


def rehearse(name: str) -> tuple[list[Point], dict[str, list[str]]]:
    """Let a scenario run through: the points at which it can be stopped, and what must be there in the end."""
    life = _life(name)
    life.disk.ok("remove")
    life.rehearse()
    return life.points, {what: sorted(found) for what, found in lasting(life.expected).items()}


def stop_at(name: str, point: list[Any]) -> None:
    """Begin the scenario anew, and let the script come as far as the point."""
    life = _life(name)
    life.begin()
    life.stop(Point(*point))


def finish_after(name: str, point: list[Any], expected: dict[str, list[str]]) -> None:
    """When the node is back: the script run twice, what is there then, and the data; then all is removed."""
    life = _life(name)
    life.finishes({what: set(found) for what, found in expected.items()}, Point(*point))
    life.disk.ok("remove")


def _life(name: str) -> Life:
    return Life(name, Disk(f"{name}.ext.disk0"), LOG)


def points_of(action: str, volume: str, variables: dict[str, str]) -> list[Point]:
    """Let a script run through: the points at which it can be killed or held."""
    return points(trace(LOG, action, Disk(volume), variables), processes=True)


def points_in(log: str) -> list[Point]:
    """Return the points of something else that was traced, into that file."""
    return points(list(calls_of(Path(log))), processes=True)


def kill_at(action: str, volume: str, variables: dict[str, str], point: list[Any], group: bool) -> bool:
    """Kill a script at the point; what talks to another node need not come to each point of an earlier run."""
    try:
        kill(Point(*point), group, LOG, action, Disk(volume), variables)
    except AssertionError:
        return False
    return True


def hold_at(action: str, volume: str, variables: dict[str, str], point: list[Any]) -> bool:
    """Let a script come as far as the point, and stay there for a minute."""
    try:
        held.append(hold(Point(*point), LOG, action, Disk(volume), variables))
    except AssertionError:
        return False
    return True


def held_ended() -> tuple[int, str, str]:
    """Wait until what was held has ended, and tell how."""
    done = finish(held.pop(), timeout=1200)
    return done.code, done.out, done.err


def block(number: int) -> bytes:
    """Return the block of data of that number."""
    return random.Random(number).randbytes(BLOCK)  # noqa: S311 (it shall be the same each time)


def write(device: str, offset: int, number: int) -> None:
    """Write a block to the device, and have it flushed."""
    write_device(device, block(number), offset)


def wrong(device: str, blocks: list[tuple[int, int]]) -> list[int]:
    """Return the offsets at which the device has something else than these blocks."""
    return [offset for offset, number in blocks if read_device(device, BLOCK, offset) != block(number)]


def snapshot(name: str) -> None:
    """Take a snapshot, as another tool would."""
    run("zfs", "snapshot", name)


def look() -> dict[str, Any]:
    """Return what is there of zfsext's: datasets and snapshots with their guids, loop devices, mounts."""
    listed = run("zfs", "list", "-Hpr", "-t", "all", "-o", "name,guid", "zfs/vm", "zfs/vm-standby")
    return {
        "datasets": dict(line.split("\t") for line in listed.splitlines()),
        "loops": [line.split(None, 1) for line in sorted(loops())],
        "mounts": sorted(mounts()),
        "scripts": run("sh", "-c", "ps -eo pid,args | grep '[e]xtstorage/zfsfile' || true").splitlines(),
    }


def size(device: str) -> int:
    """Return a block device's size in bytes."""
    return int(run("blockdev", "--getsize64", device))


def remove(volumes: list[str]) -> None:
    """Remove what an earlier run has left."""
    for volume in volumes:
        Disk(volume).ok("remove")


ORDERS: dict[str, Callable[..., object]] = {
    order.__name__: order
    for order in (
        *(scripts, begin, write, wrong, snapshot, look, size, remove, rehearse, stop_at, finish_after),
        *(points_of, points_in, kill_at, hold_at, held_ended, quickly, before_move),
    )
}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        order, arguments = json.loads(line)
        print(json.dumps(ORDERS[order](*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
