"""What Ganeti and the administrator do: one job at a time, which calls the scripts in the order that Ganeti does."""

from rules import Rules
from safety import start
from scripts import HandOver, Job, Open
from world import NODES, NOTHING, PROMOTED, Moves, World, at

from zfsext.ownership import SEALED


def operations(world: World) -> Moves:
    """Yield each thing that may be ordered while no job is at work."""
    if not world.budget.operation:
        return
    # A promotion is of the moment only for as long as the operation that it was made for.
    seen = tuple(tuple(NOTHING if each == PROMOTED else each for each in row) for row in world.seen)
    world = world.spend("operation")._replace(seen=seen)
    primary = world.primary
    for target in world.others(primary):
        if world.up[target] and not world.offline[target]:
            job = Job("failover", "hook", primary, target)
            yield f"FAILOVER to {NODES[target]}", world._replace(job=job)
            if not world.running[primary]:
                yield f"NEW PRIMARY {NODES[target]}", world._replace(primary=target)
    if world.running[primary]:
        yield f"STOP on {NODES[primary]}", world.with_running(primary, False).without_loops(primary)
    elif world.up[primary] and not world.offline[primary]:
        yield f"START on {NODES[primary]}", world._replace(job=Job("start", "open", primary, primary))


def job_goes_on(rules: Rules, world: World) -> Moves:
    """Yield what the next step of the job may lead to."""
    job = world.job
    if job is None:
        return
    if job.phase == "hook":
        yield from hook(world, job)
    elif job.phase == "down":
        yield from down(world, job)
    elif job.phase == "close":
        yield from close(rules, world, job)
    else:
        yield from opens(world, job)


def hook(world: World, job: Job) -> Moves:
    """The hook before a failover leaves word on the source, is not there or does not get through, or vetoes."""
    then = world._replace(job=job._replace(phase="down"))
    if world.reach(job.source, job.target) and not world.offline[job.source]:
        yield "hook leaves word", then._replace(word=at(world.word, job.source, job.target))
    yield "no hook", then
    yield "hook vetoes", world._replace(job=None)


def down(world: World, job: Job) -> Moves:
    """Stop the VM, unless its node is dead."""
    source = job.source
    if world.offline[source]:
        opening = job._replace(phase="open")
        yield "config switched, the source being offline", world._replace(primary=job.target, job=opening)
    elif not world.up[source]:
        yield "failover ends, the source being dead", world._replace(job=None)
    else:
        yield "VM stopped", world.with_running(source, False)._replace(job=job._replace(phase="close"))


def close(rules: Rules, world: World, job: Job) -> Moves:
    """Call close for each disk, also after one has failed, and switch the configuration if none has."""
    disk, source = job.disk, job.source
    if not world.up[source]:
        yield "close fails", world._replace(job=None)
    elif disk == len(world.disks):
        if job.failed:
            yield "failover ends, a close having failed", world._replace(job=None)
        else:
            opening = Job("failover", "open", source, job.target)
            yield "config switched", world._replace(primary=job.target, job=opening)
    elif job.result in ("ok", "fail"):
        closed = job._replace(disk=disk + 1, result=None, failed=job.failed or job.result == "fail")
        yield f"close of disk{disk}: {job.result}", world._replace(job=closed)
    elif job.result == "wait":
        yield from close_at_work(world, job)
    else:
        yield from call_close(rules, world, job)


def close_at_work(world: World, job: Job) -> Moves:
    """The script has died, or takes so long that Ganeti gives it up, which leaves it at work."""
    if not any(
        isinstance(script, HandOver) and script.source == job.source and script.asked_by == "close"
        for script in world.scripts
    ):
        yield "close has died", world._replace(job=job._replace(result="fail"))
    if world.budget.timeout:
        yield "close timed out", world.spend("timeout")._replace(job=None)


def call_close(rules: Rules, world: World, job: Job) -> Moves:
    """Call the script for a disk: with a word on the node it hands over the group, or sees that this is done."""
    disk, source = job.disk, job.source
    target = world.word[source]
    following = job._replace(disk=disk + 1)
    if target is None:
        yield f"disk{disk} closed without a word", world.with_loop(disk, source, False)._replace(job=following)
        return
    disks = tuple(world.disks) if rules.hands_over_groups else (disk,)
    if rules.hands_over_groups and job.failed:
        yield f"disk{disk} not closed, the group having failed", world._replace(job=following)
    elif rules.hands_over_groups and disk and all(sealed_for(world, each, source, target) for each in disks):
        yield f"disk{disk} is handed over already", world._replace(job=following)
    else:
        script = HandOver(source, target, disks, "begin", 0, "close", None)
        if script not in world.scripts:
            yield f"close of disk{disk}", world.begin(script)._replace(job=job._replace(result="wait"))


def sealed_for(world: World, disk: int, node: int, target: int) -> bool:
    """Tell whether a disk was handed over, or nearly so, to the target."""
    return world.state(disk, node) == SEALED and world.copy(disk, node).record.peer == NODES[target]


def opens(world: World, job: Job) -> Moves:
    """Call open for each disk, then start the VM."""
    disk, node = job.disk, job.target
    over = world._replace(job=None)
    if not world.up[node] or world.offline[node]:
        yield "open fails, the node being dead", over
    elif disk == len(world.disks):
        if all(world.loops[each][node] for each in world.disks):
            yield f"VM starts on {NODES[node]}", start(world, node)._replace(job=None)
        else:
            yield "VM does not start, a disk not being attached", over
    elif job.result == "ok":
        yield f"open of disk{disk}: ok", world._replace(job=job._replace(disk=disk + 1, result=None))
    elif job.result == "fail":
        yield f"open of disk{disk}: fail", over
    elif job.result == "wait":
        if not opening(world, node, disk):
            yield "open has died", over
        if world.budget.timeout:
            yield "open timed out", over.spend("timeout")
    elif not opening(world, node, disk):
        world = world._replace(word=at(world.word, node, None), job=job._replace(result="wait"))
        yield f"open of disk{disk} on {NODES[node]}", world.begin(Open(node, disk, "begin"))


def opening(world: World, node: int, disk: int) -> bool:
    """Tell whether an open of the disk is at work on the node."""
    return any(isinstance(script, Open) and (script.node, script.disk) == (node, disk) for script in world.scripts)
