"""A new disk: made under a temporary name, and renamed to its own when it is complete."""

import os
from collections.abc import Mapping

from zfsext import (
    asking,
    attachment,
    chance,
    cluster,
    encryption,
    image,
    loopdev,
    mounts,
    nodes,
    ownership,
    parameters,
    peer,
    places,
    promotion,
    properties,
    records,
    removal,
    reservation,
    source,
    zfs,
)
from zfsext.config import Config, standby
from zfsext.contract import Request
from zfsext.errors import AlreadyThere, NoSpace, Refused, SystemRefused, ZfsextError
from zfsext.parameters import Parameters
from zfsext.places import Copy

MIB = 1 << 20


def create(request: Request, config: Config) -> None:
    """Make the volume with request.size MiB.

    A disk of this name that stands already is an error, unless it is just what was asked for and without a single
    block: then an earlier create was interrupted after its last step, and there is nothing to lose.
    Raises AlreadyThere, NoSpace, BadInput, KeyNotLoaded, and what ZFS refuses; nothing is left behind then.
    """
    wanted = parameters.parse(request.parameters, config)
    if wanted.source and _is_made_anew(request.volume):  # Ganeti keeps parameters, and promises an empty disk now
        os.write(2, f"zfsext: {request.volume} is made anew, and empty: source= was for its first time\n".encode())
        wanted.source = ""
    if wanted.source:
        wanted.recordsize = source.require(wanted, request.parameters)
    found = places.find(request.volume, config)
    for copy in found.copies:
        if removal.abandoned(copy, request.volume):
            removal.destroy(copy)
        elif not _is_the_same(copy, request, wanted):
            raise AlreadyThere(_why_not(copy, request.volume))
        else:
            return
    over = _nodes_without_it(request.volume)
    beside = found.parent(standby(wanted.parent))
    encryption.require_one_root(found.parent(wanted.parent), beside)
    encryption.require_key(beside)
    reserved = reservation.properties(request.size, wanted.recordsize) if wanted.thick else {}
    if wanted.thick:
        _require_space(wanted.parent, request.size, reserved["reservation"])
    new = places.new_name(wanted.parent, request.volume)
    user = {
        properties.STATE: ownership.CREATING,
        properties.SIZE: str(request.size),
        properties.ID: chance.identity(),
        properties.RESERVATION: "thick" if wanted.thick else "thin",
    }
    if wanted.replicas:
        user[properties.REPLICAS] = " ".join(wanted.replicas)
    try:
        if wanted.source:
            source.clone(wanted, new, request, _native(wanted, reserved), user)
        else:
            _begin(new, request.size, _native(wanted, reserved), user)
        first = records.changes(_first(over), zfs.read([new], ["guid"])[new]["guid"])
        zfs.change_all({new: {**first, "readonly": None}})
        zfs.rename(new, places.live_name(wanted.parent, request.volume))
    except (ZfsextError, OSError) as error:
        _undo(wanted.parent, new, error)
        raise


def _is_made_anew(volume: str) -> bool:
    """Tell whether Ganeti has the disk already, as in recreate-disks. Raises Refused where that is not known."""
    known = cluster.knows(volume)
    if known is None and nodes.in_cluster():
        raise Refused(
            "this node is no master candidate, and cannot tell whether the disk is new or made anew: source= needs "
            f"'gnt-node modify -C yes {nodes.this_node()}'"
        )
    return bool(known)


def _begin(new: str, size: int, native: Mapping[str, int], user: Mapping[str, str]) -> None:
    """Make the dataset with an image of holes in it."""
    zfs.create(new, native, user)
    directory = places.private_directory(new)
    mounts.mount(new, directory)
    image.create(directory, size)
    attachment.unmounted(new)
    mounts.remove_directory(directory)


