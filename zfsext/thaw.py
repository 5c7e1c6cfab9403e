"""What systemd runs to thaw a guest that zfsext has frozen, and did not come to thaw itself: thaw SOCKET."""

import os
import sys
import time
from typing import NoReturn

from zfsext import agent
from zfsext.errors import ZfsextError


def main() -> NoReturn:
    """Be the command. Ends with 0 once nothing of the guest is frozen, or it does not run any more; it tries till then.

    The agent may be busy with the freeze itself, for as long as the disk does not answer.
    """
    if len(sys.argv) != 2:
        sys.exit("Usage: thaw SOCKET (run by systemd for zfsext)")
    said = ""
    while os.path.exists(sys.argv[1]):
        try:
            if agent.thaw(sys.argv[1]):
                break
        except (ZfsextError, OSError) as error:
            if str(error) != said:
                print(f"zfsext thaw: {error}", file=sys.stderr, flush=True)
            said = str(error)
        time.sleep(1)
    sys.exit(0)
