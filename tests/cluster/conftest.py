"""Ganeti itself, on the testbed's nodes, driven from outside; each scenario begins on the clean cluster."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TESTBED = str(Path(__file__).resolve().parents[1] / "testbed/testbed")
ADD = ("--no-ip-check", "--no-name-check", "--no-nics", "--no-wait-for-sync", "-o", "noop+default")
MIB = 1 << 20
PROVIDER = "/usr/share/ganeti/extstorage/zfsfile"
#: The hooks without which Ganeti asks nobody before it stops a VM.
HOOKS = [f"/etc/ganeti/hooks/instance-{verb}-pre.d/zfsext" for verb in ("failover", "migrate")]


class Node:
    """One node of the testbed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fqdn = f"{name}.example.com"

    def call(self, *command: str, data: bytes | None = None) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [TESTBED, "run", self.name, "--", *command],
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    def run(self, *command: str, data: bytes | None = None) -> str:
        """Run a command that must succeed, and return its output."""
        done = self.call(*command, data=data)
        assert done.returncode == 0, f"{self.name}: {' '.join(command)}: {done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def refused(self, *command: str) -> str:
        """Run a command that must fail, and return all that it said."""
        done = self.call(*command)
        assert done.returncode != 0, (
            f"{self.name}: {' '.join(command)} should have failed: {done.stdout}\n{done.stderr}"
        )
        return done.stdout + done.stderr

    def begin(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start a command, with all that it says on its stdout, and do not wait for it."""
        return subprocess.Popen(
            [TESTBED, "run", self.name, "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def script(self, action: str, volume: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Call a script of the provider, as the node daemon does."""
        words = {"VOL_NAME": volume, "EXTP_PROVIDER": "zfsfile", "EXTP_ACCESS": "kernelspace", **variables}
        return self.call("env", *(f"{name}={text}" for name, text in words.items()), f"{PROVIDER}/{action}")

    @contextmanager
    def holding(self, device: str) -> Iterator[None]:
        """Let a process have the device open, as a VM has it (the fake hypervisor opens none)."""
        with self.begin("sh", "-c", 'exec 9<>"$1" && echo held && read -r _', "sh", device) as holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            yield
            holder.stdin.close()

    def sent(self) -> int:
        """Return how many bytes the node has sent to others so far."""
        return int(self.run("cat", "/sys/class/net/eth1/statistics/tx_bytes"))

    def local(self, dataset: str) -> dict[str, str]:
        """Return the properties that were set on just this dataset."""
        lines = self.run("zfs", "get", "-Hp", "-s", "local", "-o", "property,value", "all", dataset).splitlines()
        return dict(line.split("\t") for line in lines)

    def guids(self, *roots: str) -> dict[str, str]:
        """Return the datasets and snapshots below these (or of the whole pool), with their guids."""
        listed = self.run("zfs", "list", "-Hpr", "-t", "filesystem,snapshot", "-o", "name,guid", *(roots or ("zfs",)))
        return dict(line.split("\t") for line in listed.splitlines())

    def holds(self, snapshot: str) -> set[str]:
        """Return the tags of a snapshot's holds."""
        return {line.split("\t")[1] for line in self.run("zfs", "holds", "-H", snapshot).splitlines()}

    def kept(self, snapshot: str, mebibytes: int) -> str:
        """Return the checksum of the image in a snapshot, which changes nothing of its dataset."""
        place = "/run/looked-at"
        self.run("mkdir", "-p", place)
        self.run("mount", "-t", "zfs", snapshot, place)
        found = self.checksum(f"{place}/disk.raw", mebibytes)
        self.run("umount", place)
        return found

    def left(self) -> dict[str, list[str]]:
        """Return everything that disks are made of on this node."""
        return {
            "datasets": self.run("zfs", "list", "-Hr", "-t", "all", "-o", "name", "zfs").splitlines(),
            "loops": self.run("losetup", "--noheadings", "--list", "--output", "BACK-FILE").splitlines(),
            "mounts": self.run("findmnt", "-rn", "-t", "zfs", "-o", "SOURCE").splitlines()
            if self.call("findmnt", "-rn", "-t", "zfs").returncode == 0
            else [],
            "notes": self.run("sh", "-c", "ls /run/zfsext 2>/dev/null | grep attached || true").splitlines(),
            "directories": self.run("find", "/zfs", "-mindepth", "2", "-maxdepth", "2").splitlines(),
        }

    def volumes(self) -> set[str]:
        """Return the live disks of this node."""
        listed = self.run("zfs", "list", "-Hr", "-d", "1", "-t", "filesystem", "-o", "name", "zfs/vm").splitlines()
        return {name.rpartition("/")[2] for name in listed if name != "zfs/vm"}

    def loops(self) -> dict[str, str]:
        """Return each volume that has a loop device, and the device."""
        listed = self.run("losetup", "--noheadings", "--list", "--output", "NAME,BACK-FILE").splitlines()
        return {line.split()[1].split("/")[-2]: line.split()[0] for line in listed if line.endswith("/disk.raw")}

    def fill(self, device: str, seed: int, mebibytes: int, offset: int = 0) -> str:
        """Write MiB of random data that depend on the seed, flushed, and return their checksum."""
        script = (
            "import hashlib,os,random,sys\n"
            "device,seed,count,offset=sys.argv[1],*map(int,sys.argv[2:])\n"
            "data=random.Random(seed).randbytes(count<<20)\n"
            "file=os.open(device,os.O_RDWR)\n"
            "os.pwrite(file,data,offset<<20)\n"
            "os.fsync(file)\n"
            "print(hashlib.sha256(data).hexdigest())\n"
        )
        return self.run("python3", "-c", script, device, str(seed), str(mebibytes), str(offset))

    def checksum(self, path: str, mebibytes: int, offset: int = 0) -> str:
        """Return the checksum of so many MiB of a device or file."""
        command = f"dd if={path} bs=1M skip={offset} count={mebibytes} status=none | sha256sum"
        return self.run("sh", "-c", command).split()[0]


class Cluster:
    """The cluster, as an administrator on its master sees it."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.master = nodes[0]

    def gnt(self, *command: str) -> str:
        """Run gnt-instance and its like, which must succeed."""
        return self.master.run(*command)

    def add(self, instance: str, *options: str, node: Node | None = None, start: bool = False) -> str:
        where = (node or self.master).fqdn
        first = () if start else ("--no-start",)
        memory = () if any(option.startswith("-B") for option in options) else ("-B", "memory=32M")
        return self.gnt("gnt-instance", "add", *ADD, *first, *memory, *options, "-n", where, instance)

    def disks(self, instance: str) -> list[dict[str, object]]:
        """Return the instance's disks as Ganeti's configuration has them."""
        config = json.loads(self.master.run("cat", "/var/lib/ganeti/config.data"))
        uuids = next(each["disks"] for each in config["instances"].values() if each["name"] == instance)
        return [config["disks"][uuid] for uuid in uuids]

    def volume(self, instance: str, index: int = 0) -> str:
        """Return the VOL_NAME of one of the instance's disks."""
        identity = self.disks(instance)[index]["logical_id"]
        assert isinstance(identity, list)
        return str(identity[1])

    def primary(self, instance: str) -> str:
        return self.gnt("gnt-instance", "list", "--no-headers", "-o", "pnode", instance).partition(".")[0]

    def status(self, instance: str) -> str:
        return self.gnt("gnt-instance", "list", "--no-headers", "-o", "status", instance)


def bed(*arguments: str) -> None:
    subprocess.run([TESTBED, *arguments], check=True)


@pytest.fixture(scope="session")
def up() -> None:
    bed("up")


@pytest.fixture
def cluster(up: None) -> Cluster:  # noqa: ARG001
    """Give the clean cluster of two nodes."""
    bed("reset")
    return Cluster([Node("node1"), Node("node2")])


@pytest.fixture
def nothing_left(cluster: Cluster) -> Callable[[], None]:
    """Give a check that every node is as it was at the beginning."""
    before = [node.left() for node in cluster.nodes]

    def check() -> None:
        assert [node.left() for node in cluster.nodes] == before

    return check
