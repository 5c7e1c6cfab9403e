"""The hand-over of a group of disks: the loops off, the data, the seal, the rename, and the ticket that commits it."""

from answering import OK, call
from asking import judge
from locks import locked
from promotion import promote
from rules import Rules
from scripts import Data, HandOver, Ticket
from world import NODES, NOTHING, Moves, World

from zfsext.ownership import OWNER, SEALED, TICKET, Currency, Record, Round


def hand_over(rules: Rules, world: World, script: HandOver) -> Moves:
    """Yield what the next step of a hand-over may lead to."""
    if script.step == "begin":
        yield from begin(rules, world, script)
    elif script.step == "send":
        yield from send(rules, world, script)
    elif script.step == "seal":
        yield "sealed", seal(world, script).advance(script, script._replace(step="rename"))
    elif script.step == "rename":
        yield "renamed", rename(world, script).advance(script, script._replace(step="ticket"))
    else:
        yield from give_ticket(rules, world, script)


def begin(rules: Rules, world: World, script: HandOver) -> Moves:
    """See whether the disks may be given away, and take them from use."""
    source, target, disks = script.source, script.target, script.disks
    if any(locked(rules, world, source, disk, script) for disk in disks):
        return
    states = {world.state(disk, source) for disk in disks}
    obstacle = None
    if world.running[source]:
        obstacle = "is in use"
    elif states == {SEALED} and any(world.copy(disk, source).record.peer != NODES[target] for disk in disks):
        obstacle = "is sealed for another"
    elif states != {SEALED} and not states <= {OWNER, TICKET}:
        obstacle = "is not the owner"
    elif not world.reach(source, target) or world.offline[target]:
        obstacle = "cannot be reached"
    elif states != {SEALED}:
        obstacle, world = make_current(rules, world, script)
    if obstacle is not None:
        yield obstacle, world.end(script, "fail")
        return
    floors = [record.floor for disk in disks if (record := world.record(disk, target)) is not None]
    number = rules.to_issue([world.copy(disk, source).record for disk in disks], floors)
    if number is None:
        yield "another epoch has begun", world.end(script, "fail")
        return
    if states != {SEALED}:
        world = take_from_use(rules, world, script)
    yield (
        "goes on" if states == {SEALED} else "loops off",
        world.advance(script, script._replace(step="send", number=number)),
    )


def make_current(rules: Rules, world: World, script: HandOver) -> tuple[str | None, World]:
    """Return what is against it that these copies are handed on, which one in use has shown before."""
    for disk in script.disks:
        if not world.loops[disk][script.source]:
            found = judge(rules, world, disk, script.source)
            if found is Currency.OFFLINE:
                world = promote(rules, world, disk, script.source)
            elif found is not Currency.OK:
                return found.value, world
    return None, world


def take_from_use(rules: Rules, world: World, script: HandOver) -> World:
    """Return the world with the disks detached, and owned by the source if it had but tickets."""
    for disk in script.disks:
        copy = world.copy(disk, script.source)
        if rules.consumes_first and copy.record.state == TICKET:
            world = world.with_copy(disk, script.source, copy._replace(record=consumed(copy.record), live=True))
        world = world.with_loop(disk, script.source, False)
    return world


def consumed(ticket: Record) -> Record:
    """Return the owner's record that a ticket becomes."""
    return ticket._replace(state=OWNER, peer="", round=None, final=None)


def send(rules: Rules, world: World, script: HandOver) -> Moves:
    """Send the next disk."""
    source, disk = script.source, script.disks[script.sent]
    if world.state(disk, source) not in (OWNER, TICKET, SEALED):
        yield "is no longer the owner", world.end(script, "fail")
        return
    copy = world.copy(disk, source)
    assert script.number is not None
    message = Data(source, disk, copy.record.generation, copy.content, script.number, copy.rolled)
    sent = script.sent + 1
    then = script._replace(sent=sent, step="seal" if sent == len(script.disks) else "send")
    for reply, after in call(rules, world, source, script.target, message):
        if reply == OK:
            yield f"disk{disk} sent", after.advance(script, then)
        else:
            yield f"disk{disk} not sent: {reply}", after.end(script, "fail")


def seal(world: World, script: HandOver) -> World:
    """Return the world in which the source has given the disks up, in one transaction."""
    number = script.number
    assert number is not None
    for disk in script.disks:
        copy = world.copy(disk, script.source)
        record = copy.record._replace(
            state=SEALED,
            peer=NODES[script.target],
            issued=number,
            floor=max(copy.record.floor, number),
            round=None,
            final=Round(copy.record.generation, copy.content),
        )
        world = world.with_record(disk, script.source, record).with_seen(disk, script.source, NOTHING)
    return world


def rename(world: World, script: HandOver) -> World:
    """Return the world in which the sealed copies lie where the standby ones do."""
    for disk in script.disks:
        copy = world.copy(disk, script.source)
        world = world.with_copy(disk, script.source, copy._replace(live=False))
    return world


def give_ticket(rules: Rules, world: World, script: HandOver) -> Moves:
    """Send the ticket; without an answer the disks stay sealed."""
    if world.offline[script.target]:
        yield "the target is marked offline", world.end(script, "fail")
        return
    copies = [world.copy(disk, script.source) for disk in script.disks]
    assert script.number is not None
    finals = tuple(Round(copy.record.generation, copy.content) for copy in copies)
    message = Ticket(script.source, script.disks, script.number, finals)
    for reply, after in call(rules, world, script.source, script.target, message):
        yield f"ticket: {reply}", after.end(script, "ok" if reply == OK else "fail")
