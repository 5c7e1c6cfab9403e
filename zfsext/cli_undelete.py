"""The command that has a removed instance back: undelete."""

import json
from typing import Any

import click

from zfsext import cli_gnt, cluster, completion, config, human, instances, owner, progress
from zfsext.cli_common import AS_JSON, asked, dry_run, examples, require_all_asked, require_cluster, verbose
from zfsext.cluster import Cluster
from zfsext.config import Config
from zfsext.errors import BadInput, NotHere, Refused
from zfsext.image import MIB
from zfsext.peer import Peers, peers


@click.command(
    epilog=examples(
        "zfsext undelete                     what can be had back, on all nodes",
        "zfsext undelete web1                add web1 again with its disks",
        "zfsext undelete web1 --purge        destroy them now",
    ),
)
@click.argument("instance", required=False, shell_complete=completion.instances)
@click.argument("options", nargs=-1, metavar="[-- OPTION...]")
@click.option("--as", "name", metavar="NEWNAME", help="Add it under this name.")
@click.option("--removed", metavar="WHEN", help="Of several removals the one then, or of that dataset.")
@click.option("--purge", is_flag=True, help="Destroy its disks.")
@AS_JSON
@dry_run
@verbose
def undelete(
    instance: str | None,
    options: tuple[str, ...],
    name: str | None,
    removed: str | None,
    purge: bool,
    as_json: bool,
    dry: bool,
) -> None:
    """Have a removed instance back, with its disks and their snapshots; on the master.

    Disks are set aside when they are removed, and destroyed later, if /etc/zfsext.conf has keep_removed, such as 7d.
    The instance is added as Ganeti had it, as far as the node knew that removed it; OPTIONs of gnt-instance add say the
    rest.
    Without INSTANCE: what there is.
    """
    known = require_cluster()
    settings = config.load()
    if instance is None and (purge or name or removed or options):
        raise click.UsageError("name the removed instance; 'zfsext undelete' lists them")
    if as_json and instance is not None:
        raise click.UsageError("--json is for what there is: without INSTANCE")
    if options and not options[0].startswith("-"):
        raise click.UsageError(f"one instance at a time: {options[0]} is no option of gnt-instance add's")
    with peers() as others:
        with progress.working("asking the nodes"):
            heard = owner.everywhere("removed", settings, others)
        there = _removed(heard)
        if instance is None:
            _list(there, as_json=as_json)
        elif purge:
            _purge(_batch(instance, removed, there, heard), settings, others, dry=dry)
        else:
            cli_gnt.require_master(f"zfsext undelete {instance}")
            batch = _batch(instance, removed, there, heard)
            _bring_back(batch, name, options, known, settings, others, dry=dry)
            return
    require_all_asked(heard)


def _purge(batch: list[dict[str, Any]], settings: Config, others: Peers, *, dry: bool) -> None:
    for each in batch:
        if not dry:
            owner.at(each["node"], "purge", settings, others, dataset=each["dataset"], began=False)
        click.echo(f"{'would destroy' if dry else 'destroyed'} {each['dataset']} on {each['node']}")
    if dry:
        click.echo("nothing was done (--dry-run)")


def _bring_back(
    batch: list[dict[str, Any]],
    name: str | None,
    options: tuple[str, ...],
    known: Cluster,
    settings: Config,
    others: Peers,
    *,
    dry: bool,
) -> None:
    """Add the disks of a removal, with their instance or to it; then they take over the snapshots of the removed ones.

    An instance that there is, or is again, lost some of its disks only.
    """
    was, old = batch[0]["was"], batch[0]["instance"]
    found = sorted({each["node"] for each in batch})
    if len(found) > 1:
        raise Refused(f"its disks are on several nodes ({', '.join(found)}): add it by hand, with source=")
    (node,), datasets = found, [each["dataset"] for each in batch]
    plan = owner.at(node, "revive", settings, others, datasets=datasets, dry=True)["sources"]
    if any(plan[dataset]["began"] for dataset in datasets):
        _finish(node, datasets, plan, settings, others, dry=dry)
        return
    lives = name is None and old in known.instances
    new = old if lives else cli_gnt.new_name(name or old, known)
    if lives and options:
        raise BadInput(f"{old} is there, and its disks are added to it: there is nothing that OPTIONs could say")
    if not lives:
        _require_whole(batch)
    disks = [plan[dataset]["parameters"] for dataset in datasets]
    # What is wrong with the options is said before anything is done.
    command = instances.command_for_disks(new, disks) if lives else instances.command(was, new, node, disks, options)
    if not dry:
        owner.at(node, "revive", settings, others, datasets=datasets, dry=False)
    cli_gnt.add(command, dry=dry)
    if dry:
        return
    for dataset in datasets:
        owner.at(node, "purge", settings, others, dataset=dataset, began=True)
    what = "has its disks again" if lives else f"is back, with its snapshots: 'gnt-instance start {new}'"
    click.echo(f"{new} {what}")


