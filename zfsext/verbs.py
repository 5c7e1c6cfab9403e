"""The ten verbs, each a function of the request and the configuration that returns what to print."""

import os
from collections.abc import Callable

from zfsext import attachment, creation, exports, growth, node, ownership, parameters, places, properties, removal, zfs
from zfsext.config import Config
from zfsext.contract import Request
from zfsext.errors import Refused, SystemRefused


def create(request: Request, config: Config) -> str:
    """Make a disk."""
    creation.create(request, config)
    return ""


def remove(request: Request, config: Config) -> str:
    """Destroy a disk and its snapshots."""
    removal.remove(request.volume, config)
    return ""


def attach(request: Request, config: Config) -> str:
    """Give the disk's block device."""
    return attachment.attach(request.volume, config)


def detach(request: Request, config: Config) -> str:
    """Take the disk's block device away."""
    attachment.detach(request.volume, config)
    return ""


def grow(request: Request, config: Config) -> str:
    """Make a disk larger."""
    growth.grow(request, config)
    return ""


def setinfo(request: Request, config: Config) -> str:
    """Keep the name of the instance that the disk is of."""
    copy = ownership.openable(request.volume, places.find(request.volume, config).copies)
    zfs.set_property(copy.name, properties.INSTANCE, request.instance)
    return ""


def snapshot(request: Request, config: Config) -> str:
    """Make the clone that gnt-backup reads."""
    exports.snapshot(request, config)
    return ""


def open_(request: Request, config: Config) -> str:
    """Grant the right to write, which this node has if the disk lives here.

    A shared open is the beginning of a live migration, for which the other node would have to see the same data.
    """
    if not request.exclusive:
        raise Refused(
            f"disk {request.volume} is on this node's own ZFS, so it cannot be open on two nodes: live migration is "
            "not possible, and the VM was left running"
        )
    attachment.attach(request.volume, config)
    return ""


def close(request: Request, config: Config) -> str:
    """Refuse to give the disk up: Ganeti asks that only when the VM is to go on elsewhere, and its data is here."""
    copy = ownership.openable(request.volume, places.find(request.volume, config).copies)
    raise Refused(
        f"disk {request.volume} is only on this node ({copy.name}), so the VM cannot go on elsewhere. Nothing was "
        "changed: 'gnt-instance start INSTANCE' starts it here; gnt-backup export and import take it to another node"
    )


def verify(request: Request, config: Config) -> str:
    """Check the disk parameters, and whether this node can have disks."""
    parameters.parse(request.parameters, config)
    findings = node.findings(config)
    if findings:
        raise SystemRefused("\n".join(["this node cannot have zfsfile disks:", *findings]))
    os.write(2, b"zfsext verify: this node can have zfsfile disks\n")
    return ""


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
