"""What is wrong with the disks of this node, and what to type: a function of what was found and what Ganeti knows."""

from collections import Counter
from collections.abc import Iterator, Sequence

from zfsext import claim, copies, former, inventory, removal, reservation
from zfsext.claim import Claim
from zfsext.cluster import Cluster
from zfsext.config import PATH, standby
from zfsext.finding import (
    CRITICAL,
    NOTICE,
    SEVERITIES,
    UNKNOWN,
    WARNING,
    Finding,
    Limits,
    look,
    ordered,
    script,
    split,
    typed,
)
from zfsext.image import MIB
from zfsext.inventory import COPIES, DISKS, EXPORT, FOREIGN, LIVE, NEW, STANDBY, STRAY, Disk, Inventory
from zfsext.ownership import OWNER
from zfsext.places import EXPORT_SNAPSHOT


def examine(found: Inventory, known: Cluster | None, limits: Limits) -> list[Finding]:
    """Return what is wrong, the worst first. Without a cluster nothing is said of which disks an instance has."""
    findings = [*_pools(found, limits), *_node(found)]
    for disk in found.disks:
        findings += [*_place(disk, found, known), *_devices(disk), *_leftovers(disk)]
        findings += copies.examine(disk, found, known, limits)
        findings += former.examine(disk, found, known)
        if disk.role == LIVE and not disk.busy:
            findings += [*_sizes(disk, known), *_reservation(disk, known), *_fill(disk, found, known, limits)]
    if known is not None and known.complete and found.complete:
        findings += _missing(found, known)
    return ordered(findings)


def summary(found: Inventory, findings: Sequence[Finding]) -> str:
    """Return how many disks there are, and how many findings of each severity, in a few words."""
    counts = Counter(each.severity for each in findings)
    words = [_count(counts[severity], severity) for severity in reversed(SEVERITIES) if counts[severity]]
    return ", ".join([f"{_count(len(found.disks), 'disk')} in {_count(len(found.pools), 'pool')}", *words])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 and what not in (CRITICAL, UNKNOWN) else ''}"


def _pools(found: Inventory, limits: Limits) -> Iterator[Finding]:
    for pool in found.pools:
        name = pool.name
        if not pool.state:
            what = f"pool {name} is not imported, so none of its disks can be used"
            yield Finding(CRITICAL, "pool-state", name, what, typed("zpool", "import", name))
        elif not pool.works:
            what = f"pool {name} is {pool.state}, and guests wait for it. When its devices are back, clear it"
            yield Finding(CRITICAL, "pool-state", name, what, f"zpool status {name}; zpool clear {name}")
        elif pool.state != "ONLINE":
            what = f"pool {name} is {pool.state}: it works, with fewer copies of the data than it should have"
            yield Finding(WARNING, "pool-state", name, what, typed("zpool", "status", name))
        if pool.errors:
            what = f"pool {name} has lost data ({pool.errors}). See which files; a snapshot may have them whole"
            yield Finding(CRITICAL, "pool-errors", name, what, typed("zpool", "status", "-v", name))
        percent = pool.percent
        severity = _above(percent, (CRITICAL, limits.pool_critical), (WARNING, limits.pool_warning))
        if severity:
            what = f"pool {name} is {percent} % full, and in a full one guests see write errors. See what takes it"
            yield Finding(severity, "pool-capacity", name, what, typed("zfs", "list", "-r", "-o", "space", name))


def _node(found: Inventory) -> Iterator[Finding]:
    for text in found.unfit:
        what, command = split(text)
        yield Finding(CRITICAL, "node", "node", what, command)
    for path in found.hidden:
        what = f"{path} is on an image that is mounted nowhere to be seen. When nobody has it any more, 'losetup -d' it"
        yield Finding(WARNING, "loop-leaked", path, what, f"fuser -v {path}")
    if found.left and found.complete:
        what = f"{len(found.left)} notes or directories in /run/zfsext are of disks that are not here; they do no harm"
        yield Finding(NOTICE, "left", "/run/zfsext", what, typed("rm", "-d", *found.left))


