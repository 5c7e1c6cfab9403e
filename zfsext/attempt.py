"""A round of replication, and the note of how it ended; wherever the disks are, their owner sends them."""

from collections.abc import Callable, Sequence

from zfsext import handover, local, nodes, outcome, replication, seeding, whereabouts
from zfsext.config import Config
from zfsext.errors import Refused, ZfsextError
from zfsext.ownership import OWNER, SEALED
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
    said: Callable[[Progress], None],
    bandwidth: int = 0,
) -> int:
    """Have the disks' owner, this node or another, replicate them to the node, and return the bytes that were sent.

    Raises Refused if the node has the disks itself, or if nobody who answers has them.
    """
    _require_candidate()
    owner = whereabouts.holder(volumes[0], config, peers).node
    if owner == node:
        raise Refused(f"{node} has the disks themselves, and needs no copy of them")
    return _one(owner, volumes, node, config, peers, said, bandwidth)


def until_little_is_left(
    volumes: Sequence[str],
    node: str,
    config: Config,
    peers: Peers,
    said: Callable[[Progress], None],
    bandwidth: int = 0,
) -> int:
    """Replicate the disks to the node, wherever they are, so that a hand-over has little to send; return the bytes.

    What an interrupted hand-over has left sealed is taken back first. What the node has already is not sent.
    """
    _require_candidate()
    owner = whereabouts.holder(volumes[0], config, peers)
    if owner.state == SEALED:
        if owner.node == local.me():
            handover.take_back(volumes, config, peers)
        else:
            peers.line(owner.node).call("reclaim", seconds=seeding.STILL, volume=volumes[0])
        owner = whereabouts.holder(volumes[0], config, peers)
    if owner.node == node or owner.state != OWNER:  # what has a ticket is complete where it is, and stopped
        return 0
    return sum(seeding.shrinking(lambda: _one(owner.node, volumes, node, config, peers, said, bandwidth)))


def _one(
    owner: str,
    volumes: Sequence[str],
    node: str,
    config: Config,
    peers: Peers,
    said: Callable[[Progress], None],
    bandwidth: int,
) -> int:
    if owner == local.me():
        return replicate(volumes, node, config, peers, said, bandwidth)
    return seeding.one(peers.line(owner), volumes[0], node, said, bandwidth)


def _require_candidate() -> None:
    if not nodes.is_candidate():
        raise Refused(
            f"{nodes.this_node()} is no master candidate, so Ganeti does not let it log in on other nodes: "
            "'gnt-node modify -C yes NODE'"
        )


def _note(volumes: Sequence[str], node: str, error: str | None) -> None:
    for volume in volumes:
        outcome.note(volume, node, error)
