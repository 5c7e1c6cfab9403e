"""What a node answers to another one's requests, each a function of the request, the configuration and its sender."""

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from zfsext import (
    arrived,
    attempt,
    contract,
    dropping,
    forgetting,
    groups,
    handover,
    marks,
    opening,
    ownership,
    parameters,
    peer,
    places,
    pool,
    promotion,
    properties,
    records,
    renaming,
    returning,
    taking,
    tickets,
    transfers,
    withdrawal,
    zfs,
)
from zfsext.config import Config, standby
from zfsext.errors import BadInput
from zfsext.lock import VolumeLock
from zfsext.taking import Offer

Say = Callable[[dict[str, Any]], None]


class Request(dict[str, Any]):
    """A request's fields by their names. What is missing is an error of the other node."""

    def __missing__(self, name: str) -> NoReturn:
        raise BadInput(f"a request lacks {name}")


class Call(NamedTuple):
    """A request, the node that it is from, this node's configuration, and how to tell it something meanwhile."""

    request: Request
    source: str
    config: Config
    say: Say


def answer(request: dict[str, Any], source: str, config: Config, say: Say) -> dict[str, Any]:
    """Return the answer to one request of the node `source`; say tells it something meanwhile.

    A pool that does not work is an error, which the other node takes for silence: nothing is "not here" because of it.
    """
    op = request.get("op")
    if not isinstance(op, str) or op not in OPS:
        raise BadInput(f"{contract.shown(str(op))} is no request")
    for name in places.pools(config.live) if op != "offline" else ():  # of which it is not
        pool.require(name)
    return OPS[op](Call(Request(request), records.node(source), config, say))


def _volume(text: object) -> str:
    return contract.volume_name("volume", text if isinstance(text, str) else "")


def _volumes(request: Request) -> list[str]:
    given = request["volumes"]
    if not isinstance(given, list) or not given:
        raise BadInput("volumes must be a list of names")
    return sorted({_volume(each) for each in given})


def _asked_for(call: Call) -> list[str]:
    """Return the volumes of the VM that has the one in the request, but those that who asks has itself."""
    volume, given = _volume(call.request["volume"]), call.request["but"]
    if not isinstance(given, list):
        raise BadInput("but must be a list of names")
    but = {_volume(each) for each in given}
    if volume in but:
        raise BadInput("but must not have the volume that is asked for")
    return [each for each in groups.of(volume, call.config) if each not in but]


def _number(request: Request, name: str) -> int:
    given = request[name]
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given < 1 << 63:
        raise BadInput(f"{name} must be a whole number")
    return given


def _facts(given: object) -> dict[str, str]:
    if not isinstance(given, dict) or not set(given) <= set(properties.FACTS):
        raise BadInput(f"facts are {', '.join(properties.FACTS)}")
    if not all(isinstance(text, str) and text.isprintable() and len(text) < 1024 for text in given.values()):
        raise BadInput("facts are texts")
    return dict(given)


def _facts_of_all(request: Request) -> dict[str, dict[str, str]]:
    given = request["facts"]
    if not isinstance(given, dict) or not given:
        raise BadInput("facts must be those of each volume by its name")
    return {_volume(volume): _facts(of) for volume, of in given.items()}


def _bases(request: Request) -> dict[str, list[ownership.Round]]:
    given = request["bases"]
    if not isinstance(given, dict) or not all(isinstance(each, list) for each in given.values()):
        raise BadInput("bases must be lists of rounds by the nodes' names")
    return {records.node(node): [records.round_(base) for base in each] for node, each in given.items()}


def _ask(call: Call) -> dict[str, Any]:
    found = taking.told(_volumes(call.request), call.config)
    return {"records": {volume: records.told(record) if record else None for volume, record in found.items()}}


def _look(call: Call) -> dict[str, Any]:
    return taking.look(_volume(call.request["volume"]), call.config)


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
    short = call.request["snapshot"]
    if not isinstance(short, str) or not short or set(short) & set("/@#%\n\t") or not short.isprintable():
        raise BadInput(f"{contract.shown(str(short))} is no snapshot's name")
    parent, compression, full = (call.request[name] for name in ("parent", "compression", "full"))
    if not isinstance(parent, str) or not isinstance(compression, str) or not isinstance(full, bool):
        raise BadInput("parent and compression must be texts, and full be true or false")
    offer = Offer(
        call.source,
        parent,
        short,
        records.generation(call.request["generation"]),
        records.generation(call.request["claim"]),
        _facts(call.request["facts"]),
        parameters.recordsize(str(_number(call.request, "recordsize"))),
        parameters.compression(compression),
        full=full,
    )
    taking.receive(_volume(call.request["volume"]), offer, call.config, 0, lambda: call.say({"ready": True}))
    return {}


