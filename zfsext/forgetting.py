"""The end of a disk on all nodes: the disk itself, and the copies of it, also those that are out of reach just now.

What could not be reached is noted under NOTES, a file for each volume, and ended by a later sweep. A note names the
disk's incarnation: a new disk of the same name is left alone.
"""

import contextlib
import os
import time
from collections.abc import Collection

from zfsext import (
    asking,
    cluster,
    dropping,
    local,
    marks,
    nodes,
    outcome,
    properties,
    removal,
    removed,
    zfs,
)
from zfsext.config import Config
from zfsext.errors import Refused, Speechless, ZfsextError
from zfsext.lock import VolumeLock
from zfsext.ownership import FIRST, OWNER, TICKET, Currency, best
from zfsext.peer import Peers
from zfsext.transfers import REMOVAL, ended

#: How long gnt-instance add may take, in seconds, for its failure to leave nothing that can be had back.
YOUNG = 3600
NOTES = "/var/lib/zfsext/removed"
#: How long another node may take to destroy a disk, in seconds: Ganeti gives a remove half a minute, ten times.
SECONDS = 120


def remove(volume: str, config: Config, peers: Peers, asker: str = "", *, undone: bool = False) -> None:
    """Destroy the disk, wherever it is, and its copies; asker is the node that will see to its own. Under its lock.

    undone says that Ganeti takes back what it has just made: such a disk is not put aside.

    Raises what zfsext.removal raises for the disk itself. A copy that cannot be reached is noted for a later sweep.
    A round that is under way ends.
    """
    with ended([volume], REMOVAL):
        _remove(volume, config, peers, asker, undone)


def is_undone(volume: str, config: Config) -> bool:
    """Tell whether Ganeti removes a disk that it has just made, since making its instance failed.

    That instance is not in Ganeti's configuration yet; one that is removed still is (lib/cmdlib/instance_create.py,
    instance_utils.py: RemoveInstance). An old disk of an instance that is gone is another matter.
    """
    here, known = local.find(volume, config), cluster.load()
    if here is None or known is None or cluster.knows(volume) is True:
        return False
    if here.record.generation != FIRST or here.record.round is not None:  # it was sent, promoted or rolled back since
        return False
    made = zfs.read([here.name], ["creation"])[here.name].number("creation")
    young = time.time() - made < YOUNG
    return young and here.copy.dataset.local(properties.INSTANCE) not in known.instances


def _remove(volume: str, config: Config, peers: Peers, asker: str, undone: bool) -> None:
    here = local.find(volume, config)
    if here is not None and here.record.state == OWNER:
        here = local.settle(here, config)
    if here is None or (here.record.state == OWNER and not asking.who_may_know(here)):
        _end(volume, config, undone)
        _forget(volume)
        return
    if here.record.state == OWNER and not local.stands(here):
        verdict, answers = asking.judged(here, peers)
        if verdict is Currency.SUPERSEDED:
            _remove_elsewhere(volume, config, peers)
            local.set_aside(here, config)
            return
        if verdict is Currency.CONFLICT:
            raise asking.refused(here, verdict, answers)
    if here.record.state not in (OWNER, TICKET):
        _remove_elsewhere(volume, config, peers)
        dropping.destroy(local.require(volume, config), config)
        return
    identity, knows = here.identity, asking.who_may_know(here)
    if here.record.state == TICKET:
        zfs.change_all({here.name: here.changes(state=OWNER, peer="", final=None)})
        local.settle(local.require(volume, config), config)
    note(volume, identity, knows)
    try:
        _end(volume, config, undone)
    except (ZfsextError, OSError):
        if local.find(volume, config) is not None:
            note(volume, identity, ())  # the disk is still there, and so are its copies
        raise
    _forget(volume)
    end_copies(volume, identity, knows - {asker}, peers)


def _end(volume: str, config: Config, undone: bool) -> None:
    """Destroy the disk itself, or put it aside for as long as removed disks can be had back here."""
    here = local.find(volume, config)
    if here is None:
        removed.finish(volume, config)
    if config.keep_removed and not undone and here is not None and here.copy.dataset.local(properties.INSTANCE):
        removed.put_aside(volume, config)
    else:
        removal.remove(volume, config)


