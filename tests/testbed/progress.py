"""Says on stderr what is being done, that it is still going on, and how long it took."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from settings import TestbedError

HEARTBEAT = 10.0
"""Seconds between signs of life of a long step."""

_LINE = threading.Lock()


def say(text: str) -> None:
    """One whole line on stderr, also from several threads."""
    with _LINE:
        print(f"testbed: {text}", file=sys.stderr, flush=True)


def last_line(path: Path) -> str:
    """The last line with something in it of a log that may be growing; '' if there is none."""
    try:
        with path.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - 2000))
            tail = log.read().decode(errors="replace").replace("\r", "\n")
    except OSError:
        return ""
    lines = [line.strip() for line in tail.split("\n") if line.strip()]
    return lines[-1][:100] if lines else ""


@contextmanager
def step(what: str, log: Path | None = None) -> Iterator[None]:
    """Announce WHAT, show every few seconds that it goes on (with LOG's last line), say what it took."""
    begun = time.monotonic()
    over = threading.Event()
    say(f"{what} …")

    def beat() -> None:
        while not over.wait(HEARTBEAT):
            latest = last_line(log) if log else ""
            say(f"  … {what}, {time.monotonic() - begun:.0f} s{': ' + latest if latest else ''}")

    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    except BaseException:
        say(f"{what}: failed after {time.monotonic() - begun:.1f} s")
        raise
    finally:
        over.set()
        heart.join()
    say(f"{what}: {time.monotonic() - begun:.1f} s")


def command(argv: Sequence[str | Path], log: Path | None = None, cwd: Path | None = None) -> str:
    """Run a command of this machine, its output to LOG if given, else returned.

    Raises TestbedError with the last lines of its output if it fails.
    """
    text = ""
    try:
        if log is None:
            done = subprocess.run(
                [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, cwd=cwd, text=True, errors="replace", check=False,
            )
            text = done.stdout
        else:
            with log.open("ab") as out:
                done = subprocess.run(
                    [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=out,
                    stderr=subprocess.STDOUT, cwd=cwd, text=True, check=False,
                )
            text = log.read_text(errors="replace")
    except OSError as error:
        raise TestbedError(f"cannot run {argv[0]}: {error}") from error
    if done.returncode != 0:
        tail = "\n".join(f"    {line}" for line in text.splitlines()[-25:])
        raise TestbedError(f"{' '.join(str(word) for word in argv[:6])} … exited {done.returncode}:\n{tail}")
    return text