def _abort(call: Call) -> dict[str, Any]:
    token = call.request["token"]
    if not isinstance(token, str) or not token:
        raise BadInput("token must be that of the receive which is to be given up")
    taking.abort(_volume(call.request["volume"]), token, call.config)
    return {}


def _round(call: Call) -> dict[str, Any]:
    facts = _facts_of_all(call.request)
    which, generation = records.round_(call.request["round"]), records.generation(call.request["generation"])
    arrived.complete(facts, which, generation, _number(call.request, "taken"), _bases(call.request), call.config)
    return {}


def _prepare(call: Call) -> dict[str, Any]:
    facts, final = _facts_of_all(call.request), records.round_(call.request["final"])
    floors = tickets.prepare(facts, call.source, final, call.config)
    return {"floors": [str(floor) for floor in floors]}


def _ticket(call: Call) -> dict[str, Any]:
    given = call.request["knows"]
    if not isinstance(given, list):
        raise BadInput("knows must be a list of nodes")
    knows = frozenset(records.node(name) for name in given)
    number, final = records.generation(call.request["number"]), records.round_(call.request["final"])
    tickets.take(_volumes(call.request), call.source, number, final, knows, _bases(call.request), call.config)
    return {}


def _revoke(call: Call) -> dict[str, Any]:
    number, before = records.generation(call.request["number"]), records.generation(call.request["before"])
    tickets.give_back(_volumes(call.request), call.source, number, before, call.config)
    return {}


def _pull(call: Call) -> dict[str, Any]:
    with peer.peers() as peers:
        volumes = _asked_for(call)
        handover.give(
            volumes, call.source, call.config, peers, lambda told: call.say({"progress": list(told)}), asked=True
        )
    return {}


def _reclaim(call: Call) -> dict[str, Any]:
    with peer.peers() as peers:
        opening.reclaim(_volume(call.request["volume"]), call.config, peers)
    return {}


def _accept(call: Call) -> dict[str, Any]:
    with peer.peers() as peers:
        opening.accept(_volume(call.request["volume"]), call.config, peers)
    return {}


def _word(call: Call) -> dict[str, Any]:
    volumes = _volumes(call.request)
    with groups.locked(volumes, "word", groups.BRIEF):
        renaming.require(groups.require(volumes, call.config), live=False)  # while the VM runs, not when it is down
        marks.set_word(marks.Word(call.source, volumes))
    return {}


def _replicate(call: Call) -> dict[str, Any]:
    target, bandwidth = records.node(call.request["to"]), _number(call.request, "bandwidth")
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


def _floor(call: Call) -> dict[str, Any]:
    tickets.raise_floor(_volumes(call.request), records.generation(call.request["floor"]), call.config)
    return {}


def _forget(call: Call) -> dict[str, Any]:
    volume, identity = _volume(call.request["volume"]), call.request["id"]
    if identity is not None and not isinstance(identity, str):
        raise BadInput("id must be a text, or null for a disk that has none")
    owner = records.generation(call.request["owner"]) if "owner" in call.request else None
    dropping.forget(volume, identity, owner, call.config)
    return {}


def _withdraw(call: Call) -> dict[str, Any]:
    node = records.node(call.request["on"])
    with peer.peers() as peers:
        withdrawal.withdraw(groups.of(_volume(call.request["volume"]), call.config), node, call.config, peers)
    return {}


def _remove(call: Call) -> dict[str, Any]:
    volume = _volume(call.request["volume"])
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
    return {"aside": returning.give_way(_volume(call.request["volume"]), number, call.config)}


OPS: dict[str, Callable[[Call], dict[str, Any]]] = {
    "ask": _ask,
    "look": _look,
    "room": _room,
    "receive": _receive,
    "abort": _abort,
    "round": _round,
    "prepare": _prepare,
    "ticket": _ticket,
    "revoke": _revoke,
    "pull": _pull,
    "reclaim": _reclaim,
    "accept": _accept,
    "word": _word,
    "replicate": _replicate,
    "floor": _floor,
    "forget": _forget,
    "withdraw": _withdraw,
    "remove": _remove,
    "offline": _offline,
    "claims": _claims,
    "yield": _yield,
}
