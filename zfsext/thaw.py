"""What systemd runs to thaw a guest that zfsext has frozen, and did not come to thaw itself: thaw SOCKET PID STARTED.

PID is the process that froze it. The agent talks with one at a time, so one that hangs in the middle of a question
would keep everybody else from it: it had its time, and is killed.
"""

import os
import signal
import sys
import time
from typing import NoReturn

from zfsext import agent
from zfsext.errors import ZfsextError


def main() -> NoReturn:
    """Be the command. Ends with 0 once nothing of the guest is frozen, or it does not run any more; it tries till then.

    The agent may be busy with the freeze itself, for as long as the disk does not answer.
    """
    if len(sys.argv) != 4 or not sys.argv[2].isdecimal():
        sys.exit("Usage: thaw SOCKET PID STARTED (run by systemd for zfsext)")
    socket, process, began = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    said = ""
    while os.path.exists(socket):
        try:
            if agent.thaw(socket):
                break
        except (ZfsextError, OSError) as error:
            if str(error) != said:
                print(f"zfsext thaw: {error}", file=sys.stderr, flush=True)
            said = str(error)
            end(process, began)
        time.sleep(1)
    sys.exit(0)


def started(process: int) -> str:
    """Return when a process was started, as the kernel says (proc(5): /proc/PID/stat, the 22nd field)."""
    with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[19]


def end(process: int, began: str) -> None:
    """Kill the process, if it is the one that was started then."""
    try:
        one = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        if started(process) == began:
            signal.pidfd_send_signal(one, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return
    finally:
        os.close(one)
