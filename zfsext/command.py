"""How zfsext runs a command of the system's: in a plain environment, with nothing to read, and dead when zfsext is."""

import subprocess
from collections.abc import Iterator

from zfsext import guard
from zfsext.errors import SystemRefused

#: How much of a command stands in an error: some have hundreds of names.
LONGEST = 200
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
        said = "; ".join(done.stderr.split("\n")).strip("; ")
        raise SystemRefused(f"{_shortened(' '.join(words))}: {said or f'exit code {done.returncode}'}")
    return done.stdout


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def fields(text: str, count: int, what: str) -> Iterator[list[str]]:
    """Yield the fields of each line, between tabs. Raises SystemRefused for a line with more or less of them.

    A user property's value may hold anything, so also a tab or the end of a line.
    """
    for line in text.splitlines():
        found = line.split("\t")
        if len(found) != count:
            raise SystemRefused(f"{what}: a line that cannot be read: {line!r}")
        yield found
