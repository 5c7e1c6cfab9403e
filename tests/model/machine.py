"""All that may happen next in a world."""

from collections.abc import Iterator

from ganeti import job_goes_on, operations
from handover import hand_over
from opening import open_disk
from replication import replicate, rounds
from rollback import rollbacks
from rules import Rules
from safety import write
from scripts import HandOver, Open, Script
from trouble import late_message, network_fails, nodes_fail, words_expire
from world import NODES, Moves, World


def moves(rules: Rules, world: World) -> Moves:
    """Yield each next world, and what led to it."""
    for script in world.scripts:
        if world.up[script.node]:
            for what, after in goes_on(rules, world, script):
                yield f"{script} on {NODES[script.node]}: {what}", after
            if world.budget.kill:
                yield f"KILL of {script} on {NODES[script.node]}", world.spend("kill").end(script, "fail")
    if world.job is None:
        yield from operations(world)
    else:
        yield from job_goes_on(rules, world)
        if world.budget.timeout:
            yield "job given up", world.spend("timeout")._replace(job=None)
    yield from late_message(rules, world)
    if world.budget.write:
        for node in world.nodes:
            if world.running[node]:
                yield f"the VM writes on {NODES[node]}", write(world, node)
    yield from rounds(world)
    yield from rollbacks(rules, world)
    yield from words_expire(world)
    yield from nodes_fail(rules, world)
    yield from network_fails(world)


def undisturbed(rules: Rules, world: World) -> Iterator[World]:
    """Yield what comes next when nothing goes wrong: the scripts at work, and then the job."""
    for script in world.scripts:
        for _, after in goes_on(rules, world, script):
            yield after
    for _, after in job_goes_on(rules, world):
        yield after


def goes_on(rules: Rules, world: World, script: Script) -> Moves:
    """Yield what the next step of a script may lead to."""
    if isinstance(script, HandOver):
        return hand_over(rules, world, script)
    if isinstance(script, Open):
        return open_disk(rules, world, script)
    return replicate(rules, world, script)
