"""What must never happen: an old copy opened, a disk or a VM on two nodes, disks of different moments.

Each is looked for at the step that would do the damage, which is where a copy is attached and where the VM starts.
"""

from world import FIRST_PROMOTION, NODES, NOTHING, World

WRITES = (1 << FIRST_PROMOTION) - 1


class Violation(Exception):
    """The VM is harmed."""


def attach(world: World, disk: int, node: int) -> World:
    """Return the world with a copy attached, as open does it."""
    if lacks(world, disk, node):
        raise Violation(f"an old copy is opened: disk{disk} on {NODES[node]}")
    for other in world.others(node):
        if world.loops[disk][other] and world.running[other]:
            raise Violation(f"two live copies: disk{disk} on {NODES[node]} and {NODES[other]}")
    return world.with_loop(disk, node, True).with_seen(disk, node, NOTHING)


def start(world: World, node: int) -> World:
    """Return the world with the VM started."""
    for other in world.others(node):
        if world.running[other]:
            raise Violation(f"the VM runs on {NODES[node]} and {NODES[other]}")
    for disk in world.disks:
        if lacks(world, disk, node):
            raise Violation(f"the VM starts on an old copy: disk{disk} on {NODES[node]}")
    if len(world.disks) == 2:
        # The guest writes to disk0 and then to disk1, each time the next two bits.
        first, second = (world.copy(disk, node).content & WRITES for disk in world.disks)
        if second >> 1 != first:
            raise Violation(f"disks of different moments on {NODES[node]}")
    return world.with_running(node, True)


def lacks(world: World, disk: int, node: int) -> bool:
    """Tell whether a copy lacks something that was acknowledged."""
    return bool(world.acknowledged[disk] & ~world.copy(disk, node).content)


def write(world: World, node: int) -> World:
    """Return the world in which the guest has written to each of its disks, and was told that it is safe."""
    world = world.spend("write")
    for disk in world.disks:
        if not world.loops[disk][node]:
            raise Violation(f"the VM on {NODES[node]} runs without disk{disk}")
        copy = world.copy(disk, node)
        bit = 1 << world.events + disk
        world = world.with_copy(disk, node, copy._replace(content=copy.content | bit))
        world = acknowledge(world, disk, world.acknowledged[disk] | bit)
    return world._replace(events=world.events + len(world.disks))


def acknowledge(world: World, disk: int, content: int) -> World:
    """Return the world in which a disk must have this content from now on."""
    contents = list(world.acknowledged)
    contents[disk] = content
    return world._replace(acknowledged=tuple(contents))
