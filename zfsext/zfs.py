"""Datasets: the only module that knows of libzfs_core and, but for streams, of the zfs command.

pyzfs (libzfs_core) does the work: each call is one ioctl with an errno of its own. The zfs command does what
libzfs_core cannot: setting a native property, and reading many at once (a channel program that only reads is
written to the pool's history each time). Both raise the errors of zfsext.errors; NotHere is raised only where
ZFS said ENOENT, or the zfs command its words.

Importing pyzfs takes 0.1 s (it parses its C declarations each time), so only what changes something imports it.
The caller has checked that the pool works (zfsext.pool); a pool that is suspended meanwhile leaves the process
stuck in here, which is why all of this runs in a child (zfsext.guard).
"""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

from zfsext import command, trace
from zfsext.errors import AlreadyThere, Busy, NoSpace, NotHere, SystemRefused, ZfsextError

MODULE_VERSION = "/sys/module/zfs/version"

#: The words of compression, and the numbers that the kernel knows them by (include/sys/zio.h, zio_compress.h;
#: they are on disk and never change). zstd-N is 16 with the level above its seven bits.
COMPRESSION = {
    "on": 1,
    "off": 2,
    "lzjb": 3,
    "gzip": 10,
    "zle": 14,
    "lz4": 15,
    "zstd": 16,
    **{f"gzip-{level}": 4 + level for level in range(1, 10)},
    **{f"zstd-{level}": 16 | level << 7 for level in range(1, 20)},
}

#: Promotes clones (each becomes the one that its origin's older snapshots are of, and the origin a clone of it), sets
#: and inherits properties of datasets, all of one pool and in one transaction. What a program did before it fails stays
#: done (zfs-program(8)), so it looks at all of it first; zfs.check.inherit does not miss a dataset that is not there.
CHANGE = """
args = ...
for clone, _ in pairs(args["argv"]["promote"]) do
    code, conflicts = zfs.check.promote(clone)
    if code ~= 0 then
        for _, name in pairs(conflicts or {}) do code = code .. " " .. name end
        error(clone .. " cannot be promoted: " .. code)
    end
end
for dataset, properties in pairs(args["argv"]["change"]) do
    if not zfs.exists(dataset) then error(dataset .. " does not exist") end
    for name, value in pairs(properties["set"]) do
        code = zfs.check.set_prop(dataset, name, value)
        if code ~= 0 then error(name .. " of " .. dataset .. " cannot be set: " .. code) end
    end
end
for clone, _ in pairs(args["argv"]["promote"]) do
    code, conflicts = zfs.sync.promote(clone)
    if code ~= 0 then error(clone .. " could not be promoted: " .. code) end
end
for dataset, properties in pairs(args["argv"]["change"]) do
    for name, value in pairs(properties["set"]) do
        code = zfs.sync.set_prop(dataset, name, value)
        if code ~= 0 then error(name .. " of " .. dataset .. " could not be set: " .. code) end
    end
    for name, _ in pairs(properties["inherit"]) do
        code = zfs.sync.inherit(dataset, name)
        if code ~= 0 then error(name .. " of " .. dataset .. " could not be inherited: " .. code) end
    end
end
"""
SNAPSHOT_COLUMNS = "name,userrefs,clones,guid,createtxg,written"
INSTRUCTIONS = 1_000_000
MEMORY = 1 << 20

KINDS: dict[int, type[ZfsextError]] = {
    errno.ENOENT: NotHere,
    errno.EEXIST: AlreadyThere,
    errno.EBUSY: Busy,
    errno.ENOSPC: NoSpace,
    errno.EDQUOT: NoSpace,
}

#: What to do about an error whose own words do not say it.
HINTS = {
    errno.ENOSPC: "make room in the pool: 'zfs list -o space' shows what takes it",
    errno.EROFS: "it was imported only to be read: 'zpool export' and 'zpool import' it again",
}


