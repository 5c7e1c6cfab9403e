"""The properties that a dataset of ours has set on itself; everything else it inherits from its parent."""

from zfsext import zfs

STATE = "zfsext:state"
INSTANCE = "zfsext:instance"
#: In MiB, for who looks at a disk that is not mounted. The size of the image decides: a grow sets that first.
SIZE = "zfsext:size"
#: The nodes that the disk is replicated to by timer, separated by blanks.
REPLICAS = "zfsext:replicas"

CANMOUNT_NOAUTO = 2  # canmount is not inherited, and attach mounts
DIRECT_DISABLED = 0


def native(recordsize: int) -> dict[str, int]:
    """Return ZFS's own properties, in the kernel's numbers, for a dataset that is to be written in the standby place.

    recordsize is that of the image: it stays with it wherever the dataset goes, also in a clone.
    """
    found = {"canmount": CANMOUNT_NOAUTO, "readonly": 0, "recordsize": recordsize}
    if zfs.release() >= (2, 3):  # unaligned O_DIRECT fails there (openzfs #17027), and 2.1 does not know the property
        found["direct"] = DIRECT_DISABLED
    return found
