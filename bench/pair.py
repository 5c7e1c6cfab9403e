"""What the measurements between two nodes share: a VM's disk on node1, the way to node2, data to fill it with."""

import json
import os
import subprocess
from collections.abc import Mapping

HERE, THERE = "node1.example.com", "node2.example.com"
PROVIDER = "/usr/share/ganeti/extstorage/zfsfile"
SSH = [
    *("-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-oGlobalKnownHostsFile=/var/lib/ganeti/known_hosts"),
    *("-oUserKnownHostsFile=/dev/null", "-oHostKeyAlias=cluster.example.com", "-oLogLevel=ERROR"),
]
MIB = 1 << 20
CHUNK = os.urandom(64 * MIB)  # larger than what compression looks at, so that it finds nothing
RECORD = 16 << 10


def run(*command: str, env: Mapping[str, str] | None = None) -> str:
    """Run a command that must succeed and return its output."""
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def there(*command: str) -> str:
    """Run a command on node2."""
    return run("ssh", *SSH, THERE, "--", *command)


def shell(line: str) -> None:
    """Run a pipe, each part of which must succeed."""
    run("bash", "-o", "pipefail", "-c", line)


def versions() -> dict[str, object]:
    """Return what the raw numbers begin with."""
    with open("/sys/module/zfs/version", encoding="ascii") as file:
        return {"zfs": file.read().strip(), "uname": os.uname().release}


def sent() -> int:
    """Return how many bytes node1 has sent so far."""
    with open("/sys/class/net/eth1/statistics/tx_bytes", encoding="ascii") as file:
        return int(file.read())


def add(instance: str, mebibytes: int) -> str:
    """Add a stopped VM with one disk on node1, which stands attached then, and return its volume."""
    where = ("-o", "noop+default", "--no-ip-check", "--no-name-check", "--no-nics", "-B", "memory=32M", "-n", HERE)
    disk = ("-t", "ext", "--disk", f"0:size={mebibytes}M,provider=zfsfile")
    run("gnt-instance", "add", "--no-start", "--no-wait-for-sync", *where, *disk, instance)
    with open("/var/lib/ganeti/config.data", encoding="utf-8") as file:
        config = json.load(file)
    (disks,) = [each["disks"] for each in config["instances"].values() if each["name"] == instance]
    return str(config["disks"][disks[0]]["logical_id"][1])


def script(action: str, volume: str) -> str:
    """Call a script of the provider on node1 as Ganeti does, and return what it says."""
    return run(f"{PROVIDER}/{action}", env=environment(volume))


def script_there(*actions: str, volume: str) -> str:
    """Call scripts of the provider on node2, one after the other, and return what they say."""
    words = [f"{name}={value}" for name, value in environment(volume).items()]
    return there("env", *words, "sh", "-ec", "'" + "; ".join(f"{PROVIDER}/{action}" for action in actions) + "'")


def environment(volume: str) -> dict[str, str]:
    """Return Ganeti's variables, as far as a script of these wants any."""
    path = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin", "LC_ALL": "C"}
    return path | {"VOL_NAME": volume, "EXTP_PROVIDER": "zfsfile", "VOL_OPEN_EXCLUSIVE": "True"}


def fill(path: str, mebibytes: int) -> None:
    """Write so much that cannot be compressed to a device or image, and have it flushed."""
    file = os.open(path, os.O_RDWR)
    for offset in range(0, mebibytes, 64):
        os.pwrite(file, CHUNK[: min(64, mebibytes - offset) * MIB], offset * MIB)
    os.fsync(file)
    os.close(file)


def change(path: str, mebibytes: int, hundredths: int) -> None:
    """Write so many hundredths of a device or image anew, in records all over it, and have it flushed."""
    file = os.open(path, os.O_RDWR)
    records = mebibytes * MIB // RECORD
    for number in range(0, records, 100 // hundredths):
        os.pwrite(file, os.urandom(RECORD), number * RECORD)
    os.fsync(file)
    os.close(file)
