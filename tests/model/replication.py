"""A replication round, from any node that believes to be the owner."""

from answering import OK, call
from rules import Rules
from scripts import Complete, Data, Replication
from world import NODES, Moves, World

from zfsext.ownership import OWNER


def replicate(rules: Rules, world: World, script: Replication) -> Moves:
    """Yield what the next step of a round may lead to."""
    if rules.ends_stale_rounds and not still_owner(world, script):
        yield "is no longer the owner", world.end(script, "fail")
        return
    source, target, disk = script.source, script.target, script.sent
    if disk == len(world.disks):
        for reply, after in call(rules, world, source, target, Complete(source, script.contents)):
            yield f"complete: {reply}", after.end(script, "fail")
        return
    copy = world.copy(disk, source)
    generation = copy.record.generation
    message = Data(source, disk, generation, script.contents[disk], generation, copy.rolled)
    for reply, after in call(rules, world, source, target, message):
        if reply == OK:
            yield f"disk{disk} sent", after.advance(script, script._replace(sent=disk + 1))
        else:
            yield f"disk{disk} not sent: {reply}", after.end(script, "fail")


def still_owner(world: World, script: Replication) -> bool:
    """Tell whether the disks are what they were when the round began."""
    return all(
        world.state(disk, script.source) == OWNER
        and world.copy(disk, script.source).record.generation == script.generations[disk]
        for disk in world.disks
    )


def rounds(world: World) -> Moves:
    """Yield each round that may begin, one at a time."""
    if not world.budget.round or any(isinstance(script, Replication) for script in world.scripts):
        return
    for source in world.nodes:
        if not world.up[source] or any(world.state(disk, source) != OWNER for disk in world.disks):
            continue
        copies = [world.copy(disk, source) for disk in world.disks]
        contents = tuple(copy.content for copy in copies)
        generations = tuple(copy.record.generation for copy in copies)
        for target in world.others(source):
            if world.reach(source, target):
                script = Replication(source, target, 0, contents, generations)
                yield f"a round from {NODES[source]} to {NODES[target]} begins", world.spend("round").begin(script)
