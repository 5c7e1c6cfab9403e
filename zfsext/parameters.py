"""The disk parameters, as `gnt-instance add --disk 0:…,NAME=VALUE` gives them to create.

Ganeti checks none of them (parameters.list is only shown), so a misspelt one is refused here.
"""

from collections.abc import Mapping, Sequence

from zfsext.config import MAX_DATASET, Config
from zfsext.contract import DIGITS, node_names, shown
from zfsext.errors import BadInput
from zfsext.zfs import COMPRESSION

#: What each parameter is, for gnt-storage (parameters.list) and for the error about an unknown one.
KNOWN = {
    "dataset": "the parent of the disk's dataset, one of those in /etc/zfsext.conf",
    "recordsize": "the image's block size, a power of two from 4K to 1M; it can never be changed",
    "compression": "off, on, lz4, zstd, zstd-1 to zstd-19, gzip, gzip-1 to gzip-9, zle or lzjb",
    "reservation": "thin, or thick: space for every block is set aside",
    "replicas": "node2:node3, the nodes that the disk is replicated to by timer",
    "source": "DATASET@SNAPSHOT on its node, what the disk begins with",
}
RESERVATIONS = ("thin", "thick")
SMALLEST, LARGEST = 4 << 10, 1 << 20
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}


class Parameters:
    """One disk's parameters, checked: parent, recordsize in bytes, compression's number (None: inherited), thick.

    replicas are the nodes that it is replicated to, source the snapshot that it begins with; empty: with nothing.
    """

    __slots__ = ("compression", "parent", "recordsize", "replicas", "source", "thick")

    def __init__(
        self,
        parent: str,
        recordsize: int,
        compression: int | None,
        thick: bool,
        replicas: Sequence[str],
        source: str = "",
    ) -> None:
        self.parent = parent
        self.recordsize = recordsize
        self.compression = compression
        self.source = source
        self.thick = thick
        self.replicas = replicas


def parse(given: Mapping[str, str], config: Config) -> Parameters:
    """Return what the parameters say, and the configuration where they are silent.

    Raises BadInput for an unknown parameter or a value that cannot be.
    """
    unknown = sorted(set(given) - set(KNOWN))
    if unknown:
        raise BadInput(
            f"unknown disk parameter {shown(', '.join(unknown))}; zfsfile has "
            + "; ".join(f"{name} ({what})" for name, what in KNOWN.items())
        )
    parent = given.get("dataset", config.live[0])
    if parent not in config.live:
        raise BadInput(f"dataset is {shown(parent)}, and /etc/zfsext.conf on this node has {', '.join(config.live)}")
    reservation = given.get("reservation", config.reservation)
    if reservation not in RESERVATIONS:
        raise BadInput(f"reservation is {shown(reservation)}; it can be {' or '.join(RESERVATIONS)}")
    return Parameters(
        parent,
        recordsize(given.get("recordsize", config.recordsize)),
        compression(given.get("compression", config.compression)),
        reservation == "thick",
        replicas(given["replicas"]) if "replicas" in given else config.replicas,
        source(given["source"]) if given.get("source") else "",
    )


def replicas(text: str) -> list[str]:
    """Return the nodes that a text such as node2:node3 names: gnt-instance would split it at commas. Empty is none."""
    return node_names("replicas", text.split(":")) if text else []


def source(text: str) -> str:
    """Return the snapshot that a source names, as DATASET@SNAPSHOT. Raises BadInput for what cannot be one."""
    dataset, at, short = text.partition("@")
    plain = len(text) <= MAX_DATASET and text.isascii() and text.isprintable() and not set(text) & set(" ,#%'\"\\")
    if not (at and short and plain and "/" in dataset and "@" not in short and "/" not in short and text[0].isalpha()):
        raise BadInput(f"source is {shown(text)}; it can be DATASET@SNAPSHOT, such as 'zfs list -t snapshot' shows")
    return text


def recordsize(text: str) -> int:
    """Return the bytes that a recordsize such as 64K means. Raises BadInput if ZFS could not use it.

    The kernel takes any number up to its limit, and panics later on one that is no power of two.
    """
    number = text.upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:] in UNITS else ""
    digits = number.removesuffix(unit)
    # A dotless i, which is not ASCII, is an I in capitals.
    if digits and text.isascii() and len(digits) <= 7 and DIGITS.issuperset(digits):
        size = int(digits) * UNITS[unit]
        if SMALLEST <= size <= LARGEST and size & (size - 1) == 0:
            return size
    raise BadInput(f"recordsize is {shown(text)}; it can be a power of two from 4K to 1M, such as 64K")


def compression(text: str) -> int | None:
    """Return the kernel's number for a compression; None, which is to inherit it, for an empty text."""
    if not text:
        return None
    if text not in COMPRESSION:
        raise BadInput(f"compression is {shown(text)}; it can be {KNOWN['compression']}")
    return COMPRESSION[text]
