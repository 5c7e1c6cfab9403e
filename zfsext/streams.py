"""Replication streams: out of a snapshot, into a dataset. They carry data alone, no properties.

The flags are always the same: a stream with large blocks is not continued by one without (1041 on both releases), and
data that is compressed on disk travels so. A receive can always be resumed, and is never forced: what somebody changed
in a copy is not rolled back in silence.
"""

import os
import re
import subprocess
from collections.abc import Mapping

from zfsext import command, guard, trace, zfs
from zfsext.errors import NotHere, SystemRefused

FLAGS = ["large_blocks", "compress"]
HEADER = 312  # bytes of a dmu_replay_record_t (include/sys/zfs_ioctl.h), which each stream begins with
#: What the zfs command says of a token whose snapshot is not there, or is another one of its name (lib/libzfs/
#: libzfs_sendrecv.c: zfs_send_resume_impl).
GONE = ("no longer exists", "does not exist", "no longer the same snapshot")
PARTIAL = "%recv"  # the hidden child that keeps what an interrupted increment has brought (module/zfs/dmu_recv.c)


def size(snapshot: str, base: str | None) -> int:
    """Return about how many bytes the stream from base (none: the whole) to the snapshot has."""
    with zfs.lzc(f"the size of {snapshot}") as core:
        return int(core.lzc_send_space(os.fsencode(snapshot), os.fsencode(base) if base else None, FLAGS))


def send(snapshot: str, base: str | None, pipe: int) -> None:
    """Write the stream of the snapshot, from base (a snapshot or a bookmark; none: the whole), to a pipe.

    2.1 writes to pipes alone. Whoever reads decides when it ends: a pipe that nobody reads any more ends it too.
    """
    with zfs.lzc(f"sending {snapshot}", "send", "-L", "-c", *(("-i", base) if base else ()), snapshot) as core:
        core.lzc_send(os.fsencode(snapshot), os.fsencode(base) if base else None, pipe, FLAGS)


def rest(token: str) -> tuple[str, int]:
    """Return the guid of the snapshot that an interrupted stream is of, and about how many bytes it still has.

    The zfs command tells it: it finds the snapshots by the guids in the token. Raises NotHere if they are gone.
    """
    done = command.run("zfs", "send", "-nvP", "-t", token)
    _require(done.returncode, done.stderr)
    said = done.stdout + done.stderr
    guid, size = _GUID.search(said), _SIZE.search(said)
    if guid is None:
        raise SystemRefused(f"zfs send -nvP -t says what zfsext does not understand: {said[:200]!r}")
    return str(int(guid[1], 16)), int(size[1]) if size else 0


_GUID = re.compile(r"^\s*toguid = 0x([0-9a-f]+)$", re.MULTILINE)
_SIZE = re.compile(r"^size\s+([0-9]+)$", re.MULTILINE)


def _require(code: int, said: str) -> None:
    if any(words in said for words in GONE):
        raise NotHere(said.strip())
    if code:
        raise SystemRefused(f"zfs send -t: {said.strip() or f'exit code {code}'}")


def resume(token: str, pipe: int) -> None:
    """Write the rest of an interrupted stream to a pipe, as the receiver's token says. Raises NotHere as rest does."""
    trace.typed("send", "-t", token)
    done = subprocess.run(
        ["zfs", "send", "-t", token],
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
        env=command.ENVIRONMENT,
        preexec_fn=guard.die_with_parent,
        check=False,
    )
    _require(done.returncode, done.stderr)


def receive(snapshot: str, pipe: int, native: Mapping[str, int], user: Mapping[str, str]) -> None:
    """Read one whole stream, and no byte more, into a new dataset with these properties.

    They are local ones, and there from the beginning, also if the stream breaks off. What came until then is kept for
    a resume.
    """
    from libzfs_core import receive_header

    reader, writer = os.pipe()
    try:
        os.write(writer, _exactly(pipe, HEADER))
        _, begin = receive_header(reader)
    finally:
        os.close(reader)
        os.close(writer)
    with zfs.lzc(f"receiving {snapshot}", "receive", "-s", "-u", snapshot) as core:
        core.lzc_receive_with_cmdprops(
            os.fsencode(snapshot), pipe, begin, resumable=True, cmdprops=zfs.arguments(native, user)
        )


def receive_more(snapshot: str, pipe: int) -> None:
    """Read one stream, and no byte more, into a dataset that is there, and keep what came if it breaks off.

    The zfs command does it. pyzfs always gives the kernel a list of received properties, and with one, if only an empty
    one, the first stream into a dataset that was not made by a stream, such as a former owner's, takes all its local
    properties away, the recordsize among them (module/zfs/zfs_ioctl.c: zfs_ioc_recv_impl, clear_received_props;
    module/zfs/dsl_prop.c: dsl_prop_get_received; seen on 2.1.11).
    """
    trace.typed("receive", "-s", "-u", snapshot)
    with subprocess.Popen(
        ["zfs", "receive", "-s", "-u", snapshot],
        stdin=pipe,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
        env=command.ENVIRONMENT,
        preexec_fn=guard.die_with_parent,
    ) as receiving:
        zfs.load()  # which the end of the round needs
        _, said = receiving.communicate()
    if receiving.returncode:
        raise SystemRefused(f"receiving {snapshot}: {' '.join(said.split()) or f'exit code {receiving.returncode}'}")


def abort(dataset: str) -> None:
    """Throw away what an interrupted receive into an existing dataset keeps; nothing is no error."""
    with zfs.lzc(f"giving up the partial receive of {dataset}", "receive", "-A", dataset) as core:
        try:
            core.lzc_destroy(os.fsencode(f"{dataset}/{PARTIAL}"))
        except core.exceptions.FilesystemNotFound:
            return


def _exactly(pipe: int, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = os.read(pipe, count - len(found))
        if not part:
            raise SystemRefused("the stream ended before it began")
        found += part
    return found
