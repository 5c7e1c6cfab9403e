"""A request of another node: its fields, each checked before it is used."""

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from zfsext import contract, ownership, properties, records
from zfsext.config import Config
from zfsext.errors import BadInput

Say = Callable[[dict[str, Any]], None]


class Request(dict[str, Any]):
    """A request's fields by their names. What is missing or malformed is an error of the other node: BadInput."""

    def __missing__(self, name: str) -> NoReturn:
        raise BadInput(f"a request lacks {name}")

    def volume(self) -> str:
        """Return the volume that the request is about."""
        return volume(self["volume"])

    def volumes(self) -> list[str]:
        """Return the volumes that the request is about, in the order of their names."""
        given = self["volumes"]
        if not isinstance(given, list) or not given:
            raise BadInput("volumes must be a list of names")
        return sorted({volume(each) for each in given})

    def but(self) -> set[str]:
        """Return the volumes that who asks has itself."""
        given = self["but"]
        if not isinstance(given, list):
            raise BadInput("but must be a list of names")
        found = {volume(each) for each in given}
        if self.volume() in found:
            raise BadInput("but must not have the volume that is asked for")
        return found

    def number(self, name: str) -> int:
        """Return a number that is not negative."""
        given = self[name]
        if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given < 1 << 63:
            raise BadInput(f"{name} must be a whole number")
        return given

    def flag(self, name: str) -> bool:
        """Return what is true or false."""
        given = self[name]
        if not isinstance(given, bool):
            raise BadInput(f"{name} must be true or false")
        return given

    def short(self, name: str) -> str:
        """Return a snapshot's name, as it stands after the @."""
        given = self[name]
        if not isinstance(given, str) or not given or set(given) & set("/@#%\n\t") or not given.isprintable():
            raise BadInput(f"{contract.shown(str(given))} is no snapshot's name")
        return given

    def generation(self, name: str) -> str:
        """Return a generation as a text; an empty one is none in particular."""
        given = self[name]
        return "" if given == "" else str(records.generation(given))

    def facts(self) -> dict[str, str]:
        """Return the properties that travel with the disk."""
        return _facts(self["facts"])

    def facts_of_all(self) -> dict[str, dict[str, str]]:
        """Return the properties that travel with the disks, by the volumes."""
        given = self["facts"]
        if not isinstance(given, dict) or not given:
            raise BadInput("facts must be those of each volume by its name")
        return {volume(name): _facts(of) for name, of in given.items()}

    def bases(self) -> dict[str, list[ownership.Round]]:
        """Return what the next increments to other nodes begin with, by the nodes."""
        given = self["bases"]
        if not isinstance(given, dict) or not all(isinstance(each, list) for each in given.values()):
            raise BadInput("bases must be lists of rounds by the nodes' names")
        return {records.node(node): [records.round_(base) for base in each] for node, each in given.items()}

    def moments(self) -> dict[str, list[str]]:
        """Return the snapshots of moments that the disks still have, by the volumes."""
        given = self["moments"]
        lists = list(given.values()) if isinstance(given, dict) else [None]
        if not all(isinstance(each, list) and all(isinstance(name, str) for name in each) for each in lists):
            raise BadInput("moments must be lists of names by the volumes")
        return {volume(name): of for name, of in given.items()}


class Call(NamedTuple):
    """A request, the node that it is from, this node's configuration, and how to tell it something meanwhile."""

    request: Request
    source: str
    config: Config
    say: Say


def volume(text: object) -> str:
    """Return the name of a volume. Raises BadInput for what is none."""
    return contract.volume_name("volume", text if isinstance(text, str) else "")


def _facts(given: object) -> dict[str, str]:
    if not isinstance(given, dict) or not set(given) <= set(properties.FACTS):
        raise BadInput(f"facts are {', '.join(properties.FACTS)}")
    if not all(isinstance(text, str) and text.isprintable() and len(text) < 1024 for text in given.values()):
        raise BadInput("facts are texts")
    return dict(given)
