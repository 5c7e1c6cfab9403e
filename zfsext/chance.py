"""Numbers that nobody has twice, from the kernel: the modules uuid and secrets take longer to import than to attach."""

import os

from zfsext.ownership import NONCE_BITS


def identity() -> str:
    """Return the identity of a new disk, as long as a UUID."""
    return os.urandom(16).hex()


def nonce() -> int:
    """Return what tells one promotion from another of the same serial number."""
    return int.from_bytes(os.urandom(4), "big") % (1 << NONCE_BITS)
