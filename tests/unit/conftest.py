"""A node as the unit tests of the command see it: what ZFS would print, and what the kernel would say."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from zfsext import command, lock, loopdev, mounts, nodes, outcome, pool, zfs
from zfsext import node as node_module
from zfsext.cluster import Cluster, Disk

WEB = "81e8f43a-bb8f-4d09-8477-d35990fc50c3.ext.disk0"
DB = "0c1f5f0e-6f5e-4f6b-9a55-0b9a7d1d5c11.ext.disk0"
MIB = 1 << 20
DEFAULTS = {
    "used": "98304",
    "available": "99999999",
    "referenced": "98304",
    "logicalreferenced": "44032",
    "recordsize": "16384",
    "compression": "lz4",
    "refreservation": "0",
    "refquota": "0",
    "reservation": "0",
    "creation": "1764000000",
    "receive_resume_token": "-",
    "mountpoint": "/zfs/vm",
    "zfsext:state": "-",
    "zfsext:instance": "-",
    "zfsext:size": "-",
    "guid": "4711",
    "written": "0",
    "zfsext:stamp": "-",
    "zfsext:generation": "-",
    "zfsext:peer": "-",
    "zfsext:over": "-",
    "zfsext:knows": "-",
    "zfsext:round": "-",
    "zfsext:rounded": "-",
    "zfsext:promoted": "-",
    "zfsext:replicas": "-",
}
CLUSTER = Cluster(
    "node1.example.com",
    frozenset({"web1.example.com", "db1.example.com"}),
    True,
    {WEB: Disk("web1.example.com", 0, WEB, 64, "node1.example.com")},
)


class Node:
    """The datasets by name with the properties that they have set, the snapshots, the mounts and the loop devices."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[Sequence[str]] = []
        self.datasets: dict[str, dict[str, str]] = {"zfs": {}, "zfs/vm": {}, "zfs/vm-standby": {}}
        self.snapshots: dict[str, tuple[list[str], list[str]]] = {}
        self.guids: dict[str, str] = {}
        self.written: dict[str, int] = {}
        self.bookmarks: list[str] = []
        self.mounts: list[mounts.Mount] = []
        self.loops: list[loopdev.Loop] = []
        self.space = {"zfs": (1000, 500, 500)}
        self.errors = "errors: No known data errors"

    def disk(self, volume: str, place: str = "zfs/vm", state: str = "owner", **properties: str) -> str:
        name = f"{place}/{volume}"
        given = {key.replace("zfsext_", "zfsext:"): value for key, value in properties.items()}
        self.datasets[name] = {"zfsext:state": state, **given}
        return name

    def mount(self, dataset: str, size: int) -> str:
        """Mount the dataset, with an image of so many MiB in it, and return the directory."""
        directory = self.root / dataset.replace("/", "_")
        directory.mkdir()
        (directory / "disk.raw").touch()
        os.truncate(directory / "disk.raw", size * MIB)
        self.mounts.append(mounts.Mount(directory.stat().st_dev, str(directory), "zfs", dataset))
        return str(directory)

    def loop(self, directory: str, path: str = "/dev/loop0", flags: int = 0, other: bool = False) -> None:
        status = os.stat(f"{directory}/disk.raw")
        self.loops.append(loopdev.Loop(path, (status.st_dev, status.st_ino + other), 0, 0, flags))

    def command(self, *arguments: str, program: str = "zfs") -> "subprocess.CompletedProcess[str]":
        self.asked.append((program, *arguments))
        out, err = "", ""
        if program == "zpool" and arguments[0] == "list":
            out = "".join(f"{name}\t" + "\t".join(map(str, self.space[name])) + "\n" for name in arguments[4:])
        elif program == "zpool" and arguments[0] == "get":
            out = "readonly\toff\n"
        elif program == "zpool":
            out = f"  pool: {arguments[1]}\n state: ONLINE\nconfig:\n\n\tzfs ONLINE 0 0 0\n\n{self.errors}\n"
        elif arguments[0] == "list" and "bookmark" in arguments:
            out = "".join(f"{name}\t4711\t1\n" for name in self.bookmarks)
        elif arguments[0] == "list" and "filesystem,volume" in arguments:
            out = "".join(f"{name}\n" for name in self.datasets if name.rpartition("/")[0] == arguments[-1])
        elif arguments[0] == "list":
            out = "".join(
                f"{name}\t{len(holds)}\t{','.join(clones) or '-'}\t{self.guids.get(name, '4711')}\t{number}\t"
                f"{self.written.get(name, 0)}\n"
                for number, (name, (holds, clones)) in enumerate(self.snapshots.items(), 1)
                if "-d" not in arguments or name.startswith(f"{arguments[-1]}@")
            )
        elif "local" in arguments:
            pass  # nobody has set anything
        else:
            properties = arguments[arguments.index("name,property,value,source") + 1]
            for root in arguments[arguments.index(properties) + 1 :]:
                if root not in self.datasets:
                    err += f"cannot open '{root}': dataset does not exist\n"
                for name, local in self.datasets.items():
                    if name == root or ("-r" in arguments and name.startswith(root + "/")):
                        for key in properties.split(","):
                            if key in local or "-s" not in arguments:
                                value, source = local.get(key, DEFAULTS.get(key, "-")), "local" if key in local else "-"
                                out += f"{name}\t{key}\t{value}\t{source}\n"
        return subprocess.CompletedProcess(arguments, 1 if err else 0, out, err)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Return a node with a pool that works and the two parents."""
    made = Node(tmp_path)
    (tmp_path / "kstat/zfs").mkdir(parents=True)
    (tmp_path / "kstat/zfs/state").write_text("ONLINE\n")
    monkeypatch.setattr(pool, "KSTAT", str(tmp_path / "kstat"))
    monkeypatch.setattr(lock, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(command, "run", lambda program, *words: made.command(*words, program=program))
    monkeypatch.setattr(zfs, "holds", lambda name: made.snapshots[name][0])
    monkeypatch.setattr(mounts, "table", lambda: made.mounts)
    monkeypatch.setattr(outcome, "PARENT", str(tmp_path / "lib"))
    monkeypatch.setattr(outcome, "DIRECTORY", str(tmp_path / "lib/outcome"))
    monkeypatch.setattr(loopdev, "standing", lambda: made.loops)
    monkeypatch.setattr(node_module, "findings", lambda _: [])
    return made


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> dict[str, nodes.Node]:
    """Return the other nodes of a cluster of three, of which this one is the master."""
    found = {name: nodes.Node(name, "192.0.2.1") for name in ("node2.example.com", "node3.example.com")}
    monkeypatch.setattr(nodes, "peers", lambda: found)
    monkeypatch.setattr(nodes, "this_node", lambda: "node1.example.com")
    monkeypatch.setattr(nodes, "master", lambda: "node1.example.com")
    monkeypatch.setattr(nodes, "is_candidate", lambda: True)
    return found
