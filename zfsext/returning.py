"""A node that comes back from being marked offline: what it takes for its own may have been promoted elsewhere since.

The master does it, before Ganeti uses the node again (hooks node-modify-pre and node-add-post): it asks the returning
node which disks it claims, and all others for the same, and has the returning node set aside what was superseded.
"""

from collections.abc import Iterable, Mapping

from zfsext import asking, groups, local, places, properties, records, zfs
from zfsext.config import Config, standby
from zfsext.errors import Refused, Speechless
from zfsext.ownership import CLAIMS, Generation, Record, passed_over
from zfsext.peer import Peers


def claims(config: Config) -> dict[str, Record]:
    """Return the disks that this node takes for its own."""
    found = {}
    for parent in config.live:
        for root in (parent, standby(parent)):
            datasets = zfs.tree([root], ["guid", *properties.RECORD])
            for name, dataset in datasets.items():
                volume = name.removeprefix(f"{root}/")
                record = records.of(dataset)
                if record is not None and record.state in CLAIMS and places.is_disk(volume):
                    found[volume] = record
    return found


def give_way(volume: str, generation: Generation, config: Config) -> str:
    """Set this node's copy aside for an owner of the generation, if that is newer; return its new name.

    Raises Refused if this node's is newer, Busy if it is in use.
    """
    with groups.locked([volume], "set aside", groups.BRIEF):
        here = local.find(volume, config)
        if here is None or here.record.state not in CLAIMS:
            return ""
        if here.record.generation.serial > generation.serial:
            raise Refused(f"{here.name} is newer (generation {here.record.generation}) than {generation}")
        return local.set_aside(here, config)


def judge(node: str, others: Iterable[str], config: Config, peers: Peers) -> list[str]:
    """Have the returning node set aside what others have had since; return what was done, in words.

    Raises Speechless if it does not answer, or if somebody else does not who is not marked offline: he may know.
    """
    line = peers.line(node)
    told: Mapping[str, Mapping[str, object]] = line.call("claims")["records"]
    mine = {volume: records.heard(record) for volume, record in told.items()}
    if not mine:
        return []
    answers = asking.ask(list(mine), others, peers)
    if answers.silent:
        raise Speechless(f"whether {node} has old disks cannot be told: {'; '.join(answers.silent.values())}")
    done = []
    own = claims(config)
    for volume, record in mine.items():
        all_told = [*answers.of(volume).values(), own.get(volume)]
        newer = [other for other in all_told if other is not None and _newer(node, record, other)]
        if newer:
            number = max(other.generation for other in newer)
            aside = line.call("yield", volume=volume, generation=str(number))["aside"]
            done.append(f"disk {volume} was promoted while {node} was away: what {node} has is set aside as {aside}")
    return done


def _newer(node: str, mine: Record, other: Record) -> bool:
    if other.state not in CLAIMS:
        return False
    return other.generation.serial > mine.generation.serial or passed_over(node, mine, other)
