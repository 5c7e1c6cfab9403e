"""The end of a VM's copies on one node, while the VM goes on: nothing is replicated there any more."""

import os
from collections.abc import Sequence
from contextlib import ExitStack

from zfsext import arrived, cluster, groups, nodes, outcome, properties, records, removal, replication, rounds, zfs
from zfsext.config import Config
from zfsext.errors import Refused
from zfsext.local import Local
from zfsext.peer import Peers
from zfsext.transfers import alone

#: How long the other node may take to destroy one copy, in seconds.
SECONDS = 120


def withdraw(volumes: Sequence[str], node: str, config: Config, peers: Peers, *, dry: bool = False) -> list[str]:
    """Destroy the copies of these disks, all of a VM's, on the node, and forget that it ever was sent one.

    Returns the datasets; dry does nothing. For the disks' owner. The node answers first: as long as it has a copy, it
    is one of those that the owner asks. Raises Speechless if it does not answer, what it says against it, and Busy
    while one of the disks is on its way somewhere. A node that has left the cluster is not asked.
    """
    gone: list[str] = []
    with ExitStack() as stack:
        for volume in sorted(volumes):
            stack.enter_context(alone(volume, f"end of the copy on {node}"))
        with groups.locked(volumes, "forget"):
            group = replication.owned(volumes, config)
        if node in nodes.peers():
            line = peers.line(node)
            for each in group:
                owner = str(each.record.generation)
                fields = {"volume": each.volume, "id": each.identity, "owner": owner, "dry": dry}
                gone += line.call("forget", seconds=SECONDS, **fields)["gone"]
        elif all(node not in each.record.knows | each.record.over for each in group):
            raise Refused(f"this cluster has no node {node}, and no copy of these disks was ever there")
        else:
            words = f"{node} is no node of this cluster any more, so what it has is not destroyed"
            os.write(2, f"zfsext: {words}\n".encode(errors="replace"))
        if dry:
            return gone
        with groups.locked(volumes, "forget"):
            group = replication.owned(volumes, config)
            zfs.change_all({each.name: _without(each, node) for each in group})
            for each in replication.owned(volumes, config):
                _release(each, node)
                outcome.forget(each.volume, node)
    return gone


def _without(here: Local, node: str) -> dict[str, str | None]:
    """Return the properties of the disk that make it one that the node has no copy of, and gets none by timer."""
    knows = here.record.knows - {node}
    over = here.record.over if node in nodes.peers() else here.record.over - {node}  # who is gone does not return
    names = frozenset({*nodes.peers(), nodes.this_node(), node})
    given = (here.copy.dataset.local(properties.REPLICAS) or "").split()
    left = " ".join(name for name in given if cluster.matching(name, names) != [node])
    last = here.record.round if knows else None
    return {**here.changes(knows=knows, over=over, round=last), properties.REPLICAS: left or None}


def _release(here: Local, node: str) -> None:
    """Give back what the next increment to the node would have begun with; all of it, if no other node needs any."""
    tags = {each.name: zfs.holds(each.name) for each in zfs.snapshots(here.name) if each.holds}
    nobody_else = not here.record.knows
    unneeded = {
        name: [tag for tag in held if tag == rounds.tag(node) or (nobody_else and removal.tagged_by_us(tag))]
        for name, held in tags.items()
    }
    zfs.release_holds({name: held for name, held in unneeded.items() if held})
    if here.record.round is not None:
        arrived.prune(here, here.record.round, lambda held, _: held == rounds.tag(node))
    if not nobody_else:
        return
    left = [each for each in zfs.snapshots(here.name) if records.of_snapshot(each.short) is not None]
    zfs.destroy_snapshots([each.name for each in left if not each.holds and not each.clones])
    marks = [each.name for each in zfs.bookmarks(here.name)]
    zfs.destroy_bookmarks([name for name in marks if records.of_snapshot(name.partition("#")[2]) is not None])
