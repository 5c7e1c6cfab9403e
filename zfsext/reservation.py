"""How much a thick disk sets aside, so that each of its blocks can always be written again."""

MIB = 1 << 20
POINTERS = 1024  # block pointers in an indirect block: 128 KiB of 128 bytes each (include/sys/dnode.h, spa.h)
INDIRECT = 128 << 10
COPIES = 2  # of each indirect block: redundant_metadata=all
BASE = 4 * MIB  # the file system's own objects


def size(mebibytes: int, recordsize: int) -> int:
    """Return the refreservation, in bytes, for an image of this size: its data, and the blocks that point to them.

    As libzfs reckons for volumes (lib/libzfs/libzfs_dataset.c: zvol_volsize_to_reservation), none compressed.
    """
    blocks = -(-mebibytes * MIB // recordsize)
    total = blocks * recordsize + BASE
    while blocks > 1:
        blocks = -(-blocks // POINTERS)
        total += blocks * INDIRECT * COPIES
    return total
