"""Ganeti's side of the wall: its environment in, checked values out.

Ganeti runs a script without arguments and says everything in variables (lib/storage/extstorage.py:
_ExtStorageEnvironment, the same in 3.0.2 and 3.1). Every VOL_* value is checked here and every EXTP_* value in
zfsext.parameters, before anything runs. This module is on the path of a warm attach: it imports nothing.
"""

from zfsext.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The scripts that Ganeti knows, and the VOL_* variables that each needs besides VOL_NAME.
ACTIONS = {
    "create": ("VOL_SIZE",),
    "remove": (),
    "attach": (),
    "detach": (),
    "grow": ("VOL_SIZE", "VOL_NEW_SIZE"),
    "setinfo": ("VOL_METADATA",),
    "verify": (),
    "snapshot": ("VOL_SNAPSHOT_NAME", "VOL_SNAPSHOT_SIZE"),
    "open": ("VOL_OPEN_EXCLUSIVE",),
    "close": (),
}

#: What Ganeti passes with every disk of every provider; the rest of EXTP_* is ours (zfsext.parameters).
GANETI_PARAMETERS = ("provider", "access")

EXPORT_SUFFIX = ".snap"  # Ganeti's own choice: VOL_SNAPSHOT_NAME is VOL_NAME + ".snap"
NEW_SUFFIX = ".new"  # ours: a disk in the making

MAX_NAME = 128  # Ganeti's are 50 long; a dataset's whole name may have 255 characters
MAX_MIB = 1 << 43  # 2^63 bytes, the largest file that Linux addresses
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
DIGITS = frozenset("0123456789")
NAME_START = LETTERS | DIGITS
NAME_REST = NAME_START | frozenset("._-")
INSTANCE_REST = NAME_REST | frozenset("+")
NODE_REST = NAME_START | frozenset(".-")
MAX_NODE, MAX_NODES = 253, 16


class Request:
    """One call of one script, checked. Sizes are in MiB; a field that the script does not get is its default."""

    __slots__ = ("action", "exclusive", "instance", "new_size", "parameters", "size", "snapshot", "volume")

    def __init__(self, action: str, volume: str) -> None:
        self.action = action
        self.volume = volume
        self.size = 0
        self.new_size = 0
        self.snapshot = ""
        self.exclusive = True
        self.instance = ""
        self.parameters: dict[str, str] = {}


def parse(action: str, environ: "Mapping[str, str]") -> Request:
    """Return the request that Ganeti's variables make up.

    Raises BadInput, naming the variable, for a missing or malformed value.
    """
    if action not in ACTIONS:
        raise BadInput(f"{action!r} is not a script that Ganeti knows; there are {', '.join(ACTIONS)}")
    if action == "verify" and "VOL_NAME" not in environ:
        volume = ""  # an administrator who runs verify by hand asks about the node, not about a disk
    else:
        volume = volume_name("VOL_NAME", _value(environ, "VOL_NAME"))
    if action in ("create", "grow", "setinfo", "snapshot", "close") and volume.endswith(EXPORT_SUFFIX):
        raise BadInput(f"VOL_NAME {volume!r} is the name of a snapshot for gnt-backup; {action} is not for it")
    request = Request(action, volume)
    needed = {name: _value(environ, name) for name in ACTIONS[action]}
    if "VOL_SIZE" in needed:
        request.size = mebibytes("VOL_SIZE", needed["VOL_SIZE"])
    if "VOL_NEW_SIZE" in needed:
        request.new_size = mebibytes("VOL_NEW_SIZE", needed["VOL_NEW_SIZE"])
    if "VOL_METADATA" in needed:
        request.instance = _instance(needed["VOL_METADATA"])
    if "VOL_OPEN_EXCLUSIVE" in needed:
        request.exclusive = _boolean("VOL_OPEN_EXCLUSIVE", needed["VOL_OPEN_EXCLUSIVE"])
    if "VOL_SNAPSHOT_NAME" in needed:
        request.snapshot = volume_name("VOL_SNAPSHOT_NAME", needed["VOL_SNAPSHOT_NAME"])
        request.size = mebibytes("VOL_SNAPSHOT_SIZE", needed["VOL_SNAPSHOT_SIZE"])
        if request.snapshot != volume + EXPORT_SUFFIX:
            raise BadInput(f"VOL_SNAPSHOT_NAME must be VOL_NAME + {EXPORT_SUFFIX!r}, not {request.snapshot!r}")
    if action in ("create", "verify"):
        request.parameters = _parameters(environ)
    return request


