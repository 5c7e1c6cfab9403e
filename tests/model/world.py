"""A small cluster with one VM: its nodes, the copies of its disks, and all that may still happen to it.

A world is a value; each function returns another one. What a copy contains is a set of writes, as bits: a promotion
is an event like a write, and leaves a mark that each later legitimate copy has. So "no acknowledged write is lost" is
one comparison, and of a round only its content is needed: that is its count, which grows as the disk is written to.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from scripts import HandOver, Job, Message, Open, Result, Script

from zfsext.ownership import FIRST, OWNER, REPLICA, ZERO, Generation, Record, Round

NODES = ("node1", "node2", "node3")
NUMBERS = {name: number for number, name in enumerate(NODES)}
#: Of a copy that was set aside as diverged: it stays, and what is asked of the disk does not find it any more.
ASIDE = "aside"
NONE = "none"
#: What a node knows of a disk since it booted: nothing; it got a ticket and did not open it; it promoted it just now.
NOTHING, TICKETED, PROMOTED = 0, 1, 2
#: The bit of the first promotion; those below are writes.
FIRST_PROMOTION = 32

T = TypeVar("T")
Flags = tuple[bool, ...]


class Copy(NamedTuple):
    """A copy of a disk on a node: its record, what is written in it, and whether it lies in the live place.

    rolled is the generation that a rollback began last.
    """

    record: Record
    content: int
    live: bool
    rolled: Generation = ZERO


class Budget(NamedTuple):
    """How often each thing may still happen."""

    operation: int = 0
    write: int = 0
    round: int = 0
    kill: int = 0
    timeout: int = 0
    lost: int = 0
    late: int = 0
    crash: int = 0
    cut: int = 0
    offline: int = 0
    mistaken: int = 0
    rollback: int = 0


class World(NamedTuple):
    """The cluster at one moment.

    Tuples are by node, or by disk and then by node. primary is where Ganeti believes the VM to be; word is, on each
    node, whom a hook told it to hand the disks to; late is a message that is still on its way; acknowledged is what
    each disk must contain; seen is what a node remembers of this boot; events numbers the writes and promotions.
    """

    up: Flags
    offline: Flags
    cut: Flags
    primary: int
    running: Flags
    copies: tuple[tuple[Copy | None, ...], ...]
    loops: tuple[Flags, ...]
    word: tuple[int | None, ...]
    scripts: tuple[Script, ...]
    job: Job | None
    late: tuple[int, Message] | None
    acknowledged: tuple[int, ...]
    seen: tuple[tuple[int, ...], ...]
    events: int
    budget: Budget

    @property
    def nodes(self) -> range:
        """The numbers of the nodes."""
        return range(len(self.up))

    @property
    def disks(self) -> range:
        """The numbers of the disks."""
        return range(len(self.copies))

    def others(self, node: int) -> list[int]:
        """Return all nodes but this one."""
        return [other for other in self.nodes if other != node]

    def reach(self, one: int, other: int) -> bool:
        """Tell whether two nodes can talk."""
        return self.up[one] and self.up[other] and not self.cut[one] and not self.cut[other]

    def state(self, disk: int, node: int) -> str:
        """Return the state of a copy, also where there is none."""
        copy = self.copies[disk][node]
        return NONE if copy is None else copy.record.state

    def copy(self, disk: int, node: int) -> Copy:
        """Return a copy that is known to be there."""
        copy = self.copies[disk][node]
        assert copy is not None, f"disk{disk} has no copy on {NODES[node]}"
        return copy

    def record(self, disk: int, node: int) -> Record | None:
        """Return what the node says of its copy."""
        copy = self.copies[disk][node]
        if copy is None or copy.record.state == ASIDE:
            return None
        if self.loops[disk][node] or self.running[node]:
            return copy.record._replace(used=True)
        return copy.record

    def with_copy(self, disk: int, node: int, copy: Copy) -> "World":
        """Return the world with another copy there."""
        return self._replace(copies=at(self.copies, disk, at(self.copies[disk], node, copy)))

    def with_record(self, disk: int, node: int, record: Record) -> "World":
        """Return the world with another record of the copy there."""
        return self.with_copy(disk, node, self.copy(disk, node)._replace(record=record))

    def with_loop(self, disk: int, node: int, stands: bool) -> "World":
        """Return the world with a disk attached, or detached."""
        return self._replace(loops=at(self.loops, disk, at(self.loops[disk], node, stands)))

    def with_seen(self, disk: int, node: int, seen: int) -> "World":
        """Return the world with another memory of this boot."""
        return self._replace(seen=at(self.seen, disk, at(self.seen[disk], node, seen)))

    def with_running(self, node: int, running: bool) -> "World":
        """Return the world with the VM running there, or not."""
        return self._replace(running=at(self.running, node, running))

    def without_loops(self, node: int) -> "World":
        """Return the world with all disks detached on a node."""
        world = self
        for disk in self.disks:
            world = world.with_loop(disk, node, False)
        return world

    def spend(self, what: str) -> "World":
        """Return the world in which this has happened once more."""
        return self._replace(budget=self.budget._replace(**{what: getattr(self.budget, what) - 1}))

    def begin(self, script: Script) -> "World":
        """Return the world with one more script at work."""
        return self._replace(scripts=ordered((*self.scripts, script)))

    def advance(self, script: Script, to: Script) -> "World":
        """Return the world with a script one step further."""
        return self._replace(scripts=ordered((*without(self.scripts, script), to)))

    def end(self, script: Script, result: Result) -> "World":
        """Return the world without the script; a job that waits for it has its result."""
        world = self._replace(scripts=without(self.scripts, script))
        job = self.job
        if job is None or job.result != "wait" or not waits_for(job, script):
            return world
        return world._replace(job=job._replace(result=result))


Moves = Iterator[tuple[str, World]]


def at(row: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    """Return the row with another value at this index."""
    return (*row[:index], value, *row[index + 1 :])


def ordered(scripts: tuple[Script, ...]) -> tuple[Script, ...]:
    """Return the scripts in an order that does not depend on which was started first: that is no other world."""
    return scripts if len(scripts) < 2 else tuple(sorted(scripts, key=repr))


def without(scripts: tuple[Script, ...], script: Script) -> tuple[Script, ...]:
    """Return the scripts but this one."""
    index = scripts.index(script)
    return scripts[:index] + scripts[index + 1 :]


def waits_for(job: Job, script: Script) -> bool:
    """Tell whether it is this script that Ganeti has called."""
    if isinstance(script, HandOver):
        return job.phase == "close" and script.asked_by == "close" and script.source == job.source
    if isinstance(script, Open):
        return job.phase == "open" and (script.node, script.disk) == (job.target, job.disk)
    return False


def cluster(nodes: int, disks: int, budget: Budget, replicas: tuple[int, ...] = (1,)) -> World:
    """Return a cluster at rest: the VM is stopped on the first node, and these nodes have been replicated to once."""
    never: Flags = (False,) * nodes
    whole = Round(FIRST, 0)
    first = Copy(Record(OWNER), 0, live=True)
    second = Copy(Record(REPLICA, peer=NODES[0], round=whole), 0, live=False)
    row = tuple(first if node == 0 else second if node in replicas else None for node in range(nodes))
    return World(
        up=(True,) * nodes,
        offline=never,
        cut=never,
        primary=0,
        running=never,
        copies=(row,) * disks,
        loops=(never,) * disks,
        word=(None,) * nodes,
        scripts=(),
        job=None,
        late=None,
        acknowledged=(0,) * disks,
        seen=((NOTHING,) * nodes,) * disks,
        events=0,
        budget=budget,
    )
