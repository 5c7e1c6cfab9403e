"""The scripts, called as Ganeti's node daemon calls them, and an oracle that nothing is left behind.

These tests run on a node of the testbed (tests/zfs/on-node): real ZFS, real loop devices, the installed package.
"""

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

PROVIDER = "/usr/share/ganeti/extstorage/zfsfile"
PARENT = "zfs/vm"
STANDBY = "zfs/vm-standby"
RUN = "/run/zfsext"
CONFIG = Path("/etc/zfsext.conf")
#: What Debian's init script leaves the node daemon with, and so its scripts (lib/utils/process.py).
ENVIRONMENT = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin", "LC_ALL": "C"}
MIB = 1 << 20

numbers = itertools.count(1)


class Done:
    """How a script ended, and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def __repr__(self) -> str:
        return f"exit {self.code}, stdout {self.out!r}, stderr {self.err!r}"


def command(action: str, volume: str, variables: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return a script's path and the environment that the node daemon gives it."""
    if action == "rollback":  # which is none of Ganeti's
        return str(Path(__file__).with_name("rollback")), {**ENVIRONMENT, "VOL_NAME": volume, **variables}
    ganetis = {"VOL_NAME": volume, "EXTP_PROVIDER": "zfsfile", "EXTP_ACCESS": "kernelspace"}
    return f"{PROVIDER}/{action}", {**ENVIRONMENT, **ganetis, **variables}


def start(action: str, volume: str, variables: Mapping[str, str]) -> "subprocess.Popen[str]":
    """Start a script the way noded does: own directory, umask 077, no input, nothing inherited."""
    script, environ = command(action, volume, variables)
    reader, writer = os.pipe()
    os.close(writer)
    with os.fdopen(reader) as nothing:
        return subprocess.Popen(
            [script],
            cwd=PROVIDER,
            env=environ,
            stdin=nothing,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            umask=0o077,
        )


def finish(script: "subprocess.Popen[str]", timeout: float = 300) -> Done:
    out, err = script.communicate(timeout=timeout)
    return Done(script.returncode, out, err)


def run(*command: str, check: bool = True) -> str:
    """Run a command of the node and return its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


class Disk:
    """One volume, and the scripts on it."""

    def __init__(self, name: str, size: int = 64) -> None:
        self.name = name
        self.size = size
        self.dataset = f"{PARENT}/{name}"
        self.directory = f"/{self.dataset}"
        self.image = Path(f"{self.directory}/disk.raw")

    def call(self, action: str, **variables: str) -> Done:
        return finish(start(action, self.name, variables))

    def ok(self, action: str, **variables: str) -> str:
        done = self.call(action, **variables)
        assert done.code == 0, f"{action} {self.name}: {done}"
        return done.out

    def refused(self, action: str, **variables: str) -> str:
        done = self.call(action, **variables)
        assert (done.code, done.out) == (1, ""), f"{action} {self.name}: {done}"
        assert done.err
        return done.err

    def create(self, **parameters: str) -> "Disk":
        self.ok(
            "create", VOL_SIZE=str(self.size), **{f"EXTP_{name.upper()}": text for name, text in parameters.items()}
        )
        return self

    def attach(self) -> str:
        out = self.ok("attach")
        assert out.endswith("\n")
        assert "\n" not in out[:-1]
        return out[:-1]

    def grow(self, new_size: int) -> str:
        return self.ok("grow", VOL_SIZE=str(self.size), VOL_NEW_SIZE=str(new_size))

    def snapshot(self) -> "Disk":
        name = f"{self.name}.snap"
        self.ok("snapshot", VOL_SNAPSHOT_NAME=name, VOL_SNAPSHOT_SIZE=str(self.size))
        export = Disk(name, self.size)
        export.dataset = f"{STANDBY}/{name}"
        return export

    def property(self, name: str, column: str = "value") -> str:
        return run("zfs", "get", "-Hp", "-o", column, name, self.dataset)

    def exists(self) -> bool:
        return self.dataset in datasets()


def datasets(*roots: str) -> set[str]:
    """Return all that is below the parents: datasets, snapshots, bookmarks."""
    return set(run("zfs", "list", "-Hr", "-t", "all", "-o", "name", *(roots or (PARENT, STANDBY))).splitlines())


def loops() -> set[str]:
    """Return the loop devices that stand, with their files."""
    return set(run("losetup", "--noheadings", "--list", "--output", "NAME,BACK-FILE").splitlines())


def mounts() -> set[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return {line.split(" - ")[1].split()[1] for line in lines if " - zfs " in line}


def left() -> dict[str, set[str]]:
    """Return everything that a disk is made of, on this node."""
    notes = set(os.listdir(RUN)) if os.path.isdir(RUN) else set()
    directories = {entry for root in (PARENT, STANDBY) if os.path.isdir(f"/{root}") for entry in os.listdir(f"/{root}")}
    return {"datasets": datasets(), "loops": loops(), "mounts": mounts(), "notes": notes, "directories": directories}


@pytest.fixture
def before() -> dict[str, set[str]]:
    return left()


@pytest.fixture
def disks(before: dict[str, set[str]]) -> Iterator[Callable[..., Disk]]:
    """Give fresh volumes; at the end all are removed by the script, and nothing of them may be left."""
    made: list[Disk] = []

    def disk(size: int = 64) -> Disk:
        made.append(Disk(f"00000000-0000-4000-8000-{next(numbers):012d}.ext.disk0", size))
        return made[-1]

    yield disk
    for volume in made:
        volume.ok("remove")
    assert left() == before


@pytest.fixture
def disk(disks: Callable[..., Disk]) -> Disk:
    """Give one fresh disk of 64 MiB, made."""
    volume: Disk = disks()
    return volume.create()


@pytest.fixture
def configured() -> Iterator[Callable[[str], None]]:
    """Let a test write the configuration."""
    text = CONFIG.read_bytes()

    def write(new: str) -> None:
        CONFIG.write_text(new, encoding="utf-8")

    yield write
    CONFIG.write_bytes(text)


def write_device(device: str, data: bytes, offset: int = 0) -> None:
    """Write to a block device and have it flushed."""
    with open(device, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), data, offset)
        os.fsync(file.fileno())


def read_device(device: str, size: int, offset: int = 0) -> bytes:
    with open(device, "rb", buffering=0) as file:
        return os.pread(file.fileno(), size, offset)


def together(scripts: Sequence["subprocess.Popen[str]"]) -> list[Done]:
    return [finish(script) for script in scripts]
