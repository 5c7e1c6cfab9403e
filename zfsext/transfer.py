"""One disk's data on its way to another node: what the stream begins with, and that it arrives."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from zfsext import places, properties, records, renaming, rewinding, streams, zfs
from zfsext.errors import NotHere, Refused, Speechless
from zfsext.local import Local
from zfsext.ownership import OWNER, REPLICA, SEALED, TICKET, Generation, Record, Round
from zfsext.peer import Line

#: What other tools make for themselves alone. On another node simplesnap would take its own for a base that is not
#: there, and no syncoid would ever prune those of another host (doc/moving-vms.md).
PRIVATE = ("syncoid_", "__simplesnap_", "zrepl_last_", "zfsext-export")
#: How often a transfer that broke off is looked at anew before it is given up.
ATTEMPTS = 5
#: How long a copy may take to go back, in seconds: three transactions, and a lock.
STILL = 120


class Progress(NamedTuple):
    """How far a transfer is: of which volume, the bytes that have gone, and about how many there are in all."""

    volume: str
    done: int
    total: int


class There(NamedTuple):
    """What the other node has of a disk: its record, its snapshots' names by their guids, and a token to resume by.

    written is how many bytes were written after each snapshot, by its guid.
    """

    node: str
    record: Record | None
    identity: str | None
    snapshots: dict[str, str]
    written: dict[str, int]
    token: str


def look(line: Line, here: Local) -> There:
    """Ask what the other node has of the disk. Raises Refused if that is another disk of the same name."""
    answer = line.call("look", volume=here.volume)
    record = records.heard(answer["record"]) if answer["record"] else None
    there = There(line.name, record, answer["id"], answer["snapshots"], answer["written"], answer["token"])
    if record is not None and there.identity != here.identity:
        raise Refused(
            f"{line.name} has another disk of the name {here.volume} ({properties.ID} differs): look into it there, "
            "and 'zfs rename' it out of the way"
        )
    return there


class Sender:
    """Sends disks to one node, as fast as is allowed, and tells how far it is."""

    def __init__(
        self, line: Line, source: str, bandwidth: int = 0, said: Callable[[Progress], None] | None = None
    ) -> None:
        self.line = line
        self.source = source
        self.bandwidth = bandwidth
        self.said = said
        self.sent = 0

    def send(self, here: Local, until: Round, claim: Generation, there: There) -> None:
        """See to it that the other node's copy has the snapshot of the round `until`, and all before it that travel.

        claim is the generation in whose name it is done. Raises Refused where nothing fits together, and Speechless.
        """
        attempts = ATTEMPTS
        while True:
            try:
                if (guid := goes_back(here, there)) is not None:
                    _rewind(self.line, here, guid)
                elif there.token and not self._resume(here, there, claim):
                    self._abort(here, there)
                elif not there.token:
                    self._steps(here, until, claim, there)
                    return
            except NotHere:
                self._abort(here, there)
            attempts -= 1
            if not attempts:
                raise Speechless(f"{here.volume} did not get to {self.line.name} in {ATTEMPTS} attempts")
            there = look(self.line, here)

    def _abort(self, here: Local, there: There) -> None:
        """Have what broke off thrown away, if it is still what was looked at."""
        if there.token:
            self.line.call("abort", volume=here.volume, token=there.token)

    def _resume(self, here: Local, there: There, claim: Generation) -> bool:
        """Send the rest of what broke off; return False if that cannot be, because its snapshot is another one now."""
        guid, total = streams.rest(there.token)
        short = next((each.short for each in zfs.snapshots(here.name) if each.guid == guid), None)
        if short is None:
            return False
        self._stream(here, short, lambda pipe: streams.resume(there.token, pipe), claim, total, full=False)
        return True

    def _steps(self, here: Local, until: Round, claim: Generation, there: There) -> None:
        last = records.snapshot(here.name, until)
        for base, snapshot in plan(here, last, there):
            total = streams.size(snapshot, base)
            short = snapshot.partition("@")[2]

            def write(pipe: int, snapshot: str = snapshot, base: str | None = base) -> None:
                streams.send(snapshot, base, pipe)

            self._stream(here, short, write, claim, total, full=base is None)

    def _stream(
        self, here: Local, short: str, write: Callable[[int], None], claim: Generation, total: int, *, full: bool
    ) -> None:
        done = 0
        began = time.monotonic()

        def passed(count: int) -> None:
            nonlocal done
            done += count
            self.sent += count
            if self.said is not None:
                self.said(Progress(here.volume, done, max(total, done)))
            if self.bandwidth:
                time.sleep(max(0.0, done / self.bandwidth - (time.monotonic() - began)))

        fields = {
            "volume": here.volume,
            "parent": here.copy.parent,
            "snapshot": short,
            "full": full,
            "generation": str(here.record.generation),
            "claim": str(claim),
            "facts": facts(here),
            "recordsize": here.copy.dataset.number("recordsize"),
            "compression": here.copy.dataset.local("compression") or "",
        }
        self.line.stream("receive", write, passed, **fields)


def facts(here: Local) -> dict[str, str]:
    """Return what travels with the disk: the properties that say what it is."""
    found = {name: here.copy.dataset.local(name) for name in properties.FACTS}
    return {name: value for name, value in found.items() if value is not None}


def plan(here: Local, last: str, there: There) -> list[tuple[str | None, str]]:
    """Return the streams, each as its base (none: the whole) and its snapshot, that bring the other copy to `last`.

    Raises Refused for a copy that is of our time and that none continues: nothing is destroyed without being asked for.
    One of another time is set aside. Refused also where a snapshot's name would be too long there.
    """
    snapshots = zfs.snapshots(here.name)
    ours = [each for each in snapshots if not each.short.startswith(PRIVATE) or each.name == last]
    end = next(index for index, each in enumerate(ours) if each.name == last)
    base = _base(here, ours[: end + 1], there)
    new = [each for each in ours[: end + 1] if each.txg > (base.txg if base else 0) and _travels(each, last)]
    renaming.require_short(places.standby_name(here.copy.parent, here.volume), new)
    names = [each.name for each in new]
    return list(zip([base.name if base else None, *names], names, strict=False))


def goes_back(here: Local, there: There) -> str | None:
    """Return the guid of the snapshot that the copy goes back to, since the disk was rolled back; None if it need not.

    That is the last that both have; a copy that has none in common with the disk is refused by plan.
    """
    record = there.record
    if record is None or record.state not in (REPLICA, SEALED) or not rewinding.wanted(here, record.generation):
        return None
    both = [each for each in zfs.snapshots(here.name) if each.guid in there.snapshots]
    base = max(both, key=lambda each: each.txg, default=None)
    if base is None:
        return None
    later = list(there.snapshots.values())[list(there.snapshots).index(base.guid) + 1 :]
    mine = {each.short for each in zfs.snapshots(here.name)}
    return base.guid if there.written[base.guid] or mine.intersection(later) else None


def back_together(line: Line, group: Sequence[Local], there: Sequence[There]) -> list[There]:
    """Have the copies of all disks of a VM that was rolled back go back, before any of them takes a stream.

    Returns what the other node has then. Until the next round is complete it has none that could be promoted.
    """
    found = list(there)
    for index, (here, has) in enumerate(zip(group, there, strict=True)):
        guid = goes_back(here, has)
        if guid is not None:
            _rewind(line, here, guid)
            found[index] = look(line, here)
    return found


def _rewind(line: Line, here: Local, guid: str) -> None:
    """Have the copy go back to the snapshot with this guid."""
    number = str(here.record.generation)
    line.call("rewind", seconds=STILL, volume=here.volume, guid=guid, id=here.identity, generation=number)


def anew(here: Local, there: There) -> bool:
    """Tell whether a whole copy is to be sent. Raises Refused as plan does."""
    if not there.snapshots:
        return True
    if there.record is not None and there.record.generation == here.record.generation:
        return False  # or refused: plan says so
    if goes_back(here, there) is not None:
        return False
    return _base(here, [each for each in zfs.snapshots(here.name) if not each.short.startswith(PRIVATE)], there) is None


def _base(here: Local, ours: Sequence[zfs.Snapshot], there: There) -> zfs.Snapshot | zfs.Bookmark | None:
    """Return what the next stream begins with; None for a whole one.

    What the copy has in common with the disk is told by guids. A stream continues only what the copy ends in: other
    snapshots may be after that, but no data (module/zfs/dmu_recv.c: recv_begin_check_existing_impl).
    """
    record = there.record
    theirs = {} if record is None or record.state in (OWNER, TICKET) else there.snapshots  # those are set aside
    both: list[zfs.Snapshot | zfs.Bookmark] = [each for each in ours if each.guid in theirs]
    both += [each for each in zfs.bookmarks(here.name) if each.guid in theirs]
    base = max(both, key=lambda each: each.txg, default=None)  # of equals the first, which is the snapshot
    if base is not None and not there.written[base.guid]:
        return base
    if record is None or record.generation.epoch != here.record.generation.epoch:
        return None
    if not theirs and (record.round is None or record.state in (OWNER, TICKET)):  # or a tool has pruned all of them
        return None
    if base is not None:
        ahead = there.written[base.guid]
        raise Refused(
            f"the copy of {here.volume} on {there.node} was written to ({ahead} bytes) since the last snapshot that it "
            "has in common with the disk, so nothing continues it. If nobody needs that, on "
            f"{there.node} {_undoing(here, there, ahead)}"
        )
    instance = here.copy.dataset.local(properties.INSTANCE) or "INSTANCE"
    raise Refused(
        f"the copy of {here.volume} on {there.node} has no snapshot in common with the disk any more: 'zfsext forget "
        f"{instance} --on {there.node}', and replicate anew"
    )


def _undoing(here: Local, there: There, ahead: int) -> str:
    """Return the command that undoes what was written to a copy, in words. Snapshots that do not have it stay."""
    newest = next(guid for guid in reversed(there.snapshots) if there.written[guid] == ahead)
    copy = f"{places.standby_name(here.copy.parent, here.volume)}@{there.snapshots[newest]}"
    if newest == next(reversed(there.snapshots)):
        return f"'zfs rollback {copy}' undoes it"
    return f"'zfs rollback -r {copy}' undoes it, and destroys the snapshots after that one"


def _travels(snapshot: zfs.Snapshot, last: str) -> bool:
    """Tell whether a snapshot goes along: everybody's do, and of ours the last, and what a third node's copy needs."""
    if snapshot.name == last or records.of_snapshot(snapshot.short) is None:
        return True
    return snapshot.holds > 0


def require_plain(group: list[Local]) -> None:
    """Raise Refused for an encrypted disk: its stream would leave in the clear, or raw, which 2.1 corrupts."""
    for here in group:
        if here.copy.dataset["encryptionroot"] not in ("", "-"):
            raise Refused(
                f"{here.name} is encrypted, and zfsext does not send encrypted disks: ZFS 2.1 is known to corrupt them"
                ". gnt-backup export and import take the VM to another node"
            )
