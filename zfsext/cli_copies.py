"""The commands for the copies of disks: replicate, move, forget, resolve, sweep."""

import subprocess
import sys
import time

import click

from zfsext import (
    asides,
    attempt,
    cluster,
    config,
    datasets,
    forgetting,
    human,
    nodes,
    progress,
    records,
    scheduled,
    seeding,
    whereabouts,
    withdrawal,
)
from zfsext.cli_common import (
    Failure,
    bandwidth,
    examples,
    instance_named,
    node_named,
    quiet,
    require_cluster,
    require_root,
)
from zfsext.cluster import Cluster
from zfsext.config import Config
from zfsext.errors import NotHere, PoolUnavailable, Refused
from zfsext.peer import peers


@click.command(
    epilog=examples(
        "zfsext replicate web1 --to node2",
        "zfsext replicate web1 --to node2 --bandwidth 50M",
        "zfsext replicate --all --jobs 4",
    ),
)
@click.argument("instance", required=False)
@click.option("--to", "to", metavar="NODE", help="The node that the copy is to be on.")
@click.option("--all", "everything", is_flag=True, help="Replicate all disks here that name nodes for their copies.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    metavar="N",
    default=scheduled.JOBS,
    show_default=True,
    help="With --all: how many instances at a time.",
)
@bandwidth
@quiet
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
    volumes = _volumes(name, known, settings)
    began = time.monotonic()
    rate = settings.bandwidth if bandwidth is None else bandwidth
    with peers() as others, progress.shown(_titles(known), quiet=quiet) as said:
        sent = attempt.from_owner(volumes, node, settings, others, said, rate)
    click.echo(_sent(name, sent, node, began))


def _replicate_all(jobs: int, bandwidth: int | None) -> None:
    require_cluster()
    settings = config.load()
    if bandwidth is not None:
        settings.bandwidth = bandwidth
    failed = scheduled.run(settings, jobs)
    with peers() as others:
        forgetting.sweep(settings, others)
    if failed:
        sys.exit(1)


def _volumes(instance: str, known: Cluster, settings: Config) -> list[str]:
    """Return the instance's volumes: as Ganeti has them, or, where this node is not told, as the copies here say."""
    mine = [disk.volume for disk in known.disks.values() if disk.instance == instance]
    volumes = sorted(mine) if known.complete else datasets.volumes(instance, settings)
    if not volumes:
        where = "" if known.complete else " that this node knows of: try it on the master"
        raise NotHere(f"{instance} has no zfsfile disk{where}")
    return volumes


def _titles(known: Cluster) -> dict[str, str]:
    return {disk.volume: f"{disk.instance} disk {disk.index}" for disk in known.disks.values()}


@click.command(epilog=examples("zfsext move web1 node2", "zfsext move web1 node2 --bandwidth 50M"))
@click.argument("instance")
@click.argument("node")
@bandwidth
@quiet
def move(instance: str, node: str, bandwidth: int | None, quiet: bool) -> None:
    """Bring an instance to another node, with as little downtime as a failover can have; on the master.

    Its disks are replicated until little is left to send, however long the first copy takes, and then 'gnt-instance
    failover' is run. Interrupted, it can be run again, and goes on where it was.

    Ends with the exit code of gnt-instance; 0 also if the instance has that primary node already.
    """
    known = require_cluster()
    name, target = instance_named(instance, set(), known), node_named(node)
    if nodes.master() != nodes.this_node():
        raise Refused(f"gnt-instance works on the master alone: 'zfsext move {name} {target}' on {nodes.master()}")
    settings = config.load()
    volumes = _volumes(name, known, settings)
    if {disk.node for disk in known.disks.values() if disk.instance == name} == {target}:
        click.echo(f"{name} is on {target} already")
        return
    began = time.monotonic()
    rate = settings.bandwidth if bandwidth is None else bandwidth
    with peers() as others, progress.shown(_titles(known), quiet=quiet) as said:
        sent = attempt.until_little_is_left(volumes, target, settings, others, said, rate)
    click.echo(_sent(name, sent, target, began))
    sys.stdout.flush()
    code = subprocess.run(["gnt-instance", "failover", "-f", "-n", target, name], check=False).returncode
    sys.exit(code if code >= 0 else 128 - code)


