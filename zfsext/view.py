"""A read-only view of what is in a snapshot of a VM's disks: the file systems in their partitions, to take a file back.

Each disk's image is found in the snapshot (ZFS mounts snapshots as they are), a read-only loop device stands on it, and
each file system that it, or one of its partitions, has is mounted read-only. What needs more than that is left alone:
LVM and RAID inside have names that would collide with those of this node, or of the VM.

All of it is below one directory, and is found again from the mount table and the loop devices: what a killed mount has
left, umount takes away.
"""

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from zfsext import command, image, loopdev, mounts
from zfsext.errors import AlreadyThere, Busy, SystemRefused

DIRECTORY = "/run/zfsext-view"
IMAGES = ".images"
#: How a file system of a kind is mounted so that nothing is written: not even its journal is played back.
OPTIONS = {
    "ext2": "ro",
    "ext3": "ro,noload",
    "ext4": "ro,noload",
    "xfs": "ro,norecovery,nouuid",
    "btrfs": "ro,rescue=nologreplay",
    "vfat": "ro",
    "exfat": "ro",
    "ntfs": "ro",
    "f2fs": "ro,norecovery",
    "iso9660": "ro",
    "squashfs": "ro",
}
PLAIN = "nodev,nosuid,noexec"


class Seen(NamedTuple):
    """What is on a device: where it is mounted, or, if it is not, why."""

    device: str
    kind: str
    directory: str
    why: str


def mount(name: str, snapshots: Sequence[str]) -> list[Seen]:
    """Show these snapshots (DATASET@NAME, by the disks' indexes) below DIRECTORY/name, and return what is where.

    Raises AlreadyThere if that is shown already. What fails half way is taken away again.
    """
    top = f"{DIRECTORY}/{name}"
    try:
        os.makedirs(DIRECTORY, mode=0o700, exist_ok=True)
        os.mkdir(top, 0o700)
    except FileExistsError:
        raise AlreadyThere(f"{top} is there already: 'zfsext umount {name}' takes it away") from None
    try:
        return [seen for index, snapshot in enumerate(snapshots) for seen in _disk(top, index, snapshot)]
    except BaseException:
        unmount(name)
        raise


def _disk(top: str, index: int, snapshot: str) -> Iterator[Seen]:
    place = f"{top}/{IMAGES}/{index}"
    os.makedirs(place, mode=0o700)
    command.output("mount", "-t", "zfs", "-o", f"ro,{PLAIN}", snapshot, place)
    device = command.output("losetup", "--find", "--show", "--read-only", "--partscan", image.path(place)).strip()
    command.output("udevadm", "settle", "--timeout=10")
    parts = list(_parts(json.loads(command.output("lsblk", "--json", "--paths", "--output", "NAME,FSTYPE", device))))
    command.output("udevadm", "settle", "--timeout=10")
    for part in parts:
        kind = part.get("fstype") or _probed(part["name"])
        number = part["name"].removeprefix(device).lstrip("p")
        directory = f"{top}/disk{index}" + (f"-part{number}" if number else "")
        if kind in OPTIONS:
            yield _shown(part["name"], kind, directory)
        elif kind or len(parts) == 1:
            yield Seen(part["name"], kind or "nothing that is known", "", _why(kind))


def _shown(device: str, kind: str, directory: str) -> Seen:
    os.mkdir(directory, 0o700)
    try:
        command.output("mount", "-t", kind, "-o", f"{OPTIONS[kind]},{PLAIN}", device, directory)
    except SystemRefused as error:
        os.rmdir(directory)
        return Seen(device, kind, "", str(error))
    return Seen(device, kind, directory, "")


def _why(kind: str) -> str:
    if kind in ("LVM2_member", "linux_raid_member"):
        return "its names would collide with those of this node or the VM: 'guestmount -r -i -a IMAGE DIRECTORY'"
    return "no file system that is mounted here"


def _parts(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for device in tree["blockdevices"]:
        yield device
        yield from device.get("children", ())


def _probed(device: str) -> str:
    """Return the file system's kind as blkid reads it from the device: udev may not have come to it."""
    done = command.run("blkid", "-p", "-o", "value", "-s", "TYPE", device)
    return done.stdout.strip()


def unmount(name: str) -> None:
    """Take a view away, also what is left of one. Raises Busy, naming it, for what somebody uses."""
    top = f"{DIRECTORY}/{name}"
    images = f"{top}/{IMAGES}/"
    below = [each for each in mounts.table() if each.directory.startswith(f"{top}/")]
    for each in reversed(below):
        if not each.directory.startswith(images):
            _unmount(each.directory)
    for loop in loopdev.standing():
        if loopdev.file_name(loop.path).startswith(images):
            loopdev.detach(loop.path)
    for each in reversed(below):
        if each.directory.startswith(images):
            _unmount(each.directory)
    for directory, _, _ in os.walk(top, topdown=False):
        os.rmdir(directory)


def _unmount(directory: str) -> None:
    if not mounts.unmount(directory):
        raise Busy(f"{directory} is in use: 'fuser -vm {directory}' shows by whom")


def shown() -> list[str]:
    """Return the names of the views that there are."""
    return sorted(os.listdir(DIRECTORY)) if os.path.isdir(DIRECTORY) else []
