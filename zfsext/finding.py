"""A finding of zfsext health: one fault, how bad it is, and what to type.

Each has a command. One that destroys is given only with the words to look first, or for what never held data.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

SCRIPTS = "/usr/share/ganeti/extstorage/zfsfile"
NOTICE, WARNING, UNKNOWN, CRITICAL = "notice", "warning", "unknown", "critical"
#: The exit code that a finding asks for, the weightiest last: what is known to be broken outweighs what is not known.
SEVERITIES = {NOTICE: 0, WARNING: 1, UNKNOWN: 3, CRITICAL: 2}
STATUS = {0: "ok", 1: "warning", 2: "critical", 3: "unknown"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: how bad, of which kind, on what, in one or two sentences what it is, and the command to type."""

    severity: str
    kind: str
    subject: str
    what: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """From how many per cent on a pool and a disk are too full (None is never), from how many minutes a copy is old."""

    pool_warning: int = 80
    pool_critical: int = 90
    disk_notice: int = 90
    disk_warning: int | None = None
    disk_critical: int | None = None
    copy_warning: int = 60


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with the worst first."""
    return sorted(findings, key=lambda each: -list(SEVERITIES).index(each.severity))


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 0, 1, 2 or 3 for ok, warning, critical, unknown (the Nagios plugin API's numbers)."""
    weights = list(SEVERITIES)
    return SEVERITIES[max((each.severity for each in findings), key=weights.index, default=NOTICE)]


def typed(*words: str) -> str:
    """Return the command of these words as one types it in a shell."""
    return shlex.join(words)


def split(text: str) -> tuple[str, str]:
    """Return what a text of zfsext.node says, and the command that it ends with; empty if it ends with none."""
    what, _, command = text.rpartition(": '")
    plain = command.endswith("'") and command.count("'") == 1
    return (what, command.removesuffix("'")) if plain else (text, "")


def look(dataset: str) -> str:
    """Return the command that shows what there is of a dataset."""
    return typed("zfs", "list", "-r", "-t", "all", "-o", "name,used,written,creation,zfsext:instance", dataset)


def script(name: str, volume: str, *variables: str) -> str:
    """Return the command that runs a script of the provider as Ganeti does."""
    return " ".join([typed(f"VOL_NAME={volume}", *variables), f"{SCRIPTS}/{name}"])
