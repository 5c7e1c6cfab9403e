"""How a node answers another: each message is handled at once, under the lock of the disks that it is about."""

from collections.abc import Iterator

from asking import judge
from locks import locked
from promotion import promote
from rollback import still_whole
from rules import Rules
from scripts import Complete, Data, HandOver, Message, Pull, Revoke, Ticket
from world import NODES, TICKETED, Copy, World

from zfsext.ownership import OWNER, REPLICA, SEALED, TICKET, Currency, Generation, Record, Round

OK, NO, BUSY, IN_USE = "ok", "no", "is busy", "is in use"


def call(rules: Rules, world: World, source: int, target: int, message: Message) -> Iterator[tuple[str | None, World]]:
    """Yield what may come back (None: nothing), with the world as it is then."""
    if not world.reach(source, target):
        yield None, world
        return
    reply, after = handle(rules, world, target, message)
    yield reply, after
    if after != world and world.budget.lost:
        yield None, after.spend("lost")
    if world.budget.late and world.late is None and not isinstance(message, Complete):
        yield None, world.spend("late")._replace(late=(target, message))


def handle(rules: Rules, world: World, node: int, message: Message) -> tuple[str, World]:
    """Return the node's reply, and the world as it has changed it."""
    if isinstance(message, Data):
        return take_data(rules, world, node, message)
    if isinstance(message, Complete):
        return complete_round(world, node, message)
    if isinstance(message, Ticket):
        return take_ticket(rules, world, node, message)
    if isinstance(message, Revoke):
        return give_back(rules, world, node, message)
    return begin_pull(rules, world, node, message)


def take_data(rules: Rules, world: World, node: int, message: Data) -> tuple[str, World]:
    """Receive a stream: the copy becomes a replica of the sender's."""
    disk, generation = message.disk, message.generation
    if locked(rules, world, node, disk):
        return BUSY, world
    copy, mine = world.copies[disk][node], world.record(disk, node)
    if copy is not None and mine is not None and has_already(copy, message):
        return OK, world
    if not rules.takes_data(mine, generation, message.claim):
        return NO, world
    floor, whole = generation, None
    if copy is not None and mine is not None:
        continued = not copy.content & ~message.content
        # An owner's copy is set aside for the disk, and one of another epoch, if that is not its continuation. In the
        # same epoch it cannot be that a copy differs, so it is left as it is.
        aside = mine.state == OWNER or (rules.sets_aside and generation.epoch != mine.generation.epoch)
        goes_back = mine.state in (REPLICA, SEALED) and message.rolled > mine.generation
        if rules.continues_streams and not continued and not aside and not goes_back:
            return NO, world
        floor = max(mine.floor, generation)
        whole = last_round(copy) if continued else still_whole(last_round(copy), message.content) if goes_back else None
    if not rules.leaves_floors:
        floor = Record(REPLICA).floor
    record = Record(REPLICA, generation, floor, peer=NODES[message.source], round=whole)
    return OK, world.with_copy(disk, node, Copy(record, message.content, live=False, rolled=message.rolled))


def has_already(copy: Copy, message: Data) -> bool:
    """Tell whether it is what came with the ticket that is here: a hand-over is being resumed."""
    record = copy.record
    return (record.state, record.peer, copy.content) == (
        TICKET,
        NODES[message.source],
        message.content,
    ) and message.generation <= record.generation


def last_round(copy: Copy) -> Round | None:
    """Return the round that a copy still has complete when more is received; that of a sealed one is its final."""
    if copy.record.state == SEALED:
        return copy.record.final
    return copy.record.round if copy.record.state == REPLICA else None


def complete_round(world: World, node: int, message: Complete) -> tuple[str, World]:
    """All disks are here: the round is one that can be promoted."""
    for disk in world.disks:
        if world.state(disk, node) != REPLICA or world.copy(disk, node).content != message.contents[disk]:
            return NO, world
    for disk in world.disks:
        record = world.copy(disk, node).record
        whole = Round(record.generation, message.contents[disk])
        world = world.with_record(disk, node, record._replace(round=whole))
    return OK, world


