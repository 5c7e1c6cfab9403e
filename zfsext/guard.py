"""Work on a pool, in a child that the script can leave behind.

A process that waits for a suspended pool is stuck in the kernel and cannot be killed. So a verb runs in a child;
the script passes on what it says, and watches the pools. When one of them stops working, or the time is up, the
script ends with an error of its own; the child dies with it, or, stuck as it is, as soon as the pool goes on.
Until then it holds its volume's lock, so there is one such child per volume at the most.
"""

import ctypes
import os
import selectors
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from zfsext import pool
from zfsext.errors import PoolUnavailable, ZfsextError

PR_SET_PDEATHSIG = 1

#: How long a verb may take. Ganeti's own limit for a call is 900 s (src/Ganeti/Types.hs: RpcTimeout, Normal).
SECONDS = 600
#: A pool that has just been suspended may be back in a moment.
PATIENCE = 5
POLL = 0.5

_libc = ctypes.CDLL(None, use_errno=True)
#: Threads make one child after the other: one that had the writing end of another's pipe would keep it from ending.
_forking = threading.Lock()


def die_with_parent() -> None:
    """Let the kernel kill this process when the one that made it is gone."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def run(verb: Callable[[], str], pools: Sequence[str], doing: str, seconds: float = SECONDS) -> str:
    """Run verb in a child and return the text that it returned.

    What the child says on stderr is passed on. Raises PoolUnavailable if one of the pools stopped working under
    it or the seconds were over, and ZfsextError with the verb's own words if that failed.
    """
    parent = os.getpid()
    with _forking:
        answer, answer_end = os.pipe()
        chatter, chatter_end = os.pipe()
        child = os.fork()
        if child == 0:
            _forking.release()
            os.close(answer)
            os.close(chatter)
            _work(verb, parent, answer_end, chatter_end)
        os.close(answer_end)
        os.close(chatter_end)
    said = _listen(child, answer, chatter, pools, doing, seconds)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return said.decode(errors="surrogateescape")
    raise ZfsextError(said.decode(errors="replace") if code == 1 and said else f"{doing} ended with status {code}")


def _work(verb: Callable[[], str], parent: int, answer: int, chatter: int) -> NoReturn:
    """Be the child: nothing of the script's own stdout and stderr stays open in here."""
    die_with_parent()
    if os.getppid() != parent:  # it died before we asked to die with it
        os._exit(1)
    empty = os.open(os.devnull, os.O_RDWR)
    for number, end in ((0, empty), (1, chatter), (2, chatter)):
        os.dup2(end, number)
    said, code = "", 2
    try:
        said, code = verb(), 0
    except (ZfsextError, OSError) as error:
        said, code = str(error), 1
    finally:
        if code == 2:  # a defect of ours: it is told here, and must not go on into what the parent was about to do
            sys.excepthook(*sys.exc_info())
        os.write(answer, said.encode(errors="surrogateescape"))
        os._exit(code)


def _listen(child: int, answer: int, chatter: int, pools: Sequence[str], doing: str, seconds: float) -> bytes:
    said = bytearray()
    ill_since = None
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(answer, selectors.EVENT_READ)
        selector.register(chatter, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(POLL):
                part = os.read(key.fd, 65536)
                if not part:
                    selector.unregister(key.fd)
                    os.close(key.fd)
                elif key.fd == answer:
                    said += part
                else:
                    os.write(2, part)
            now = time.monotonic()
            ill = [name for name in pools if not pool.works(name)]
            ill_since = (ill_since or now) if ill else None
            if ill_since is not None and now - ill_since >= PATIENCE:
                raise PoolUnavailable(
                    f"pool {ill[0]} is {pool.state(ill[0]) or 'gone'}, and {doing} waits for it in pid {child}, which "
                    f"ends when the pool is back: see 'zpool status {ill[0]}', then 'zpool clear {ill[0]}'"
                )
            if now >= deadline:
                raise PoolUnavailable(f"{doing} was not done after {seconds:.0f} s and was given up (pid {child})")
    return bytes(said)
