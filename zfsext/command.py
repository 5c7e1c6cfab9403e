"""How zfsext runs a command of the system's: in a plain environment, with nothing to read, and dead when zfsext is."""

import subprocess

from zfsext import guard
from zfsext.errors import SystemRefused

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


Done = subprocess.CompletedProcess[str]


def run(*words: str) -> Done:
    """Run the command, and return what it said and how it ended. Raises FileNotFoundError if there is none."""
    return subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        env=ENVIRONMENT,
        preexec_fn=guard.die_with_parent,
        check=False,
    )


def output(*words: str) -> str:
    """Run the command, and return what it printed. Raises SystemRefused, with its words, if it failed."""
    done = run(*words)
    if done.returncode:
        raise SystemRefused(f"{' '.join(words)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout
