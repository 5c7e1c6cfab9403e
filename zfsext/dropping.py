"""The end of a copy of a disk that lives elsewhere, or nowhere any more; never of the disk itself."""

from contextlib import nullcontext

from zfsext import attachment, kept, local, marks, properties, removal, streams, zfs
from zfsext.config import Config
from zfsext.errors import Refused
from zfsext.groups import BRIEF, locked
from zfsext.local import Local
from zfsext.lock import VolumeLock
from zfsext.ownership import OWNER, TICKET, Generation
from zfsext.transfers import taken_over


def forget(
    volume: str, identity: str | None, owner: Generation | None, config: Config, *, dry: bool = False
) -> list[str]:
    """Destroy this node's copy of a disk that is removed, or that needs no copy here; nothing is no error.

    Returns the datasets; dry destroys none. owner is the generation of whose word it is, if the disk lives on. Raises
    Refused for the disk itself and for a copy of a newer time, Busy if something keeps the copy.
    """
    with nullcontext() if dry else taken_over(volume, "forget"), locked([volume], "forget", BRIEF):
        here = local.find(volume, config)
        former = kept.found([volume], config)
        if here is None:
            ours = [each for each in former if identity in (None, each.identity)] if owner is None else []
            if not dry:
                removal.drop(ours, config)
            return [each.dataset for each in ours]
        if here.record.state in (OWNER, TICKET):
            raise Refused(f"{here.name} is the disk itself, and no copy of it")
        if identity is not None and here.identity not in (None, identity):
            raise Refused(f"{here.name} is another disk ({properties.ID} differs)")
        if owner is not None and max(here.record.generation, here.record.floor).epoch > owner.epoch:
            raise Refused(f"{here.name} is of a newer time (generation {here.record.generation}) than {owner}")
        if owner is not None and any(not each.copy for each in former):
            instance = here.copy.dataset.local(properties.INSTANCE) or "INSTANCE"
            raise Refused(
                f"what the disk was before a rollback is kept beside {here.name}: 'zfsext rollback {instance} --drop' "
                "first, if nobody needs it"
            )
        if not dry:
            destroy(here, config)
            VolumeLock(volume, "forget").forget()
        return [here.name, *(each.dataset for each in former)]


def destroy(here: Local, config: Config) -> None:
    """Destroy a copy with all that is ours on it."""
    attachment.detach(here.volume, config)
    former = kept.found([here.volume], config)
    mine = {each.dataset for each in former}
    snapshots = zfs.snapshots(here.name)
    removal.require_free(snapshots, mine)
    removal.release(snapshots)
    removal.drop(former, config)
    if here.copy.dataset["receive_resume_token"] not in ("-", ""):
        streams.abort(here.name)
    removal.destroy(here.copy)
    marks.forget(here.volume)