def _forget(volume: str) -> None:
    marks.forget(volume)
    outcome.forget(volume)


def _remove_elsewhere(volume: str, config: Config, peers: Peers) -> None:
    """Have the disk destroyed by the node that has it. Raises Refused if that is not known."""
    here = local.find(volume, config)
    answers = asking.ask([volume], nodes.peers(), peers)
    holder = best(None, answers.of(volume))
    if holder is not None:
        peers.line(holder).call("remove", seconds=SECONDS, volume=volume)
        return
    if answers.silent or here is None:
        raise Refused(
            f"disk {volume} is a copy on this node, and who has the disk itself does not answer "
            f"({'; '.join(answers.silent.values())}): remove it when that node is back"
        )


def end_everywhere(volume: str, config: Config, peers: Peers) -> None:
    """Destroy all that is left of a disk of an instance that is gone, on this node and the others.

    After the failover of a stopped VM the disk itself may be on another node than Ganeti's remove was run on.
    """
    here = local.find(volume, config)
    answers = asking.ask([volume], nodes.peers(), peers)
    told = answers.of(volume)
    identity = here.identity if here else None
    holder = best(here.record if here else None, told)
    if holder is not None:
        peers.line(holder).call("remove", seconds=SECONDS, volume=volume)
        here = local.find(volume, config)
    if here is not None:
        with VolumeLock(volume, "remove") as lock:
            remove(volume, config, peers)
            lock.forget()
    left = {node for node, record in told.items() if record is not None and node != holder} | set(answers.silent)
    if here is None and not any(told.values()):
        return  # it was never sent anywhere, so those that are silent have nothing of it
    end_copies(volume, identity, left, peers)


def end_copies(volume: str, identity: str | None, names: Collection[str], peers: Peers) -> None:
    """Destroy the copies on these nodes; the note stays for those that could not be reached, or did not."""
    left = set(names)
    for name, answer in peers.ask(sorted(names), "forget", volume=volume, id=identity):
        if isinstance(answer, Speechless):
            os.write(2, f"zfsext: the copy of {volume} on {name} is ended later: {answer}\n".encode(errors="replace"))
        else:
            left.discard(name)
    note(volume, identity, left)


def note(volume: str, identity: str | None, names: Collection[str]) -> None:
    """Note on which nodes copies of a removed disk are; none removes the note."""
    path = f"{NOTES}/{volume}"
    if not names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    os.makedirs(NOTES, mode=0o700, exist_ok=True)
    with open(path + "~", "w", encoding="utf-8") as file:
        file.write("\n".join([identity or "", *sorted(names), ""]))
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + "~", path)


def noted() -> dict[str, tuple[str | None, list[str]]]:
    """Return the removed volumes that copies are left of: each one's incarnation, and the nodes."""
    found = {}
    for name in sorted(os.listdir(NOTES)) if os.path.isdir(NOTES) else []:
        if name.endswith("~"):
            continue
        with open(f"{NOTES}/{name}", encoding="utf-8") as file:
            identity, *nodes_left = file.read().split("\n")
        found[name] = (identity or None, [node for node in nodes_left if node])
    return found


def sweep(config: Config, peers: Peers) -> list[str]:
    """End the copies of removed disks that were out of reach, and the removed disks whose time is over.

    Returns, in words, what is left of either.
    """
    for volume, (identity, names) in noted().items():
        try:
            if cluster.knows(volume) is True:  # it was not removed after all, or is again
                continue
            with VolumeLock(volume, "sweep"):
                again = local.find(volume, config)
                if again is not None and again.identity == identity:  # the remove was killed: Ganeti runs it again
                    continue
                end_copies(volume, identity, set(names) & set(nodes.peers()), peers)
        except ZfsextError as error:
            os.write(2, f"zfsext: {volume}: {error}\n".encode(errors="replace"))
    left = [f"{volume} is out of reach on {', '.join(names)}" for volume, (_, names) in noted().items()]
    return left + removed.purge_old(config)
