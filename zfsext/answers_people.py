"""What a node does with its disks because an administrator wants it: the requests of `zfsext snapshot` and its like."""

from collections.abc import Callable
from typing import Any

from zfsext import (
    cluster,
    facts,
    freeze,
    groups,
    kept,
    listing,
    local,
    moments,
    nodes,
    peer,
    removed,
    rollback,
    snapshotting,
    source,
    survey,
    zfs,
)
from zfsext.errors import BadInput
from zfsext.request import Call


def _snapshot(call: Call) -> dict[str, Any]:
    name, instance, seconds = call.request["name"], call.request["quiesce"], call.request.number("thaw_after")
    name = moments.checked(name) if name != "" else ""
    wish, keep = freeze.wish(instance, seconds) if instance != "" else None, call.request.number("keep")
    volumes = groups.of(call.request.volume(), call.config)
    with peer.peers() as peers:
        return snapshotting.take(volumes, name, keep, wish, call.config, peers)._asdict()


def _rollback(call: Call) -> dict[str, Any]:
    short, dry = call.request.short("to"), call.request.flag("dry")
    with peer.peers() as peers:
        volumes = groups.of(call.request.volume(), call.config)
        return rollback.roll_back(volumes, short, call.config, peers, dry=dry)._asdict()


def _back(call: Call) -> dict[str, Any]:
    generation, dry = call.request.generation("generation"), call.request.flag("dry")
    with peer.peers() as peers:
        volumes = groups.of(call.request.volume(), call.config)
        return rollback.back(volumes, generation, call.config, peers, dry=dry)._asdict()


def _drop(call: Call) -> dict[str, Any]:
    generation, dry = call.request.generation("generation"), call.request.flag("dry")
    return {"dropped": rollback.drop(call.request.volumes(), generation, call.config, dry=dry)}


def _goals(call: Call) -> dict[str, Any]:
    return {"snapshots": rollback.goals(call.request.volumes(), call.config)}


def _kept(call: Call) -> dict[str, Any]:
    return {"kept": [each._asdict() for each in kept.found(call.request.volumes(), call.config)]}


def _sources(call: Call) -> dict[str, Any]:
    short, dry = call.request.short("short"), call.request.flag("dry")
    group = local.require_all(call.request.volumes(), call.config)
    with peer.peers() as peers:
        for here in group:
            snapshotting.require_current(here, peers)
    for here in group if not dry else ():
        rollback.require(here, short, [each.short for each in zfs.snapshots(here.name)])
    found = {
        here.volume: source.parameters_of(here.copy.dataset, here.copy.parent, short, call.config) for here in group
    }
    return {"node": nodes.this_node(), "disks": found}


def _disks(call: Call) -> dict[str, Any]:
    found = survey.take(call.config, whole=False, count=call.request.flag("snapshots"))
    disks = listing.known(found, cluster.load())
    ill = [f"pool {each.name} is {each.state or 'not imported'}" for each in found.pools if not each.works]
    return {"disks": disks, "ill": ill}


def _facts(call: Call) -> dict[str, Any]:
    return {"facts": facts.collected(call.config)}


def _removed(call: Call) -> dict[str, Any]:
    return {"removed": [each._asdict() for each in removed.found(call.config)]}


def _revive(call: Call) -> dict[str, Any]:
    dry, names = call.request.flag("dry"), call.request["datasets"]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise BadInput("datasets must be a list of names")
    found = removed.sources(names, call.config, dry=dry)
    return {"sources": {name: each._asdict() for name, each in found.items()}}


def _purge(call: Call) -> dict[str, Any]:
    name = call.request["dataset"]
    if not isinstance(name, str):
        raise BadInput("dataset must be a name")
    began = call.request.flag("began")
    for each in removed.these([name], call.config):
        (removed.hand_over if began else removed.purge)(each)
    return {}


def _hello(_: Call) -> dict[str, Any]:
    """Answer: that is all that who asks wants to know."""
    return {}


OPS: dict[str, Callable[[Call], dict[str, Any]]] = {
    "snapshot": _snapshot,
    "rollback": _rollback,
    "back": _back,
    "drop": _drop,
    "goals": _goals,
    "kept": _kept,
    "sources": _sources,
    "facts": _facts,
    "disks": _disks,
    "hello": _hello,
    "removed": _removed,
    "revive": _revive,
    "purge": _purge,
}
