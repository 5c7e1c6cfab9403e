"""What is to be said of what is no disk any more, and can be one again: kept by a rollback, or removed."""

from collections.abc import Iterator

from zfsext import human
from zfsext.cluster import Cluster
from zfsext.finding import NOTICE, Finding, look, typed
from zfsext.inventory import KEPT, REMOVED, STANDBY, Disk, Inventory
from zfsext.ownership import CREATING


def examine(disk: Disk, found: Inventory, known: Cluster | None) -> Iterator[Finding]:
    """Say what there is, and how it ends."""
    instance = found.instance(disk, known)
    if disk.role == KEPT:
        what = (
            f"{disk.dataset} is what a disk of {instance or 'no instance'} was before a rollback: "
            f"{human.size(disk.used_bytes)} with its snapshots. When nobody needs it any more, drop it"
        )
        command = typed("zfsext", "rollback", instance, "--drop") if instance else look(disk.dataset)
        yield Finding(NOTICE, "kept", disk.dataset, what, command)
    elif disk.role == REMOVED:
        what = (
            f"{disk.dataset} is a removed disk of {instance or 'no instance'}: {human.size(disk.used_bytes)} with its "
            "snapshots. It is destroyed when its time is over, as long as there is a keep_removed, or now"
        )
        command = typed("zfsext", "undelete", instance, "--purge") if instance else look(disk.dataset)
        yield Finding(NOTICE, "removed", disk.dataset, what, command)
    elif disk.role == STANDBY and disk.state == CREATING and not disk.busy:
        what = (
            f"{disk.dataset} is what a killed rollback of {instance or 'no instance'} left; the next one clears it "
            "away. It never had data of its own"
        )
        command = look(disk.dataset) if disk.snapshots else typed("zfs", "destroy", disk.dataset)
        yield Finding(NOTICE, "half-rolled", disk.dataset, what, command)
