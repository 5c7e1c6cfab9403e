"""Before a VM moves: its disks come to the target round by round while it runs, until little is left to send."""

import time
from collections.abc import Callable, Sequence

from zfsext import asking, groups, local, nodes, promotion, renaming, whereabouts
from zfsext.config import Config
from zfsext.errors import Refused
from zfsext.ownership import OWNER, REPLICA, SEALED, TICKET, Record, best
from zfsext.peer import Line, peers
from zfsext.transfer import Progress

#: What is left for the downtime: a round that sent no more is the last before the VM stops. Bytes.
SMALL = 16 << 20
#: How many rounds there are at the most, each of what was written during the one before.
ROUNDS = 6
#: How long a hook sends, in seconds, before it says that this is a matter for `zfsext move`.
HOOK_SECONDS = 660
#: How long a node may be silent while it sends, in seconds.
STILL = 300


def seed(volumes: Sequence[str], instance: str, primary: str, config: Config) -> str:
    """Bring the disks here, and leave word with their owner that they are about to go here.

    primary is the node that Ganeti has the VM on.

    Raises Refused with what to do if the move cannot work, or takes longer than a hook may.
    """
    deadline = time.monotonic() + HOOK_SECONDS

    def said(_: Progress) -> None:
        if time.monotonic() > deadline:
            raise Refused(
                f"its first copy takes longer than a hook may: 'zfsext move {instance} {local.me()}' on the master "
                "brings it, with progress, and can be interrupted; what came until now is kept"
            )

    if not nodes.is_candidate():
        raise Refused(f"{local.me()} is no master candidate, and Ganeti lets no other node reach the owner of a disk")
    with peers() as others:
        here = [local.find(volume, config) for volume in volumes]
        mine = [each.record for each in here if each is not None and each.record.state in (OWNER, TICKET)]
        given = {record.peer for record in mine if record.state == TICKET}
        if len(mine) == len(volumes) and given == {primary}:
            # The move before this one got as far as the ticket, but Ganeti has the VM there still, and closes it there.
            others.line(primary).call("reclaim", seconds=STILL, volume=volumes[0])
        answers = asking.ask(volumes, nodes.peers(), others)
        mine_already = [each for each in volumes if whereabouts.is_here(each, config, answers)]
        volumes = [each for each in volumes if each not in mine_already]
        if mine_already:
            _require_closable(local.me(), instance, primary)
        if not volumes:
            return ""
        holders = {best(None, answers.of(volume)) for volume in volumes}
        holder = next(iter(holders)) if len(holders) == 1 else None
        if holder is None:
            _require_promotable(volumes, config, answers)
            return ""
        _require_closable(holder, instance, primary)
        line = others.line(holder)
        for volume in volumes:
            if _is(answers.of(volume)[holder], TICKET):  # the VM was moved and never started since
                line.call("accept", seconds=STILL, volume=volume)
        if any(_is(answers.of(volume)[holder], SEALED) for volume in volumes):
            line.call("reclaim", seconds=STILL, volume=volumes[0])
        shrinking(lambda: one(line, volumes[0], local.me(), said, urgent=True, but=mine_already))
        _require_place(volumes, config)
        line.call("word", volumes=sorted(volumes))
    return ""


def _require_closable(holder: str, instance: str, primary: str) -> None:
    """Raise Refused for disks that Ganeti would not find when it closes them: it does that on the VM's primary node.

    It goes on without that only if the node is marked offline (cmdlib/instance_migration.py: _CloseInstanceDisks).
    """
    if holder != primary and not asking.given_up([primary]):
        raise Refused(
            f"its disks are on {holder}, and Ganeti would look for them on {primary}: 'gnt-instance modify "
            f"--new-primary={local.me()} {instance}' moves a VM that is stopped, and its start brings the disks"
        )


def _require_place(volumes: Sequence[str], config: Config) -> None:
    """Raise while the VM still runs what a hand-over would raise when it is down: that the disks cannot live here."""
    with groups.locked(volumes, "move", groups.BRIEF):
        group = groups.require(volumes, config)
    renaming.require(group, live=True)
    renaming.require_room(group)


def one(
    line: Line,
    volume: str,
    target: str,
    said: Callable[[Progress], None],
    bandwidth: int = 0,
    *,
    urgent: bool = False,
    but: Sequence[str] = (),
) -> int:
    """Have the owner replicate the VM's disks to the target, but those that it has; return the bytes that were sent.

    urgent ends a round that is under way; what that has brought is not sent twice.
    """
    answer = line.follow(
        "replicate",
        lambda told: said(Progress(str(told[0]), int(told[1]), int(told[2]))),
        STILL,
        volume=volume,
        to=target,
        bandwidth=bandwidth,
        urgent=urgent,
        but=list(but),
    )
    return int(answer["sent"])


def shrinking(replicate: Callable[[], int]) -> list[int]:
    """Replicate until what a round sends is small, or does not shrink; return the bytes of each."""
    sent: list[int] = []
    for _ in range(ROUNDS):
        sent.append(replicate())
        if sent[-1] <= SMALL or (len(sent) > 1 and sent[-1] >= sent[-2]):
            break
    return sent


def _is(record: Record | None, state: str) -> bool:
    return record is not None and record.state == state


def _require_promotable(volumes: Sequence[str], config: Config, answers: asking.Answers) -> None:
    """Raise Refused unless the owner is marked offline, and each disk has a complete round here, and nobody a newer.

    What the marks are is asked of the master when the disk is opened; this is what this node was told last.
    """
    alive = {node: why for node, why in answers.silent.items() if not asking.given_up([node])}
    if alive:
        raise Refused(f"who has the disks does not answer, and is not marked offline: {'; '.join(alive.values())}")
    for volume in volumes:
        here = local.find(volume, config)
        if here is None or here.record.state not in (REPLICA, SEALED):
            raise Refused(f"disk {volume} has no copy on {local.me()}, and its owner does not answer")
        if here.record.state == REPLICA and here.record.round is None:
            raise Refused(f"the copy of {volume} on {local.me()} was never complete")
        promotion.require_nobody_better(here, answers, answers.silent)
    promotion.require_majority(list(nodes.peers()), answers)
