"""open(True), the one script that moves a disk here: it uses a ticket, takes one back, pulls the disk, or promotes."""

from answering import OK, call
from asking import ask, judge
from handover import consumed
from locks import locked
from promotion import promote
from rules import Rules
from safety import attach
from scripts import HandOver, Open, Pull, Revoke
from world import ASIDE, NODES, NUMBERS, Moves, World

from zfsext.ownership import OWNER, REPLICA, SEALED, TICKET, Currency, Generation, Record


def open_disk(rules: Rules, world: World, script: Open) -> Moves:
    """Yield what the next step of an open may lead to."""
    if not locked(rules, world, script.node, script.disk, script):
        yield from STEPS[script.step](rules, world, script)


def again(world: World, script: Open) -> Moves:
    """Look anew, since the copy is not what it was."""
    yield "looks again", world.advance(script, Open(script.node, script.disk, "begin"))


def begin(rules: Rules, world: World, script: Open) -> Moves:
    """Look what the copy here is."""
    node, disk = script.node, script.disk
    copy = world.copies[disk][node]
    state = world.state(disk, node)
    if world.loops[disk][node] and state == OWNER:
        yield "is attached", world.end(script, "ok")
    elif not rules.goes_by_state and copy is not None and copy.live:
        yield "is in the live place", attach(world, disk, node).end(script, "ok")
    elif state in (OWNER, TICKET):
        yield from open_claim(rules, world, script)
    elif state == SEALED and rules.reclaims:
        yield "wants its ticket back", world.advance(script, script._replace(step="revoke"))
    elif state == SEALED:
        yield "is sealed", world.end(script, "fail")
    else:
        yield "seeks the owner", world.advance(script, script._replace(step="seek"))


def open_claim(rules: Rules, world: World, script: Open) -> Moves:
    """An owner or the holder of a ticket asks whether it is current."""
    node, disk = script.node, script.disk
    copy = world.copy(disk, node)
    found = judge(rules, world, disk, node)
    if found is Currency.OK and copy.record.state == TICKET:
        yield "has a ticket", world.advance(script, script._replace(step="consume"))
    elif found is Currency.OK:
        world = world.with_copy(disk, node, copy._replace(live=True))
        yield "is the owner", attach(world, disk, node).end(script, "ok")
    elif found is Currency.OFFLINE:
        yield "passes over who is marked offline", world.advance(script, script._replace(step="promote"))
    elif found is Currency.SUPERSEDED:
        aside = copy._replace(record=copy.record._replace(state=ASIDE), live=False)
        yield "sets its copy aside", world.with_copy(disk, node, aside)
    else:
        yield found.value, world.end(script, "fail")


def consume(rules: Rules, world: World, script: Open) -> Moves:
    """Use the tickets of the group in one transaction."""
    node, disk = script.node, script.disk
    if world.state(disk, node) != TICKET:
        yield from again(world, script)
        return
    if not rules.goes_by_state:
        copy = world.copy(disk, node)
        world = world.with_copy(disk, node, copy._replace(live=True))
        yield "renames first", world.advance(script, script._replace(step="state last"))
        return
    source = world.copy(disk, node).record.peer
    for each in world.disks if rules.revokes_groups else (disk,):
        if world.state(each, node) == TICKET and world.copy(each, node).record.peer == source:
            world = world.with_record(each, node, consumed(world.copy(each, node).record))
    yield "uses its ticket", world.advance(script, script._replace(step="settle"))


def settle(rules: Rules, world: World, script: Open) -> Moves:
    """The place follows the state."""
    del rules
    node, disk = script.node, script.disk
    if world.state(disk, node) != OWNER:
        yield from again(world, script)
        return
    world = world.with_copy(disk, node, world.copy(disk, node)._replace(live=True))
    yield "is renamed and opened", attach(world, disk, node).end(script, "ok")


def state_last(rules: Rules, world: World, script: Open) -> Moves:
    """Use the ticket after the rename, which is the wrong way round."""
    del rules
    node, disk = script.node, script.disk
    if world.state(disk, node) != TICKET:
        yield from again(world, script)
        return
    world = world.with_record(disk, node, consumed(world.copy(disk, node).record))
    yield "is opened", attach(world, disk, node).end(script, "ok")


def revoke(rules: Rules, world: World, script: Open) -> Moves:
    """Ask for the ticket that was sent, or may have been."""
    node, disk = script.node, script.disk
    if world.state(disk, node) != SEALED:
        yield from again(world, script)
        return
    record = world.copy(disk, node).record
    target = NUMBERS[record.peer]
    seek = Open(node, disk, "seek")
    if not world.reach(node, target):
        if world.offline[target]:
            yield "the addressee is marked offline", world.advance(script, seek)
        else:
            yield "the addressee is silent", world.end(script, "fail")
        return
    assert record.issued is not None
    for reply, after in call(rules, world, node, target, Revoke(node, disk, record.issued, record.generation)):
        if reply == OK:
            yield "ticket revoked", after.advance(script, Open(node, disk, "unseal", number=record.issued))
        elif reply is None:
            yield "no answer to the revoke", after.end(script, "fail")
        else:
            yield f"revoke refused: {reply}", after.advance(script, seek)


def unseal(rules: Rules, world: World, script: Open) -> Moves:
    """Own the group again, in one transaction."""
    node, disk = script.node, script.disk
    if world.state(disk, node) != SEALED or world.copy(disk, node).record.issued != script.number:
        yield from again(world, script)
        return
    assert script.number is not None
    target = world.copy(disk, node).record.peer
    for each in world.disks if rules.revokes_groups else (disk,):
        if world.state(each, node) == SEALED and world.copy(each, node).record.peer == target:
            owner = unsealed(world.copy(each, node).record, script.number)
            world = world.with_record(each, node, owner._replace(floor=max(owner.floor, owner.generation)))
    yield "unsealed", world.advance(script, Open(node, disk, "begin"))


