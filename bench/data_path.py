"""Measures the data path on a node with ZFS and fio: loop device, zvol and the file itself; prints raw numbers as JSON.

For each recordsize the same job runs on the three in turn. The file itself is what QEMU would open by path. Written
bytes are those that reached the pool's disk, so they tell how much a small write costs. All jobs use O_DIRECT, as
QEMU does with cache=none.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SIZE = "768M"
DISK = "vdb"  # the pool's
SECONDS = 6
DIRECT = "/sys/module/zfs/properties.dataset/direct"  # of ZFS 2.3 and later

JOBS = {
    "sequential write 1M": ["--rw=write", "--bs=1M", "--iodepth=4"],
    "sequential read 1M": ["--rw=read", "--bs=1M", "--iodepth=4"],
    "random read 4K, depth 1": ["--rw=randread", "--bs=4k", "--iodepth=1"],
    "random read 16K, depth 16": ["--rw=randread", "--bs=16k", "--iodepth=16"],
    "random write 4K, depth 1": ["--rw=randwrite", "--bs=4k", "--iodepth=1"],
    "random write 16K, depth 16": ["--rw=randwrite", "--bs=16k", "--iodepth=16"],
    "random write 4K, each flushed": ["--rw=randwrite", "--bs=4k", "--iodepth=1", "--fsync=1"],
}


def run(*command: str) -> str:
    """Run a command that must succeed and return its output."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def written() -> int:
    """Return the bytes that were written to the pool's disk so far."""
    with open(f"/sys/block/{DISK}/stat", encoding="ascii") as file:
        return int(file.read().split()[6]) * 512


@contextmanager
def target(kind: str, recordsize: str) -> Iterator[str]:
    """Give a path to write to, of one kind."""
    name = "zfs/bench"
    if kind == "zvol":
        run("zfs", "create", "-s", "-o", f"volblocksize={recordsize}", "-o", "compression=lz4", "-V", SIZE, name)
        run("udevadm", "settle")
        yield f"/dev/zvol/{name}"
    else:
        options = [f"recordsize={recordsize}", "compression=lz4", "atime=off"]
        if os.path.exists(DIRECT):
            options.append("direct=disabled")  # as zfsext's disks have
        run("zfs", "create", *(word for option in options for word in ("-o", option)), name)
        image = f"/{name}/disk.raw"
        run("truncate", "-s", SIZE, image)
        if kind == "file":
            yield image
        else:
            device = run("losetup", "--find", "--show", image)
            yield device
            run("losetup", "-d", device)
    run("sync")
    run("zfs", "destroy", name)


def fio(path: str, options: list[str]) -> dict[str, float]:
    """Run one job on the path and return what it did, and what that cost the pool's disk."""
    command = ["fio", "--name=job", f"--filename={path}", "--direct=1", "--ioengine=libaio", "--randseed=1", *options]
    command += [f"--size={SIZE}", "--output-format=json", "--refill_buffers", "--buffer_compress_percentage=30"]
    if options[0] != "--rw=write":
        command += [f"--runtime={SECONDS}", "--time_based"]
    before = written()
    job = json.loads(run(*command))["jobs"][0]
    run("zpool", "sync", "zfs")
    side = job["read" if "read" in options[0] else "write"]
    result = {"iops": side["iops"], "bytes": side["io_bytes"], "pool bytes": written() - before}
    return result | {"p99 ms": side["clat_ns"].get("percentile", {}).get("99.000000", 0) / 1e6}


def main() -> None:
    """Measure everything and print it."""
    with open("/sys/module/zfs/version", encoding="ascii") as file:
        raw: dict[str, object] = {"zfs": file.read().strip(), "uname": os.uname().release}
    for recordsize in ("16K", "64K", "128K"):
        for kind in ("loop", "zvol", "file"):
            sys.stderr.write(f"{recordsize} {kind}\n")
            with target(kind, recordsize) as path:
                raw[f"{recordsize} {kind}"] = {name: fio(path, options) for name, options in JOBS.items()}
    json.dump(raw, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
