"""What a node answers of disks that are its own, or were, or are to be; for most it asks other nodes itself."""

from collections.abc import Callable
from typing import Any

from zfsext import (
    attempt,
    forgetting,
    groups,
    handover,
    leftovers,
    marks,
    opening,
    peer,
    promotion,
    records,
    renaming,
    returning,
    transfers,
    withdrawal,
)
from zfsext.lock import VolumeLock
from zfsext.request import Call


def _pull(call: Call) -> dict[str, Any]:
    with peer.peers() as peers:
        volumes = _asked_for(call)
        handover.give(
            volumes, call.source, call.config, peers, lambda told: call.say({"progress": list(told)}), asked=True
        )
    return {}


def _reclaim(call: Call) -> dict[str, Any]:
    with peer.peers() as peers:
        opening.reclaim(call.request.volume(), call.config, peers)
    return {}


def _accept(call: Call) -> dict[str, Any]:
    with peer.peers() as peers:
        opening.accept(call.request.volume(), call.config, peers)
    return {}


def _word(call: Call) -> dict[str, Any]:
    volumes = call.request.volumes()
    with groups.locked(volumes, "word", groups.BRIEF):
        for volume in volumes:
            leftovers.tidy(volume, call.config)
        renaming.require(groups.require(volumes, call.config), live=False)  # while the VM runs, not when it is down
        marks.set_word(marks.Word(call.source, volumes))
    return {}


def _replicate(call: Call) -> dict[str, Any]:
    target, bandwidth = records.node(call.request["to"]), call.request.number("bandwidth")
    with peer.peers() as peers:
        volumes = _asked_for(call)
        if call.request.get("urgent") is True:  # Ganeti waits: a round that is under way gives way, and is resumed
            with transfers.ended(volumes):
                pass
        sent = attempt.replicate(
            volumes,
            target,
            call.config,
            peers,
            lambda told: call.say({"progress": list(told)}),
            bandwidth,
        )
    return {"sent": sent}


def _withdraw(call: Call) -> dict[str, Any]:
    node, dry = records.node(call.request["on"]), call.request.flag("dry")
    with peer.peers() as peers:
        volumes = groups.of(call.request.volume(), call.config)
        return {"gone": withdrawal.withdraw(volumes, node, call.config, peers, dry=dry)}


def _remove(call: Call) -> dict[str, Any]:
    volume = call.request.volume()
    with VolumeLock(volume, f"remove for {call.source}") as lock, peer.peers() as peers:
        forgetting.remove(volume, call.config, peers, call.source)
        lock.forget()
    return {}


def _offline(_: Call) -> dict[str, Any]:
    word = promotion.own_word()
    return {"offline": sorted(word.offline), "serial": word.serial}


def _claims(call: Call) -> dict[str, Any]:
    found = returning.claims(call.config)
    for volume in found:  # what was certain in this boot is not any more
        marks.forget(volume, marks.OPENED, marks.FRESH, marks.OVERRIDDEN)
    return {"records": {volume: records.told(record) for volume, record in found.items()}}


def _yield(call: Call) -> dict[str, Any]:
    number = records.generation(call.request["generation"])
    return {"aside": returning.give_way(call.request.volume(), number, call.config)}


def _asked_for(call: Call) -> list[str]:
    """Return the volumes of the VM that has the one in the request, but those that who asks has itself."""
    but = call.request.but()
    return [each for each in groups.of(call.request.volume(), call.config) if each not in but]


OPS: dict[str, Callable[[Call], dict[str, Any]]] = {
    "pull": _pull,
    "reclaim": _reclaim,
    "accept": _accept,
    "word": _word,
    "replicate": _replicate,
    "withdraw": _withdraw,
    "remove": _remove,
    "offline": _offline,
    "claims": _claims,
    "yield": _yield,
}
