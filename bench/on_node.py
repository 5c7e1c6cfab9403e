"""Measures the scripts beside the obvious shell scripts, on a node with ZFS; prints all raw numbers as JSON.

Both sides do the same step in turn, so the machine's mood is the same for both. Seconds are of whole processes. Process
starts and system calls are counted by strace in a run of their own; transaction waits are ZFS's transaction
groups that passed while a step ran on an idle pool.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

OURS = "/usr/share/ganeti/extstorage/zfsfile"
PLAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plain")
TXGS = "/proc/spl/kstat/zfs/zfs/txgs"
BASE = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}

#: A disk's life: each step's name, script, and variables. A cold attach has to mount; a warm one has nothing to do.
STEPS: list[tuple[str, str, dict[str, str]]] = [
    ("create", "create", {"VOL_SIZE": "64"}),
    ("attach cold", "attach", {}),
    ("attach warm", "attach", {}),
    ("open warm", "open", {"VOL_OPEN_EXCLUSIVE": "True"}),
    ("setinfo", "setinfo", {"VOL_METADATA": "originstname+web1"}),
    ("grow", "grow", {"VOL_SIZE": "64", "VOL_NEW_SIZE": "128"}),
    ("snapshot", "snapshot", {"VOL_SNAPSHOT_NAME": "NAME.snap", "VOL_SNAPSHOT_SIZE": "64"}),
    ("remove export", "remove", {"VOL_NAME": "NAME.snap"}),
    ("detach", "detach", {}),
    ("remove", "remove", {}),
]


def environment(name: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Return what Ganeti would say for a step on the volume of this name."""
    return BASE | {key: value.replace("NAME", name) for key, value in ({"VOL_NAME": name} | dict(variables)).items()}


def txg() -> int:
    """Return the number of the pool's newest transaction group."""
    with open(TXGS, encoding="ascii") as file:
        return int(file.read().splitlines()[-1].split()[0])


def seconds(command: list[str], env: dict[str, str]) -> float:
    """Return how long the whole process takes."""
    began = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def counted(command: list[str], env: dict[str, str]) -> dict[str, int]:
    """Return how many processes and system calls the command takes, and how many transaction groups pass."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as trace:
        before = txg()
        tracer = ["strace", "-f", "-qq", "-o", trace.name, "-e", "signal=none"]
        subprocess.run([*tracer, *command], env=env, check=True, stdout=subprocess.DEVNULL)
        lines = trace.read().splitlines()
        pids = {line.split(None, 1)[0] for line in lines}
        execs = sum("execve" in line and line.endswith("= 0") for line in lines)  # also "<... execve resumed>"
        calls = sum("resumed>" not in line for line in lines)
        return {"processes": len(pids), "execs": execs, "calls": calls, "txgs": txg() - before}


def peak(command: list[str], env: dict[str, str]) -> int:
    """Return the largest resident size of the command's processes, in KiB."""
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    _, status, usage = os.wait4(os.posix_spawn(command[0], command, env, file_actions=silent), 0)
    if status:
        raise SystemExit(f"{command[0]} failed")
    return usage.ru_maxrss


def life(scripts: str, name: str, counting: bool) -> dict[str, object]:
    """Take a volume through all steps and return what each took."""
    found: dict[str, object] = {}
    for step, script, variables in STEPS:
        path = f"{scripts}/{script}"
        env = environment(name, variables)
        if not os.path.exists(path):
            continue  # the plain side has no such step
        if scripts == PLAIN and step == "remove export":
            subprocess.run(["zfs", "destroy", f"zfs/vm-standby/{name}.snap"], check=True)
            subprocess.run(["zfs", "destroy", f"zfs/vm/{name}@export"], check=True)
            continue
        if step == "attach cold":
            subprocess.run(["zfs", "unmount", f"zfs/vm/{name}"], check=False, stderr=subprocess.DEVNULL)
        found[step] = counted([path], env) if counting else seconds([path], env)
    return found


def main() -> None:
    """Measure everything and print it."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    raw: dict[str, object] = {"uname": os.uname().release}
    with open("/sys/module/zfs/version", encoding="ascii") as file:
        raw["zfs"] = file.read().strip()
    raw["counts"] = {"zfsext": life(OURS, "bench-count", True), "plain": life(PLAIN, "bench-plain", True)}
    raw["seconds"] = {"zfsext": [], "plain": [], "python": []}
    for number in range(rounds):
        raw["seconds"]["zfsext"].append(life(OURS, f"bench-{number}", False))  # type: ignore[index]
        raw["seconds"]["plain"].append(life(PLAIN, f"plain-{number}", False))  # type: ignore[index]
        python = ["/usr/bin/python3", "-I", "-S", "-c", "pass"]
        library = ["/usr/bin/python3", "-I", "-c", "import libzfs_core"]
        raw["seconds"]["python"].append({"start": seconds(python, BASE), "pyzfs": seconds(library, BASE)})  # type: ignore[index]
    raw["memory KiB"] = {
        step: peak([f"{OURS}/{script}"], environment("bench-memory", variables)) for step, script, variables in STEPS
    }
    json.dump(raw, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