def _place(disk: Disk, found: Inventory, known: Cluster | None) -> Iterator[Finding]:
    """Say what is wrong with where the disk is, and with whose it is."""
    roles = [each.role for each in found.disks if each.volume == disk.volume]
    lives, whose = roles.count(LIVE), claim.of(disk, found, known)
    if disk.role in DISKS and sum(role in DISKS for role in roles) > 1:
        what = f"{disk.dataset} is one of several copies of one disk, so none is opened. Find out which is right"
        yield Finding(CRITICAL, "double", disk.volume, what, look(disk.dataset))
    elif disk.role == STRAY:
        yield _stray(disk, whose is Claim.HERE and not lives, whose is Claim.ELSEWHERE or bool(lives))
    elif disk.role == FOREIGN:
        yield _foreign(disk, whose is Claim.HERE and not lives)
    elif disk.role == NEW and not disk.busy:
        yield _half_made(disk, lives)
    elif disk.role == EXPORT and not disk.busy and not disk.devices:
        what = f"{disk.dataset} is a clone for gnt-backup, and nothing reads it. Unless an export runs now, remove it"
        yield Finding(NOTICE, "export-left", disk.volume, what, script("remove", disk.volume))
    elif disk.role in (LIVE, STANDBY) and known is not None:
        yield from _whose(disk, whose, found.instance(disk, known), known)


def _whose(disk: Disk, whose: Claim, instance: str, known: Cluster) -> Iterator[Finding]:
    name, volume = disk.dataset, disk.volume
    if whose is Claim.DETACHED:
        what = f"{name} was detached from its instance, and Ganeti keeps it. Attach it again, also to remove it"
        attach = f"gnt-instance modify --disk attach:uuid={known.detached[volume]} {instance or 'INSTANCE'}"
        yield Finding(NOTICE, "detached", volume, what, attach)
    elif whose is Claim.NOBODY:
        device = f", attached as {disk.devices[0].path}" if disk.devices else ""
        what = (
            f"{name} (it was of {instance or 'no instance'}{device}) is of no instance that Ganeti has. Unless a "
            "job makes it just now ('gnt-job list'), look into it, and remove it if nobody needs it"
        )
        yield Finding(WARNING, "orphan", volume, what, script("remove", volume) if disk.role == LIVE else look(name))
    elif whose is Claim.ELSEWHERE and disk.role == LIVE:
        what = (
            f"{name} is live here, but Ganeti has {instance} on {known.disks[volume].node}, as after a failover of a "
            "stopped instance. The next start fetches the disk to there"
        )
        yield Finding(NOTICE, "misplaced", volume, what, typed("gnt-instance", "start", instance))
    elif whose is Claim.UNSURE and disk.role == LIVE and instance and known.complete:
        what = f"{name} is not among the disks of {instance}. Unless a job converts it just now ('gnt-job list')"
        yield Finding(WARNING, "orphan", volume, what, f"gnt-instance info {instance}")
    elif whose is Claim.UNSURE and disk.role == LIVE and instance and instance not in known.instances:
        what = f"{name} was of {instance}, of which this node has not heard. Ask on the master before you do anything"
        yield Finding(WARNING, "orphan", volume, what, f"gnt-instance info {instance}")


def _half_made(disk: Disk, lives: int) -> Finding:
    name = disk.dataset
    if disk.snapshots or disk.instance or (not disk.state and lives):
        what = f"{name} has the name of a disk in the making, and may hold somebody's data: look into it"
        return Finding(WARNING, "half-made", disk.volume, what, look(name))
    if not disk.state:  # the script sees for itself that nothing is in it
        what = f"{name} is what a power cut in a create leaves. Remove clears it away if it is empty, and else refuses"
        return Finding(WARNING, "half-made", disk.volume, what, script("remove", disk.volume))
    what = f"{name} is what a killed create left. No guest ever had it; the same create or remove clears it too"
    return Finding(WARNING, "half-made", disk.volume, what, typed("zfs", "destroy", name))


def _stray(disk: Disk, wanted: bool, copy: bool) -> Finding:
    name = disk.dataset
    parent = name.rpartition("/")[0].removesuffix(standby(""))
    if wanted:
        what = f"{name} is an instance's disk, but {parent} is not in {PATH}, so it is not attached. Add it to dataset"
        return Finding(WARNING, "stray", disk.volume, what, f"sensible-editor {PATH}")
    if copy:
        what = f"{name} is another copy of a disk that the instance has elsewhere. It is never opened where it is"
        return Finding(NOTICE, "stray", disk.volume, what, look(name))
    what = f"{name} was made by zfsext, but {parent} is not in {PATH}. Put that in if an instance has the disk"
    return Finding(WARNING, "stray", disk.volume, what, look(name))


