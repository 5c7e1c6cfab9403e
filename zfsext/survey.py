"""A look at all of zfsext's on this node, in bulk.

Taken by asking and looking alone: nothing is mounted, and no disk's lock is held for longer than a moment. Pools that
do not work are left out, by name.
"""

import fcntl
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace

from zfsext import (
    contract,
    guard,
    image,
    lock,
    loopdev,
    marks,
    mounts,
    node,
    outcome,
    ownership,
    places,
    pool,
    properties,
    transfers,
    zfs,
    zpool,
)
from zfsext.config import Config, standby
from zfsext.contract import NEW_SUFFIX
from zfsext.errors import BadInput, Busy, NotHere
from zfsext.inventory import (
    ASIDE,
    COPIES,
    EXPORT,
    FOREIGN,
    KEPT,
    LIVE,
    NEW,
    REMOVED,
    STANDBY,
    STRAY,
    Device,
    Disk,
    Inventory,
    Pool,
    Snapshot,
    Target,
)
from zfsext.properties import INSTANCE, SIZE, STATE

#: How long the look may take, in seconds: a handful of commands, however many disks there are. NRPE gives up after 60.
SECONDS = 45
#: How long an earlier look is waited for, in seconds. Both together end before NRPE's 60.
PATIENCE = 10
PROPERTIES = (
    *("used", "referenced", "logicalreferenced", "recordsize", "compression", "refreservation", "refquota"),
    *("reservation", "creation", "receive_resume_token", "guid", "written", STATE, INSTANCE, SIZE),
    *(properties.STAMP, properties.GENERATION, properties.PEER, properties.OVER, properties.KNOWS, properties.ROUND),
    *(properties.ROUNDED, properties.PROMOTED, properties.REPLICAS),
)
NOTES = tuple(f".{kind}{end}" for kind in ("attached", *marks.KINDS) for end in ("", "~"))
#: The image of a volume that Ganeti named (lib/cmdlib/instance_storage.py: GenerateDiskTemplate), wherever it was; of a
#: mount that was detached the kernel shows no more than the path within.
HIDDEN = re.compile(rf"(.*/[^/]+\.ext\.disk[0-9]+[^/]*)?/{re.escape(image.NAME)}( \(deleted\))?")

FORMER = {places.KEPT: KEPT, places.REMOVED: REMOVED}
FORMER_MARKS = "|".join(re.escape(mark) for mark in FORMER)


def take(config: Config, *, whole: bool = True, count: bool = False) -> Inventory:
    """Return the inventory. Raises ZfsextError if a pool stops working meanwhile, or ZFS refuses.

    Without the whole it has no snapshots, no figures of the pools and nothing of what the node lacks or has left over:
    that takes as long as ZFS takes to list the datasets, however many snapshots there are, unless they are to be
    counted.
    """
    working = [name for name in pool.imported() if pool.works(name)]

    def look() -> str:
        return json.dumps(asdict(_taken(config, working) if whole else _glance(config, working, count=count)))

    with _alone():
        read = json.loads(guard.run(look, working, "the look at the disks", SECONDS))
    read["disks"] = [
        Disk(
            **{
                **disk,
                "devices": [Device(**device) for device in disk["devices"]],
                "targets": [Target(**target) for target in disk["targets"]],
                "snapshots": [Snapshot(**snapshot) for snapshot in disk["snapshots"]],
            }
        )
        for disk in read["disks"]
    ]
    read["pools"] = [Pool(**each) for each in read["pools"]]
    return Inventory(**read)


def snapshots_of(datasets: Sequence[str]) -> dict[str, list[Snapshot]]:
    """Return the snapshots of these datasets, oldest first. Raises what take raises."""
    working = [name for name in pool.imported() if pool.works(name)]

    def look() -> str:
        found: dict[str, list[dict[str, object]]] = {name: [] for name in datasets}
        there = list(zfs.read(datasets, ["type"]))  # without what was destroyed since
        for each in zfs.snapshots(*there) if there else ():
            found[each.dataset].append(asdict(Snapshot(each.name, _holds(each), each.clones)))
        return json.dumps(found)

    read = json.loads(guard.run(look, working, "the look at the snapshots", SECONDS))
    return {name: [Snapshot(**each) for each in snapshots] for name, snapshots in read.items()}


