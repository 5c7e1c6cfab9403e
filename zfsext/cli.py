"""The command zfsext: its options, and the exit codes that scripts may rely on.

0 is done, 1 is an error (its words on stderr), 2 a command line that cannot be; health has codes of its own.
"""

import difflib
import errno
import json
import os
import sys
from typing import Any, NoReturn

import click

import zfsext
from zfsext import cluster, config, inventory, listing
from zfsext.cluster import Cluster
from zfsext.errors import NotHere, PoolUnavailable, Refused, ZfsextError
from zfsext.inventory import Inventory


class Failure(click.ClickException):
    """What zfsext raised, as click ends a command with it: exit code 1, the words on stderr."""

    def show(self, file: Any = None) -> None:
        """Print the error."""
        click.echo(f"zfsext: {self.message}", err=True, file=file)


class Commands(click.Group):
    """Commands that end with a Failure where zfsext or the system raises an error. A broken pipe is click's."""

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


def _examples(*lines: str) -> str:
    """Return the end of a command's help, which click is told not to wrap."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_examples(
        "zfsext list          which disks are here, and whose",
        "zfsext show web1     all about the disks of web1.example.com",
        "zfsext health        what is wrong, and what to type",
    ),
)
@click.version_option(zfsext.__version__, message="%(prog)s %(version)s")
def commands() -> None:
    """Look after this node's Ganeti disks on ZFS (the storage provider zfsfile).

    Nothing that zfsext does changes a disk: it looks, and says what to type. It needs root. See zfsext(8).
    """


AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, with units in the keys' names.")


@commands.command(
    "list",
    epilog=_examples(
        "zfsext list",
        "zfsext list | grep ' new '",
        "zfsext list --json | jq -r '.[] | select(.role == \"live\") | .volume'",
    ),
)
@AS_JSON
def list_(as_json: bool) -> None:
    """List the disks of this node, by instance.

    ROLE is what a dataset is: live (a disk that this node owns), new (in the making), export (what gnt-backup reads),
    standby (a copy), stray (below a parent that is not configured), foreign (not made by zfsext). SIZE is the disk's,
    USED what it takes of the pool.
    """
    found, known = _look()
    disks = listing.known(found, known)
    if as_json:
        click.echo(json.dumps(disks, indent=2))
    else:
        listing.table(disks)
    _require_whole(found)


@commands.command(
    epilog=_examples("zfsext show web1", "zfsext show web1 --json | jq '.disks[].snapshots | length'"),
)
@click.argument("instance")
@AS_JSON
def show(instance: str, as_json: bool) -> None:
    """Show all that is known of an instance's disks.

    INSTANCE is its name or, as gnt-instance takes it, the first part of the name that no other one shares.
    """
    found, known = _look()
    disks = listing.known(found, known)
    name = _named(instance, {disk["instance"] for disk in disks if disk["instance"]}, known)
    elsewhere = [disk for disk in known.disks.values() if disk.instance == name] if known else []
    here = [disk for disk in disks if disk["instance"] == name]
    absent = [disk for disk in elsewhere if disk.volume not in {each["volume"] for each in here}]
    if as_json:
        missing = [{"disk": disk.index, "volume": disk.volume, "node": disk.node} for disk in absent]
        click.echo(json.dumps({"instance": name, "disks": here, "not_here": missing}, indent=2))
    else:
        for line in listing.pages(here):
            click.echo(line)
        for disk in absent:
            click.echo(f"disk {disk.index} of {name}\n  volume:        {disk.volume}")
            click.echo(f"  not on this node; Ganeti has it on {disk.node}")
        if not here and not absent:
            click.echo(f"{name} has no zfsfile disk on this node", err=True)
    _require_whole(found)


def _look() -> tuple[Inventory, Cluster | None]:
    """Return what is here and what Ganeti knows; Ganeti first, since it makes a disk before it writes it down."""
    _require_root()
    known = cluster.load()
    return inventory.take(config.load()), known


def _require_root() -> None:
    if os.geteuid() != 0:
        raise Refused("this needs root, as ZFS and Ganeti's files do: 'sudo zfsext …'")


def _require_whole(found: Inventory) -> None:
    for pool in found.pools:
        if not pool.works:
            raise PoolUnavailable(
                f"pool {pool.name} is {pool.state or 'not imported'}, so what is on it is not shown: 'zfsext health'"
            )


def _named(given: str, here: set[str], known: Cluster | None) -> str:
    names = frozenset(here | known.instances if known else here)
    right = cluster.matching(given, names)
    if len(right) == 1:
        return right[0]
    if right:
        raise NotHere(f"{given} can be {', '.join(right)}: type more of the name")
    labels = {name.partition(".")[0]: name for name in names} | {name: name for name in names}
    similar = dict.fromkeys(labels[label] for label in difflib.get_close_matches(given, labels, 5))
    hint = f"; similar are {', '.join(similar)}" if similar else ""
    raise NotHere(f"no instance {given} is known to this node{hint}: 'zfsext list' shows those with disks here")