def _foreign(disk: Disk, wanted: bool) -> Finding:
    name = disk.dataset
    if "/" in disk.volume:
        what = f"{name} is below a disk, which cannot be removed because of it. 'zfs rename' it to another place"
        return Finding(NOTICE, "state", name, what, look(name))
    if wanted and disk.state == OWNER:
        what = (
            f"{name} has the name and the properties of an instance's disk, but zfsext:stamp is not its guid: it was "
            "copied here, and is not opened. If it is the newest copy, make it the disk"
        )
        return Finding(WARNING, "state", name, what, typed("zfs", "set", f"zfsext:stamp={disk.guid}", name))
    if wanted:
        what = (
            f"{name} has the name of an instance's disk, but zfsext:state is {disk.state or 'not set on it'}, "
            "so it is not opened. If you restored it and it is the newest copy, make it the disk"
        )
        return Finding(WARNING, "state", name, what, typed("zfs", "set", "zfsext:state=owner", name))
    what = f"{name} was not made by zfsext, and is among its disks. 'zfs rename' it to another place"
    return Finding(WARNING if disk.state else NOTICE, "state", name, what, look(name))


def _devices(disk: Disk) -> Iterator[Finding]:
    """Say what is wrong with the loop devices on the disk's dataset, and with its mount."""
    if disk.role in (FOREIGN, *COPIES):
        return
    on_image = [device for device in disk.devices if device.on_image]
    for device in disk.devices:
        if not device.on_image:
            what = (
                f"{device.path} is on a file of {disk.dataset} that is not its image, which was deleted or replaced. "
                f"What is written to it is in no image, and gone with it. End its use, 'dd if={device.path} "
                "conv=sparse of=…' what it has to a safe place, and only then 'losetup -d' it"
            )
            yield Finding(WARNING, "loop-leaked", device.path, what, f"fuser -v {device.path}")
        elif not device.whole or disk.role in (NEW, STANDBY):
            why = "is read-only or a part of the image" if disk.role not in (NEW, STANDBY) else "must not be there"
            what = f"{device.path} on {disk.dataset} was not set up by zfsext: it {why}. End its use, and detach it"
            detach = f"fuser -v {device.path}; losetup -d {device.path}"
            yield Finding(WARNING, "loop-leaked", device.path, what, detach)
        elif not device.lasting and not disk.busy:
            what = f"{device.path} on {disk.dataset} vanishes when it is closed (autoclear). Attach takes that back"
            yield Finding(WARNING, "loop-leaked", device.path, what, script("attach", disk.volume))
    if len(on_image) > 1:
        paths = " ".join(device.path for device in on_image)
        what = f"{paths} are all on the image of {disk.dataset}, and a disk has one device. Detach what the VM has not"
        yield Finding(WARNING, "loop-leaked", disk.volume, what, f"fuser -v {paths}")
    if disk.role in (LIVE, STANDBY) and disk.directory and not disk.devices and not disk.busy:
        what = f"{disk.dataset} is mounted without a device: somebody was in {disk.directory} when it was detached"
        yield Finding(NOTICE, "mounted-idle", disk.volume, what, typed("umount", disk.directory))


def _leftovers(disk: Disk) -> Iterator[Finding]:
    """Name what others left on the disk, or an export."""
    for snapshot in disk.snapshots:
        for tag in filter(lambda tag: not removal.tagged_by_us(tag), snapshot.holds):
            what = f"{snapshot.name} is held as {tag!r}, so the disk cannot be removed. If its holder is done with it"
            yield Finding(NOTICE, "hold", snapshot.name, what, typed("zfs", "release", tag, snapshot.name))
        if snapshot.name.endswith(f"@{EXPORT_SNAPSHOT}") and not snapshot.clones and not disk.busy:
            what = f"{snapshot.name} is what an interrupted gnt-backup left; the next one clears it too"
            yield Finding(NOTICE, "export-left", snapshot.name, what, typed("zfs", "destroy", snapshot.name))
    if disk.partial_receive and disk.role not in COPIES:
        what = f"{disk.dataset} keeps a part of an interrupted receive, which blocks others. If nobody resumes it"
        yield Finding(WARNING, "partial-receive", disk.dataset, what, typed("zfs", "receive", "-A", disk.dataset))


