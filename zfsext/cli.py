"""The command zfsext: its options, and the exit codes that scripts may rely on.

0 is done, 1 is an error (its words on stderr), 2 a command line that cannot be; health has codes of its own.
"""

import difflib
import errno
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NoReturn

import click

import zfsext
from zfsext import cluster, config, health, inventory, listing
from zfsext.cluster import Cluster
from zfsext.errors import NotHere, PoolUnavailable, Refused, ZfsextError
from zfsext.health import Finding, Limits
from zfsext.inventory import Inventory


class Failure(click.ClickException):
    """What zfsext raised, as click ends a command with it: exit code 1, the words on stderr."""

    def show(self, file: Any = None) -> None:
        """Print the error."""
        click.echo(f"zfsext: {self.message}", err=True, file=file)


class NotWritten(Failure):
    """Metrics that could not be written: an exit code that no health has, so that whoever reads them is told."""

    exit_code = 4


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


LIMITS = Limits()


def _percent(name: str, default: int | None, words: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(name, type=click.IntRange(0), metavar="N", default=default, show_default=True, help=words)


@commands.command(
    "health",
    epilog=_examples(
        "zfsext health",
        "zfsext health --pool-warning 70 --disk-warning 95",
        "zfsext health --json | jq -r '.findings[].command'",
        "sudo zfsext health --nagios",
        "zfsext health --prometheus /var/lib/prometheus/node-exporter/zfsext.prom",
    ),
)
@AS_JSON
@click.option("--nagios", is_flag=True, help="Print one line with performance data, for Nagios, Icinga and NRPE.")
@click.option("--prometheus", metavar="FILE", help="Write metrics to FILE (*.prom), for node_exporter's textfiles.")
@_percent("--pool-warning", LIMITS.pool_warning, "Warn of a pool that is so full, in per cent.")
@_percent("--pool-critical", LIMITS.pool_critical, "Call that critical.")
@_percent("--disk-notice", LIMITS.disk_notice, "Name a disk that is so full, in per cent.")
@_percent("--disk-warning", LIMITS.disk_warning, "Warn of it; not done unless asked for.")
@_percent("--disk-critical", LIMITS.disk_critical, "Call that critical; not done unless asked for.")
def health_(as_json: bool, nagios: bool, prometheus: str | None, **levels: int | None) -> NoReturn:
    """Say what is wrong with the disks of this node, and what to type.

    Looks at pools, disks without an instance and instances without a disk, disks in the making, loop devices, space,
    holds, partial receives and all else that a fault may leave. Which disks an instance has is known on master
    candidates; elsewhere the instances' names are. zfsext(8) has each kind of finding, with its meaning and cure.

    Ends with 0 if there are at most notices, 1 for a warning, 2 for something critical, 3 if it could not be found out.
    """
    if as_json + nagios + bool(prometheus) > 1:
        raise click.UsageError("--json, --nagios and --prometheus exclude each other")
    limits = Limits(**levels)  # type: ignore[arg-type]
    if nagios:
        from zfsext import nagios as line

        line.report(lambda: _examined(limits)[::2], limits)
    found, known, findings = _examined(limits)
    code = health.exit_code(findings)
    if prometheus:
        from zfsext import textfile

        try:
            textfile.write(prometheus, found, known, findings)
        except OSError as error:
            raise NotWritten(f"{prometheus} could not be written: {error.strerror}") from error
    elif as_json:
        status = health.STATUS[code]
        click.echo(json.dumps({"status": status, "findings": [asdict(each) for each in findings]}, indent=2))
    else:
        _print(found, findings)
    sys.exit(code)


COLOURS = {health.NOTICE: "cyan", health.WARNING: "yellow", health.UNKNOWN: "magenta", health.CRITICAL: "red"}


def _print(found: Inventory, findings: list[Finding]) -> None:
    for each in findings:
        click.secho(f"{each.severity}: {each.kind}: ", fg=COLOURS[each.severity], nl=False)
        click.echo(each.what)
        if each.command:
            click.echo(f"    {each.command}")
    click.echo(f"zfsext {health.STATUS[health.exit_code(findings)]}: {health.summary(found, findings)}")


def _examined(limits: Limits) -> tuple[Inventory, Cluster | None, list[Finding]]:
    """Return all that could be found out, and what is wrong. What could not be found out is a finding of its own."""
    found, known, more = Inventory(), None, []
    try:
        _require_root()
    except Refused as error:
        return found, known, [Finding(health.UNKNOWN, "root", "node", str(error))]
    try:
        known = cluster.load()
        if known is None:
            what = "this node is in no Ganeti cluster, so nothing tells which disks an instance has"
            more.append(Finding(health.NOTICE, "ganeti", "node", what, "gnt-cluster info"))
    except (ZfsextError, OSError) as error:
        more.append(Finding(health.UNKNOWN, "ganeti", "node", f"what Ganeti knows is not known: {error}"))
    try:
        settings = config.load()
        found = Inventory(pools=inventory.ill(settings))
        found = inventory.take(settings)
    except (ZfsextError, OSError) as error:
        more.append(Finding(health.UNKNOWN, "disks", "node", f"what disks there are is not known: {error}"))
    return found, known, health.ordered([*health.examine(found, known, limits), *more])


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
