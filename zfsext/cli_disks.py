"""The commands that show disks: list and show."""

import json

import click

from zfsext import cluster, config, inventory, listing
from zfsext.cli_common import AS_JSON, examples, instance_named, require_root
from zfsext.cluster import Cluster
from zfsext.errors import PoolUnavailable
from zfsext.inventory import Inventory


@click.command(
    "list",
    epilog=examples(
        "zfsext list",
        "zfsext list | grep ' new '",
        "zfsext list --json | jq -r '.[] | select(.role == \"live\") | .volume'",
    ),
)
@AS_JSON
def list_(as_json: bool) -> None:
    """List the disks of this node, by instance.

    ROLE is what a dataset is: live (a disk that this node owns), new (in the making), export (what gnt-backup reads),
    replica (a copy of another node's disk, AGE old), sealed (given to another node), ticket (given to this one), aside
    (a copy that another has passed over), standby (any other beside the live ones), stray (below a parent that is not
    configured), foreign (not made by zfsext). SIZE is the disk's, USED what it takes of the pool.
    """
    found, known = _look()
    disks = listing.known(found, known)
    if as_json:
        click.echo(json.dumps(disks, indent=2))
    else:
        listing.table(disks)
    _require_whole(found)


@click.command(
    epilog=examples("zfsext show web1", "zfsext show web1 --json | jq '.disks[].snapshots | length'"),
)
@click.argument("instance")
@AS_JSON
def show(instance: str, as_json: bool) -> None:
    """Show all that is known of an instance's disks.

    INSTANCE is its name or, as gnt-instance takes it, the first part of the name that no other one shares.
    """
    found, known = _look()
    disks = listing.known(found, known)
    name = instance_named(instance, {disk["instance"] for disk in disks if disk["instance"]}, known)
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
    require_root()
    known = cluster.load()
    return inventory.take(config.load()), known


def _require_whole(found: Inventory) -> None:
    """Raise PoolUnavailable if something may be on a pool that does not work."""
    for pool in found.pools:
        if not pool.works:
            raise PoolUnavailable(
                f"pool {pool.name} is {pool.state or 'not imported'}, so what is on it is not shown: 'zfsext health'"
            )


COMMANDS = (list_, show)
