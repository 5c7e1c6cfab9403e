"""What can go wrong, by kind. Each message says what happened and what to do next."""


class ZfsextError(Exception):
    """The root of all errors that zfsext raises on purpose; its text is for the administrator."""


class BadInput(ZfsextError):
    """A value from Ganeti or from the administrator is missing or malformed; nothing was touched."""


class ConfigError(ZfsextError):
    """The configuration file is unreadable or wrong; nothing was touched."""


class NotHere(ZfsextError):
    """ZFS said that this node has no such disk (never said for any other reason)."""


class AlreadyThere(ZfsextError):
    """Something stands where a new disk was to be made; it was left as it is."""


class Refused(ZfsextError):
    """The disk is here, but what was asked for could lose or mix up data."""


class Busy(ZfsextError):
    """Somebody holds the disk; the message names the holder."""


class NoSpace(ZfsextError):
    """The pool cannot hold what was asked for; nothing was left behind."""


class PoolUnavailable(ZfsextError):
    """The pool is not imported, suspended, or did not answer in time."""


class KeyNotLoaded(ZfsextError):
    """The dataset is encrypted and its key is not loaded; nothing was touched."""


class SystemRefused(ZfsextError):
    """A system call or ZFS failed in a way that has no kind of its own; the message has its words."""


class Speechless(ZfsextError):
    """A node did not answer, or cannot say: which is never taken for an answer."""
