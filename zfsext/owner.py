"""Has the node that has a VM's disks do something with them, be it this node or another: by the same request."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from zfsext import answers, nodes, whereabouts
from zfsext.config import Config
from zfsext.errors import Speechless, ZfsextError
from zfsext.peer import Peers

#: How long that may take, in seconds: it waits for the locks of the disks, and there may be many.
SECONDS = 400


def ask(volume: str, op: str, config: Config, peers: Peers, seconds: float = SECONDS, **fields: Any) -> dict[str, Any]:
    """Ask the disk's owner, and return its answer. Raises what it raises, and Refused if nobody has the disk."""
    return at(whereabouts.holder(volume, config, peers).node, op, config, peers, seconds, volume=volume, **fields)


def at(node: str, op: str, config: Config, peers: Peers, seconds: float = SECONDS, **fields: Any) -> dict[str, Any]:
    """Ask a node, which may be this one, and return its answer."""
    here = nodes.this_node()
    if node in ("", here):  # a cluster of one node has nobody to be told from
        return answers.answer({"op": op, **fields}, here, config, _quiet)
    return peers.line(node).call(op, seconds=seconds, **fields)


class Heard(NamedTuple):
    """What each node says, why those do not that refuse or do not answer, by their names, and who is offline."""

    told: list[tuple[str, dict[str, Any]]]
    failed: dict[str, str]
    offline: list[str]


def everywhere(op: str, config: Config, peers: Peers, **fields: Any) -> Heard:
    """Ask all nodes, but for those that are marked offline: nobody waits for these."""
    others = nodes.peers()
    heard = Heard([], {}, sorted(name for name, node in others.items() if node.offline))
    for name in sorted(set(others) - set(heard.offline)):
        with suppress(Speechless):  # all are called before the first is waited for
            peers.line(name)
    for name in sorted({nodes.this_node(), *others} - set(heard.offline)):
        try:
            heard.told.append((name, at(name, op, config, peers, **fields)))
        except ZfsextError as error:
            heard.failed[name] = str(error) if str(error).startswith(name) else f"{name}: {error}"
    return heard


_quiet: Callable[[dict[str, Any]], None] = lambda _: None  # noqa: E731 (nobody is told of progress here)
