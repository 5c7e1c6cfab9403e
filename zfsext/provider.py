"""What each of Ganeti's scripts does. Stdout is Ganeti's; people read stderr, whose last lines gnt-instance shows.

A warm attach or open is answered in this process; everything else is work on a pool and runs in a child
(zfsext.guard), under the volume's lock.
"""

import os
import sys
import time

from zfsext import attached, contract, pool
from zfsext.errors import PoolUnavailable, ZfsextError
from zfsext.lock import VolumeLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from zfsext.contract import Request

HELP = """\
Usage: {action}

One of the scripts of the Ganeti storage provider zfsfile. Ganeti calls it without arguments and says in the
environment what it wants: {variables}. See ganeti-extstorage-zfs(7).
"""


def main() -> "NoReturn":
    """Be the script that we were called as."""
    _occupy()
    action = os.path.basename(sys.argv[0])
    if len(sys.argv) > 1:
        text = HELP.format(action=action, variables=", ".join(("VOL_NAME", *contract.ACTIONS.get(action, ()))))
        asked = sys.argv[1:] in (["-h"], ["--help"])
        os.write(1 if asked else 2, text.encode())
        os._exit(0 if asked else 2)
    try:
        request = contract.parse(action, os.environ)
        said = _warm(request)
        if said is None:
            said = _cold(request)
        if said:
            os.write(1, f"{said}\n".encode())
    except (ZfsextError, OSError) as error:
        text = f"zfsext {action} {contract.shown(os.environ.get('VOL_NAME', ''))}: {error}\n"
        os.write(2, text.encode(errors="backslashreplace"))
        os._exit(1)
    os._exit(0)  # nothing is buffered, and the interpreter's own end takes longer than the answer


def _occupy() -> None:
    """Open what is closed of stdin, stdout and stderr, so that no file of ours is taken for one of them.

    An answer that nobody can read stays an error; what is said to people may go nowhere.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest number that is free


def _warm(request: "Request") -> str | None:
    """Answer for a disk that stands attached, without a fork or a question to ZFS; None if that cannot be."""
    if request.action != "attach" and not (request.action == "open" and request.exclusive):
        return None
    lock = VolumeLock(request.volume, request.action)
    if not lock.try_shared():
        return None
    device = attached.confirmed(request.volume)
    if device is not None and request.action == "open":
        from zfsext import marks

        if marks.was_opened(request.volume):
            marks.note_opened(request.volume)
        else:
            device = None
    lock.release()
    return device if request.action == "attach" or device is None else ""


def _cold(request: "Request") -> str:
    from zfsext import config, guard, parameters, places, verbs

    settings = config.load()
    if request.parameters:
        parameters.parse(request.parameters, settings)  # before there is a lock's file, or a child
    pools = places.pools(settings.live)
    working = [name for name in pools if pool.works(name)]
    if not request.volume:
        return guard.run(lambda: verbs.VERBS[request.action](request, settings), working, request.action)
    lock = VolumeLock(request.volume, request.action)
    if working != pools and not _free(lock, guard.PATIENCE if working else 0):
        ill = next(name for name in pools if name not in working)
        state = pool.state(ill) or "not imported"
        raise PoolUnavailable(f"pool {ill} is {state}, and {lock.holder()} waits for it already")
    lock.release()

    def work() -> str:
        if request.action in verbs.LOCK_THEMSELVES:
            return verbs.VERBS[request.action](request, settings)
        with lock:
            try:
                said = verbs.VERBS[request.action](request, settings)
            except (ZfsextError, OSError):
                if request.action == "create":
                    lock.forget()  # nobody asks for what was never made, so nobody else would remove the file
                raise
            if request.action == "remove":
                lock.forget()
        return said

    return guard.run(work, working, f"{request.action} of {request.volume}")


def _free(lock: VolumeLock, seconds: float) -> bool:
    """Tell whether the lock is free within so many seconds: who works on another pool, a healthy one, gives it back."""
    deadline = time.monotonic() + seconds
    while not lock.try_shared():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.1)
    return True
