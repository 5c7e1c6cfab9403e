"""The command that looks whether all nodes can have zfsfile disks: doctor."""

import json
import sys
import time

import click

from zfsext import cluster, config, doctor, nodes, owner, progress, settings
from zfsext.cli_common import AS_JSON, asked, examples, require_cluster
from zfsext.errors import Refused
from zfsext.peer import peers


@click.command("doctor", epilog=examples("zfsext doctor", "zfsext doctor --json | jq -r '.findings[].mend'"))
@AS_JSON
def doctor_(as_json: bool) -> None:
    """Look whether all nodes of the cluster can have zfsfile disks; from one place, a master candidate.

    That is the package, the pools, the parents, the settings of the cluster, ssh between the nodes, clocks, versions
    with known trouble. Each finding has the command that mends it. What is wrong with single disks is health's.

    Ends with 1 if a disk is at risk, or a node does not answer.
    """
    require_cluster()
    conf = config.load()
    if not nodes.is_candidate():
        raise Refused("this node is no master candidate, and may not log in on others: run it on the master")
    began = time.time()
    with progress.working("asking the nodes"), peers() as others:
        heard = owner.everywhere("facts", conf, others)
    ended = time.time()
    found = [{**told, "skew": _skew(told["time"], began, ended)} for told in (of["facts"] for _, of in asked(heard))]
    known = cluster.configuration()
    ailments = doctor.examine(found, heard.failed, list(settings.of(known)) if known else [])
    if as_json:
        click.echo(json.dumps({"nodes": found, "findings": [each._asdict() for each in ailments]}, indent=2))
    else:
        for each in sorted(ailments, key=lambda each: (not each.bad, each.node)):
            click.echo(f"{'!!' if each.bad else ' -'} {each.node}: {each.what}")
            if each.mend:
                click.echo(f"     {each.mend}")
        click.echo(f"{len(found)} nodes asked, {len(ailments)} findings")
    if any(each.bad for each in ailments):
        sys.exit(1)


def _skew(theirs: float, began: float, ended: float) -> float:
    """Return how far a clock is ahead of ours, as far as the time that the answer took lets one tell, in seconds."""
    return theirs - ended if theirs > ended else min(0.0, theirs - began)


COMMANDS = (doctor_,)