def instance_name(text: object) -> str:
    """Return the text if it can be the name of an instance. Raises BadInput."""
    if isinstance(text, str) and text and len(text) <= 128 and text[0] in NAME_START and INSTANCE_REST.issuperset(text):
        return text
    raise BadInput(f"{shown(str(text))} is no instance's name")


def volume_name(variable: str, value: str) -> str:
    """Return value if it can be a disk's name: letters, digits, '.', '_' and '-', a letter or digit first.

    Such a name is one component of a path and of a dataset, and no snapshot or bookmark. Raises BadInput.
    """
    if not value or len(value) > MAX_NAME or value[0] not in NAME_START or not NAME_REST.issuperset(value):
        raise BadInput(
            f"{variable} is {shown(value)}: a disk's name has 1 to {MAX_NAME} letters, digits, '.', '_' or '-', "
            "and begins with a letter or a digit"
        )
    if value.endswith(NEW_SUFFIX):
        raise BadInput(f"{variable} is {value!r}: names that end in {NEW_SUFFIX!r} are kept for disks in the making")
    return value


def node_names(what: str, names: "Sequence[str]") -> list[str]:
    """Return the names of nodes if each can be one, and none is there twice. Raises BadInput."""
    wrong = [name for name in names if not _can_be_a_node(name)]
    if wrong or len(names) > MAX_NODES or len(set(names)) != len(names):
        raise BadInput(
            f"{what} is {shown(wrong[0] if wrong else ' '.join(names))}: a node's name has 1 to {MAX_NODE} letters, "
            f"digits, '.' or '-', and begins with a letter or a digit; up to {MAX_NODES} can be named, each once"
        )
    return list(names)


def _can_be_a_node(name: str) -> bool:
    return bool(name) and len(name) <= MAX_NODE and name[0] in NAME_START and NODE_REST.issuperset(name)


def mebibytes(variable: str, value: str) -> int:
    """Return the size in MiB that value says in decimal digits. Raises BadInput."""
    if not value or len(value) > 13 or not DIGITS.issuperset(value) or not 0 < int(value) < MAX_MIB:
        raise BadInput(f"{variable} is {shown(value)}: a size is a whole number of MiB, from 1 to {MAX_MIB - 1}")
    return int(value)


def shown(value: str) -> str:
    """Return value fit for an error message: quoted, in ASCII, and not longer than a line."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:76] + "...'"


def _value(environ: "Mapping[str, str]", name: str) -> str:
    value = environ.get(name)
    if value is None:
        raise BadInput(f"{name} is not set; this script is run by Ganeti, which sets it")
    return value


def _boolean(variable: str, value: str) -> bool:
    if value not in ("True", "False"):
        raise BadInput(f"{variable} is {shown(value)}, and Ganeti says True or False")
    return value == "True"


def _instance(metadata: str) -> str:
    """Return the instance's name from setinfo's text, `originstname+NAME` (lib/cmdlib: GetInstanceInfoText)."""
    prefix, plus, name = metadata.partition("+")
    if prefix != "originstname" or not plus or not name or len(metadata) > 128 or not INSTANCE_REST.issuperset(name):
        raise BadInput(f"VOL_METADATA is {shown(metadata)}, and Ganeti says originstname+INSTANCE")
    return name


def _parameters(environ: "Mapping[str, str]") -> dict[str, str]:
    """Return our disk parameters by their names on gnt-instance's command line (Ganeti upper-cases them)."""
    found = {}
    for variable, value in environ.items():
        if variable.startswith("EXTP_"):
            name = variable[len("EXTP_") :].lower()
            if name not in GANETI_PARAMETERS:
                found[name] = value
    return found