def unsealed(record: Record, number: Generation) -> Record:
    """Return the owner's record of a copy whose ticket of this number was revoked."""
    return record._replace(state=OWNER, generation=number.after(), issued=None, peer="", final=None)


def seek(rules: Rules, world: World, script: Open) -> Moves:
    """Ask all nodes who has the disk, and have it handed over; if nobody can have it, promote."""
    node, disk = script.node, script.disk
    if world.state(disk, node) in (OWNER, TICKET):
        yield from again(world, script)
        return
    answers, _ = ask(rules, world, disk, node)
    mine = world.record(disk, node)
    holder = rules.best(mine, answers)
    if holder is not None:
        record = answers[holder]
        assert record is not None
        if record.state != SEALED or record.peer == NODES[node]:
            yield from pull(rules, world, script, NUMBERS[holder])
            return
        if world.reach(NUMBERS[holder], NUMBERS[record.peer]):
            yield from have_it_revoked(rules, world, script, NUMBERS[holder])
            return
        if not world.offline[NUMBERS[record.peer]]:
            yield "its addressee is silent", world.end(script, "fail")
            return
        if mine is None or mine.state != SEALED or record.generation > mine.generation:
            yield from have_it_promoted(rules, world, script, NUMBERS[holder])
            return
    obstacle = why_not_promoted(rules, world, script)
    if obstacle is None:
        yield "may promote", world.advance(script, script._replace(step="promote"))
    else:
        yield obstacle, world.end(script, "fail")


def why_not_promoted(rules: Rules, world: World, script: Open) -> str | None:
    """Return what is against a promotion of the copy here; None for nothing."""
    node, disk = script.node, script.disk
    answers, silent = ask(rules, world, disk, node)
    if any(not world.offline[other] for other in silent):
        return "who may have it is silent"
    if rules.promotes_rounds and any(incomplete(world.record(each, node)) for each in world.disks):
        return "has no complete round"
    if not silent:
        return "nobody has it"
    mine = world.record(disk, node)
    if mine is None:
        return "has no copy"
    if rules.better_replica(mine, answers) is not None:
        return "another has a better replica"
    return None


def incomplete(record: Record | None) -> bool:
    """Tell whether a copy is a replica that has no complete round."""
    return record is not None and record.state == REPLICA and record.round is None


def pull(rules: Rules, world: World, script: Open, holder: int) -> Moves:
    """Ask the holder for the disk."""
    for reply, after in call(rules, world, script.node, holder, Pull(script.node, script.disk)):
        if reply == OK:
            yield "pulls", after.advance(script, script._replace(step="wait", holder=holder))
        else:
            yield f"does not get it: {reply}", after.end(script, "fail")


def have_it_revoked(rules: Rules, world: World, script: Open, holder: int) -> Moves:
    """Have who sealed the disk for a third node take the ticket back first."""
    disk = script.disk
    record = world.copy(disk, holder).record
    assert record.issued is not None
    message = Revoke(holder, disk, record.issued, record.generation)
    for reply, after in call(rules, world, holder, NUMBERS[record.peer], message):
        if reply == OK and not locked(rules, after, holder, disk):
            copy = after.copy(disk, holder)
            owned = copy._replace(record=unsealed(copy.record, message.number), live=True)
            after = after.with_copy(disk, holder, owned)
            yield "has the ticket for a third node revoked", after
        else:
            yield f"the ticket for a third node stays: {reply}", after.end(script, "fail")


def have_it_promoted(rules: Rules, world: World, script: Open, holder: int) -> Moves:
    """Have who sealed the disk for a dead node promote its copy, which is complete."""
    _, silent = ask(rules, world, script.disk, script.node)
    if all(world.offline[other] for other in silent) and not locked(rules, world, holder, script.disk):
        yield "has the sealed copy promoted", promote(rules, world, script.disk, holder)
    else:
        yield "who may have it is silent", world.end(script, "fail")


def promote_here(rules: Rules, world: World, script: Open) -> Moves:
    """Promote the copy here, if all is under the lock still as it was found."""
    node, disk = script.node, script.disk
    mine = world.record(disk, node)
    if mine is None:
        yield from again(world, script)
        return
    answers, silent = ask(rules, world, disk, node)
    if mine.state in (OWNER, TICKET):  # only who was ever sent a byte may know better
        silent = [other for other in silent if world.copies[disk][other] is not None]
    if any(not world.offline[other] for other in silent) or rules.claimed(mine, answers) is not None:
        yield from again(world, script)
        return
    yield "promoted", attach(promote(rules, world, disk, node), disk, node).end(script, "ok")


def wait(rules: Rules, world: World, script: Open) -> Moves:
    """Wait for the hand-over to end."""
    del rules
    if world.state(script.disk, script.node) == TICKET:
        yield "has got it", world.advance(script, Open(script.node, script.disk, "begin"))
        return
    on_its_way = world.late is not None and isinstance(world.late[1], Pull)
    if not on_its_way and not any(
        isinstance(other, HandOver) and (other.source, other.target) == (script.holder, script.node)
        for other in world.scripts
    ):
        yield "was not given it", world.end(script, "fail")


STEPS = {
    "begin": begin,
    "consume": consume,
    "settle": settle,
    "state last": state_last,
    "revoke": revoke,
    "unseal": unseal,
    "seek": seek,
    "promote": promote_here,
    "wait": wait,
}
