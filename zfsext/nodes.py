"""The nodes of the cluster, read from the ssconf files that Ganeti keeps on each of them, and the way to reach one.

The master sends these files when something in them changes, and to nodes that are not marked offline alone: what is
read here may be old. Nothing that needs to be certain (that a node is offline, say) is decided by it.
"""

import os
import socket
from typing import NamedTuple

from zfsext.errors import Refused, SystemRefused

DATA = "/var/lib/ganeti"
ADDRESSES = "ssconf_node_primary_ips"
#: Ganeti gives all nodes one host key, known by the cluster's name (lib/ssh.py: SshRunner._BuildSshOptions).
SSH_OPTIONS = (
    "-oBatchMode=yes",
    "-oGlobalKnownHostsFile={data}/known_hosts",
    "-oUserKnownHostsFile=/dev/null",
    "-oHostKeyAlias={cluster}",
    "-oStrictHostKeyChecking=yes",
    "-oConnectTimeout=10",
    "-oServerAliveInterval=10",
    "-oServerAliveCountMax=3",
    "-oPort={port}",
)


class Node(NamedTuple):
    """A node by its name: the address for bulk data, the port of its sshd, and what Ganeti has made of it.

    candidate: a master candidate, which has config.data, and whose root may log in on every other node.
    """

    name: str
    address: str
    port: int = 22
    offline: bool = False
    candidate: bool = False


def in_cluster(data: str = DATA) -> bool:
    """Tell whether Ganeti has made this machine a node of a cluster."""
    return os.path.exists(f"{data}/{ADDRESSES}")


def this_node(data: str = DATA) -> str:
    """Return the name of this node. Raises SystemRefused if Ganeti's list has none, or several, with its address."""
    addresses = _pairs(data, ADDRESSES)
    names = [name for name, address in addresses.items() if _is_ours(address)]
    if len(names) > 1:  # net.ipv4.ip_nonlocal_bind=1 lets each address be bound
        names = [name for name in names if _label(name) == _label(socket.gethostname())]
    if len(names) != 1:
        raise SystemRefused(f"{data}/{ADDRESSES} has {' and '.join(names) or 'no node'} with an address of this one")
    return names[0]


def is_this_node(name: str, data: str = DATA) -> bool:
    """Tell whether the node of this name is this one: its address, as Ganeti knows it, is one of ours."""
    addresses = _pairs(data, ADDRESSES)
    if name not in addresses:
        raise Refused(f"Ganeti's list of nodes has no {name or 'target'} ({data}/{ADDRESSES})")
    return _is_ours(addresses[name])


def peers(data: str = DATA) -> dict[str, Node]:
    """Return the other nodes of the cluster by their names; none, if this node is in no cluster.

    The address is the secondary one if there is one. Raises SystemRefused if the files are not what they should be.
    """
    if not in_cluster(data):
        return {}
    here = this_node(data)
    primary, secondary = _pairs(data, ADDRESSES), _pairs(data, "ssconf_node_secondary_ips")
    ports = _pairs(data, "ssconf_ssh_ports", "=")
    offline, candidates = _words(data, "ssconf_offline_nodes"), _words(data, "ssconf_master_candidates")
    found = {}
    for name in _words(data, "ssconf_node_list"):
        if name != here:
            address = secondary.get(name) or primary.get(name, "")
            port = ports.get(name, "")
            if not address or not port.isdecimal():
                raise SystemRefused(f"Ganeti's ssconf files in {data} have no address or no port of {name}")
            found[name] = Node(name, address, int(port), name in offline, name in candidates)
    return found


def master(data: str = DATA) -> str:
    """Return the name of the master node, as this node was told last."""
    return _word(data, "ssconf_master_node")


def is_candidate(data: str = DATA) -> bool:
    """Tell whether this node is a master candidate, and so may log in on the others."""
    return this_node(data) in _words(data, "ssconf_master_candidates")


def ssh_command(node: Node, data: str = DATA) -> list[str]:
    """Return the command, without the one to run there, that logs in on the node as root as Ganeti itself does."""
    values = {"data": data, "cluster": _word(data, "ssconf_cluster_name"), "port": str(node.port)}
    return ["ssh", *(option.format(**values) for option in SSH_OPTIONS), f"root@{node.address}"]


def _word(data: str, name: str) -> str:
    words = _words(data, name)
    if len(words) != 1:
        raise SystemRefused(f"{data}/{name} is not what Ganeti writes: one name")
    return words[0]


def _words(data: str, name: str) -> list[str]:
    return [word for line in _lines(data, name) for word in line.split()]


def _pairs(data: str, name: str, separator: str | None = None) -> dict[str, str]:
    pairs = [line.strip().split(separator) for line in _lines(data, name)]
    if any(len(pair) != 2 for pair in pairs):
        raise SystemRefused(f"{data}/{name} is not what Ganeti writes: a node and one value on each line")
    return {pair[0]: pair[1] for pair in pairs}


def _lines(data: str, name: str) -> list[str]:
    try:
        with open(f"{data}/{name}", encoding="utf-8") as file:
            return [line for line in file if line.strip()]
    except FileNotFoundError as error:
        raise SystemRefused(
            f"{data}/{name} is missing: this node is in no Ganeti cluster, or in one of an older Ganeti. 'gnt-cluster "
            "redist-conf' on the master writes what it has"
        ) from error
    except UnicodeDecodeError as error:
        raise SystemRefused(f"{data}/{name} is not what Ganeti writes: {error}") from error


def _label(name: str) -> str:
    return name.partition(".")[0]


def _is_ours(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:  # EADDRNOTAVAIL: somebody else's
            return False
    return True