def _nodes_without_it(volume: str) -> frozenset[str]:
    """Return the nodes that are marked offline and may have a disk of this name, which must never be opened again.

    Only Ganeti's recreate-disks makes a disk that Ganeti has already. Raises AlreadyThere if a node has it, Refused if
    one that does not answer may.
    """
    if not nodes.peers() or cluster.knows(volume) is not True:
        return frozenset()
    with peer.peers() as peers:
        answers = asking.ask([volume], nodes.peers(), peers)
        for node, record in answers.of(volume).items():
            if record is not None:
                raise AlreadyThere(
                    f"disk {volume} is on {node} ({record.state}), and was left as it is. If 'gnt-instance "
                    f"recreate-disks -n' brought you here, 'gnt-instance modify --new-primary={node} INSTANCE' takes "
                    "that back"
                )
        if not answers.silent:
            return frozenset()
        word = promotion.masters_word(peers)
    alive = {node: why for node, why in answers.silent.items() if node not in word.offline}
    if alive:
        raise Refused(
            f"disk {volume} may be on a node that does not answer ({'; '.join(alive.values())}): when it is back this "
            "works; if it is dead, make sure that it is, and 'gnt-node modify -O yes NODE'"
        )
    return frozenset(answers.silent)


def _first(over: frozenset[str]) -> ownership.Record:
    """Return the record of a new disk; one that is made in a dead node's stead is newer than what that may have."""
    if not over:
        return ownership.Record(ownership.OWNER, ownership.FIRST)
    number = ownership.promoted([], cluster.serial(), chance.nonce())
    return ownership.Record(ownership.OWNER, number, floor=number, over=over, knows=over)


def _require_space(parent: str, size: int, reserved: int) -> None:
    place = standby(parent)
    available = zfs.read([place], ["available"])[place].number("available")
    if reserved > available:
        raise NoSpace(
            f"a thick disk of {size} MiB sets {reserved // MIB + 1} MiB aside, and {parent} has {available // MIB} MiB"
            ": make room, or use reservation=thin"
        )


def _undo(parent: str, new: str, error: Exception) -> None:
    """Destroy what a failed create began. Raises SystemRefused, with both reasons, if that fails too."""
    try:
        for dataset in zfs.read([new], places.PROPERTIES).values():
            removal.destroy(Copy(parent, dataset, live=False))
    except (ZfsextError, OSError) as trouble:
        raise SystemRefused(
            f"{error}. And {new} was left behind ({trouble}); the next create or remove of this disk clears it away"
        ) from error


def _native(wanted: Parameters, reserved: Mapping[str, int]) -> dict[str, int]:
    native = properties.native(wanted.recordsize)
    if wanted.compression is not None:
        native["compression"] = wanted.compression
    return {**native, **reserved}


def _is_the_same(copy: Copy, request: Request, wanted: Parameters) -> bool:
    if not copy.live or copy.state != ownership.OWNER or copy.parent != wanted.parent:
        return False
    if copy.dataset.number("recordsize") != wanted.recordsize:
        return False
    if (copy.dataset.number("refreservation") > 0) != wanted.thick or zfs.snapshots(copy.name):
        return False
    if wanted.source:  # that nobody wrote to it since cannot be told
        return False
    directory = attachment.mounted(copy)
    file = image.open_checked(directory)
    try:
        unused = not loopdev.on(file)
        same = unused and image.size(file) == request.size and image.blank(file)
    finally:
        os.close(file)
    if unused:
        mounts.unmount(directory)
    return same


def _why_not(copy: Copy, volume: str) -> str:
    if copy.name == places.new_name(copy.parent, volume):
        return f"{copy.name} stands in the way and was not made by zfsext: 'zfs rename' it away"
    return (
        f"disk {volume} is on this node already, as {copy.name}, and was left as it is. If 'gnt-instance "
        "recreate-disks -n' brought you here, Ganeti now takes this node for the primary: 'gnt-instance modify "
        "--new-primary=NODE INSTANCE' with the node it was on takes that back, and its disk there is as it was"
    )
