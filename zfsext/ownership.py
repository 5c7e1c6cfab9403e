"""Which copy of a disk may be opened on this node. Only the owner's may, and there is one owner.

The state property is the truth: `owner` on a dataset in the live place. Only a value set on just this dataset
counts, so neither a clone nor a copy that was sent with its properties is ever taken for the disk.
"""

from zfsext.errors import NotHere, Refused
from zfsext.places import Copy, is_export
from zfsext.properties import STATE

CREATING, OWNER, EXPORT = "creating", "owner", "export"


def openable(volume: str, copies: list[Copy]) -> Copy:
    """Return the one copy that may be opened. Raises NotHere if there is no copy at all, Refused if none may."""
    right = [copy for copy in copies if _openable(copy, volume)]
    if len(right) == 1:
        return right[0]
    if right:
        raise Refused(
            f"disk {volume} is live more than once on this node: {', '.join(copy.name for copy in right)}. Only one "
            "can be the VM's: find out which by looking into them, and 'zfs rename' the other out of the parent"
        )
    if not copies:
        raise NotHere(f"disk {volume} is not on this node")
    raise Refused(
        f"disk {volume} cannot be opened on this node: "
        + "; ".join(f"{copy.name} has {STATE}={copy.state or '(none of its own)'}" for copy in copies)
        + f". A disk is live where its dataset has {STATE}={OWNER}, set on just this dataset, in the live parent"
    )


def _openable(copy: Copy, volume: str) -> bool:
    if is_export(volume):
        return not copy.live and copy.state == EXPORT
    return copy.live and copy.state == OWNER
