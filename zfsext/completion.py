"""The names that a shell completes: those of instances and nodes, as Ganeti's ssconf files have them on each node."""

from click import Context, Parameter

from zfsext import cluster, nodes
from zfsext.errors import ZfsextError


def instances(_context: Context, _parameter: Parameter, begun: str) -> list[str]:
    """Return the instances that a word can become; nothing where that cannot be found out."""
    try:
        known = cluster.load()
    except (ZfsextError, OSError):  # a shell has no use for our words
        return []
    return sorted(name for name in known.instances if name.startswith(begun.lower())) if known else []


def other_nodes(_context: Context, _parameter: Parameter, begun: str) -> list[str]:
    """Return the other nodes that a word can become; nothing where that cannot be found out."""
    try:
        return sorted(name for name in nodes.peers() if name.startswith(begun.lower()))
    except (ZfsextError, OSError):
        return []
