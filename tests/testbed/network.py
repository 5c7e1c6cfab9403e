"""The wires: a network namespace with one bridge for the cluster and one for control, and two taps a node.

The namespace has no way out and no name or address that the machine itself could see. A node that is cut off
loses its tap's place on the cluster's bridge: its carrier stays up, its packets go nowhere, and the control
bridge carries ssh as before.
"""

from __future__ import annotations

import json
from pathlib import Path

from progress import command
from settings import Node, namespace

CONTROL, CLUSTER = "control", "cluster"
HERE_ADDRESS = "192.168.77.254/24"


def tap(node: Node, bridge: str) -> str:
    """The name of NODE's tap that belongs on that bridge."""
    return f"{node.name}-{bridge}"


def entered(*argv: str | Path) -> list[str]:
    """ARGV, run inside the namespace; the process that it starts keeps the pid."""
    return ["nsenter", f"--net=/run/netns/{namespace()}", "--", *(str(word) for word in argv)]


def exists() -> bool:
    """Whether the namespace is there."""
    return Path(f"/run/netns/{namespace()}").exists()


def _ip(*words: str) -> str:
    return command(["ip", "-n", namespace(), *words])


def build(nodes: list[Node]) -> None:
    """Make the namespace, the bridges, and the taps of NODES, each in its place; what is there is kept."""
    if not exists():
        command(["ip", "netns", "add", namespace()])
        command(entered("sysctl", "-q", "-w", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.disable_ipv6=1",
                        "net.ipv6.conf.default.disable_ipv6=1"))
        _ip("link", "set", "lo", "up")
        for bridge in (CONTROL, CLUSTER):
            _ip("link", "add", bridge, "type", "bridge", "forward_delay", "0", "stp_state", "0",
                "mcast_snooping", "0")
            _ip("link", "set", bridge, "up")
        _ip("address", "add", HERE_ADDRESS, "dev", CONTROL)
    there = {link["ifname"] for link in json.loads(_ip("-j", "link", "show"))}
    for node in nodes:
        for bridge in (CONTROL, CLUSTER):
            if tap(node, bridge) not in there:
                _ip("tuntap", "add", tap(node, bridge), "mode", "tap")
            _ip("link", "set", tap(node, bridge), "master", bridge, "up")


def cut(node: Node) -> None:
    """Take NODE off the cluster's bridge: packets are dropped in silence, the carrier stays."""
    _ip("link", "set", tap(node, CLUSTER), "nomaster")


def heal(node: Node) -> None:
    """Put NODE back on the cluster's bridge."""
    _ip("link", "set", tap(node, CLUSTER), "master", CLUSTER)


def is_joined(node: Node) -> bool:
    """Whether NODE is on the cluster's bridge."""
    (link,) = json.loads(_ip("-j", "link", "show", tap(node, CLUSTER)))
    return bool(link.get("master") == CLUSTER)


def remove() -> None:
    """Take all of it away."""
    if exists():
        command(["ip", "netns", "delete", namespace()])
