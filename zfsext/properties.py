"""The properties that a dataset of ours has set on itself; everything else it inherits from its parent."""

from zfsext import zfs

PREFIX = "zfsext:"
STATE = "zfsext:state"
INSTANCE = "zfsext:instance"
#: In MiB, for who looks at a disk that is not mounted. The size of the image decides: a grow sets that first.
SIZE = "zfsext:size"

#: The version of what the properties mean. A node does not touch a disk with a higher one.
SCHEMA = "zfsext:schema"
#: Made when the disk is, and the same in all its copies: a disk with another one is another disk, whatever its name.
ID = "zfsext:id"
#: The dataset's own guid: what was copied with its properties has another one, and is no disk.
STAMP = "zfsext:stamp"
GENERATION = "zfsext:generation"
FLOOR = "zfsext:floor"
ISSUED = "zfsext:issued"
PEER = "zfsext:peer"
OVER = "zfsext:over"
KNOWS = "zfsext:knows"
ROUND = "zfsext:round"
#: When the round was taken, in Unix seconds: for people. Nothing is decided by a clock.
ROUNDED = "zfsext:rounded"
FINAL = "zfsext:final"
#: When the disk was promoted over a node that was silent, in Unix seconds.
PROMOTED = "zfsext:promoted"
#: thin or thick: a copy sets nothing aside until it is the disk.
RESERVATION = "zfsext:reservation"
#: The nodes that the disk is replicated to by timer, separated by blanks.
REPLICAS = "zfsext:replicas"

#: The generation that a rollback began last: a copy of an older one may have what the disk has given up, and goes back.
ROLLED = "zfsext:rolled"
#: Of a state that was kept: what the disk became instead, as @SNAPSHOT, or the generation of what had been kept itself.
INSTEAD = "zfsext:instead"
#: Of a disk that went back to a snapshot, and was not opened since: which, as @SNAPSHOT.
UNOPENED = "zfsext:unopened"
#: Of a removed disk: from when its time counts, in Unix seconds.
REMOVED = "zfsext:removed"
#: Of a removed disk: what Ganeti had of its instance, as JSON (zfsext.instances).
WAS = "zfsext:was"

#: What travels with each round: what the disk is, whoever owns it.
FACTS = (ID, INSTANCE, SIZE, RESERVATION, REPLICAS, ROLLED)
#: What nothing is decided by.
FOR_PEOPLE = (ROUNDED, PROMOTED)
#: What zfsext.records reads and writes.
RECORD = (STATE, SCHEMA, STAMP, GENERATION, FLOOR, ISSUED, PEER, OVER, KNOWS, ROUND, FINAL)

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
