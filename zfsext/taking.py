"""The node that a disk comes to: what it has, what it takes, and the ticket that makes the disk its own.

Each of these runs under the lock of the volume, which is waited for only briefly: who asks has locks of his own.
"""

from collections.abc import Callable, Mapping, Sequence

from zfsext import attachment, groups, local, marks, places, properties, records, removal, renaming, streams, zfs
from zfsext.config import Config
from zfsext.errors import AlreadyThere, Busy, Refused
from zfsext.groups import BRIEF, locked
from zfsext.local import Local
from zfsext.lock import VolumeLock
from zfsext.ownership import (
    OWNER,
    REPLICA,
    SEALED,
    TICKET,
    Generation,
    Record,
    Round,
    gives_back,
    takes_data,
    takes_ticket,
)
from zfsext.transfers import ended, taken_over


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
        local.drop_reservation(here)
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


def complete(
    facts: Mapping[str, Mapping[str, str]],
    which: Round,
    generation: Generation,
    taken: int,
    bases: Mapping[str, Sequence[Round]],
    config: Config,
) -> None:
    """Note that the round is here for all disks of the VM (facts has them), and destroy what it makes superfluous.

    bases are what the next increments to other nodes begin with: this one keeps them for when the disk is its own.
    """
    with locked(list(facts), "round", BRIEF):
        group = groups.require(list(facts), config)
        for here in group:
            if here.record.state != REPLICA or here.record.generation != generation:
                raise Refused(f"{here.name} is no copy of generation {generation} any more")
            if here.record.floor > generation:
                raise Refused(f"{here.name} was promised to generation {here.record.floor}, which is newer")
        if all(here.record.round == which for here in group):
            for here in group:
                if any(here.copy.dataset.local(name) != value for name, value in _facts(facts, here).items()):
                    zfs.change_all({here.name: _facts(facts, here)})
            zfs.set_user([here.name for here in group], {properties.ROUNDED: str(taken)})
            return  # who says so has just looked whether that is all that is here
        for here in group:
            require_unwritten(here, which)
        zfs.hold({records.snapshot(here.name, which): removal.TAG for here in group})
        zfs.change_all(
            {
                here.name: {
                    **here.changes(round=which, floor=max(here.record.floor, generation)),
                    **_facts(facts, here),
                    properties.ROUNDED: str(taken),
                }
                for here in group
            }
        )
        for here in group:
            _keep(here, bases)
            prune(here, which, lambda tag, base: tag == removal.TAG or _is_past(tag, base, bases))


def _facts(facts: Mapping[str, Mapping[str, str]], here: Local) -> dict[str, str | None]:
    """Return the properties that make the copy's facts the disk's; what that has not, the copy has not either."""
    return {name: facts[here.volume].get(name) for name in properties.FACTS}


def _keep(here: Local, bases: Mapping[str, Sequence[Round]]) -> None:
    there = {each.short for each in zfs.snapshots(here.name)}
    for node, each in bases.items():
        names = [records.snapshot(here.name, base) for base in each]
        zfs.hold({name: f"{removal.TAG}:{node}" for name in names if name.partition("@")[2] in there})


def _release(here: Local, last: Round, tag: str) -> None:
    """Give back the holds of this tag on what is older than the last round. The next round's end destroys it."""
    ours = [(each, records.of_snapshot(each.short)) for each in zfs.snapshots(here.name) if each.holds]
    past = [each.name for each, which in ours if which not in (None, last) and tag in zfs.holds(each.name)]
    zfs.release_holds({name: [tag] for name in past})


def _is_past(tag: str, base: Round, bases: Mapping[str, Sequence[Round]]) -> bool:
    """Tell whether a hold is for another node's next increment that begins with something else by now."""
    return removal.tagged_by_us(tag) and base not in bases.get(tag.partition(":")[2], ())


def prune(here: Local, last: Round, past: Callable[[str, Round], bool]) -> None:
    """Destroy our snapshots before the last round, as far as nobody holds or has cloned them.

    past tells which holds have had their time, by the tag and the round that is held.
    """
    name = records.snapshot(here.name, last)
    snapshots = zfs.snapshots(here.name)
    until = next((each.txg for each in snapshots if each.name == name), 0)
    ours = [(each, which) for each in snapshots if (which := records.of_snapshot(each.short)) and each.txg < until]
    old = [each for each, _ in ours]
    held = {each.name: [tag for tag in zfs.holds(each.name) if past(tag, which)] for each, which in ours if each.holds}
    zfs.release_holds({name: tags for name, tags in held.items() if tags})
    kept = {each.name for each in zfs.snapshots(here.name) if each.holds or each.clones} if old else set()
    zfs.destroy_snapshots([each.name for each in old if each.name not in kept])


def require_unwritten(here: Local, which: Round) -> None:
    """Raise Refused unless the copy ends in just the round's snapshot; others' snapshots after it do no harm."""
    name = records.snapshot("", which)
    written = zfs.read([here.name], [f"written{name}"])[here.name][f"written{name}"]
    if written != "0":
        what = "does not have the last snapshot" if written == "-" else f"was written to ({written} bytes)"
        raise Refused(f"{here.name} {what} ({name}): 'zfs rollback {here.name}{name}' undoes what was written there")


