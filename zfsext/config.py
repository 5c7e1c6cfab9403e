"""/etc/zfsext.conf: which parents hold disks, and what a disk gets that its parameters do not say."""

import configparser
from collections.abc import Sequence

from zfsext.contract import DIGITS, LETTERS, node_names, shown
from zfsext.errors import BadInput, ConfigError

PATH = "/etc/zfsext.conf"
SECTION = "zfsext"
STANDBY_SUFFIX = "-standby"
MAX_DATASET = 255  # include/sys/fs/zfs.h: ZFS_MAX_DATASET_NAME_LEN, without the NUL

DEFAULTS = {
    "dataset": "zfs/vm",
    "recordsize": "16K",
    "compression": "",
    "reservation": "thin",
    "replicas": "",
    "bandwidth": "",
    "keep_removed": "",
}
UNITS = {"": 0, "K": 10, "M": 20, "G": 30}
DURATIONS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
SLOWEST = 64 << 10  # bytes per second: a piece of a stream has 1 MiB, and a node that is silent for 300 s is given up


class Config:
    """The configuration, checked. live are the parents of disks that live here, the default one first.

    replicas are the nodes that new disks are replicated to; bandwidth, in bytes per second, is what a transfer may
    take, and 0 is all there is. keep_removed is for how many seconds a removed disk can be had back; 0: not at all.
    """

    __slots__ = ("bandwidth", "compression", "keep_removed", "live", "recordsize", "replicas", "reservation")

    def __init__(
        self,
        live: list[str],
        recordsize: str,
        compression: str,
        reservation: str,
        replicas: Sequence[str] = (),
        bandwidth: int = 0,
        keep_removed: int = 0,
    ) -> None:
        self.live = live
        self.recordsize = recordsize
        self.compression = compression
        self.reservation = reservation
        self.replicas = replicas
        self.bandwidth = bandwidth
        self.keep_removed = keep_removed


def standby(parent: str) -> str:
    """Return the standby parent beside a live one: it holds what is no live disk of this node."""
    return parent + STANDBY_SUFFIX


def load(path: str = PATH) -> Config:
    """Read the configuration; a missing file means the defaults.

    Raises ConfigError, naming all that is wrong, for an unreadable file, an unknown key or a parent that cannot be.
    """
    parser = configparser.ConfigParser(interpolation=None, default_section="", strict=True)
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except FileNotFoundError:
        parser.read_dict({})
    except (OSError, configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    wrong = [f"section [{name}]" for name in parser.sections() if name != SECTION]
    given = dict(parser[SECTION]) if parser.has_section(SECTION) else {}
    wrong += [f"key {name!r}" for name in given if name not in DEFAULTS]
    if wrong:
        raise ConfigError(f"{path} has unknown entries: {', '.join(wrong)}; it knows [{SECTION}] {', '.join(DEFAULTS)}")
    values = {**DEFAULTS, **given}
    live = values["dataset"].split()
    for parent in live:
        parts = parent.split("/")
        if (
            len(parts) < 2
            or not all(part and set(part) <= _DATASET and part[0] != "." for part in parts)
            or parent[0] not in LETTERS  # as of every pool; a command would take a '-' for an option
            or len(parent) > MAX_DATASET
        ):
            raise ConfigError(f"{path}: dataset {parent!r} must be a file system below a pool, such as zfs/vm")
        below = (parent + "/", standby(parent) + "/")
        if parent.endswith(STANDBY_SUFFIX) or any(other.startswith(below) for other in live):
            raise ConfigError(f"{path}: dataset {parent!r} holds, or is beside, another one of the list")
    if not live or len(set(live)) != len(live):
        raise ConfigError(f"{path}: dataset must name one or more file systems, each once")
    try:
        replicas = node_names("replicas", values["replicas"].split())
        rate = bandwidth(values["bandwidth"])
        kept = duration("keep_removed", values["keep_removed"])
    except BadInput as error:
        raise ConfigError(f"{path}: {error}") from error
    return Config(live, values["recordsize"], values["compression"], values["reservation"], replicas, rate, kept)


def bandwidth(text: str) -> int:
    """Return the bytes per second that a text such as 50M means; 0, which is no limit, for 0 or an empty one.

    Raises BadInput for anything else, also for what is too little to be meant.
    """
    number = text.upper()
    unit = number[-1:] if number[-1:] in UNITS else ""
    digits = number.removesuffix(unit)
    if not text:
        return 0
    if digits and len(digits) <= 12 and DIGITS.issuperset(digits):
        rate = int(digits) << UNITS[unit]
        if rate == 0 or rate >= SLOWEST:
            return rate
    raise BadInput(f"bandwidth is {shown(text)}; it can be so many bytes per second, at least 64K, such as 50M; 0: all")


def duration(name: str, text: str) -> int:
    """Return the seconds that a text such as 7d means, with m, h, d or w; 0 for 0 or an empty one. Raises BadInput."""
    digits, unit = text[:-1], text[-1:]
    if text in ("", "0"):
        return 0
    if unit in DURATIONS and digits and len(digits) <= 5 and DIGITS.issuperset(digits):
        return int(digits) * DURATIONS[unit]
    raise BadInput(f"{name} is {shown(text)}; it can be a time such as 12h, 7d or 4w, or empty: not at all")


_DATASET = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:")
