"""What a thick disk sets aside, so that each of its blocks can always be written again, in a full pool too.

A refreservation alone does not do that (seen on 2.1: I/O errors after 5 MiB of unsynced writes to a new disk of
128 MiB). Before a write ZFS asks for 24 times its size (spa_asize_inflation), and as much for all that is written
and not yet on disk; what goes beyond the reservation is charged to the pool, and a full pool says ENOSPC at once
instead of waiting for what is under way (module/zfs/dsl_dir.c: dsl_dir_tempreserve_impl). So three properties work
together: refquota, as large as refreservation, makes a write wait that would go beyond it; HEADROOM in both is what may
be under way meanwhile, 24 times; and reservation covers the one write that ZFS lets pass without counting it. That
write is a record in 2.1, and in 2.3 as much as the loop device asks for at once (module/zfs/zfs_vnops.c: zfs_write), so
it is always reckoned as the latter: a disk lives through the upgrade.
"""

from zfsext import zfs

MIB = 1 << 20
POINTERS = 1024  # block pointers in an indirect block: 128 KiB of 128 bytes each (include/sys/dnode.h, spa.h)
INDIRECT = 128 << 10
COPIES = 2  # of each indirect block: redundant_metadata=all
BASE = 4 * MIB  # the file system's own objects
SMALLEST_HEADROOM, LARGEST_HEADROOM = 96 * MIB, 1024 * MIB
WRITE = 4 * MIB  # a loop device's largest request (block/blk-settings.c: BLK_DEF_MAX_SECTORS_CAP)
INFLATION = 32  # spa_asize_inflation is 24; the rest is for what a write changes besides its data


def properties(mebibytes: int, recordsize: int) -> dict[str, int]:
    """Return the properties, in bytes and in the order to set them, of a thick disk with an image of this size."""
    content = data(mebibytes, recordsize)
    headroom = min(max(content // 8, SMALLEST_HEADROOM), LARGEST_HEADROOM)
    whole = content + headroom
    return {
        "reservation": whole + INFLATION * WRITE,
        "refquota": whole,
        "refreservation": whole,
    }


def data(mebibytes: int, recordsize: int) -> int:
    """Return the bytes that the image takes at the most: its data, and the blocks that point to them.

    As libzfs reckons for volumes (lib/libzfs/libzfs_dataset.c: zvol_volsize_to_reservation), none compressed.
    """
    blocks = -(-mebibytes * MIB // recordsize)
    total = blocks * recordsize + BASE
    while blocks > 1:
        blocks = -(-blocks // POINTERS)
        total += blocks * INDIRECT * COPIES
    return total


def drop(dataset: zfs.Dataset) -> None:
    """Give back what a thick disk has set aside, on a node that it no longer lives on, or that keeps it only."""
    if dataset.number("refreservation"):
        for name in ("refquota", "reservation", "refreservation"):  # the last tells whether this was done
            zfs.set_property(dataset.name, name, "none")
