"""Rounds: one snapshot of all disks of a VM, and what of the earlier ones is still needed."""

from collections.abc import Sequence

from zfsext import arrived, records, removal, streams, zfs
from zfsext.errors import NotHere
from zfsext.local import Local
from zfsext.ownership import Round
from zfsext.transfer import There


def tag(node: str) -> str:
    """Return the tag of the holds on what the next increment to the node begins with."""
    return f"{removal.TAG}:{node}"


def take(group: Sequence[Local], there: Sequence[There], node: str) -> Round:
    """Take a snapshot of all disks of a VM, in one transaction, held for the node; return its round.

    there is what the node has of each disk: what earlier rounds to it have left, and it never got, is destroyed first.
    """
    for each, has in zip(group, there, strict=True):
        _clear(each, has, node)
    which = _next(group, there)
    names = {each.volume: records.snapshot(each.name, which) for each in group}
    zfs.take_snapshots(list(names.values()))
    zfs.hold(dict.fromkeys(names.values(), tag(node)))
    return which


def _clear(here: Local, there: There, node: str) -> None:
    """Destroy the snapshots that were held for the node alone, and that no stream to it begins with or resumes.

    The last of them stays, since the node may still be receiving it: it is what the next stream begins with then.
    """
    needed = {*there.snapshots, _resumable(there)}
    left = [
        each
        for each in zfs.snapshots(here.name)
        if records.of_snapshot(each.short) not in (None, here.record.round)
        and each.guid not in needed
        and each.holds
        and tag(node) in zfs.holds(each.name)
    ][:-1]
    zfs.release_holds({each.name: [tag(node)] for each in left})
    zfs.destroy_snapshots([each.name for each in left if each.holds == 1 and not each.clones])


def _resumable(there: There) -> str:
    """Return the guid of the snapshot that a stream which broke off is of; an empty one if nothing can be resumed."""
    try:
        return streams.rest(there.token)[0] if there.token else ""
    except NotHere:
        return ""


def _next(group: Sequence[Local], there: Sequence[There]) -> Round:
    """Return a round of this generation that no snapshot has, here or there."""
    generation = max(each.record.generation for each in group)
    here = [each.short for of in group for each in zfs.snapshots(of.name)]
    elsewhere = [short for each in there for short in each.snapshots.values()]
    taken = [records.of_snapshot(short) for short in (*here, *elsewhere)]
    counts = [each.number for each in taken if each is not None and each.generation == generation]
    return Round(generation, max(counts, default=0) + 1)


def bases(group: Sequence[Local], but: str) -> dict[str, list[str]]:
    """Return the rounds that are held for other nodes than this one, by the nodes: their increments begin with one.

    Which one a node has is for certain only once it is asked: a round may have failed, or its end was not heard.
    """
    found: dict[str, list[str]] = {}
    for snapshot in zfs.snapshots(group[0].name):
        which = records.of_snapshot(snapshot.short)
        if which is None or not snapshot.holds:
            continue
        for held in zfs.holds(snapshot.name):
            if held.startswith(tag("")) and held != tag(but):
                found.setdefault(held.removeprefix(tag("")), []).append(str(which))
    return found


def idle(group: Sequence[Local], which: Round) -> bool:
    """Tell whether nothing was written to any of the disks, and nobody took a snapshot, since the round."""
    name = records.snapshot("", which)
    datasets = [each.name for each in group]
    if any(found[f"written{name}"] != "0" for found in zfs.read(datasets, [f"written{name}"]).values()):
        return False
    last = {each.dataset: each.name for each in zfs.snapshots(*datasets)}  # the later one counts
    return last == {dataset: f"{dataset}{name}" for dataset in datasets}


def keep(group: Sequence[Local], which: Round, node: str) -> None:
    """Note that the node has the round: only that is still held for it, and marked for when somebody destroys it."""
    marked = {f"{each.name}#{records.PREFIX}{which}": records.snapshot(each.name, which) for each in group}
    zfs.bookmark(marked)
    for each in group:
        # The hold without a node is from the time when the disk was a copy.
        arrived.prune(each, which, lambda held, _: held in (tag(node), removal.TAG))
        old = [mark for mark in zfs.bookmarks(each.name) if mark.name not in marked]
        ours = [mark for mark in old if records.of_snapshot(mark.name.partition("#")[2]) is not None]
        needed = {snapshot.guid for snapshot in zfs.snapshots(each.name)}
        zfs.destroy_bookmarks([mark.name for mark in ours if mark.guid not in needed])
