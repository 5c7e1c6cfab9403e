"""A round of replication, and the note of how it ended; wherever the disks are, their owner sends them."""

from collections.abc import Callable, Sequence

from zfsext import local, nodes, outcome, replication, seeding
from zfsext.config import Config
from zfsext.errors import Refused, ZfsextError
from zfsext.peer import Peers
from zfsext.transfer import Progress


def replicate(
    volumes: Sequence[str],
    node: str,
    config: Config,
    peers: Peers,
    said: Callable[[Progress], None] | None = None,
    bandwidth: int = 0,
) -> int:
    """Replicate as zfsext.replication does, from this node, and note for each disk how it ended.

    An end that is nobody's fault (who asked hung up, or the process was told to end) leaves no note.
    """
    try:
        _require_candidate()
        sent = replication.replicate(volumes, node, config, peers, said, bandwidth)
    except BrokenPipeError:
        raise
    except (ZfsextError, OSError) as error:
        _note(volumes, node, str(error))
        raise
    _note(volumes, node, None)
    return sent


def from_owner(
    volumes: Sequence[str],
    node: str,
    config: Config,
    peers: Peers,
    said: Callable[[Progress], None] | None = None,
    bandwidth: int = 0,
) -> int:
    """Have the disks' owner, this node or another, replicate them to the node, and return the bytes that were sent.

    Raises Refused if the node has the disks itself, or if nobody who answers has them.
    """
    _require_candidate()
    owner = seeding.found(volumes[0], config, peers)
    if owner == node:
        raise Refused(f"{node} has the disks themselves, and needs no copy of them")
    if owner == local.me():
        return replicate(volumes, node, config, peers, said, bandwidth)
    answer = peers.line(owner).follow(
        "replicate",
        lambda told: said(Progress(str(told[0]), int(told[1]), int(told[2]))) if said else None,
        seeding.STILL,
        volume=volumes[0],
        to=node,
        bandwidth=bandwidth,
    )
    return int(answer["sent"])


def _require_candidate() -> None:
    if not nodes.is_candidate():
        raise Refused(
            f"{nodes.this_node()} is no master candidate, so Ganeti does not let it log in on other nodes: "
            "'gnt-node modify -C yes NODE'"
        )


def _note(volumes: Sequence[str], node: str, error: str | None) -> None:
    for volume in volumes:
        outcome.note(volume, node, error)
