"""What is complete on the node that a disk comes to: a round of all disks of a VM, and what it makes superfluous."""

from collections.abc import Callable, Mapping, Sequence

from zfsext import groups, local, moments, properties, records, removal, zfs
from zfsext.config import Config
from zfsext.errors import Refused
from zfsext.groups import BRIEF, locked
from zfsext.local import Local
from zfsext.ownership import REPLICA, Generation, Round


def complete(
    facts: Mapping[str, Mapping[str, str]],
    which: Round,
    generation: Generation,
    taken: int,
    bases: Mapping[str, Sequence[Round]],
    kept: Mapping[str, Sequence[str]],
    config: Config,
) -> None:
    """Note that the round is here for all disks of the VM (facts has them), and destroy what it makes superfluous.

    bases are what the next increments to other nodes begin with: this one keeps them for when the disk is its own. kept
    are the snapshots of moments (zfsext.moments) that the disks still have, by the volumes: what was pruned there goes.
    """
    with locked(list(facts), "round", BRIEF):
        group = groups.require(list(facts), config)
        for here in group:
            if here.record.state != REPLICA or here.record.generation != generation:
                raise Refused(f"{here.name} is no copy of generation {generation} any more")
            if here.record.floor > generation:
                raise Refused(f"{here.name} was promised to generation {here.record.floor}, which is newer")
            require_unwritten(here, which)
        zfs.hold({records.snapshot(here.name, which): removal.TAG for here in group})
        zfs.change_all(
            {
                here.name: {
                    **here.changes(round=which, floor=max(here.record.floor, generation)),
                    **new_facts(facts, here),
                    properties.ROUNDED: str(taken),
                }
                for here in group
            }
        )
        for here in group:
            keep(here, bases)
            prune(here, which, lambda tag, base: tag == removal.TAG or _is_past(tag, base, bases))
            snapshots = zfs.snapshots(here.name)
            until = next(each.txg for each in snapshots if each.name == records.snapshot(here.name, which))
            zfs.destroy_free(moments.gone(snapshots, until, kept.get(here.volume, ())))


def idle(
    facts: Mapping[str, Mapping[str, str]], which: Round, generation: Generation, taken: int, config: Config
) -> bool:
    """Note that the round is still the last of all disks of the VM (facts has them), if nothing else is here of them.

    Returns whether that is so.
    """
    with locked(list(facts), "round", BRIEF):
        group = [here for here in local.find_all(list(facts), config).values() if here is not None]
        if len(group) < len(facts) or not all(_has_just(here, which, generation, facts) for here in group):
            return False
        name = f"written{records.snapshot('', which)}"
        if any(found[name] != "0" for found in zfs.read([here.name for here in group], [name]).values()):
            return False
        for here in group:
            if any(here.copy.dataset.local(name) != value for name, value in new_facts(facts, here).items()):
                zfs.change_all({here.name: new_facts(facts, here)})
        zfs.set_all([here.name for here in group], {properties.ROUNDED: str(taken)})
        return True


def _has_just(here: Local, which: Round, generation: Generation, facts: Mapping[str, Mapping[str, str]]) -> bool:
    return (
        here.record.state == REPLICA
        and (here.record.round, here.record.generation) == (which, generation)
        and here.record.floor <= generation
        and here.identity == facts[here.volume].get(properties.ID)
        and here.copy.dataset["receive_resume_token"] in ("-", "")
    )


def new_facts(facts: Mapping[str, Mapping[str, str]], here: Local) -> dict[str, str | None]:
    """Return the properties that make the copy's facts the disk's; what that has not, the copy has not either."""
    return {name: facts[here.volume].get(name) for name in properties.FACTS}


def keep(here: Local, bases: Mapping[str, Sequence[Round]]) -> None:
    """Hold what increments to other nodes begin with, of the rounds that are here."""
    there = {each.short for each in zfs.snapshots(here.name)}
    for node, each in bases.items():
        names = [records.snapshot(here.name, base) for base in each]
        zfs.hold({name: f"{removal.TAG}:{node}" for name in names if name.partition("@")[2] in there})


def release(here: Local, last: Round, tag: str) -> None:
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