def _finish(
    node: str, datasets: list[str], plan: dict[str, Any], settings: Config, others: Peers, *, dry: bool
) -> None:
    """Do what is left to do when disks were added, and whoever added them was killed or cut off."""
    missing = [dataset for dataset in datasets if not plan[dataset]["began"]]
    if missing:
        raise Refused(
            f"some disks of that removal have begun anew already, and no disk has begun with {', '.join(missing)}: "
            "'gnt-instance modify --disk add:…,source=DATASET@SNAPSHOT' takes what there is"
        )
    for dataset in datasets:
        if not dry:
            owner.at(node, "purge", settings, others, dataset=dataset, began=True)
        click.echo(f"a disk has begun with {dataset} already, and {'would take' if dry else 'took'} its snapshots over")
    if dry:
        click.echo("nothing was done (--dry-run)")


def _removed(heard: owner.Heard) -> list[dict[str, Any]]:
    """Return the removed disks of all nodes that answer, each with its node."""
    found = [{**each, "node": node} for node, answer in asked(heard) for each in answer["removed"]]
    return sorted(found, key=lambda each: (each["instance"], -each["seconds"], each["index"] or 0))


def _list(there: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        told = {"node": "node", "dataset": "dataset", "volume": "volume", "instance": "instance", "index": "disk"}
        told |= {"seconds": "removed", "size": "size_mib", "used": "used_bytes"}
        click.echo(json.dumps([{name: each[key] for key, name in told.items()} for each in there], indent=2))
        return
    for each in there:
        click.echo(
            f"{each['instance'] or '(no instance)'} disk {each['index']}: removed {human.moment(each['seconds'])} on "
            f"{each['node']}, {human.size(each['size'] * MIB)}, takes {human.size(each['used'])}, {each['dataset']}"
        )
    if not there:
        click.echo("no removed disk can be had back: see keep_removed in zfsext.conf(5)", err=True)


def _batch(instance: str, when: str | None, there: list[dict[str, Any]], heard: owner.Heard) -> list[dict[str, Any]]:
    """Return the disks of one removal of the instance, by their indexes.

    Which belong together is what Ganeti had then; of one of which that is not known each disk is by itself. when says
    which removal, by its moment or by one of the datasets.
    """
    right = cluster.matching(instance, frozenset(str(each["instance"]) for each in there))
    if len(right) > 1:
        raise NotHere(f"{instance} can be {', '.join(right)}: type more of the name")
    if not right:
        require_all_asked(heard)
        raise NotHere(f"no removed instance {instance} can be had back: 'zfsext undelete' lists them")
    removals: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for each in there:
        if each["instance"] == right[0]:
            volumes = (each["was"] or {}).get("volumes") or [each["volume"]]
            removals.setdefault(tuple(volumes), []).append(each)
    chosen = [
        (volumes, of)
        for volumes, of in removals.items()
        if when is None or any(each["dataset"] == when or human.moment(each["seconds"]).startswith(when) for each in of)
    ]
    if len(chosen) != 1:
        known = ", ".join(f"{human.moment(of[0]['seconds'])}: {of[0]['dataset']}" for of in removals.values())
        raise BadInput(
            f"{right[0]} has disks of several removals ({known}): say which with --removed, by the time or the dataset"
        )
    ((volumes, of),) = chosen
    by_volume = {each["volume"]: each for each in reversed(of)}  # the latest of each
    return [by_volume[volume] for volume in volumes if volume in by_volume]


def _require_whole(batch: list[dict[str, Any]]) -> None:
    """Raise Refused if the instance had disks that are not among these."""
    there = {each["volume"] for each in batch}
    missing = [volume for volume in batch[0]["was"].get("volumes", ()) if volume not in there]
    if missing:
        raise Refused(
            f"of the disks that {batch[0]['instance']} had, {', '.join(missing)} is on no node that answers. "
            "'gnt-instance add … --disk N:…,source=DATASET@SNAPSHOT' takes what there is"
        )


COMMANDS = (undelete,)
