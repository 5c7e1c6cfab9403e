"""A rollback: the owner of a stopped VM gives up what was written, and a later copy must have that no more."""

from asking import judge
from locks import locked
from rules import Rules
from safety import WRITES, acknowledge
from world import FIRST_PROMOTION, NODES, NOTHING, Moves, World

from zfsext.ownership import OWNER, Currency, Round


def rollbacks(rules: Rules, world: World) -> Moves:
    """Yield each rollback that may be, to before the first write: all disks of the VM at once."""
    if not world.budget.rollback:
        return
    for node in world.nodes:
        if world.up[node] and not world.running[node] and all(free(rules, world, disk, node) for disk in world.disks):
            yield f"ROLLBACK on {NODES[node]}", roll_back(rules, world.spend("rollback"), node)


def free(rules: Rules, world: World, disk: int, node: int) -> bool:
    """Tell whether the disk is this node's to open, and nobody uses it or works on it."""
    if world.state(disk, node) != OWNER or world.loops[disk][node] or locked(rules, world, node, disk):
        return False
    return judge(rules, world, disk, node) is Currency.OK


def roll_back(rules: Rules, world: World, node: int) -> World:
    """Return the world with the disks as they were at first, in the next generation; that is an event like a write."""
    floors = [
        record.floor
        for disk in world.disks
        for other in world.others(node)
        if world.reach(node, other) and (record := world.record(disk, other)) is not None
    ]
    number = rules.to_issue([world.copy(disk, node).record for disk in world.disks], floors)
    if number is None:
        return world
    for disk in world.disks:
        copy = world.copy(disk, node)
        content = copy.content & ~WRITES | 1 << FIRST_PROMOTION + world.events
        floor, whole = max(copy.record.floor, number), still_whole(copy.record.round, content)
        record = copy.record._replace(generation=number, floor=floor, round=whole)
        rolled = number if rules.notes_rollbacks else copy.rolled
        world = world.with_copy(disk, node, copy._replace(record=record, content=content, rolled=rolled))
        world = acknowledge(world.with_seen(disk, node, NOTHING), disk, content)._replace(events=world.events + 1)
    return world


def still_whole(whole: Round | None, content: int) -> Round | None:
    """Return the round if all of it is in what a copy has gone back to."""
    return whole if whole is not None and not whole.number & ~content else None
