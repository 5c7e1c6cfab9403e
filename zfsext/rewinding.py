"""A copy of a disk that was rolled back goes back too: to the last snapshot that it still has in common with the disk.

Asked for by the disk's owner before the next round. What the copy has beyond that is kept beside it, as on the owner,
and dropped with what is kept there.
"""

from zfsext import (
    exchange,
    local,
    places,
    properties,
    records,
    reservation,
    streams,
    zfs,
)
from zfsext.config import Config
from zfsext.errors import NotHere, Refused
from zfsext.groups import BRIEF, locked
from zfsext.local import Local
from zfsext.ownership import KEPT, REPLICA, SEALED, ZERO, Generation, takes_data
from zfsext.transfers import taken_over


def wanted(here: Local, generation: Generation) -> bool:
    """Tell whether a copy of this generation may have what the disk has given up by a rollback since.

    One of another epoch is set aside instead: it may have what was written and never given up.
    """
    text = here.copy.dataset.local(properties.ROLLED)
    rolled = records.generation(text) if text else ZERO
    return rolled.epoch == generation.epoch and rolled > generation


def rewind(volume: str, source: str, guid: str, identity: str | None, generation: Generation, config: Config) -> None:
    """Let this node's copy go back to the snapshot with this guid, for the disk's owner, which is of this generation.

    Raises Refused for what is no copy, or newer, and NotHere if the snapshot is gone meanwhile.
    """
    with taken_over(volume, f"rewind for {source}"), locked([volume], "rewind", BRIEF):
        here = local.settle(local.require(volume, config), config)
        mine = here.record._replace(used=local.used(here))
        if identity is None or here.identity != identity:
            raise Refused(f"{here.name} is another disk ({properties.ID} differs), and was left as it is")
        if mine.state not in (REPLICA, SEALED) or not takes_data(mine, generation, generation):
            raise Refused(f"{here.name} ({mine.state}, generation {mine.generation}) does not go back for {generation}")
        if here.copy.dataset["receive_resume_token"] not in ("-", ""):
            streams.abort(here.name)
        snapshots = zfs.snapshots(here.name)
        short = next((each.short for each in snapshots if each.guid == guid), None)
        if short is None:
            raise NotHere(f"{here.name} has lost the snapshot that it was to go back to: try again")
        if mine.state == SEALED:  # first a copy as it was, so that who is killed here leaves nothing that nobody finds
            reservation.drop(here.copy.dataset)
            mine = mine._replace(state=REPLICA, issued=None, round=mine.final, final=None)
            zfs.change_all({here.name: records.changes(mine, "")})
            here = local.require(volume, config)
        before = [each.short for each in snapshots[: [each.short for each in snapshots].index(short) + 1]]
        still = mine.round is not None and records.snapshot("", mine.round)[1:] in before
        ahead = exchange.back_to(
            here,
            short,
            mine._replace(
                generation=generation,
                floor=max(mine.floor, generation),
                peer=source,
                over=frozenset(),
                round=mine.round if still else None,
                used=False,
            ),
        )
        beside = places.kept_name(here.copy.parent, volume, str(mine.generation))
        zfs.rename(ahead, beside)
        zfs.change(beside, {properties.STATE: KEPT, properties.INSTEAD: f"@{short}"})
