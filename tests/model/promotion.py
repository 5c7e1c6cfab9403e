"""A node becomes the owner because all who could object have answered or are marked offline."""

from asking import ask
from rules import Rules
from safety import acknowledge
from world import FIRST_PROMOTION, NODES, NUMBERS, PROMOTED, Copy, World

from zfsext.ownership import OWNER, REPLICA, SEALED, TICKET, Generation, Record


def promote(rules: Rules, world: World, disk: int, node: int) -> World:
    """Return the world in which the node owns the disk, and the others of the VM, in a new epoch."""
    answers, silent = ask(rules, world, disk, node)
    known = [world.copy(disk, node).record, *(record for record in answers.values() if record is not None)]
    # Ganeti's configuration changes in between, so its serial is another one at each promotion.
    generation = rules.promoted(known, world.events + 1, world.events)
    over = frozenset(NODES[other] for other in silent)
    for each in group(rules, world, disk, node):
        copy = promoted_copy(rules, world, world.copy(each, node), generation, over)
        world = world.with_copy(each, node, copy).with_seen(each, node, PROMOTED)
        world = acknowledge(world, each, copy.content)._replace(events=world.events + 1)
        if rules.leaves_floors:
            for other in answers:
                world = with_floor(world, each, NUMBERS[other], generation)
    return world


def group(rules: Rules, world: World, disk: int, node: int) -> list[int]:
    """Return the disks that are promoted together, this one first."""
    if not rules.promotes_groups:
        return [disk]
    here = (OWNER, TICKET, SEALED, REPLICA)
    return [disk, *(each for each in world.disks if each != disk and world.state(each, node) in here)]


def promoted_copy(rules: Rules, world: World, copy: Copy, generation: Generation, over: frozenset[str]) -> Copy:
    """Return the owner's copy; a replica goes back to its last complete round."""
    record, content = copy.record, copy.content
    if record.state == REPLICA and rules.promotes_rounds:
        assert record.round is not None
        content = record.round.number
    content |= 1 << FIRST_PROMOTION + world.events
    floor = max(record.floor, generation)
    return Copy(Record(OWNER, generation, floor, over=over), content, live=True, rolled=copy.rolled)


def with_floor(world: World, disk: int, node: int, floor: Generation) -> World:
    """Return the world in which a node that was told of a promotion takes nothing older into its replica."""
    if world.state(disk, node) != REPLICA:
        return world
    record = world.copy(disk, node).record
    return world.with_record(disk, node, record._replace(floor=max(record.floor, floor)))
