"""The commands that end copies of disks, or look into them: forget, resolve, sweep."""

import click

from zfsext import (
    asides,
    cluster,
    completion,
    config,
    datasets,
    forgetting,
    human,
    owner,
    progress,
    records,
    removed,
    seeding,
    whereabouts,
)
from zfsext.cli_common import (
    Failure,
    dry_run,
    examples,
    instance_named,
    node_named,
    require_cluster,
    require_root,
    verbose,
    volumes_of,
)
from zfsext.errors import NotHere, PoolUnavailable, Refused
from zfsext.peer import peers


@click.command(epilog=examples("zfsext forget web1 --on node2"))
@click.argument("instance", shell_complete=completion.instances)
@click.option(
    "--on",
    "on",
    metavar="NODE",
    shell_complete=completion.other_nodes,
    required=True,
    help="The node whose copies are to go.",
)
@dry_run
@verbose
def forget(instance: str, on: str, dry: bool) -> None:
    """Destroy the copies of an instance's disks on a node, and replicate nothing there any more.

    The disks themselves, and their copies on other nodes, stay as they are. NODE is also taken out of the nodes that
    the disks are replicated to by timer. It must answer; if it has left the cluster, type its whole name.
    """
    known = require_cluster()
    settings = config.load()
    name = instance_named(instance, set(), known)
    volumes = volumes_of(name, known, settings)
    try:
        node = node_named(on)
    except NotHere:
        if "." not in on:
            raise
        node = records.node(on)
    with progress.working(f"looking for the disks of {name}"), peers() as others:
        holder = whereabouts.holder(volumes[0], settings, others).node
        if holder == node:
            raise Refused(
                f"{node} has the disks of {name} themselves, and they stay: 'zfsext move' takes them elsewhere"
            )
        fields = {"volume": volumes[0], "on": node, "dry": dry}
        gone = owner.at(holder, "withdraw", settings, others, seeding.STILL, **fields)["gone"]
    for dataset in gone:
        click.echo(f"{'would destroy' if dry else 'destroyed'} {dataset} on {node}")
    click.echo("nothing was done (--dry-run)" if dry else f"{name}: no copy on {node} any more")


@click.command(epilog=examples("zfsext resolve web1", "zfsext resolve web1 --drop"))
@click.argument("instance", shell_complete=completion.instances)
@click.option("--drop", is_flag=True, help="Destroy them, with their snapshots.")
@dry_run
@verbose
def resolve(instance: str, drop: bool, dry: bool) -> None:
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
    elif drop and dry:
        asides.require_free(mine)
        click.echo(f"{name}: {len(mine)} would be dropped; nothing was done (--dry-run)")
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


@click.command(epilog=examples("zfsext sweep", "zfsext sweep --dry-run"))
@dry_run
@verbose
def sweep(dry: bool) -> None:
    """Destroy the copies of removed disks that were out of reach when their disk was removed, and what is overdue.

    Only what this node removed, and noted, is looked for, and never a disk. Ends with 1, naming it, if something is
    left. 'zfsext replicate --all' does the same.
    """
    require_root()
    if dry:
        for volume, (_, names) in forgetting.noted().items():
            click.echo(f"would end the copies of {volume} on {', '.join(names)}")
        for each in removed.overdue(config.load()):
            click.echo(f"would destroy {each.dataset}, removed {human.moment(each.seconds)}")
        click.echo("nothing was done (--dry-run)")
        return
    with progress.working("looking for what is left of removed disks"), peers() as others:
        left = forgetting.sweep(config.load(), others)
    if left:
        raise Failure(f"not all is ended: {'; '.join(left)}")


COMMANDS = (forget, resolve, sweep)
