"""What is at work in the model: scripts on nodes, what they send each other, and Ganeti's job.

All are values. A script that was killed is simply no longer there, and one that goes on is another value.
"""

from typing import Literal, NamedTuple

from zfsext.ownership import Generation, Round

Result = Literal["ok", "fail"]


class HandOver(NamedTuple):
    """A group of disks goes from the source to the target; close or a pull asked for it."""

    source: int
    target: int
    disks: tuple[int, ...]
    step: Literal["begin", "send", "seal", "rename", "ticket"]
    sent: int
    asked_by: Literal["close", "pull"]
    number: Generation | None

    def __str__(self) -> str:
        return "hand-over"

    @property
    def node(self) -> int:
        """Where it runs."""
        return self.source


class Open(NamedTuple):
    """The script that Ganeti calls with True for each disk before it starts a VM."""

    node: int
    disk: int
    step: Literal["begin", "consume", "settle", "state last", "revoke", "unseal", "seek", "promote", "wait"]
    number: Generation | None = None
    holder: int | None = None

    def __str__(self) -> str:
        return "open"


class Replication(NamedTuple):
    """A round for all disks to one node: what they had when it began, in the generations that they had then."""

    source: int
    target: int
    sent: int
    contents: tuple[int, ...]
    generations: tuple[Generation, ...]

    def __str__(self) -> str:
        return "replication"

    @property
    def node(self) -> int:
        """Where it runs."""
        return self.source


Script = HandOver | Open | Replication


class Data(NamedTuple):
    """Make your copy of a disk the same as mine; claim is the number that I am about to issue, or my generation.

    rolled is the generation that a rollback began last: what an older copy has beyond the content goes.
    """

    source: int
    disk: int
    generation: Generation
    content: int
    claim: Generation
    rolled: Generation


class Complete(NamedTuple):
    """All disks have arrived: this round is complete."""

    source: int
    contents: tuple[int, ...]


class Ticket(NamedTuple):
    """The disks are yours, as they were in the final round; each disk's count is its content."""

    source: int
    disks: tuple[int, ...]
    number: Generation
    finals: tuple[Round, ...]


class Revoke(NamedTuple):
    """May I have my disk back? You have not used the ticket of this number, if it has come at all."""

    source: int
    disk: int
    number: Generation
    generation: Generation


class Pull(NamedTuple):
    """Hand the disk over to me."""

    source: int
    disk: int


Message = Data | Complete | Ticket | Revoke | Pull


class Job(NamedTuple):
    """What Ganeti is at: a failover (of the hook, down, close, then open) or a start (open only).

    result is what the script for this disk said; "wait" until it has. failed is whether a close before it failed.
    """

    kind: Literal["failover", "start"]
    phase: Literal["hook", "down", "close", "open"]
    source: int
    target: int
    disk: int = 0
    result: Result | Literal["wait"] | None = None
    failed: bool = False
