"""A copy's record (zfsext.ownership) in the dataset's properties, and as the nodes tell it to each other."""

import re
from collections.abc import Mapping
from typing import Any

from zfsext import properties, zfs
from zfsext.errors import BadInput, Refused
from zfsext.ownership import CLAIMS, FIRST, OWNER, REPLICA, SEALED, TICKET, ZERO, Generation, Record, Round

SCHEMA = 1
STATES = (OWNER, SEALED, TICKET, REPLICA)
PREFIX = "zfsext-"  # of the names of our snapshots, which look like no other tool's

_GENERATION = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})")
_ROUND = re.compile(r"([0-9]{1,18}\.[0-9]{1,18})-([0-9]{1,9})")
_SCHEMA = re.compile(r"[0-9]{1,9}")
_NODE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9.-]{0,254}")


def generation(text: object) -> Generation:
    """Return the generation that the text says, as EPOCH.SEQ. Raises BadInput, also for what is no text."""
    match = _GENERATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise BadInput(f"{str(text)[:80]!r} is no generation (EPOCH.SEQ)")
    return Generation(int(match[1]), int(match[2]))


def round_(text: object) -> Round:
    """Return the round that the text says, as EPOCH.SEQ-NUMBER. Raises BadInput, also for what is no text."""
    match = _ROUND.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise BadInput(f"{str(text)[:80]!r} is no round (EPOCH.SEQ-NUMBER)")
    return Round(generation(match[1]), int(match[2]))


def node(text: object) -> str:
    """Return the text if it can be a node's name. Raises BadInput."""
    if not isinstance(text, str) or not _NODE.fullmatch(text):
        raise BadInput(f"{str(text)[:80]!r} is no node's name")
    return text


def snapshot(dataset: str, which: Round) -> str:
    """Return the name of the dataset's snapshot of a round."""
    return f"{dataset}@{PREFIX}{which}"


def of_snapshot(short: str) -> Round | None:
    """Return the round that a snapshot (by its name after the @) is of; None if it is none of ours."""
    match = _ROUND.fullmatch(short.removeprefix(PREFIX)) if short.startswith(PREFIX) else None
    return round_(match[0]) if match else None


def of(dataset: zfs.Dataset) -> Record | None:
    """Return the record of a copy; None for a dataset that is no copy of a disk, or whose claim was copied with it.

    A disk that an earlier version made has a state alone, and is the owner's. Raises Refused for one that a later
    version wrote, or whose properties cannot be read: it is then not known what it is.
    """
    state = dataset.local(properties.STATE)
    if state not in STATES:
        return None
    stamp = dataset.local(properties.STAMP)
    if state in CLAIMS and stamp is not None and stamp != dataset["guid"]:
        return None
    schema = dataset.local(properties.SCHEMA) or str(SCHEMA)
    if not _SCHEMA.fullmatch(schema) or int(schema) > SCHEMA:
        later = f"{properties.SCHEMA}={schema[:80]}"
        raise Refused(f"{dataset.name} was written by a later zfsext ({later}): upgrade this node")
    given = {name: dataset.local(f"zfsext:{name}") or "" for name in _TEXTS}
    try:
        return _parsed(state, given)
    except BadInput as error:
        raise Refused(f"{dataset.name} has properties that zfsext did not write: {error}") from error


_TEXTS = ("generation", "floor", "issued", "peer", "over", "knows", "round", "final")


def _parsed(state: str, given: Mapping[str, str], used: bool = False) -> Record:
    return Record(
        state,
        generation(given["generation"]) if given["generation"] else FIRST,
        generation(given["floor"]) if given["floor"] else ZERO,
        generation(given["issued"]) if given["issued"] else None,
        node(given["peer"]) if given["peer"] else "",
        frozenset(node(name) for name in given["over"].split()),
        frozenset(node(name) for name in given["knows"].split()),
        round_(given["round"]) if given["round"] else None,
        round_(given["final"]) if given["final"] else None,
        used,
    )


def _texts(record: Record) -> dict[str, str]:
    return {
        "generation": str(record.generation),
        "floor": str(record.floor) if record.floor != ZERO else "",
        "issued": str(record.issued) if record.issued is not None else "",
        "peer": record.peer,
        "over": " ".join(sorted(record.over)),
        "knows": " ".join(sorted(record.knows)),
        "round": str(record.round) if record.round is not None else "",
        "final": str(record.final) if record.final is not None else "",
    }


def changes(record: Record, guid: str) -> dict[str, str | None]:
    """Return the properties that make the record that of the dataset with this guid; None is to be inherited."""
    texts = {f"zfsext:{name}": text or None for name, text in _texts(record).items()}
    stamp = guid if record.state in CLAIMS else None
    return {properties.STATE: record.state, properties.SCHEMA: str(SCHEMA), properties.STAMP: stamp, **texts}


def told(record: Record) -> dict[str, Any]:
    """Return the record as one node tells it to another."""
    return {"state": record.state, "used": record.used, **_texts(record)}


def heard(given: object) -> Record:
    """Return the record that another node told. Raises BadInput if it is none."""
    if not isinstance(given, Mapping):
        raise BadInput(f"{str(given)[:80]!r} is no record of a copy")
    texts = {name: given.get(name, "") for name in _TEXTS}
    state = given.get("state")
    if state not in STATES or not all(isinstance(text, str) for text in texts.values()):
        raise BadInput(f"{str(given)[:80]!r} is no record of a copy")
    return _parsed(state, texts, given.get("used") is True)
