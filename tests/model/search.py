"""Breadth-first search through all that may happen, for the shortest way to harm."""

import gc
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from healing import unhealthy
from machine import moves
from rules import Rules
from safety import Violation
from world import World

#: Two opens at once, one on each node, may pull a disk to and fro for ever; worlds with higher numbers are left out.
HIGHEST = 8


class Outcome(NamedTuple):
    """How many different worlds were seen, and the shortest way to harm if there is one, step by step."""

    worlds: int
    counterexample: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.worlds} worlds", *self.counterexample])


class Unfinished(Exception):
    """There are more worlds than were to be searched."""


def search(rules: Rules, start: World, most: int) -> Outcome:
    """Search all worlds that may come of the first one, of which there are this many at most."""
    came_from: dict[World, World | None] = {start: None}
    waiting = deque([start])
    healthy = set()
    with no_collection():
        while waiting:
            world = waiting.popleft()
            try:
                for _, after in moves(rules, world):
                    if after not in came_from and not far(after):
                        came_from[after] = world
                        waiting.append(after)
            except Violation as violation:
                return Outcome(len(came_from), way(rules, came_from, world, str(violation)))
            if world.job is None and not world.scripts:
                rest = (world.copies, world.running, world.loops)
                if rest not in healthy:
                    healthy.add(rest)
                    harm = unhealthy(rules, world)
                    if harm is not None:
                        return Outcome(len(came_from), way(rules, came_from, world, harm))
            if len(came_from) > most:
                raise Unfinished(f"more than {most} worlds, none of them harmful so far")
    return Outcome(len(came_from), ())


def far(world: World) -> bool:
    """Tell whether a disk has been handed over more often than is looked at."""
    for row in world.copies:
        for copy in row:
            if copy is not None:
                issued = copy.record.issued
                if copy.record.generation.seq > HIGHEST or (issued is not None and issued.seq >= HIGHEST):
                    return True
    return False


def way(rules: Rules, came_from: dict[World, World | None], end: World, harm: str) -> tuple[str, ...]:
    """Return the steps to a world, which are found again rather than kept, and the harm at its end."""
    steps = [harm]
    world = end
    while (before := came_from[world]) is not None:
        steps.append(next(what for what, after in moves(rules, before) if after == world))
        world = before
    return tuple(reversed(steps))


@contextmanager
def no_collection() -> Iterator[None]:
    """Have Python not look for cycles: millions of worlds have none, and each look takes longer."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
