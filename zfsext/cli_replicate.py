"""The commands that bring disks to another node: replicate and move."""

import sys
import time

import click

from zfsext import cli_gnt, completion, config, human, nodes, progress
from zfsext.cli_common import (
    bandwidth,
    examples,
    instance_named,
    node_named,
    quiet,
    require_cluster,
    verbose,
    volumes_of,
)
from zfsext.cluster import Cluster
from zfsext.peer import peers


@click.command(
    epilog=examples(
        "zfsext replicate web1 --to node2",
        "zfsext replicate web1 --to node2 --bandwidth 50M",
        "zfsext replicate --all --jobs 4",
    ),
)
@click.argument("instance", required=False, shell_complete=completion.instances)
@click.option(
    "--to", "to", metavar="NODE", shell_complete=completion.other_nodes, help="The node that the copy is to be on."
)
@click.option("--all", "everything", is_flag=True, help="Replicate all disks here that name nodes for their copies.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    metavar="N",
    default=2,
    show_default=True,
    help="With --all: how many instances at a time.",
)
@bandwidth
@quiet
@verbose
def replicate(
    instance: str | None, to: str | None, everything: bool, jobs: int, bandwidth: int | None, quiet: bool
) -> None:
    """Bring an instance's disks, as they are now, to another node.

    The first time that is a copy of all; later what was written since; what broke off is resumed. The instance may run
    meanwhile. This works on any master candidate: where the disks are not, the node that has them is asked to send.

    --all, which zfsext-replicate.timer runs, does it for all disks of this node that have replicas (the disk parameter
    replicas=node2:node3), and ends copies of removed disks, as sweep does.
    """
    if everything:
        if instance or to:
            raise click.UsageError("--all goes with neither an instance nor --to")
        _replicate_all(jobs, bandwidth)
        return
    if not instance or not to:
        raise click.UsageError("name the instance and, with --to, the node; or --all")
    known = require_cluster()
    settings = config.load()
    name, node = instance_named(instance, set(), known), node_named(to)
    volumes = volumes_of(name, known, settings)
    began = time.monotonic()
    rate = settings.bandwidth if bandwidth is None else bandwidth
    with peers() as others, progress.shown(_titles(known), quiet=quiet) as said:
        if node != nodes.this_node():
            others.line(node)  # which takes a while, and mostly it is this node that sends

        from zfsext import attempt

        sent = attempt.from_owner(volumes, node, settings, others, said, rate)
    click.echo(_sent(name, sent, node, began))


def _replicate_all(jobs: int, bandwidth: int | None) -> None:
    from zfsext import forgetting, scheduled

    require_cluster()
    settings = config.load()
    if bandwidth is not None:
        settings.bandwidth = bandwidth
    failed = scheduled.run(settings, jobs)
    with peers() as others:
        left = forgetting.sweep(settings, others)
    for words in left:
        click.echo(f"zfsext: {words}", err=True)
    if failed:
        sys.exit(1)


def _titles(known: Cluster) -> dict[str, str]:
    return {disk.volume: f"{disk.instance} disk {disk.index}" for disk in known.disks.values()}


@click.command(epilog=examples("zfsext move web1 node2", "zfsext move web1 node2 --bandwidth 50M"))
@click.argument("instance", shell_complete=completion.instances)
@click.argument("node", shell_complete=completion.other_nodes)
@bandwidth
@quiet
@verbose
def move(instance: str, node: str, bandwidth: int | None, quiet: bool) -> None:
    """Bring an instance to another node, with as little downtime as a failover can have; on the master.

    Its disks are replicated until little is left to send, however long the first copy takes, and then 'gnt-instance
    failover' is run. Interrupted, it can be run again, and goes on where it was.

    Ends with the exit code of gnt-instance; 0 also if the instance has that primary node already.
    """
    from zfsext import attempt

    known = require_cluster()
    name, target = instance_named(instance, set(), known), node_named(node)
    cli_gnt.require_master(f"zfsext move {name} {target}")
    settings = config.load()
    volumes = volumes_of(name, known, settings)
    if {disk.node for disk in known.disks.values() if disk.instance == name} == {target}:
        click.echo(f"{name} is on {target} already")
        return
    began = time.monotonic()
    rate = settings.bandwidth if bandwidth is None else bandwidth
    with peers() as others, progress.shown(_titles(known), quiet=quiet) as said:
        sent = attempt.until_little_is_left(volumes, target, settings, others, said, rate)
    click.echo(_sent(name, sent, target, began))
    sys.exit(cli_gnt.run(["gnt-instance", "failover", "-f", "-n", target, name]))


def _sent(instance: str, count: int, node: str, began: float) -> str:
    return f"{instance}: {human.size(count)} sent to {node} in {time.monotonic() - began:.0f} s"


COMMANDS = (replicate, move)
