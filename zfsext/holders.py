"""Who holds a block device or a dataset: processes by pid and command, device-mapper devices, mounts.

Asked only to name the holder in an error. What is in use is decided by the kernel alone.
"""

import os
from collections.abc import Callable, Iterator

from zfsext import mounts

SYSFS = "/sys/block"


def of_device(path: str) -> list[str]:
    """Return who has the block device at path, or a partition of it, in use."""
    name = os.path.basename(path)
    found = [f"pid {pid} ({_command(pid)})" for pid in _processes_with(lambda target: target == path)]
    for directory in [f"{SYSFS}/{name}", *_partitions(name)]:
        found += [
            f"{holder} ({_read(f'{SYSFS}/{holder}/dm/name') or 'block device'})"
            for holder in _entries(f"{directory}/holders")
        ]
    number = os.stat(path).st_rdev
    found += [f"a mount on {mount.directory}" for mount in mounts.table() if mount.device == number]
    found += [
        f"/dev/{other}"
        for other in _entries(SYSFS)
        if other.startswith("loop") and _read(f"{SYSFS}/{other}/loop/backing_file") == path
    ]
    return found


def of_dataset(dataset: str) -> list[str]:
    """Return who keeps the dataset mounted: open files and working directories in it, other mount namespaces."""
    directories = [mount.directory for mount in mounts.of([dataset])]

    def inside(target: str) -> bool:
        return any(target == directory or target.startswith(directory + "/") for directory in directories)

    found = [f"pid {pid} ({_command(pid)})" for pid in _processes_with(inside)]
    found += [
        f"/dev/{loop}"
        for loop in _entries(SYSFS)
        if loop.startswith("loop") and inside(_read(f"{SYSFS}/{loop}/loop/backing_file"))
    ]
    return found + in_namespaces(dataset)


def in_namespaces(dataset: str) -> list[str]:
    """Return who keeps the dataset mounted in a mount namespace other than ours; one process for each."""
    found = []
    seen = {os.readlink("/proc/self/ns/mnt")}
    for pid in _pids():
        try:
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace not in seen:
                seen.add(namespace)
                if any(mount.source == dataset for mount in mounts.table(pid)):
                    found.append(f"the mount namespace of pid {pid} ({_command(pid)})")
        except OSError:  # the process ended while we looked
            continue
    return found


def _processes_with(wanted: Callable[[str], bool]) -> Iterator[str]:
    for pid in _pids():
        if pid == str(os.getpid()):
            continue
        links = [f"/proc/{pid}/cwd", f"/proc/{pid}/root"]
        links += [f"/proc/{pid}/fd/{number}" for number in _entries(f"/proc/{pid}/fd")]
        for link in links:
            try:
                if wanted(os.readlink(link)):
                    yield pid
                    break
            except OSError:  # the process ended, or closed the file, while we looked
                continue


def _pids() -> list[str]:
    return [entry for entry in os.listdir("/proc") if entry.isdecimal()]


def _partitions(name: str) -> list[str]:
    return [f"{SYSFS}/{name}/{entry}" for entry in _entries(f"{SYSFS}/{name}") if entry.startswith(f"{name}p")]


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:  # gone while we looked
        return []


def _command(pid: str) -> str:
    return _read(f"/proc/{pid}/comm") or "ended"


def _read(path: str) -> str:
    try:
        with open(path, errors="surrogateescape") as file:
            return file.read().strip()
    except OSError:
        return ""
