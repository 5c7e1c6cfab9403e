"""Datasets that ZFS encrypts: whether their data can be had now, and whether a disk can go from one to another.

ZFS encrypts what is made below an encrypted file system, with the key of the topmost one, the encryption root.
"""

from zfsext.errors import KeyNotLoaded, Refused
from zfsext.zfs import Dataset

#: What must have been read of a dataset to ask about it here.
PROPERTIES = ("encryptionroot", "keystatus")


def require_key(dataset: Dataset) -> None:
    """Raise KeyNotLoaded, with the command that loads it, if the dataset is encrypted and its key is not there."""
    if dataset["keystatus"] == "unavailable":
        root = dataset["encryptionroot"]
        raise KeyNotLoaded(f"{dataset.name} is encrypted, and its key is not loaded: 'zfs load-key {root}'")


def require_one_root(live: Dataset, beside: Dataset) -> None:
    """Raise Refused unless a disk can be made beside the live ones and renamed to its place.

    ZFS renames nothing from one key to another, nor to or from what is not encrypted (module/zfs/dsl_dir.c:
    dsl_dir_rename_crypt_check).
    """
    roots = [dataset["encryptionroot"] for dataset in (live, beside)]
    if roots[0] != roots[1]:
        raise Refused(
            f"{live.name} and {beside.name} are not encrypted with one key (encryptionroot is {roots[0]} and "
            f"{roots[1]}), so no disk can go from one to the other: make both below one encrypted file system, and "
            "name that in /etc/zfsext.conf"
        )
