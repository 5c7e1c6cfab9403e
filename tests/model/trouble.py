"""What goes wrong around the scripts: messages late, nodes that crash, are cut off, or are marked offline."""

from answering import handle
from rules import Rules
from world import ASIDE, NODES, NOTHING, Moves, World, at

from zfsext.ownership import CLAIMS, OWNER, TICKET


def late_message(rules: Rules, world: World) -> Moves:
    """A message that was given up arrives after all, or is lost."""
    if world.late is None:
        return
    target, message = world.late
    without = world._replace(late=None)
    name = type(message).__name__.lower()
    if world.up[target]:
        reply, after = handle(rules, without, target, message)
        yield f"late {name}: {reply}", after
    yield f"late {name} lost", without


def words_expire(world: World) -> Moves:
    """The word that a hook has left is forgotten after a while."""
    if world.job is None:
        for node in world.nodes:
            if world.word[node] is not None:
                yield f"the word on {NODES[node]} expires", world._replace(word=at(world.word, node, None))


def nodes_fail(rules: Rules, world: World) -> Moves:
    """Nodes crash and boot, and the administrator says of a dead one that it is; or, mistaken, of a living one."""
    for node in world.nodes:
        if world.up[node]:
            if world.budget.crash:
                yield f"CRASH of {NODES[node]}", crash(world.spend("crash"), node)
            if world.budget.mistaken and not world.offline[node]:
                marked = world.spend("mistaken")._replace(offline=at(world.offline, node, True), job=None)
                yield f"OFFLINE {NODES[node]}, which is alive", marked
        else:
            yield f"{NODES[node]} boots", world._replace(up=at(world.up, node, True))
            if world.budget.offline and not world.offline[node]:
                marked = world.spend("offline")._replace(offline=at(world.offline, node, True))
                yield f"OFFLINE {NODES[node]}", marked
        if world.offline[node] and world.up[node]:
            yield from online(rules, world, node)


def crash(world: World, node: int) -> World:
    """Return the world after a node's power was cut: what was not on its pool is gone."""
    job, late = world.job, world.late
    if job is not None and (
        (job.phase == "open" and job.target == node) or (job.phase == "close" and job.source == node)
    ):
        job = None
    if late is not None and late[0] == node:
        late = None
    world = world._replace(
        up=at(world.up, node, False),
        word=at(world.word, node, None),
        scripts=tuple(script for script in world.scripts if script.node != node),
        job=job,
        late=late,
    )
    return forget(world.with_running(node, False).without_loops(node), node)


def forget(world: World, node: int) -> World:
    """Return the world in which a node has not seen anything in this boot."""
    for disk in world.disks:
        world = world.with_seen(disk, node, NOTHING)
    return world


def online(rules: Rules, world: World, node: int) -> Moves:
    """The administrator says that a node is there again; a hook sets aside what others have been promoted over."""
    after = world
    if rules.reconciles:
        for other in world.others(node):
            if world.up[other] and not world.reach(node, other):
                return
            for disk in world.disks:
                if passed(rules, world, disk, node, other):
                    copy = world.copy(disk, node)
                    aside = copy._replace(record=copy.record._replace(state=ASIDE), live=False)
                    after = after.with_copy(disk, node, aside)
    yield f"ONLINE {NODES[node]}", forget(after, node)._replace(offline=at(world.offline, node, False))


def passed(rules: Rules, world: World, disk: int, node: int, other: int) -> bool:
    """Tell whether a node's claim is one that another has been promoted over."""
    mine, theirs = world.copies[disk][node], world.record(disk, other)
    if mine is None or mine.record.state not in (OWNER, TICKET):
        return False
    if not world.up[other] or theirs is None or theirs.state not in CLAIMS:
        return False
    if theirs.generation.serial > mine.record.generation.serial:
        return True
    return rules.passed_over(NODES[node], mine.record, theirs)


def network_fails(world: World) -> Moves:
    """A node is cut off from the others, or is back; of two nodes it is the same which one."""
    for node in world.nodes if len(world.nodes) > 2 else (0,):
        if world.cut[node]:
            yield f"{NODES[node]} is heard again", world._replace(cut=at(world.cut, node, False))
        elif world.budget.cut:
            yield f"CUT of {NODES[node]}", world.spend("cut")._replace(cut=at(world.cut, node, True))