def prepare(facts: Mapping[str, Mapping[str, str]], source: str, final: Round, config: Config) -> list[Generation]:
    """Check that the VM's disks can become this node's own, and return the floors that its ticket must not be below.

    facts are those of each volume now, which may have grown since its last round.
    """
    volumes = list(facts)
    with locked(volumes, "prepare", BRIEF), ended(volumes):
        group = groups.require(volumes, config)
        for here in group:
            if here.record.state not in (REPLICA, TICKET) or here.record.peer != source:
                raise Refused(f"{here.name} is {here.record.state} of {here.record.peer or 'nobody'}, not of {source}")
            if here.copy.dataset["receive_resume_token"] not in ("-", ""):
                streams.abort(here.name)
            require_unwritten(here, final)
        zfs.change_all({here.name: _facts(facts, here) for here in group})
        group = groups.refresh(group, config)
        renaming.require(group, live=True)
        renaming.require_room(group)
        if any(here.record.state == REPLICA and here.record.round != final for here in group):
            zfs.hold({records.snapshot(here.name, final): removal.TAG for here in group})
            groups.change(group, round=final)  # all of it is here, should the source die before it gives the ticket
        return [here.record.floor for here in group]


def ticket(
    volumes: Sequence[str],
    source: str,
    number: Generation,
    final: Round,
    knows: frozenset[str],
    bases: Mapping[str, Sequence[Round]],
    config: Config,
) -> None:
    """Take the ticket for a VM's disks: from here on they are this node's. One transaction, the point of no return."""
    with locked(volumes, "ticket", BRIEF):
        group = groups.require(volumes, config)
        for here in group:
            if not takes_ticket(here.record, source, number, final):
                raise Refused(
                    f"{here.name} takes no ticket {number}: it is {here.record.state}, generation "
                    f"{here.record.generation}, floor {here.record.floor}"
                )
            require_unwritten(here, final)
        for here in group:
            _keep(here, {**bases, source: [final]})  # as its last round it is held since it was prepared
            _release(here, final, f"{removal.TAG}:{source}")  # what it needed before
            marks.set_fresh(here.volume, str(number))
        groups.change(
            group,
            state=TICKET,
            generation=number,
            floor=number,
            issued=None,
            peer=source,
            over=frozenset(),
            knows=(knows | {source}) - {local.me()},
            round=final,
            final=final,
        )


def give_back(volumes: Sequence[str], source: str, number: Generation, before: Generation, config: Config) -> None:
    """Give the source its disks back, and promise never to take a ticket up to this number.

    Raises Refused if they are this node's own by now.
    """
    with locked(volumes, "revoke", BRIEF):
        found = [here for volume in volumes if (here := local.find(volume, config)) is not None]
        for here in found:
            if not gives_back(here.record, source, number):
                raise Refused(f"{here.name} is {here.record.state} of generation {here.record.generation} on this node")
        if not found:
            return
        zfs.change_all(
            {
                here.name: here.changes(
                    state=REPLICA,
                    generation=before if here.record.state == TICKET else here.record.generation,
                    floor=max(here.record.floor, number.after()),
                    final=None,
                )
                for here in found
            }
        )


def raise_floor(volumes: Sequence[str], floor: Generation, config: Config) -> None:
    """Take nothing below the floor any more: another node was promoted."""
    with locked(volumes, "floor", BRIEF):
        found = [here for volume in volumes if (here := local.find(volume, config)) is not None]
        raised = [here for here in found if here.record.state == REPLICA and here.record.floor < floor]
        if raised:
            zfs.change_all({here.name: here.changes(floor=floor) for here in raised})


def forget(volume: str, identity: str | None, owner: Generation | None, config: Config) -> None:
    """Destroy this node's copy of a disk that is removed, or that needs no copy here; nothing is no error.

    owner is the generation of whose word it is, if the disk lives on. Raises Refused for the disk itself and for a copy
    of a newer time, Busy if something keeps the copy.
    """
    with taken_over(volume, "forget"), locked([volume], "forget", BRIEF):
        here = local.find(volume, config)
        if here is None:
            return
        if here.record.state in (OWNER, TICKET):
            raise Refused(f"{here.name} is the disk itself, and no copy of it")
        if identity is not None and here.identity not in (None, identity):
            raise Refused(f"{here.name} is another disk ({properties.ID} differs)")
        if owner is not None and max(here.record.generation, here.record.floor).epoch > owner.epoch:
            raise Refused(f"{here.name} is of a newer time (generation {here.record.generation}) than {owner}")
        destroy(here, config)
        VolumeLock(volume, "forget").forget()


def destroy(here: Local, config: Config) -> None:
    """Destroy a copy with all that is ours on it."""
    attachment.detach(here.volume, config)
    snapshots = zfs.snapshots(here.name)
    zfs.release_holds({each.name: _our_tags(each) for each in snapshots if each.holds})
    held = [each for each in zfs.snapshots(here.name) if each.holds or each.clones]
    if held:
        names = ", ".join(each.name for each in held)
        raise Busy(f"{here.name} was not destroyed: {names} is held or has clones, 'zfs holds' tells by whom")
    if here.copy.dataset["receive_resume_token"] not in ("-", ""):
        streams.abort(here.name)
    removal.destroy(here.copy)
    marks.forget(here.volume)


def _our_tags(snapshot: zfs.Snapshot) -> list[str]:
    return [tag for tag in zfs.holds(snapshot.name) if removal.tagged_by_us(tag)]
