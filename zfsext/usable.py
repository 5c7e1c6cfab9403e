"""Which of this node's copies of a disk its scripts work on: the owner's, in the live place, or an export's clone.

Only a state that is set on just the dataset counts, so neither a clone nor a copy that was sent with its properties is
ever taken for the disk.
"""

from zfsext import records
from zfsext.errors import NotHere, Refused
from zfsext.ownership import EXPORT, OWNER
from zfsext.places import Copy, is_export
from zfsext.properties import STATE


def copy_of(volume: str, copies: list[Copy]) -> Copy:
    """Return the one copy that may be used. Raises NotHere if there is no copy at all, Refused if none may."""
    right = [copy for copy in copies if _usable(copy, volume)]
    if len(right) == 1:
        return right[0]
    if right:
        raise Refused(
            f"disk {volume} is live more than once on this node: {', '.join(copy.name for copy in right)}. Only one "
            "can be the VM's: find out which by looking into them, and 'zfs rename' the other out of the parent"
        )
    if not copies:
        raise NotHere(f"disk {volume} is not on this node")
    raise Refused(not_usable(volume, copies))


def not_usable(volume: str, copies: list[Copy]) -> str:
    """Return why none of the copies can be used."""
    elsewhere = [record for copy in copies if (record := records.of(copy.dataset)) is not None and record.peer]
    if elsewhere:
        return (
            f"disk {volume} is not live on this node, which has a copy of it ({elsewhere[0].state}, of "
            f"{elsewhere[0].peer}): 'gnt-instance activate-disks INSTANCE' on its primary node fetches it"
        )
    return (
        f"disk {volume} cannot be opened on this node: "
        + "; ".join(f"{copy.name} has {STATE}={copy.state or '(none of its own)'}" for copy in copies)
        + f". A disk is live where its dataset has {STATE}={OWNER}, set on just this dataset, in the live parent"
    )


def _usable(copy: Copy, volume: str) -> bool:
    if is_export(volume):
        return not copy.live and copy.state == EXPORT
    if not copy.live or copy.state != OWNER:
        return False
    return records.of(copy.dataset) is not None
