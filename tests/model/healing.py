"""Whatever has happened, the VM can be started afterwards, on each node; that is looked for wherever all is at rest."""

from machine import undisturbed
from rules import Rules
from safety import Violation
from scripts import Job
from world import NODES, Budget, World

from zfsext.ownership import CLAIMS, REPLICA

#: More steps than a start may take; what takes more is turning in a circle.
MANY = 200


def unhealthy(rules: Rules, world: World) -> str | None:
    """Return why the VM cannot be started once the nodes are well, or one of two is dead; None if it can."""
    for node in world.nodes:
        trouble = cannot_start(rules, healed(world, node), node)
        if trouble is not None:
            return f"all nodes being well, {trouble}"
        for dead in world.others(node):
            if world.copies[0][node] is None:
                continue
            trouble = cannot_start(rules, healed(world, node, dead), node)
            # With a third node there may be a better copy there, so that a refusal can be right.
            if trouble is not None and (trouble != refused(node) or (len(world.nodes) == 2 and whole(world, node))):
                return f"{NODES[dead]} being dead and offline, {trouble}"
    return None


def whole(world: World, node: int) -> bool:
    """Tell whether a node has a copy of each disk that it could go on with."""
    records = [world.record(disk, node) for disk in world.disks]
    return all(
        record is not None and (record.state in CLAIMS or (record.state == REPLICA and record.round is not None))
        for record in records
    )


def healed(world: World, node: int, dead: int | None = None) -> World:
    """Return the world with all nodes well but a dead one, and Ganeti about to start the VM on this one."""
    nodes = world.nodes
    world = world._replace(
        up=tuple(other != dead for other in nodes),
        offline=tuple(other == dead for other in nodes),
        cut=(False,) * len(nodes),
        primary=node,
        running=tuple(world.running[other] and other != dead for other in nodes),
        word=(None,) * len(nodes),
        scripts=(),
        job=Job("start", "open", node, node),
        late=None,
        budget=Budget(),
    )
    return world if dead is None else world.without_loops(dead)


def cannot_start(rules: Rules, world: World, node: int) -> str | None:
    """Return why the VM does not come to run on the node; None if it does, or runs already."""
    if any(world.running):
        return None
    try:
        for _ in range(MANY):
            after = next(undisturbed(rules, world), None)
            if after is None:
                break
            world = after
            if world.running[node]:
                return None
    except Violation as violation:
        return str(violation)
    return refused(node)


def refused(node: int) -> str:
    """Return what is said of a VM that does not start."""
    return f"the VM cannot be started on {NODES[node]}"
