"""The commands for the copies of disks on other nodes: replicate and sweep."""

import sys
import time

import click

from zfsext import attempt, config, datasets, forgetting, human, progress, scheduled
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
from zfsext.errors import NotHere
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
    seconds = time.monotonic() - began
    click.echo(f"{name}: {human.size(sent)} sent to {node} in {seconds:.0f} s")


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


COMMANDS = (replicate, sweep)
