"""What one testbed is called and where it lives: releases, directories, names and addresses.

Two testbeds live side by side when their state directories differ: everything that the kernel
knows by a name (the network namespace) is derived from the state directory.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]

CACHE = Path(os.environ.get("ZFSEXT_TESTBED_CACHE", "/var/cache/zfsext-testbed"))
STATE = Path(os.environ.get("ZFSEXT_TESTBED_STATE", "/var/lib/zfsext-testbed"))

DOMAIN = "example.com"
CLUSTER = f"cluster.{DOMAIN}"
MOST_NODES = 9
MEMORY_MIB = 4096
CPUS = 2

GANETI = {"bookworm": "3.0", "trixie": "3.1"}
"""The Ganeti that each release carries; its packages have the version in their names."""

RELEASES = tuple(GANETI)
RELEASE = os.environ.get("ZFSEXT_TESTBED_RELEASE", RELEASES[0])
"""The release of a testbed for which none is named; so a whole test suite runs on another one."""


class TestbedError(Exception):
    """Something failed; the text says what, and what to do about it."""


def namespace() -> str:
    """The network namespace of the testbed whose state is in STATE."""
    digest = hashlib.sha256(str(STATE.resolve()).encode()).hexdigest()
    return f"zfsext-testbed-{digest[:8]}"


@dataclass(frozen=True)
class Node:
    """One node: its number (from 1), and all that follows from it."""

    number: int

    @property
    def name(self) -> str:
        """What the verbs call it."""
        return f"node{self.number}"

    @property
    def fqdn(self) -> str:
        """What Ganeti calls it."""
        return f"{self.name}.{DOMAIN}"

    @property
    def control_address(self) -> str:
        """Where ssh reaches it, also while it is cut off (see node/etc/systemd/network)."""
        return f"192.168.77.{self.number}"

    @property
    def state(self) -> Path:
        """The directory of its disks, sockets and console."""
        return STATE / self.name

    @property
    def console(self) -> Path:
        """All that it ever printed on its serial console."""
        return self.state / "console"

    def mac(self, card: int) -> str:
        """The hardware address of its card 0 (control) or 1 (cluster)."""
        return f"52:54:00:7a:{card:02x}:{self.number:02x}"


def nodes(count: int) -> list[Node]:
    """The first COUNT nodes."""
    return [Node(number) for number in range(1, count + 1)]


def node_called(name: str) -> Node:
    """The node of that name (``node2`` or ``node2.example.com``); TestbedError if it can be none."""
    short = name.removesuffix(f".{DOMAIN}")
    for node in nodes(MOST_NODES):
        if node.name == short:
            return node
    raise TestbedError(f"{name!r} is no node's name: nodes are called node1, node2, …")
