"""What a node answers of its copies, each a function of the request: what it has, takes, and is given."""

from collections.abc import Callable
from typing import Any

from zfsext import arrived, contract, dropping, parameters, places, records, rewinding, taking, tickets, zfs
from zfsext.config import standby
from zfsext.errors import BadInput
from zfsext.request import Call
from zfsext.taking import Offer


def _ask(call: Call) -> dict[str, Any]:
    found = taking.told(call.request.volumes(), call.config)
    return {"records": {volume: records.told(record) if record else None for volume, record in found.items()}}


def _look(call: Call) -> dict[str, Any]:
    return taking.look(call.request.volume(), call.config)


def _room(call: Call) -> dict[str, Any]:
    parent = call.request["parent"]
    if parent not in call.config.live:
        raise BadInput(
            f"{contract.shown(str(parent))} is not in this node's /etc/zfsext.conf: make both nodes' the same"
        )
    place = standby(parent)
    found = zfs.read([place], ["available"])
    if place not in found:
        raise BadInput(f"{place} does not exist: {places.how_to_make(place)}")
    return {"free": found[place].number("available")}


def _receive(call: Call) -> dict[str, Any]:
    short = call.request.short("snapshot")
    parent, compression, full = (call.request[name] for name in ("parent", "compression", "full"))
    if not isinstance(parent, str) or not isinstance(compression, str) or not isinstance(full, bool):
        raise BadInput("parent and compression must be texts, and full be true or false")
    offer = Offer(
        call.source,
        parent,
        short,
        records.generation(call.request["generation"]),
        records.generation(call.request["claim"]),
        call.request.facts(),
        parameters.recordsize(str(call.request.number("recordsize"))),
        parameters.compression(compression),
        full=full,
    )
    taking.receive(call.request.volume(), offer, call.config, 0, lambda: call.say({"ready": True}))
    return {}


def _abort(call: Call) -> dict[str, Any]:
    token = call.request["token"]
    if not isinstance(token, str) or not token:
        raise BadInput("token must be that of the receive which is to be given up")
    taking.abort(call.request.volume(), token, call.config)
    return {}


def _idle(call: Call) -> dict[str, Any]:
    facts, taken = call.request.facts_of_all(), call.request.number("taken")
    which, generation = records.round_(call.request["round"]), records.generation(call.request["generation"])
    return {"idle": arrived.idle(facts, which, generation, taken, call.config)}


def _round(call: Call) -> dict[str, Any]:
    facts = call.request.facts_of_all()
    which, generation = records.round_(call.request["round"]), records.generation(call.request["generation"])
    taken, bases, kept = call.request.number("taken"), call.request.bases(), call.request.moments()
    arrived.complete(facts, which, generation, taken, bases, kept, call.config)
    return {}


def _rewind(call: Call) -> dict[str, Any]:
    guid, identity = call.request["guid"], call.request["id"]
    if not isinstance(guid, str) or not (identity is None or isinstance(identity, str)):
        raise BadInput("guid must be a text, and id one or null")
    number = records.generation(call.request["generation"])
    rewinding.rewind(call.request.volume(), call.source, guid, identity, number, call.config)
    return {}


def _prepare(call: Call) -> dict[str, Any]:
    facts, final = call.request.facts_of_all(), records.round_(call.request["final"])
    floors = tickets.prepare(facts, call.source, final, call.config)
    return {"floors": [str(floor) for floor in floors]}


def _ticket(call: Call) -> dict[str, Any]:
    given = call.request["knows"]
    if not isinstance(given, list):
        raise BadInput("knows must be a list of nodes")
    knows = frozenset(records.node(name) for name in given)
    number, final = records.generation(call.request["number"]), records.round_(call.request["final"])
    tickets.take(call.request.volumes(), call.source, number, final, knows, call.request.bases(), call.config)
    return {}


def _revoke(call: Call) -> dict[str, Any]:
    number, before = records.generation(call.request["number"]), records.generation(call.request["before"])
    tickets.give_back(call.request.volumes(), call.source, number, before, call.config)
    return {}


def _floor(call: Call) -> dict[str, Any]:
    tickets.raise_floor(call.request.volumes(), records.generation(call.request["floor"]), call.config)
    return {}


def _forget(call: Call) -> dict[str, Any]:
    volume, identity = call.request.volume(), call.request["id"]
    if identity is not None and not isinstance(identity, str):
        raise BadInput("id must be a text, or null for a disk that has none")
    owner = records.generation(call.request["owner"]) if "owner" in call.request else None
    dry = call.request.flag("dry") if "dry" in call.request else False
    return {"gone": dropping.forget(volume, identity, owner, call.config, dry=dry)}


OPS: dict[str, Callable[[Call], dict[str, Any]]] = {
    "ask": _ask,
    "look": _look,
    "room": _room,
    "receive": _receive,
    "abort": _abort,
    "idle": _idle,
    "round": _round,
    "rewind": _rewind,
    "prepare": _prepare,
    "ticket": _ticket,
    "revoke": _revoke,
    "floor": _floor,
    "forget": _forget,
}
