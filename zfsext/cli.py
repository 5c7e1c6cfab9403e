"""The command zfsext: its commands are in the files cli_*.py, and have exit codes that scripts may rely on.

0 is done, 1 is an error (its words on stderr), 2 a command line that cannot be; health has codes of its own, and move,
clone and undelete end with that of gnt-instance. See zfsext(8).
"""

import errno
import importlib
import sys
from typing import Any, NoReturn

import click

import zfsext
from zfsext.cli_common import Failure, examples
from zfsext.errors import ZfsextError

#: The module of each command. Only that of the command which is run is imported: it may be run each minute.
MODULES = {
    "list": "cli_disks",
    "show": "cli_disks",
    "health": "cli_health",
    "replicate": "cli_replicate",
    "move": "cli_replicate",
    "forget": "cli_copies",
    "resolve": "cli_copies",
    "sweep": "cli_copies",
    "snapshot": "cli_snapshots",
    "rollback": "cli_snapshots",
    "clone": "cli_clone",
    "undelete": "cli_undelete",
    "mount": "cli_view",
    "umount": "cli_view",
    "setup": "cli_setup",
    "doctor": "cli_doctor",
}


class Commands(click.Group):
    """Commands that end with a Failure where zfsext or the system raises an error. A broken pipe is click's."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's)
        """Return the names of all commands."""
        return sorted(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's)
        """Return the command of this name."""
        if cmd_name not in MODULES:
            return None
        commands: tuple[click.Command, ...] = importlib.import_module(f"zfsext.{MODULES[cmd_name]}").COMMANDS
        return next(each for each in commands if each.name == cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (ZfsextError, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            raise Failure(str(error)) from error


def main() -> NoReturn:
    """Be the command."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    commands(prog_name="zfsext")
    sys.exit(0)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "zfsext list                        which disks are here, and whose",
        "zfsext show web1                   all about the disks of web1.example.com",
        "zfsext health                      what is wrong, and what to type",
        "zfsext replicate web1 --to node2   a copy of its disks on node2, or what is new since the last",
        "zfsext move web1 node2             the same, and then the failover, with seconds of downtime",
    ),
)
@click.version_option(zfsext.__version__, message="%(prog)s %(version)s")
def commands() -> None:
    """Look after this node's Ganeti disks on ZFS (the storage provider zfsfile), and their copies on other nodes.

    list, show, health and doctor look, and change nothing. No command destroys the disk of an instance; copies,
    snapshots and what was kept are destroyed by forget, sweep, resolve --drop, snapshot --keep, rollback --drop and
    undelete --purge, most of which have a --dry-run. All need root. See zfsext(8).
    """
