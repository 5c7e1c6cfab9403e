"""Measures a round of replication beside syncoid and a pipe by hand, from node1 to node2; prints raw numbers as JSON.

Three disks with as much data, replicated in turn by `zfsext replicate`, by syncoid, and by zfs send, ssh and zfs
receive. A round is a first copy, one per cent changed, or nothing changed. Arguments: MiB of data, and how often.
"""

import json
import sys
import time
from collections.abc import Callable

from pair import SSH, THERE, add, change, fill, run, sent, shell, there, versions

INSTANCE = "bench1.example.com"
SYNCOID, HAND = "zfs/bench-syncoid", "zfs/bench-hand"
OPTIONS = " ".join(SSH)


class Rounds:
    """The three disks, and how each is replicated."""

    def __init__(self, mebibytes: int) -> None:
        self.mebibytes = mebibytes
        self.volume = add(INSTANCE, mebibytes)
        self.number = 0
        for name in (SYNCOID, HAND):
            run("zfs", "create", "-o", "recordsize=16K", "-o", "compression=lz4", "-o", "atime=off", name)
            run("truncate", "-s", f"{mebibytes}M", f"/{name}/disk.raw")
        for image in self.images():
            fill(image, mebibytes)

    def images(self) -> list[str]:
        """Return what is written to, of each disk."""
        return [f"/zfs/vm/{self.volume}/disk.raw", f"/{SYNCOID}/disk.raw", f"/{HAND}/disk.raw"]

    def zfsext(self) -> None:
        """Let zfsext replicate."""
        run("zfsext", "replicate", INSTANCE, "--to", THERE, "--quiet")

    def syncoid(self) -> None:
        """Let syncoid replicate: as zfsext does, without compression on the way."""
        ssh = [word.replace("-o", "--sshoption=", 1) for word in SSH]
        run("syncoid", "--quiet", "--compress=none", "--recvoptions=u", *ssh, SYNCOID, f"root@{THERE}:{SYNCOID}")

    def by_hand(self) -> None:
        """Replicate with the obvious pipe."""
        self.number += 1
        run("zfs", "snapshot", f"{HAND}@{self.number}")
        base = f"-i @{self.number - 1} " if self.number > 1 else ""
        shell(f"zfs send {base}{HAND}@{self.number} | ssh {OPTIONS} {THERE} zfs receive -u {HAND}")

    def forget(self) -> None:
        """Have no copies on node2, so that the next round is a first one."""
        run("zfsext", "forget", INSTANCE, "--on", THERE)
        for name in (SYNCOID, HAND):
            there("zfs", "destroy", "-r", name)
            shell(f"zfs list -Ho name -t snapshot -d 1 {name} | xargs -rn1 zfs destroy")
        self.number = 0


def measured(replicate: Callable[[], None]) -> dict[str, float]:
    """Return how long a round takes, and how many bytes it sends."""
    before, began = sent(), time.perf_counter()
    replicate()
    return {"seconds": time.perf_counter() - began, "bytes": sent() - before}


def main() -> None:
    """Measure everything and print it."""
    mebibytes = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    rounds = Rounds(mebibytes)
    sides = {"zfsext": rounds.zfsext, "syncoid": rounds.syncoid, "by hand": rounds.by_hand}
    raw: dict[str, dict[str, list[dict[str, float]]]] = {}
    for kind in ("first copy", "1 % changed", "nothing changed"):
        raw[kind] = {side: [] for side in sides}
        for number in range(times):
            if kind == "1 % changed":
                for image in rounds.images():
                    change(image, mebibytes, 1)
            run("zpool", "sync", "zfs")
            for side, replicate in sides.items():
                sys.stderr.write(f"{kind} {number + 1}: {side}\n")
                raw[kind][side].append(measured(replicate))
            if kind == "first copy" and number + 1 < times:
                rounds.forget()
    json.dump({**versions(), "MiB": mebibytes, "rounds": raw}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