@contextmanager
def _alone() -> Iterator[None]:
    """See to it that one look at most goes on: one that hangs in the kernel shall not be joined by others.

    The child inherits the lock, and so holds it for as long as it lives. Raises Busy if an earlier look does not end.
    """
    directory = os.open(lock.run_directory(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + PATIENCE
    try:
        while True:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Busy("an earlier look at the disks has not ended: 'pgrep -af zfsext' shows it") from None
                time.sleep(0.1)
        yield
    finally:
        os.close(directory)


def ill(config: Config) -> list[Pool]:
    """Return those pools of the configuration that do not work. Asks none of them."""
    return [Pool(name, pool.state(name)) for name in places.pools(config.live) if not pool.works(name)]


def _glance(config: Config, working: list[str], *, count: bool) -> Inventory:
    parents = [parent for parent in config.live if pool.of(parent) in working]
    disks = list(_disks(parents, working, snapshots=False)) if working else []
    if count and disks:
        roots = {disk.dataset.rpartition("/")[0] for disk in disks}  # of which none vanishes with a disk
        named = Counter(name.partition("@")[0] for name in zfs.snapshot_names(sorted(roots)))
        disks = [replace(disk, snapshot_count=named[disk.dataset]) for disk in disks]
    pools = [Pool(name, pool.state(name)) for name in places.pools(config.live)]
    return Inventory(disks, pools, taken=int(time.time()), whole=False)


def _taken(config: Config, working: list[str]) -> Inventory:
    parents = [parent for parent in config.live if pool.of(parent) in working]
    disks = list(_disks(parents, working, snapshots=True)) if working else []
    space = zpool.space(places.pools(parents)) if parents else {}
    rights = zfs.read([*space, *parents], ["used", "available"]) if space else {}
    pools = [
        Pool(name, pool.state(name), *space[name], zpool.data_errors(name), _reserved(name, rights))
        if name in space
        else Pool(name, _state(name))
        for name in places.pools(config.live)
    ]
    unfit = node.findings(Config(parents, config.recordsize, config.compression, config.reservation))
    return Inventory(disks, pools, unfit, list(_left(disks)), list(_hidden()), int(time.time()))


def _reserved(name: str, rights: dict[str, zfs.Dataset]) -> int:
    """Return per cent of what the pool, or a parent in it, can have that is taken: reservations and quotas count."""
    there = [dataset for dataset in rights.values() if pool.of(dataset.name) == name]
    taken = [(dataset.number("used"), dataset.number("available")) for dataset in there]
    return max((used * 100 // max(1, used + available) for used, available in taken), default=0)


def _at_work() -> set[str]:
    """Return the volumes that somebody works on."""
    names = os.listdir(lock.RUN) if os.path.isdir(lock.RUN) else []
    locks = [name for name in names if name.endswith(".lock")]
    return {name.removesuffix(".lock") for name in locks if lock.held(f"{lock.RUN}/{name}")}


def _state(name: str) -> str:
    """Return the state of a pool that was not asked: it did not work then, whatever it does by now."""
    return "just imported" if pool.works(name) else pool.state(name)


def _disks(parents: list[str], working: list[str], *, snapshots: bool) -> Iterator[Disk]:
    both = [name for parent in parents for name in (parent, standby(parent))]
    busy = _at_work()
    everything = zfs.tree(working, PROPERTIES)
    roots = [name for name in both if name in everything]
    below = tuple(f"{name}/" for name in roots)
    datasets = {name: each for name, each in everything.items() if name in roots or name.startswith(below)}
    strays = [name for name, each in everything.items() if name not in datasets and each.local(STATE) is not None]
    datasets |= {name: everything[name] for name in strays}
    taken = zfs.all_snapshots([*roots, *strays]) if snapshots and (roots or strays) else []
    by_dataset: dict[str, list[zfs.Snapshot]] = {}
    for snapshot in taken:
        by_dataset.setdefault(snapshot.dataset, []).append(snapshot)
    mounted = {mount.source: mount for mount in mounts.table() if mount.kind == "zfs"}
    loops = loopdev.standing()
    busy |= _at_work()  # who began, or ended, while we looked: what was seen of his disk need not fit together
    for name, dataset in datasets.items():
        if name not in roots:
            volume, role = _role(name, _state_of(dataset), parents)
            disk = _disk(
                dataset, volume, role, mounted.get(name), loops, by_dataset.get(name, []) if snapshots else None
            )
            transfer = volume + transfers.SUFFIX in busy
            yield replace(disk, busy=bool({volume, disk.origin} & busy), transfer=transfer)


def _state_of(dataset: zfs.Dataset) -> str:
    """Return the state that counts: a claim with the stamp of another dataset, which this is a copy of, is none."""
    state, stamp = dataset.local(STATE) or "", dataset.local(properties.STAMP)
    return "" if state in ownership.CLAIMS and stamp is not None and stamp != dataset["guid"] else state


def _role(name: str, state: str, parents: Iterable[str]) -> tuple[str, str]:
    for parent in parents:
        if name.startswith((f"{parent}/", f"{standby(parent)}/")):
            live = name.startswith(f"{parent}/")
            rest = name.removeprefix(f"{parent if live else standby(parent)}/")
            if not live and places.ASIDE in rest and state in (*COPIES, ownership.OWNER) and "/" not in rest:
                role = state if places.is_put_back(rest, state) else ASIDE  # by its name, before its state says so
                return rest.partition(places.ASIDE)[0], role
            former = next((of for mark, of in FORMER.items() if mark in rest), None)
            # One that was being removed when something was killed has the state of the disk still.
            if not live and "/" not in rest and former is not None and state in (former, ownership.OWNER, ASIDE):
                return re.split(FORMER_MARKS, rest)[0], former
            if state == KEPT and "/" not in rest:  # a rollback was killed: the next script moves it
                return rest, KEPT
            if state in COPIES and "/" not in rest:
                return rest, state
            if live:
                return rest, LIVE if state == ownership.OWNER and "/" not in rest else FOREIGN
            # a power cut inside the call that makes a dataset may leave it without its state: see zfsext.removal
            if rest.endswith(NEW_SUFFIX):
                return rest.removesuffix(NEW_SUFFIX), NEW
            if places.is_export(rest) and state in (ownership.EXPORT, ""):
                return rest, EXPORT
            if state == ownership.OWNER and not places.is_export(rest) and "/" not in rest:
                return rest, LIVE  # the next script moves it to its place
            return rest, FOREIGN if "/" in rest else STANDBY
    return name.rpartition("/")[2].removesuffix(NEW_SUFFIX), STRAY


def _disk(
    dataset: zfs.Dataset,
    volume: str,
    role: str,
    mount: mounts.Mount | None,
    loops: list[loopdev.Loop],
    snapshots: list[zfs.Snapshot] | None,
) -> Disk:
    status = _image(mount)
    return Disk(
        dataset.name,
        volume,
        role,
        state=dataset.local(STATE) or "",
        instance=dataset.local(INSTANCE) or "",
        size_mib=_mebibytes(dataset.local(SIZE) or ""),
        image_bytes=status.st_size if status else None,
        used_bytes=dataset.number("used"),
        referenced_bytes=dataset.number("referenced"),
        logical_bytes=dataset.number("logicalreferenced"),
        recordsize_bytes=dataset.number("recordsize"),
        compression=dataset["compression"],
        refreservation_bytes=dataset.number("refreservation"),
        refquota_bytes=dataset.number("refquota"),
        reservation_bytes=dataset.number("reservation"),
        created=dataset.number("creation"),
        partial_receive=dataset["receive_resume_token"] not in ("-", ""),
        guid=dataset["guid"],
        generation=dataset.local(properties.GENERATION) or "",
        peer=dataset.local(properties.PEER) or "",
        round=dataset.local(properties.ROUND) or "",
        rounded=_seconds(dataset.local(properties.ROUNDED) or ""),
        promoted=_seconds(dataset.local(properties.PROMOTED) or ""),
        over=(dataset.local(properties.OVER) or "").split(),
        knows=(dataset.local(properties.KNOWS) or "").split(),
        replicas=(dataset.local(properties.REPLICAS) or "").split(),
        targets=[Target(node, *noted) for node, noted in outcome.of(volume).items()] if role == LIVE else [],
        written_bytes=dataset.number("written"),
        writable=mount is not None and mount.writable,
        directory=mount.directory if mount else "",
        devices=[
            Device(loop.path, _on_image(loop, status), loop.whole, loop.lasting)
            for loop in loops
            if mount and loop.backing[0] == mount.device
        ],
        snapshots=[Snapshot(each.name, _holds(each), each.clones) for each in snapshots or ()],
        snapshot_count=None if snapshots is None else len(snapshots),
    )


def _mebibytes(text: str) -> int | None:
    try:
        return contract.mebibytes(SIZE, text)
    except BadInput:  # anybody can set a property
        return None


def _seconds(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 11 else None


def _image(mount: mounts.Mount | None) -> os.stat_result | None:
    """Return the image's status, if its dataset is mounted and nothing is mounted over it."""
    if mount is None:
        return None
    try:
        status = os.lstat(image.path(mount.directory))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if status.st_dev == mount.device else None


def _on_image(loop: loopdev.Loop, status: os.stat_result | None) -> bool:
    """Tell whether the device is on the image; where that cannot be seen, whether its file was not deleted."""
    if status is None:
        return not loopdev.file_name(loop.path).endswith(" (deleted)")
    return loop.backing[1] == status.st_ino


def _holds(snapshot: zfs.Snapshot) -> list[str]:
    try:
        return zfs.holds(snapshot.name) if snapshot.holds else []
    except NotHere:  # destroyed since it was listed
        return []


def _left(disks: list[Disk]) -> Iterator[str]:
    """Yield what is in /run/zfsext for volumes that are not here, unless somebody works on them."""
    volumes = {disk.volume for disk in disks}
    own = {disk.dataset.rpartition("/")[2] for disk in disks}
    for name in sorted(os.listdir(lock.RUN)) if os.path.isdir(lock.RUN) else []:
        path = f"{lock.RUN}/{name}"
        suffix = next((suffix for suffix in NOTES if name.endswith(suffix)), "")
        volume = name.removesuffix(suffix)
        directory = not suffix and os.path.isdir(path) and not os.path.ismount(path)
        gone = volume not in volumes if suffix else directory and name not in own
        if gone and not lock.held(f"{lock.RUN}/{volume.removesuffix(NEW_SUFFIX)}.lock"):
            yield path


def _hidden() -> Iterator[str]:
    """Yield the loop devices on an image in no file system that is mounted here: one that was unmounted lazily."""
    mounted = {mount.device for mount in mounts.table()}
    for loop in loopdev.standing():
        anonymous = os.major(loop.backing[0]) == 0  # what ZFS's file systems have; those on a block device have its own
        ours = HIDDEN.fullmatch(loopdev.file_name(loop.path))
        if anonymous and ours and loop.backing[0] not in mounted:
            yield loop.path
