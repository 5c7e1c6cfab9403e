"""The ten verbs, each a function of the request and the configuration that returns what to print."""

import os
from collections.abc import Callable

from zfsext import (
    attachment,
    creation,
    exports,
    forgetting,
    growth,
    handover,
    marks,
    node,
    opening,
    parameters,
    peer,
    places,
    properties,
    usable,
    zfs,
)
from zfsext.config import Config
from zfsext.contract import Request
from zfsext.errors import Refused, SystemRefused


def create(request: Request, config: Config) -> str:
    """Make a disk."""
    creation.create(request, config)
    return ""


def remove(request: Request, config: Config) -> str:
    """Destroy a disk with its snapshots, and its copies on other nodes."""
    with peer.peers() as peers:
        forgetting.remove(request.volume, config, peers, undone=forgetting.is_undone(request.volume, config))
    return ""


def attach(request: Request, config: Config) -> str:
    """Give the disk's block device; nothing for a disk that lives on another node."""
    with peer.peers() as peers:
        return opening.attach(request.volume, config, peers)


def detach(request: Request, config: Config) -> str:
    """Take the disk's block device away."""
    attachment.detach(request.volume, config)
    marks.forget(request.volume, marks.OPENED)
    return ""


def grow(request: Request, config: Config) -> str:
    """Make a disk larger."""
    growth.grow(request, config)
    return ""


def setinfo(request: Request, config: Config) -> str:
    """Keep the name of the instance that the disk is of."""
    copy = usable.copy_of(request.volume, places.find(request.volume, config).copies)
    zfs.set_property(copy.name, properties.INSTANCE, request.instance)
    return ""


def snapshot(request: Request, config: Config) -> str:
    """Make the clone that gnt-backup reads."""
    exports.snapshot(request, config)
    return ""


def open_(request: Request, config: Config) -> str:
    """Grant the right to write, once the disk is this node's.

    A shared open is the beginning of a live migration, for which the other node would have to see the same data.
    """
    if not request.exclusive:
        raise Refused(
            f"disk {request.volume} is on its node's own ZFS, so it cannot be open on two nodes: live migration is not "
            "possible, and the VM was left running. 'gnt-instance failover' moves it; with -B always_failover=true so "
            "does migrate"
        )
    with peer.peers() as peers:
        opening.open_(request.volume, config, peers)
    return ""


def close(request: Request, config: Config) -> str:
    """Give the VM's disks to the node that its failover was announced for."""
    with peer.peers() as peers:
        handover.close(request.volume, config, peers)
    return ""


def verify(request: Request, config: Config) -> str:
    """Check the disk parameters, and whether this node can have disks."""
    parameters.parse(request.parameters, config)
    findings = node.findings(config)
    if findings:
        raise SystemRefused("\n".join(["this node cannot have zfsfile disks:", *findings]))
    os.write(2, b"zfsext verify: this node can have zfsfile disks\n")
    return ""


#: The verbs that take the locks of their volumes themselves: they ask other nodes, or are about several disks.
LOCK_THEMSELVES = ("attach", "open", "close")

VERBS: dict[str, Callable[[Request, Config], str]] = {
    "create": create,
    "remove": remove,
    "attach": attach,
    "detach": detach,
    "grow": grow,
    "setinfo": setinfo,
    "verify": verify,
    "snapshot": snapshot,
    "open": open_,
    "close": close,
}