class Dataset:
    """A dataset's name, and of each property asked for its value and where that comes from."""

    __slots__ = ("_properties", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._properties: dict[str, tuple[str, str]] = {}

    def __getitem__(self, name: str) -> str:
        return self._properties[name][0]

    def number(self, name: str) -> int:
        """Return a property that is a number (bytes, for a size); none is 0."""
        value = self[name]
        return 0 if value in ("none", "-") else int(value)

    def local(self, name: str) -> str | None:
        """Return a property's value if it was set on just this dataset, and neither inherited nor received."""
        value, source = self._properties[name]
        return value if source == "local" else None


class Snapshot:
    """A snapshot's full name, how many holds it has, and the clones of it.

    guid is the same wherever it was sent, txg the pool's transaction group that it was taken in here, written how many
    bytes were written between the one before and it.
    """

    __slots__ = ("clones", "guid", "holds", "name", "txg", "written")

    def __init__(
        self, name: str, holds: int, clones: list[str], guid: str = "", txg: int = 0, written: int = 0
    ) -> None:
        self.name = name
        self.holds = holds
        self.clones = clones
        self.guid = guid
        self.txg = txg
        self.written = written

    @property
    def dataset(self) -> str:
        """The name of the dataset that it is of."""
        return self.name.partition("@")[0]

    @property
    def short(self) -> str:
        """The name without the dataset's."""
        return self.name.partition("@")[2]


def read(names: Sequence[str], properties: Sequence[str]) -> dict[str, Dataset]:
    """Return those of the datasets that exist, with the values of these properties. Sizes are in bytes.

    They are asked for one after the other; one that is named twice must have been there both times.

    A dataset is left out only if ZFS said that it does not exist; any other trouble raises SystemRefused.
    """
    return _get(names, properties) if names else {}  # without a name ZFS tells of all that there is


def tree(roots: Sequence[str], properties: Sequence[str]) -> dict[str, Dataset]:
    """Return the file systems at and below those of the roots that exist, as read does."""
    return _get(roots, properties, "-r", "-t", "filesystem")


def _get(names: Sequence[str], properties: Sequence[str], *options: str) -> dict[str, Dataset]:
    done = command.run("zfs", "get", "-Hp", *options, "-o", "name,property,value,source", ",".join(properties), *names)
    missing = {f"cannot open '{name}': dataset does not exist": name for name in names}
    complaints = [line for line in done.stderr.splitlines() if line not in missing]
    gone = {missing[line] for line in done.stderr.splitlines() if line in missing}
    if complaints or done.returncode not in (0, 1) or (done.returncode and not done.stderr):
        _refuse(f"zfs get {' '.join(names)}", complaints, done.returncode)
    found: dict[str, Dataset] = {}
    for name, key, value, source in command.fields(done.stdout, 4, "zfs get"):
        found.setdefault(name, Dataset(name))._properties[key] = (value, source)
    return {name: dataset for name, dataset in found.items() if name not in gone}


def local_properties(dataset: str) -> dict[str, str]:
    """Return the properties that were set on just this dataset, ZFS's and the user's, as `zfs set` takes them."""
    said = command.output("zfs", "get", "-Hp", "-s", "local", "-o", "property,value", "all", dataset)
    return dict(command.fields(said, 2, "zfs get"))


def snapshots(*datasets: str) -> list[Snapshot]:
    """Return the own snapshots of a dataset, or of several, oldest first."""
    return _snapshots("-d", "1", *datasets)


def all_snapshots(roots: Sequence[str]) -> list[Snapshot]:
    """Return the snapshots of the datasets at and below the roots, which must exist, oldest first."""
    return _snapshots("-r", *roots)


def snapshot_names(roots: Sequence[str]) -> list[str]:
    """Return the names of the snapshots of the datasets at and below the roots, which must exist.

    Names alone, in their order, cost ZFS the least (cmd/zfs/zfs_main.c: zfs_do_list, ZFS_ITER_SIMPLE).
    """
    said = command.output("zfs", "list", "-Hr", "-t", "snapshot", "-o", "name", "-s", "name", *roots)
    return said.splitlines()


def _snapshots(*which: str) -> list[Snapshot]:
    said = command.output("zfs", "list", "-Hp", "-t", "snapshot", "-s", "createtxg", "-o", SNAPSHOT_COLUMNS, *which)
    return [
        Snapshot(name, int(holds), [] if clones in ("", "-") else clones.split(","), guid, int(txg), int(written))
        for name, holds, clones, guid, txg, written in command.fields(said, 6, "zfs list")
    ]


class Bookmark(NamedTuple):
    """A bookmark's full name, the guid of the snapshot that it was made of, and the transaction group of that."""

    name: str
    guid: str
    txg: int


def bookmarks(dataset: str) -> list[Bookmark]:
    """Return the dataset's bookmarks."""
    said = command.output("zfs", "list", "-Hp", "-t", "bookmark", "-d", "1", "-o", "name,guid,createtxg", dataset)
    return [Bookmark(name, guid, int(txg)) for name, guid, txg in command.fields(said, 3, "zfs list")]


def below(dataset: str) -> list[str]:
    """Return the datasets directly below this one."""
    said = command.output("zfs", "list", "-H", "-t", "filesystem,volume", "-d", "1", "-o", "name", dataset)
    return [name for name in said.splitlines() if name != dataset]


def set_all(datasets: Sequence[str], properties: Mapping[str, str]) -> None:
    """Set properties of datasets, one dataset after the other, by the command: quicker than to import pyzfs."""
    words = ["set", *(f"{name}={value}" for name, value in properties.items()), *datasets]
    trace.typed(*words)
    command.output("zfs", *words)


def set_property(dataset: str, name: str, value: str) -> None:
    """Set one property of an existing dataset, which libzfs_core cannot (a channel program sets only user ones)."""
    trace.typed("set", f"{name}={value}", dataset)
    done = command.run("zfs", "set", f"{name}={value}", dataset)
    if done.returncode:
        full = "out of space" in done.stderr or "greater than available" in done.stderr
        if full:
            raise NoSpace(f"{name} of {dataset} could not be set to {value}: {done.stderr.strip()}")
        _refuse(f"zfs set {name}={value} {dataset}", done.stderr.splitlines(), done.returncode)


def inherit(dataset: str, name: str) -> None:
    """Let the dataset inherit a property again, ZFS's or the user's."""
    trace.typed("inherit", name, dataset)
    command.output("zfs", "inherit", name, dataset)


def create(dataset: str, native: Mapping[str, int], user: Mapping[str, str]) -> None:
    """Make a file system with these properties. Native ones are the kernel's numbers.

    The kernel believes what it is told (a recordsize of 3000 panics later): the values must have been checked.
    """
    with lzc(f"creating {dataset}", "create", dataset) as core:
        core.lzc_create(_bytes(dataset), "zfs", arguments(native, user))


def clone(snapshot: str, dataset: str, native: Mapping[str, int], user: Mapping[str, str]) -> None:
    """Make dataset a clone of the snapshot, with these properties."""
    with lzc(f"cloning {snapshot} to {dataset}", "clone", snapshot, dataset) as core:
        core.lzc_clone(_bytes(dataset), _bytes(snapshot), arguments(native, user))


def rename(dataset: str, name: str) -> None:
    """Give the dataset another name, in one transaction."""
    with lzc(f"renaming {dataset} to {name}", "rename", dataset, name) as core:
        core.lzc_rename(_bytes(dataset), _bytes(name))


def take_snapshots(names: Sequence[str]) -> None:
    """Take these snapshots (DATASET@NAME, all of one pool) in one transaction."""
    with lzc(f"taking the snapshot {' '.join(names)}", "snapshot", *names) as core:
        core.lzc_snapshot([_bytes(name) for name in names])


def destroy_snapshots(names: Sequence[str]) -> None:
    """Destroy all of these snapshots, or none. Those that are gone already count as done."""
    if names:
        _typed_each("destroy", names)
        with lzc(f"destroying {' '.join(names)}") as core:
            core.lzc_destroy_snaps([_bytes(name) for name in names], False)


def destroy_free(names: Sequence[str]) -> list[str]:
    """Destroy those of these snapshots that nobody has mounted or holds by now, and return their names."""
    left = list(names)
    while left:
        with lzc(f"destroying {' '.join(left)}") as core:
            try:
                core.lzc_destroy_snaps([_bytes(name) for name in left], False)
            except core.exceptions.SnapshotDestructionFailure as error:
                used = {_text(part.name) for part in error.errors if part.errno in (errno.EBUSY, errno.EEXIST)}
                if len(used) < len(error.errors):
                    raise
            else:
                _typed_each("destroy", left)
                return left
        left = [name for name in left if name not in used]
    return left


def destroy(dataset: str) -> None:
    """Destroy the dataset, which must be unmounted and without snapshots."""
    with lzc(f"destroying {dataset}", "destroy", dataset) as core:
        core.lzc_destroy(_bytes(dataset))


def holds(snapshot: str) -> list[str]:
    """Return the tags of the snapshot's holds."""
    with lzc(f"reading the holds of {snapshot}") as core:
        return sorted(os.fsdecode(tag) for tag in core.lzc_get_holds(_bytes(snapshot)))


def hold(tags: Mapping[str, str]) -> None:
    """Hold each of these snapshots (of one pool) with its tag. One that is held so already stays held."""
    for name, tag in tags.items():
        trace.typed("hold", tag, name)
    with lzc(f"holding {' '.join(tags)}") as core:
        exists = core.exceptions.HoldFailure
        try:
            core.lzc_hold({_bytes(name): _bytes(tag) for name, tag in tags.items()})
        except exists as error:
            if any(part.errno != errno.EEXIST for part in error.errors):
                raise


def release_holds(tags: Mapping[str, Sequence[str]]) -> None:
    """Release these tags of these snapshots (of one pool). What is not held so counts as done."""
    if not tags:
        return
    for name, given in tags.items():
        for tag in given:
            trace.typed("release", tag, name)
    with lzc(f"releasing {' '.join(tags)}") as core:
        try:
            core.lzc_release({_bytes(name): [_bytes(tag) for tag in given] for name, given in tags.items()})
        except core.exceptions.HoldReleaseFailure as error:
            if any(part.errno != errno.ENOENT for part in error.errors):
                raise


def bookmark(snapshots: Mapping[str, str]) -> None:
    """Make bookmarks (DATASET#NAME) of these snapshots, by the bookmarks' names. One that is there stays."""
    for name, snapshot in snapshots.items():
        trace.typed("bookmark", snapshot, name)
    with lzc(f"bookmarking {' '.join(snapshots.values())}") as core:
        try:
            core.lzc_bookmark({_bytes(name): _bytes(snapshot) for name, snapshot in snapshots.items()})
        except core.exceptions.BookmarkFailure as error:
            if any(part.errno != errno.EEXIST for part in error.errors):
                raise


def destroy_bookmarks(names: Sequence[str]) -> None:
    """Destroy these bookmarks. Those that are gone already count as done."""
    if names:
        _typed_each("destroy", names)
        with lzc(f"destroying {' '.join(names)}") as core:
            core.lzc_destroy_bookmarks([_bytes(name) for name in names])


def promote(clone: str) -> None:
    """Make the clone the one that its origin's older snapshots are of; the origin becomes a clone of it."""
    change_all({}, promote=[clone])


def change(dataset: str, user: Mapping[str, str], inherit: Sequence[str] = ()) -> None:
    """Set user properties of the dataset, and inherit others again, in one transaction."""
    change_all({dataset: {**user, **dict.fromkeys(inherit)}})


def change_all(changes: Mapping[str, Mapping[str, str | None]], promote: Sequence[str] = ()) -> None:
    """Set user properties of datasets of one pool, and inherit those that are None, all in one transaction.

    In it the clones in promote are promoted first.
    """
    argv = {
        b"promote": {_bytes(clone): True for clone in promote},
        b"change": {
            _bytes(dataset): {
                b"set": {_bytes(name): _bytes(value) for name, value in properties.items() if value is not None},
                b"inherit": {_bytes(name): True for name, value in properties.items() if value is None},
            }
            for dataset, properties in changes.items()
        },
    }
    for clone in promote:
        trace.typed("promote", clone)
    for dataset, properties in changes.items():
        given = [f"{name}={value}" for name, value in properties.items() if value is not None]
        if given:
            trace.typed("set", *given, dataset)
        for name in (name for name, value in properties.items() if value is None):
            trace.typed("inherit", name, dataset)
    words = [*promote, *changes]
    with lzc(f"changing {' '.join(words)}") as core:
        core.lzc_channel_program(_bytes(words[0].partition("/")[0]), CHANGE.encode(), INSTRUCTIONS, MEMORY, argv)


def _typed_each(doing: str, names: Sequence[str]) -> None:
    for name in names:
        trace.typed(doing, name)


def release() -> tuple[int, int]:
    """Return the loaded ZFS module's version, as far as its second number."""
    try:
        with open(MODULE_VERSION) as file:
            major, minor, *_ = file.read().split(".")
    except FileNotFoundError as error:
        raise SystemRefused("the ZFS module is not loaded: 'modprobe zfs'") from error
    return int(major), int(minor)


def _refuse(what: str, complaints: Sequence[str], code: int) -> NoReturn:
    raise SystemRefused(f"{what}: {'; '.join(complaints) or f'exit code {code}'}")


def load() -> None:
    """Import libzfs_core, which takes longer than most of what it is for: best while something else is waited for."""
    import libzfs_core  # noqa: F401


@contextmanager
def lzc(doing: str, *words: str) -> Iterator[Any]:
    """Give libzfs_core, for this module and zfsext.streams, and turn its errors into ours.

    words are how the zfs command would do it, for who wants to see that.
    """
    if words:
        trace.typed(*words)
    import libzfs_core
    from libzfs_core import exceptions

    try:
        yield libzfs_core
    except exceptions.ZFSError as error:
        raise _translated(error, doing) from error


def _translated(error: Any, doing: str) -> ZfsextError:
    """Return our error for one of pyzfs's, whose own text is not for people."""
    parts = [part for part in getattr(error, "errors", None) or [error] if getattr(part, "errno", None)]
    codes = {part.errno for part in parts}
    kind = KINDS.get(next(iter(codes)), SystemRefused) if len(codes) == 1 else SystemRefused
    words = "; ".join(f"{_text(getattr(part, 'name', ''))}: {_reason(part)}" for part in parts)
    hint = "".join(f"; {HINTS[code]}" for code in codes if code in HINTS)
    return kind(f"{doing}: {words or error}{hint}")


def _reason(part: Any) -> str:
    details = getattr(part, "details", None)  # what a channel program said is only there
    return _text(details) if details else f"{os.strerror(part.errno)} ({type(part).__name__})"


def _text(value: object) -> str:
    return os.fsdecode(value) if isinstance(value, bytes) else str(value)


def _bytes(value: str) -> bytes:
    return os.fsencode(value)


def arguments(native: Mapping[str, int], user: Mapping[str, str]) -> dict[bytes, int | bytes]:
    """Return properties as libzfs_core takes them: native ones as the kernel's numbers, the user's as texts."""
    properties: dict[bytes, int | bytes] = {_bytes(name): value for name, value in native.items()}
    properties.update({_bytes(name): _bytes(value) for name, value in user.items()})
    return properties
