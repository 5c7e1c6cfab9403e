"""The command health, in each of its forms."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NoReturn

import click

from zfsext import cluster, config, finding, health, survey
from zfsext.cli_common import AS_JSON, Failure, examples, require_root
from zfsext.cluster import Cluster
from zfsext.errors import Refused, ZfsextError
from zfsext.finding import Finding, Limits
from zfsext.inventory import Inventory


class NotWritten(Failure):
    """Metrics that could not be written: an exit code that no health has, so that whoever reads them is told."""

    exit_code = 4


LIMITS = Limits()


def _number(name: str, default: int | None, words: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(name, type=click.IntRange(0), metavar="N", default=default, show_default=True, help=words)


@click.command(
    "health",
    epilog=examples(
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
@_number("--pool-warning", LIMITS.pool_warning, "Warn of a pool that is so full, in per cent.")
@_number("--pool-critical", LIMITS.pool_critical, "Call that critical.")
@_number("--disk-notice", LIMITS.disk_notice, "Name a disk that is so full, in per cent.")
@_number("--disk-warning", LIMITS.disk_warning, "Warn of it; not done unless asked for.")
@_number("--disk-critical", LIMITS.disk_critical, "Call that critical; not done unless asked for.")
@_number("--copy-warning", LIMITS.copy_warning, "Warn of a copy, of those a disk is to have, of so many minutes.")
def health_(as_json: bool, nagios: bool, prometheus: str | None, **levels: int | None) -> NoReturn:
    """Say what is wrong with the disks of this node, and what to type.

    Looks at pools, disks without an instance and instances without a disk, disks in the making, loop devices, space,
    holds, partial receives, copies and all else that a fault may leave. Which disks an instance has is known on master
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
    code = finding.exit_code(findings)
    if prometheus:
        from zfsext import textfile

        try:
            textfile.write(prometheus, found, known, findings)
        except OSError as error:
            raise NotWritten(f"{prometheus} could not be written: {error.strerror}") from error
    elif as_json:
        status = finding.STATUS[code]
        click.echo(json.dumps({"status": status, "findings": [asdict(each) for each in findings]}, indent=2))
    else:
        _print(found, findings)
    sys.exit(code)


COLOURS = {finding.NOTICE: "cyan", finding.WARNING: "yellow", finding.UNKNOWN: "magenta", finding.CRITICAL: "red"}


def _print(found: Inventory, findings: list[Finding]) -> None:
    for each in findings:
        click.secho(f"{each.severity}: {each.kind}: ", fg=COLOURS[each.severity], nl=False)
        click.echo(each.what)
        if each.command:
            click.echo(f"    {each.command}")
    click.echo(f"zfsext {finding.STATUS[finding.exit_code(findings)]}: {health.summary(found, findings)}")


def _examined(limits: Limits) -> tuple[Inventory, Cluster | None, list[Finding]]:
    """Return all that could be found out, and what is wrong. What could not be found out is a finding of its own."""
    found, known, more = Inventory(), None, []
    try:
        require_root()
    except Refused as error:
        return found, known, [Finding(finding.UNKNOWN, "root", "node", str(error))]
    try:
        known = cluster.load()
        if known is None:
            what = "this node is in no Ganeti cluster, so nothing tells which disks an instance has"
            more.append(Finding(finding.NOTICE, "ganeti", "node", what, "gnt-cluster info"))
    except (ZfsextError, OSError) as error:
        more.append(Finding(finding.UNKNOWN, "ganeti", "node", f"what Ganeti knows is not known: {error}"))
    try:
        settings = config.load()
        found = Inventory(pools=survey.ill(settings))
        found = survey.take(settings)
    except (ZfsextError, OSError) as error:
        more.append(Finding(finding.UNKNOWN, "disks", "node", f"what disks there are is not known: {error}"))
    return found, known, finding.ordered([*health.examine(found, known, limits), *more])


COMMANDS = (health_,)
