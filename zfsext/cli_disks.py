"""The commands that show disks: list and show."""

import json
from dataclasses import asdict
from typing import Any

import click

from zfsext import cluster, completion, config, listing, owner, progress, survey
from zfsext.cli_common import AS_JSON, asked, examples, instance_named, require_cluster, require_root
from zfsext.cluster import Cluster
from zfsext.errors import PoolUnavailable
from zfsext.inventory import Inventory
from zfsext.peer import peers


@click.command(
    "list",
    epilog=examples(
        "zfsext list",
        "zfsext list --all",
        "zfsext list | grep ' new '",
        "zfsext list --json | jq -r '.[] | select(.role == \"live\") | .volume'",
    ),
)
@click.option("--all", "everywhere", is_flag=True, help="Those of all nodes that answer; on a master candidate.")
@click.option("--snapshots", is_flag=True, help="Count the snapshots too, which takes longer the more there are.")
@AS_JSON
def list_(everywhere: bool, snapshots: bool, as_json: bool) -> None:
    """List the disks of this node, or of all, by instance.

    ROLE is what a dataset is: live (a disk that this node owns), new (in the making), export (what gnt-backup reads),
    replica (a copy of another node's disk, AGE old), sealed (given to another node), ticket (given to this one), aside
    (a copy that another has passed over), kept (what a disk was before a rollback), removed (it can be had back),
    standby (any other beside the live ones), stray (below a parent that is not configured), foreign (not made by
    zfsext). SIZE is the disk's, USED what it takes of the pool, WRITTEN what is newer than its last snapshot, REPLICAS
    the nodes that it is replicated to by timer.
    """
    if everywhere:
        disks, unseen = _everywhere(snapshots=snapshots)
    else:
        found, known = _look(count=snapshots)
        disks, unseen = listing.known(found, known), _unseen(found)
    if as_json:
        click.echo(json.dumps(disks, indent=2))
    else:
        listing.table(disks, nodes=everywhere, snapshots=snapshots)
    _require_all_seen(unseen)


def _everywhere(*, snapshots: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the disks of all nodes, each with the node that it is on, and why some could not be asked."""
    known = require_cluster()
    settings = config.load()
    with progress.working("asking the nodes"), peers() as others:
        heard = owner.everywhere("disks", settings, others, snapshots=snapshots)
    disks, silent = [], list(heard.failed.values())
    for node, answer in asked(heard):
        silent += [f"{node}: {each}" for each in answer["ill"]]
        disks += [{**each, **_as_ganeti_has(each, known), "on_node": node} for each in answer["disks"]]
    return listing.in_order(disks), silent


def _as_ganeti_has(disk: dict[str, Any], known: Cluster) -> dict[str, Any]:
    """Return what this node knows of a disk that the node which has it may not: only candidates have it all."""
    ganeti = known.disks.get(disk["volume"])
    return {"instance": ganeti.instance, "disk": ganeti.index, "node": ganeti.node} if ganeti else {}


@click.command(
    epilog=examples("zfsext show web1", "zfsext show web1 --json | jq '.disks[].snapshots | length'"),
)
@click.argument("instance", shell_complete=completion.instances)
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
    taken = survey.snapshots_of([disk["dataset"] for disk in here])
    here = [{**disk, "snapshots": [asdict(each) for each in taken[disk["dataset"]]]} for disk in here]
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
    _require_all_seen(_unseen(found))


def _look(*, count: bool = False) -> tuple[Inventory, Cluster | None]:
    """Return what is here and what Ganeti knows; Ganeti first, since it makes a disk before it writes it down."""
    require_root()
    known = cluster.load()
    return survey.take(config.load(), whole=False, count=count), known


def _unseen(found: Inventory) -> list[str]:
    """Return the pools that do not work, in words: what is on them is not in what was found."""
    return [f"pool {each.name} is {each.state or 'not imported'}" for each in found.pools if not each.works]


def _require_all_seen(unseen: list[str]) -> None:
    """Raise PoolUnavailable if something is not shown."""
    if unseen:
        raise PoolUnavailable(f"{'; '.join(unseen)}, so what is on it is not shown: 'zfsext health'")


COMMANDS = (list_, show)
