"""The node that a disk comes to: what it has of it, and which streams it takes.

Each of these runs under the lock of the volume, which is waited for only briefly: who asks has locks of his own.
"""

from collections.abc import Callable, Mapping, Sequence

from zfsext import (
    local,
    places,
    properties,
    records,
    removal,
    reservation,
    streams,
    zfs,
)
from zfsext.config import Config
from zfsext.errors import AlreadyThere, Refused
from zfsext.groups import BRIEF, locked
from zfsext.local import Local
from zfsext.ownership import (
    OWNER,
    REPLICA,
    SEALED,
    TICKET,
    Generation,
    Record,
    takes_data,
)
from zfsext.transfers import taken_over


def told(volumes: Sequence[str], config: Config) -> dict[str, Record | None]:
    """Return the records of this node's copies, each with whether the disk is in use; None where there is no copy."""
    found = local.find_all(volumes, config)
    missing = [volume for volume, here in found.items() if here is None]
    if missing:
        found |= local.find_all(missing, config)  # the first look may have met a rename
    return {volume: here.record._replace(used=local.used(here)) if here else None for volume, here in found.items()}


def look(volume: str, config: Config) -> dict[str, object]:
    """Return what a sender must know of this node's copy."""
    here = local.find(volume, config)
    if here is None:
        return {"record": None, "id": None, "snapshots": {}, "written": {}, "token": ""}
    if local.ahead_of(here) is not None:
        with locked([volume], "look", BRIEF):
            here = local.settle(local.require(volume, config), config)
    partial = here.copy.dataset["receive_resume_token"]
    snapshots = zfs.snapshots(here.name)
    return {
        "record": records.told(here.record._replace(used=local.used(here))),
        "id": here.identity,
        "snapshots": {each.guid: each.short for each in snapshots},
        "written": _written_since(snapshots, here.copy.dataset.number("written")),
        "token": "" if partial == "-" else partial,
    }


def _written_since(snapshots: Sequence[zfs.Snapshot], last: int) -> dict[str, int]:
    """Return how many bytes were written after each snapshot, by their guids; last is how many after all of them."""
    found = {}
    for each in reversed(snapshots):
        found[each.guid] = last
        last += each.written
    return found


class Offer:
    """A stream that another node wants to send, with the properties of the copy that it makes or continues."""

    __slots__ = ("claim", "compression", "facts", "full", "generation", "parent", "recordsize", "snapshot", "source")

    def __init__(
        self,
        source: str,
        parent: str,
        snapshot: str,
        generation: Generation,
        claim: Generation,
        facts: Mapping[str, str],
        recordsize: int,
        compression: int | None,
        *,
        full: bool,
    ) -> None:
        self.source = source
        self.parent = parent
        self.snapshot = snapshot
        self.generation = generation
        self.claim = claim
        self.facts = facts
        self.recordsize = recordsize
        self.compression = compression
        self.full = full


def receive(volume: str, offer: Offer, config: Config, pipe: int, ready: Callable[[], None]) -> None:
    """Take a stream; ready is called when it can begin. Raises Refused for one that is older than what is here."""
    here = local.find(volume, config)
    if here is not None:
        _require_taken(here, offer)  # before anything that is under way is ended for it
    with taken_over(volume, f"receive from {offer.source}"):
        with locked([volume], "receive", BRIEF):
            dataset = _prepared(volume, offer, config)
        ready()
        name = f"{dataset}@{offer.snapshot}"
        if offer.full:
            streams.receive(name, pipe, _native(offer), _first(offer))
        else:
            streams.receive_more(name, pipe)


def _native(offer: Offer) -> dict[str, int]:
    """Return ZFS's own properties of a new copy. It is read-only as all in its place are, until it is the disk."""
    native = properties.native(offer.recordsize)
    del native["readonly"]
    if offer.compression is not None:
        native["compression"] = offer.compression
    return native


def _first(offer: Offer) -> dict[str, str]:
    record = Record(REPLICA, offer.generation, floor=offer.generation, peer=offer.source)
    made = {name: text for name, text in records.changes(record, "").items() if text is not None}
    return {**offer.facts, **made}


def _prepared(volume: str, offer: Offer, config: Config) -> str:
    """Make way for a stream, and return the dataset that it is to be received into."""
    here = local.find(volume, config)
    if here is not None:
        _require_taken(here, offer)
        here = local.settle(here, config)
        if here.record.state in (OWNER, TICKET) or (offer.full and _is_old(here, offer)):
            local.set_aside(here, config)
            here = None
    if here is None:
        return _free_name(volume, offer, config)
    if here.record.state == SEALED:
        reservation.drop(here.copy.dataset)
    _become_replica(here, offer)
    return here.name


def _require_taken(here: Local, offer: Offer) -> None:
    """Raise Refused if this node's copy does not give way to what is offered."""
    if here.identity is not None and here.identity != offer.facts.get(properties.ID):
        raise Refused(f"{here.name} is another disk ({properties.ID} differs), and was left as it is")
    mine = here.record._replace(used=local.used(here))
    if not takes_data(mine, offer.generation, offer.claim):
        raise Refused(
            f"{here.name} ({mine.state}, generation {mine.generation}, floor {mine.floor}) does not give way to "
            f"generation {offer.generation}: 'zfsext show' tells where the disk is now"
        )


def _is_old(here: Local, offer: Offer) -> bool:
    """Tell whether a copy may be set aside for a whole new one: it is of another time, or never had a snapshot."""
    if here.record.generation.epoch != offer.generation.epoch:
        return True
    raise Refused(f"{here.name} is of the same time as the disk, so nothing new is begun beside it: 'zfsext forget' it")


def _become_replica(here: Local, offer: Offer) -> None:
    mine = here.record
    wanted = mine._replace(
        state=REPLICA,
        generation=offer.generation,
        floor=max(mine.floor, offer.generation),
        issued=None,
        peer=offer.source,
        over=frozenset(),
        round=mine.final if mine.state == SEALED else mine.round,
        final=None,
    )
    if wanted != mine:
        zfs.change_all({here.name: {**records.changes(wanted, ""), properties.PROMOTED: None}})


def _free_name(volume: str, offer: Offer, config: Config) -> str:
    if offer.parent not in config.live:
        raise Refused(f"{offer.parent} is not in this node's /etc/zfsext.conf: make both nodes' the same")
    found = places.find(volume, config)
    if found.copies:
        raise AlreadyThere(
            f"{found.copies[0].name} is in the way and no copy of the disk: look, and 'zfs rename' it away"
        )
    if not offer.full:
        raise Refused(f"disk {volume} is not here, and what was offered continues a copy: try again")
    return places.standby_name(offer.parent, volume)


def abort(volume: str, token: str, config: Config) -> None:
    """Throw away what the interrupted receive that has this token has left of a copy; what it had before stays."""
    with taken_over(volume, "abort"), locked([volume], "abort", BRIEF):
        here = local.find(volume, config)
        if here is None or here.record.state != REPLICA or here.copy.dataset["receive_resume_token"] != token:
            return
        if zfs.snapshots(here.name):
            streams.abort(here.name)
        else:
            removal.destroy(here.copy)
