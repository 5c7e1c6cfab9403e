"""One lock per volume, held across a whole verb and freed by the kernel when its holder dies.

A lock is an flock on a file in a directory that only root can enter. The file says who holds it. Who needs the locks
of several volumes takes them in the order of their names, so that no two wait for each other (an export, VOLUME.snap,
comes after its disk).
"""

import errno
import fcntl
import os
import time

from zfsext.errors import Busy, SystemRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

RUN = "/run/zfsext"

#: How long work waits for a lock. What is then left of zfsext.guard.SECONDS is for the work itself.
SECONDS = 300
POLL = 0.1


def run_directory() -> str:
    """Return the directory for what must not outlive a boot, made if need be, and root's alone.

    Raises SystemRefused if somebody else could write there, or for anybody but root.
    """
    try:
        os.mkdir(RUN, 0o700)
    except PermissionError as error:
        raise SystemRefused(f"{RUN} is for root, and only root can run this") from error
    except FileExistsError:
        status = os.lstat(RUN)
        if status.st_uid == 0 != os.geteuid():
            raise SystemRefused(f"{RUN} is for root, and only root can run this") from None
        if status.st_uid != os.geteuid() or status.st_mode & 0o170077 != 0o040000:
            raise SystemRefused(f"{RUN} must be a directory that only root can enter: 'ls -ld {RUN}'") from None
    return RUN


def held(path: str) -> bool:
    """Tell whether somebody works under the lock that has this file. Neither makes the file nor waits."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _open(path: str) -> int:
    """Open a lock's file, made if need be. Raises SystemRefused, with the command that helps, if it is a link."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SystemRefused(
                f"{path} is a link, which zfsext never makes: find out who did, and 'rm {path}'"
            ) from None
        raise


def _is_same(link: str, path: str) -> bool:
    """Tell whether a process has this file open by that link; one that it has closed by now is not.

    The name goes first: to ask for the inode of a file on a pool that is suspended can take for ever.
    """
    try:
        return os.readlink(link) == path and os.path.samestat(os.stat(link), os.lstat(path))
    except (FileNotFoundError, ProcessLookupError):
        return False


class VolumeLock:
    """The lock of one volume, as a context manager: exclusive, or shared between those who only look."""

    def __init__(self, volume: str, verb: str) -> None:
        self.path = f"{run_directory()}/{volume}.lock"
        self.verb = verb
        self._file = -1

    def try_shared(self) -> bool:
        """Take the lock for looking, if nobody is at work on the volume just now."""
        return self._flock(fcntl.LOCK_SH)

    def _flock(self, how: int) -> bool:
        self._file = _open(self.path)
        try:
            fcntl.flock(self._file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        return True

    def holder(self) -> str:
        """Return what the last one who took the lock wrote of himself, such as 'attach (pid 12)'; may be empty."""
        try:
            with open(self.path) as file:
                return file.read(200).strip()
        except FileNotFoundError:
            return ""

    def acquire(self, seconds: float = SECONDS) -> None:
        """Take the lock for work, waiting for whoever has it (and saying on stderr who that is).

        Raises Busy, naming who has it, if that takes longer than so many seconds.
        """
        deadline = time.monotonic() + seconds
        waits_for = ""
        while not self._try():
            holder = self.holder() or "another script"
            if time.monotonic() >= deadline:
                raise Busy(f"gave up after {seconds:g} s of waiting for {holder}, which has the volume's lock")
            if holder != waits_for:
                os.write(2, f"zfsext: {self.verb} waits for {holder}\n".encode())
                waits_for = holder
            time.sleep(POLL)
        self._sign()

    def try_work(self) -> bool:
        """Take the lock for work, unless somebody has it."""
        if not self._try():
            return False
        self._sign()
        return True

    def holder_pid(self) -> int | None:
        """Return the process that the holder wrote of himself; None if that cannot be read, or it has not the lock.

        What a holder that died has written stays, and another process may have his number by now.
        """
        number = self.holder().rpartition("(pid ")[2].rstrip(")")
        return int(number) if number.isdecimal() and self._is_open_in(number) else None

    def _is_open_in(self, process: str) -> bool:
        directory = f"/proc/{process}/fd"
        try:
            return any(_is_same(f"{directory}/{name}", self.path) for name in os.listdir(directory))
        except (FileNotFoundError, ProcessLookupError):
            return False

    def _sign(self) -> None:
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{self.verb} (pid {os.getpid()})\n".encode(), 0)

    def _try(self) -> bool:
        if not self._flock(fcntl.LOCK_EX):
            return False
        if not self._is_current():  # the holder before us removed the volume, and the file with it
            self.release()
            return False
        return True

    def _is_current(self) -> bool:
        try:
            return os.stat(self.path).st_ino == os.fstat(self._file).st_ino
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise

    def forget(self) -> None:
        """Remove the lock's file, because the volume is gone. Only for the one who holds it."""
        os.unlink(self.path)

    def release(self) -> None:
        """Give the lock back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> "VolumeLock":
        self.acquire()
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        self.release()
