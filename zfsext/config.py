"""/etc/zfsext.conf: which parents hold disks, and what a disk gets that its parameters do not say."""

import configparser

from zfsext.contract import LETTERS
from zfsext.errors import ConfigError

PATH = "/etc/zfsext.conf"
SECTION = "zfsext"
STANDBY_SUFFIX = "-standby"
MAX_DATASET = 255  # include/sys/fs/zfs.h: ZFS_MAX_DATASET_NAME_LEN, without the NUL

DEFAULTS = {"dataset": "zfs/vm", "recordsize": "16K", "compression": "", "reservation": "thin"}


class Config:
    """The configuration, checked. live are the parents of disks that live here, the default one first."""

    __slots__ = ("compression", "live", "recordsize", "reservation")

    def __init__(self, live: list[str], recordsize: str, compression: str, reservation: str) -> None:
        self.live = live
        self.recordsize = recordsize
        self.compression = compression
        self.reservation = reservation


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
    return Config(live, values["recordsize"], values["compression"], values["reservation"])


_DATASET = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:")
