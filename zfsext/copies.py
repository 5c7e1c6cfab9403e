"""What is wrong with the copies of disks: those here of disks that live elsewhere, and those elsewhere of disks here.

Part of zfsext health; what it is told with is in zfsext.finding.
"""

from collections.abc import Iterator, Sequence

from zfsext import claim, cluster, human, records
from zfsext.claim import Claim
from zfsext.cluster import Cluster
from zfsext.finding import NOTICE, WARNING, Finding, Limits, look, script, typed
from zfsext.inventory import ASIDE, COPIES, DISKS, LIVE, REPLICA, SEALED, TICKET, Disk, Inventory


def examine(disk: Disk, found: Inventory, known: Cluster | None, limits: Limits) -> Iterator[Finding]:
    """Say what is wrong with the disk as a copy, or with the copies of it."""
    if disk.role == ASIDE:
        yield _diverged(disk, found.instance(disk, known))
    elif disk.role in COPIES and known is not None:
        yield from _left(disk, found, known)
    if disk.role in COPIES and not disk.busy:
        yield from _touched(disk)
    if disk.role in COPIES and disk.partial_receive and not disk.transfer:
        yield _resumable(disk, found.instance(disk, known), known)
    if disk.role == LIVE:
        yield from _promoted(disk)
        if known is not None and claim.of(disk, found, known) not in (Claim.NOBODY, Claim.DETACHED):
            for node in disk.replicas:
                yield from _replicated(disk, node, found, known, limits)


def moved(ganeti: cluster.Disk, here: Sequence[Disk]) -> Finding | None:
    """Return the notice that a disk, which Ganeti has here, comes with the next start; None if nothing says that.

    here are the datasets of the volume on this node, none of which is live.
    """
    copy = min((disk for disk in here if disk.role in DISKS), key=lambda disk: DISKS.index(disk.role), default=None)
    if copy is None:
        return None
    peer = copy.peer or "another node"
    words = {
        TICKET: f"was handed over by {peer}: the next start opens it",
        SEALED: f"was handed over to {peer}: the next start fetches it",
        REPLICA: f"is a copy of the one on {peer}: the next start fetches what is new there",
    }
    what = f"{copy.dataset}, disk {ganeti.index} of {ganeti.instance}, {words[copy.role]}"
    return Finding(NOTICE, "moved", ganeti.volume, what, typed("gnt-instance", "start", ganeti.instance))


def _diverged(disk: Disk, instance: str) -> Finding:
    what = (
        f"{disk.dataset} is a copy of a disk of {instance or 'no instance'} that was set aside, since the disk went on "
        f"without it: {human.size(disk.used_bytes)} with its snapshots. See what it "
        "has that the disk has not, and drop it"
    )
    command = typed("zfsext", "resolve", instance) if instance else look(disk.dataset)
    return Finding(WARNING, "diverged", disk.dataset, what, command)


def _left(disk: Disk, found: Inventory, known: Cluster) -> Iterator[Finding]:
    name, instance, whose = disk.dataset, found.instance(disk, known), claim.of(disk, found, known)
    was = f"{name} ({disk.role}, it was of {instance or 'no instance'})"
    if whose is Claim.NOBODY and disk.role == REPLICA:
        what = (
            f"{was} is a copy of a disk that no instance has. The node that removed the disk ends it as soon as it can "
            "reach this one ('zfsext sweep' there). If that is gone, remove it"
        )
        yield Finding(WARNING, "copy-left", disk.volume, what, script("remove", disk.volume))
    elif whose is Claim.NOBODY:
        what = f"{was} is of no instance that Ganeti has, and may be the newest copy. Look into it before it goes"
        yield Finding(WARNING, "copy-left", disk.volume, what, look(name))
    elif whose is Claim.UNSURE and instance and (known.complete or instance not in known.instances):
        what = f"{was} is of no disk that this node knows {instance} to have. Ask on the master before you do anything"
        yield Finding(WARNING, "copy-left", disk.volume, what, typed("gnt-instance", "info", instance))