def _sizes(disk: Disk, known: Cluster | None) -> Iterator[Finding]:
    ganeti = known.disks.get(disk.volume) if known else None
    sizes = {"Ganeti": ganeti.size if ganeti else None, "zfsext:size": disk.size_mib}
    if disk.image_bytes is not None:
        whole, rest = divmod(disk.image_bytes, MIB)
        if rest:
            what = f"the image of {disk.dataset} has {disk.image_bytes} bytes, which is no whole MiB. Round it up"
            command = typed("truncate", "-s", f"{whole + 1}M", f"{disk.directory}/disk.raw")
            yield Finding(WARNING, "size", disk.volume, what, command)
            return
        sizes["the image"] = whole
    told = {who: size for who, size in sizes.items() if size is not None}
    if len(set(told.values())) > 1:
        words = ", ".join(f"{who} says {size} MiB" for who, size in told.items())
        noted = disk.image_bytes is not None and sizes["Ganeti"] in (None, sizes["the image"])
        repair = f"gnt-cluster repair-disk-sizes {ganeti.instance}" if ganeti else ""
        command = _grow(disk, sizes["the image"]) if noted else repair
        yield Finding(WARNING, "size", disk.volume, f"the sizes of {disk.dataset} differ: {words}", command)


def _reservation(disk: Disk, known: Cluster | None) -> Iterator[Finding]:
    size = inventory.size(disk, known)
    if not size or not (disk.refreservation_bytes or disk.refquota_bytes):
        return
    if not disk.refreservation_bytes:
        what = f"{disk.dataset} is thin and has a refquota, at which the guest sees write errors. Take that away"
        yield Finding(WARNING, "reservation", disk.volume, what, typed("zfs", "set", "refquota=none", disk.dataset))
        return
    wanted = reservation.properties(size, disk.recordsize_bytes)
    if (
        disk.refquota_bytes != disk.refreservation_bytes
        or disk.refreservation_bytes < wanted["refreservation"]
        or disk.reservation_bytes < wanted["reservation"]
    ):
        what = f"what {disk.dataset} sets aside as a thick disk does not fit its size: a grow was killed. Run it again"
        yield Finding(WARNING, "reservation", disk.volume, what, _grow(disk, size))


def _fill(disk: Disk, found: Inventory, known: Cluster | None, limits: Limits) -> Iterator[Finding]:
    size = inventory.size(disk, known)
    percent = disk.logical_bytes * 100 // (size * MIB) if size else 0
    severity = _above(
        percent, (CRITICAL, limits.disk_critical), (WARNING, limits.disk_warning), (NOTICE, limits.disk_notice)
    )
    if severity:
        ganeti = known.disks.get(disk.volume) if known else None
        what = (
            f"{disk.dataset} of {found.instance(disk, known) or 'no instance'} has data in {percent} % of its size. "
            "Without discard (fstrim) in the guest that comes in the end. If the guest is full, grow it"
        )
        command = f"gnt-instance grow-disk {ganeti.instance} {ganeti.index} 10G" if ganeti else ""
        yield Finding(severity, "disk-fill", disk.volume, what, command)


def _missing(found: Inventory, known: Cluster) -> Iterator[Finding]:
    live = {disk.volume for disk in found.disks if disk.role == LIVE}
    for volume, ganeti in known.disks.items():
        if ganeti.node == known.node and volume not in live:
            here = [disk for disk in found.disks if disk.volume == volume]
            notice = copies.moved(ganeti, here)
            if notice is not None:
                yield notice
                continue
            others = [f"{disk.dataset} ({disk.role})" for disk in here]
            what = (
                f"disk {ganeti.index} of {ganeti.instance} is not on this node"
                f"{', but there is ' + ', '.join(others) if others else ''}. If another node has it, the next start "
                "fetches it. Else see what became of it"
            )
            history = "; ".join(f"zpool history {pool.name} | grep {volume}" for pool in found.pools)
            yield Finding(CRITICAL, "missing", volume, what, history)


def _above(percent: int, *levels: tuple[str, int | None]) -> str:
    return next((severity for severity, level in levels if level is not None and percent >= level), "")


def _grow(disk: Disk, size: int | None) -> str:
    return script("grow", disk.volume, f"VOL_SIZE={size}", f"VOL_NEW_SIZE={size}")
