"""Another state in a disk's place: the one is the disk from then on, the other is kept, and nothing is destroyed.

The state that comes is prepared in the standby place, as a clone of one of the disk's snapshots or what an earlier
exchange kept. One transaction makes all disks of the VM exchange their states. The places follow: until then the disk
is found by its state, wherever it is (zfsext.local: settle).
"""

import os
import time
from collections.abc import Sequence
from typing import NamedTuple

from zfsext import attachment, image, leftovers, local, mounts, ownership, places, properties, records, zfs
from zfsext.config import Config
from zfsext.local import Local
from zfsext.ownership import KEPT, Generation, Record

#: What zfsext itself sets on each disk, a clone by its making and as its place needs it; and what a key is read from.
OURS = frozenset(("canmount", "readonly", "recordsize", "direct", "keylocation"))
#: What is set aside for a thick disk, once it is in its place.
SPACE = frozenset(("refreservation", "refquota", "reservation"))
#: What cannot be inherited: it is 0, and then none, if it is not set any more.
LIMITS = SPACE | {"quota"}


class Coming(NamedTuple):
    """A disk as it is, the dataset that takes its place, and what that is (properties.INSTEAD)."""

    disk: Local
    dataset: str
    what: str


def clone(here: Local, short: str) -> Coming:
    """Make a clone of the disk's snapshot of this name that can take its place, as large as the disk is now."""
    name = places.standby_name(here.copy.parent, here.volume)
    zfs.clone(f"{here.name}@{short}", name, native_of(here), {properties.STATE: ownership.CREATING})
    _take_settings(here, name)
    _fit(here, name)
    return Coming(here, name, f"@{short}")


def fetch(here: Local, kept: str, what: str) -> Coming:
    """Bring what was kept to where it can take the disk's place, as large as the disk is now.

    If it is a clone of another state that is kept, that becomes one of it; a clone of anything else it stays.
    """
    name = places.standby_name(here.copy.parent, here.volume)
    while zfs.read([kept], ["origin"])[kept]["origin"].startswith(f"{name}{places.KEPT}"):
        zfs.promote(kept)
    zfs.rename(kept, name)
    zfs.set_property(name, "readonly", "off")
    _take_settings(here, name)
    _fit(here, name)
    return Coming(here, name, what)


def _fit(here: Local, name: str) -> None:
    """Make an image as large as the disk, as Ganeti knows it, if that was grown since; it is writable till then."""
    directory = places.private_directory(name)
    mounts.mount(name, directory)
    try:
        file = image.open_checked(directory)
        try:
            size = int(here.copy.dataset.local(properties.SIZE) or 0)
            if size > image.size(file):
                image.grow(file, size)
        finally:
            os.close(file)
    finally:
        attachment.unmounted(name)
        mounts.remove_directory(directory)
    zfs.change(name, {}, ["readonly"])


def _take_settings(here: Local, clone: str, name: str = "") -> None:
    """Give what takes the place of a copy the settings that the administrator has made on that, and no other ones.

    name is the copy's, if that has another one by now.
    """
    wanted, had = (_settings(each, thick=bool(local.rights(here))) for each in (name or here.name, clone))
    for key in sorted(set(had) - set(wanted)):
        if key in LIMITS:
            zfs.set_property(clone, key, "none")
        else:
            zfs.inherit(clone, key)
    if wanted:
        zfs.set_all([clone], wanted)


def _settings(name: str, *, thick: bool) -> dict[str, str]:
    """Return what the administrator has set on the dataset, of ZFS's own properties and others', as ZFS takes it."""
    found = zfs.local_properties(name)
    left_out = OURS | SPACE if thick else OURS
    return {
        key: text
        for key, text in found.items()
        if key not in left_out and not key.startswith(properties.PREFIX) and not (key in LIMITS and text == "0")
    }


def native_of(here: Local) -> dict[str, int]:
    """Return ZFS's own properties of a clone of the disk, in the kernel's numbers; it is written to once."""
    native = properties.native(here.copy.dataset.number("recordsize"))
    compression = zfs.COMPRESSION.get(here.copy.dataset.local("compression") or "")
    return native if compression is None else {**native, "compression": compression}


def commit(coming: Sequence[Coming], number: Generation) -> None:
    """Let the disks, all of a VM's, and what is to take their places exchange their states, in one transaction.

    number is the generation of what comes: all that a copy elsewhere may have of an older one has had its time.
    """
    there = zfs.read([each.dataset for each in coming], ["guid", "origin"])
    changes: dict[str, dict[str, str | None]] = {}
    for each in coming:
        old = each.disk.record
        here = {snapshot.short for snapshot in zfs.snapshots(each.dataset)}
        here |= _before(each, there[each.dataset]["origin"])
        kept_round = old.round if old.round is not None and records.snapshot("", old.round)[1:] in here else None
        new = old._replace(generation=number, floor=max(old.floor, number), round=kept_round)
        changes[each.dataset] = {
            **records.changes(new, there[each.dataset]["guid"]),
            **{name: each.disk.copy.dataset.local(name) for name in properties.FACTS},  # as Ganeti has it now
            properties.ROLLED: str(number),
            properties.INSTEAD: None,
            properties.UNOPENED: each.what if each.what.startswith("@") else None,
        }
        changes[each.disk.name] = {properties.STATE: KEPT, properties.INSTEAD: each.what}
    clones = [each.dataset for each in coming if there[each.dataset]["origin"].startswith(f"{each.disk.name}@")]
    zfs.change_all(changes, promote=clones)


def _before(coming: Coming, origin: str) -> set[str]:
    """Return the names of the disk's snapshots that go to what takes its place: up to what that is a clone of."""
    if not origin.startswith(f"{coming.disk.name}@"):
        return set()
    names = [each.short for each in zfs.snapshots(coming.disk.name)]
    return set(names[: names.index(origin.partition("@")[2]) + 1])


def settled(volumes: Sequence[str], config: Config) -> list[Local]:
    """Let the places follow the states, and what is kept set nothing aside; return the disks as they are then."""
    found = []
    for volume in volumes:
        leftovers.tidy(volume, config)
        found.append(local.settle(local.require(volume, config), config))
    return found


def back_to(here: Local, short: str, record: Record) -> str:
    """Put a clone of a copy's snapshot in its place, with this record; return where the copy, which is ahead of it, is.

    Killed half way, local.settle puts the copy back, or finishes it.
    """
    aside = places.aside_name(here.copy.parent, here.volume, f"{here.record.generation}{places.AHEAD}")
    if zfs.read([aside], ["type"]):  # an earlier one came as far as here
        aside = f"{aside.removesuffix(places.AHEAD)}-{int(time.time())}{places.AHEAD}"
    zfs.rename(here.name, aside)
    native = native_of(here)
    del native["readonly"]  # inherited, as of every copy
    given = (*properties.FACTS, properties.ROUNDED)
    user = {name: text for name in given if (text := here.copy.dataset.local(name)) is not None}
    of_it = {name: text for name, text in records.changes(record, "").items() if text is not None}
    zfs.clone(f"{aside}@{short}", here.name, native, {**user, **of_it})
    _take_settings(here, here.name, aside)
    local.take_over(here.name, aside)
    return aside