def _touched(disk: Disk) -> Iterator[Finding]:
    if disk.devices:
        paths = [device.path for device in disk.devices]
        what = (
            f"{' '.join(paths)} is on {disk.dataset}, a copy ({disk.role}) that nobody may write to: the next round "
            "would fail, or undo it. End its use, and detach it"
        )
        commands = "; ".join([typed("fuser", "-v", *paths), *(typed("losetup", "-d", path) for path in paths)])
        yield Finding(WARNING, "mounted-copy", disk.volume, what, commands)
    elif disk.writable:
        what = f"{disk.dataset}, a copy ({disk.role}) that nobody may write to, is mounted writable. Unmount it"
        yield Finding(WARNING, "mounted-copy", disk.volume, what, typed("umount", disk.directory))
    if disk.role == REPLICA and disk.written_bytes:
        what = (
            f"{disk.dataset} was written to since its last round ({disk.written_bytes} bytes), so the next one is "
            "refused. If nobody needs that, undo it"
        )
        last = f"{disk.dataset}@{records.PREFIX}{disk.round}"
        undo = typed("zfs", "rollback", last) if disk.round else look(disk.dataset)
        yield Finding(WARNING, "written-copy", disk.volume, what, undo)


def _resumable(disk: Disk, instance: str, known: Cluster | None) -> Finding:
    what = f"{disk.dataset} has a part of a round that was interrupted: the next one resumes it by itself"
    if instance and known is not None:
        command = typed("zfsext", "replicate", instance, "--to", known.node)
    else:
        command = typed("zfs", "receive", "-A", disk.dataset)
    return Finding(NOTICE, "partial-receive", disk.dataset, what, command)


def _promoted(disk: Disk) -> Iterator[Finding]:
    if disk.promoted:
        over = ", ".join(disk.over) or "a node"
        what = (
            f"{disk.dataset} was a copy and became the disk at {human.moment(disk.promoted)}, since {over} was marked "
            "offline and silent. What was written there after the last round is not in it. When all know that"
        )
        yield Finding(NOTICE, "promoted", disk.volume, what, typed("zfs", "inherit", "zfsext:promoted", disk.dataset))


def _replicated(disk: Disk, node: str, found: Inventory, known: Cluster, limits: Limits) -> Iterator[Finding]:
    """Say what is wrong with the copy on a node that the disk is to be replicated to."""
    if cluster.matching(node, frozenset({known.node})):
        return
    instance = found.instance(disk, known)
    again = typed("zfsext", "replicate", *([instance, "--to", node] if instance else ["--all"]))
    noted = [target for target in disk.targets if cluster.matching(node, frozenset({target.node}))]
    if not noted:
        if _old(found.taken - disk.created, limits):  # one that was just made has had no round yet
            what = f"{disk.dataset} of {instance or 'no instance'} is to be replicated to {node}, and never was"
            yield Finding(WARNING, "not-copied", disk.volume, what, again)
    elif noted[0].error is not None:
        reason = " ".join(noted[0].error.split()) or "no reason was given"
        what = (
            f"{disk.dataset} of {instance or 'no instance'} could not be replicated to {node} "
            f"({human.age(found.taken - noted[0].time)} ago): {reason}"
        )
        yield Finding(WARNING, "not-copied", disk.volume, what, again)
    elif _old(found.taken - noted[0].time, limits):
        age = human.age(found.taken - noted[0].time)
        what = (
            f"the copy of {disk.dataset} of {instance or 'no instance'} on {node} is {age} old. See whether the timer "
            "runs ('systemctl list-timers zfsext-replicate.timer'), and renew it"
        )
        yield Finding(WARNING, "copy-old", disk.volume, what, again)


def _old(seconds: int, limits: Limits) -> bool:
    return seconds >= limits.copy_warning * human.MINUTE
