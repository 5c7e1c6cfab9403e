"""What the other nodes say of a disk, and what that makes of this node's copy."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from zfsext import local, marks, nodes, records
from zfsext.errors import BadInput, Refused, Speechless
from zfsext.local import Local
from zfsext.ownership import Currency, Record, currency
from zfsext.peer import Peers


class Answers(NamedTuple):
    """What the nodes that answered have of each volume (None: nothing), and why the others did not answer."""

    records: dict[str, dict[str, Record | None]]
    silent: dict[str, str]

    def of(self, volume: str) -> dict[str, Record | None]:
        """Return what each node has of one volume."""
        return {node: of[volume] for node, of in self.records.items()}


def ask(volumes: Sequence[str], names: Iterable[str], peers: Peers) -> Answers:
    """Ask these nodes what they have of the volumes. A node that cannot say counts as silent."""
    found: dict[str, dict[str, Record | None]] = {}
    silent: dict[str, str] = {}
    for node, answer in peers.ask(sorted(names), "ask", volumes=list(volumes)):
        if isinstance(answer, Speechless):
            silent[node] = str(answer)
            continue
        try:
            given = answer["records"]
            found[node] = {volume: records.heard(given[volume]) if given[volume] else None for volume in volumes}
        except (BadInput, KeyError, TypeError) as error:
            silent[node] = f"{node} says what zfsext does not: {error}"
    return Answers(found, silent)


def who_may_know(here: Local) -> set[str]:
    """Return the nodes that may know better than this one who has the disk: those that it was ever sent to."""
    record = here.record
    named = set(record.knows) | set(record.over) | ({record.peer} if record.peer else set())
    return named - {local.me()} if named else named  # what Ganeti keeps on the node is not needed for a disk of its own


def given_up(names: Iterable[str]) -> set[str]:
    """Return those that are marked offline, or in the cluster no more, as this node was told last: no proof."""
    known = nodes.peers()
    return {name for name in names if name not in known or known[name].offline}


def judged(here: Local, peers: Peers) -> tuple[Currency, Answers]:
    """Return whether this node's copy, an owner's or a ticket's, may be opened, and what the others said."""
    who = who_may_know(here)
    if not who:
        return Currency.OK, Answers({}, {})
    answers = ask([here.volume], who, peers)
    verdict = currency(
        local.me(),
        here.record,
        answers.of(here.volume),
        answers.silent,
        given_up(answers.silent),
        fresh=marks.fresh(here.volume, str(here.record.generation)),
        overridden=marks.overridden(here.volume),
    )
    return verdict, answers


def refused(here: Local, verdict: Currency, answers: Answers) -> Refused:
    """Return the error that says why a copy is not opened, and what to do."""
    words = f"disk {here.volume} ({here.name}) {verdict.value}"
    if verdict is Currency.SILENT:
        return Refused(
            f"{words} ({'; '.join(answers.silent.values())}). When that node is back this works; if it is dead, make "
            "sure that it is, and 'gnt-node modify -O yes NODE'"
        )
    if verdict is Currency.USED:
        users = [node for node, record in answers.of(here.volume).items() if record is not None and record.used]
        return Refused(f"{words} ({', '.join(users)}): end its use there first")
    return Refused(f"{words}: 'zfsext health' on each node tells more")
