"""Which node has a disk, asked of all that answer, this one included."""

from typing import NamedTuple

from zfsext import asking, local, nodes
from zfsext.config import Config
from zfsext.errors import Refused
from zfsext.ownership import OWNER, TICKET, Record, best
from zfsext.peer import Peers


class Holder(NamedTuple):
    """The node with the best claim to a disk, and the state of what it has: owner, or sealed or ticket on its way."""

    node: str
    state: str


def is_here(volume: str, config: Config, answers: asking.Answers) -> bool:
    """Tell whether this node has the disk, and nobody a better claim: what was its own may be old by now."""
    here = local.find(volume, config)
    if here is None or here.record.state not in (OWNER, TICKET):
        return False
    return best(None, {**answers.of(volume), local.me(): here.record}) == local.me()


def holder(volume: str, config: Config, peers: Peers) -> Holder:
    """Return who has the disk. Raises Refused if nobody who answers has it."""
    here = local.find(volume, config)
    if here is not None and here.record.state == OWNER:
        return Holder(local.me(), OWNER)
    answers = asking.ask([volume], nodes.peers(), peers)
    told: dict[str, Record | None] = {**answers.of(volume), local.me(): here.record if here else None}
    name = best(None, told)
    record = told[name] if name is not None else None
    if name is None or record is None:
        silent = "; ".join(answers.silent.values())
        raise Refused(f"no node that answers has disk {volume}{': ' + silent if silent else ''}")
    return Holder(name, record.state)