def _sent(instance: str, count: int, node: str, began: float) -> str:
    return f"{instance}: {human.size(count)} sent to {node} in {time.monotonic() - began:.0f} s"


@click.command(epilog=examples("zfsext forget web1 --on node2"))
@click.argument("instance")
@click.option("--on", "on", metavar="NODE", required=True, help="The node whose copies are to go.")
def forget(instance: str, on: str) -> None:
    """Destroy the copies of an instance's disks on a node, and replicate nothing there any more.

    The disks themselves, and their copies on other nodes, stay as they are. NODE is also taken out of the nodes that
    the disks are replicated to by timer. It must answer; if it has left the cluster, type its whole name.
    """
    known = require_cluster()
    settings = config.load()
    name = instance_named(instance, set(), known)
    volumes = _volumes(name, known, settings)
    try:
        node = node_named(on)
    except NotHere:
        if "." not in on:
            raise
        node = records.node(on)
    with peers() as others:
        owner = whereabouts.holder(volumes[0], settings, others).node
        if owner == node:
            raise Refused(
                f"{node} has the disks of {name} themselves, and they stay: 'zfsext move' takes them elsewhere"
            )
        if owner == nodes.this_node():
            withdrawal.withdraw(volumes, node, settings, others)
        else:
            others.line(owner).call("withdraw", seconds=seeding.STILL, volume=volumes[0], on=node)
    click.echo(f"{name}: no copy on {node} any more")


@click.command(epilog=examples("zfsext resolve web1", "zfsext resolve web1 --drop"))
@click.argument("instance")
@click.option("--drop", is_flag=True, help="Destroy them, with their snapshots.")
def resolve(instance: str, drop: bool) -> None:
    """Say what the copies of an instance's disks have that were set aside on this node.

    A copy is set aside when the disk went on without it: another node was made its owner while this one was away. It
    has what was written here after the last round of replication, and the disk has what was written there since.
    Nothing of it is used or destroyed, until --drop does.
    """
    require_root()
    known = cluster.load()
    settings = config.load()
    found = list(asides.found(settings))
    name = instance_named(instance, {each.instance for each in found if each.instance}, known)
    mine = [each for each in found if each.instance == name]
    for each in mine:
        _tell(each)
    if not mine:
        click.echo(f"{name} has no copy on this node that was set aside")
    elif drop:
        asides.drop(mine, settings)
        click.echo(f"{name}: {len(mine)} dropped")
    else:
        click.echo(f"look into one: mount -t zfs -o ro,zfsutil {mine[0].dataset} /mnt")
        click.echo(f"destroy all of these: zfsext resolve {name} --drop")
    ill = datasets.ill(settings)
    if ill:
        raise PoolUnavailable(f"{'; '.join(ill)}, so what is on it is not shown")


def _tell(aside: asides.Aside) -> None:
    click.echo(f"{aside.dataset}, set aside")
    click.echo(f"  disk:          {aside.volume} of {aside.instance}")
    click.echo(f"  generation:    {aside.generation}")
    click.echo(f"  used:          {human.size(aside.used)}, with its snapshots")
    if aside.written is None or aside.since is None:
        click.echo("  written:       how much is not in the disk is not known")
    else:
        since = aside.since.partition("@")[2]
        click.echo(
            f"  written:       {human.size(aside.written)} since {since}, the last that the disk is known to have too"
        )
    for snapshot in aside.snapshots:
        click.echo(f"  snapshot:      {snapshot.short}")


@click.command(epilog=examples("zfsext sweep"))
def sweep() -> None:
    """Destroy the copies of removed disks that were out of reach when their disk was removed.

    Only what this node removed, and noted, is looked for, and never a disk. Ends with 1, naming them, if copies are
    still out of reach. 'zfsext replicate --all' does the same.
    """
    require_root()
    with peers() as others:
        left = forgetting.sweep(config.load(), others)
    if left:
        raise Failure(f"still out of reach: {'; '.join(left)}")


COMMANDS = (replicate, move, forget, resolve, sweep)