def take_ticket(rules: Rules, world: World, node: int, message: Ticket) -> tuple[str, World]:
    """Take over the disks, all in one transaction: this is the commit point of a hand-over."""
    if any(locked(rules, world, node, disk) for disk in message.disks):
        return BUSY, world
    source, number = NODES[message.source], message.number
    for disk, final in zip(message.disks, message.finals, strict=True):
        copy, mine = world.copies[disk][node], world.record(disk, node)
        if copy is None or copy.content != final.number or not rules.takes_ticket(mine, source, number, final):
            return NO, world
    for disk, final in zip(message.disks, message.finals, strict=True):
        mine = world.copy(disk, node).record
        floor = max(mine.floor, number) if rules.leaves_floors else mine.floor
        ticket = Record(TICKET, number, floor, peer=source, round=final, final=final)
        world = world.with_record(disk, node, ticket).with_seen(disk, node, TICKETED)
    return OK, world


def give_back(rules: Rules, world: World, node: int, message: Revoke) -> tuple[str, World]:
    """Give a ticket back that was not used, for all disks in one transaction, and take it at no later time."""
    disks = list(world.disks) if rules.revokes_groups else [message.disk]
    if any(locked(rules, world, node, disk) for disk in disks):
        return BUSY, world
    records = {disk: world.record(disk, node) for disk in disks}
    source, number = NODES[message.source], message.number
    if not all(rules.gives_back(record, source, number) for record in records.values()):
        return NO, world
    for disk, record in records.items():
        if record is not None:
            record = world.copy(disk, node).record
            world = world.with_record(disk, node, given_back(rules, record, message.generation, number.after()))
    return OK, world


def given_back(rules: Rules, record: Record, generation: Generation, floor: Generation) -> Record:
    """Return the record of a ticket that was given back: a replica, of the source's generation again."""
    if record.state == TICKET:
        record = record._replace(state=REPLICA, generation=generation, final=None)
    return record._replace(floor=max(record.floor, floor)) if rules.leaves_floors else record


def begin_pull(rules: Rules, world: World, node: int, message: Pull) -> tuple[str, World]:
    """Begin to hand the disk, and the others of its VM, over to who asks."""
    disk, asker = message.disk, message.source
    if locked(rules, world, node, disk):
        return BUSY, world
    if world.running[node] or starting(world, node):
        return IN_USE, world
    state = world.state(disk, node)
    if state in (OWNER, TICKET):
        if not world.loops[disk][node]:
            found = judge(rules, world, disk, node)
            if found is Currency.OFFLINE:
                world = promote(rules, world, disk, node)
            elif found is not Currency.OK:
                return found.value, world
    elif state != SEALED or world.copy(disk, node).record.peer != NODES[asker]:
        return NO, world
    disks = pulled(rules, world, node, message) if rules.hands_over_groups else (disk,)
    script = HandOver(node, asker, disks, "begin", 0, "pull", None)
    return OK, world if script in world.scripts else world.begin(script)


def starting(world: World, node: int) -> bool:
    """Tell whether the VM is about to start here: all its disks are attached, and a job is at it."""
    job = world.job
    if job is None or job.phase != "open" or job.target != node:
        return False
    return all(world.loops[disk][node] for disk in world.disks)


def pulled(rules: Rules, world: World, node: int, message: Pull) -> tuple[int, ...]:
    """Return the disks that can be handed over together with the one that was asked for."""
    state = world.state(message.disk, node)
    chosen = []
    for disk in world.disks:
        if world.state(disk, node) != state or locked(rules, world, node, disk):
            continue
        if state == SEALED:
            fit = world.copy(disk, node).record.peer == NODES[message.source]
        else:
            fit = disk == message.disk or world.loops[disk][node]
            fit = fit or judge(rules, world, disk, node) is Currency.OK
        if fit:
            chosen.append(disk)
    return tuple(chosen)
