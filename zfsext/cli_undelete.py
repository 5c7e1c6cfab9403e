"""The command that has a removed instance back: undelete."""

from typing import Any

import click

from zfsext import cli_gnt, cluster, completion, config, human, instances, nodes, owner, progress
from zfsext.cli_common import Failure, dry_run, examples, require_cluster, verbose
from zfsext.config import Config
from zfsext.errors import BadInput, NotHere, Refused, ZfsextError
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
@click.option("--removed", metavar="WHEN", help="Of several of that name, the one removed then, as the list has it.")
@click.option("--purge", is_flag=True, help="Destroy its disks.")
@dry_run
@verbose
def undelete(
    instance: str | None, options: tuple[str, ...], name: str | None, removed: str | None, purge: bool, dry: bool
) -> None:
    """Have a removed instance back, with its disks and their snapshots; on the master.

    Disks are set aside when they are removed, and destroyed later, if /etc/zfsext.conf has keep_removed, such as 7d.
    The instance is added as Ganeti had it, as far as the node knew that removed it; OPTIONs of gnt-instance add say the
    rest.
    Without INSTANCE: what there is.
    """
    known = require_cluster()
    settings = config.load()
    with peers() as others:
        with progress.working("asking the nodes"):
            there, silent = _removed(settings, others)
        if instance is None:
            _list(there)
        elif purge:
            _purge(_batch(instance, removed, there), settings, others, dry=dry)
        else:
            cli_gnt.require_master(f"zfsext undelete {instance}")
            batch = _batch(instance, removed, there)
            new = cli_gnt.new_name(name or batch[0]["instance"], known)
            _bring_back(batch, new, options, settings, others, dry=dry)
    if silent and instance is None:
        raise Failure(f"not all nodes were asked: {'; '.join(silent)}")


def _purge(batch: list[dict[str, Any]], settings: Config, others: Peers, *, dry: bool) -> None:
    for each in batch:
        if not dry:
            owner.at(each["node"], "purge", settings, others, dataset=each["dataset"], began=False)
        click.echo(f"{'would destroy' if dry else 'destroyed'} {each['dataset']} on {each['node']}")
    if dry:
        click.echo("nothing was done (--dry-run)")


def _bring_back(
    batch: list[dict[str, Any]], new: str, options: tuple[str, ...], settings: Config, others: Peers, *, dry: bool
) -> None:
    """Add an instance with the disks of a removal; then its disks take over the snapshots of the removed ones."""
    found = sorted({each["node"] for each in batch})
    if len(found) > 1:
        raise Refused(f"its disks are on several nodes ({', '.join(found)}): add it by hand, with source=")
    (node,), datasets = found, [each["dataset"] for each in batch]
    sources = owner.at(node, "revive", settings, others, datasets=datasets, dry=dry)["sources"]
    disks = [(each["size"], sources[each["dataset"]]) for each in batch]
    cli_gnt.add(instances.command(batch[0]["was"], new, node, disks, options), dry=dry)
    if dry:
        return
    for dataset in datasets:
        owner.at(node, "purge", settings, others, dataset=dataset, began=True)
    click.echo(f"{new} is back, with its snapshots: 'gnt-instance start {new}'")


def _removed(settings: Config, others: Peers) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the removed disks of all nodes that answer, each with its node, and why the others do not."""
    found, silent = [], []
    for node in sorted({nodes.this_node(), *nodes.peers()}):
        try:
            answer = owner.at(node, "removed", settings, others)
        except ZfsextError as error:
            silent.append(str(error))
            continue
        found += [{**each, "node": node} for each in answer["removed"]]
    return sorted(found, key=lambda each: (each["instance"], -each["seconds"], each["index"] or 0)), silent


def _list(there: list[dict[str, Any]]) -> None:
    for each in there:
        click.echo(
            f"{each['instance'] or '(no instance)'} disk {each['index']}: removed {human.moment(each['seconds'])} on "
            f"{each['node']}, {human.size(each['size'] * MIB)}, takes {human.size(each['used'])}, {each['dataset']}"
        )
    if not there:
        click.echo("no removed disk can be had back: see keep_removed in zfsext.conf(5)", err=True)


def _batch(instance: str, when: str | None, there: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the disks of one removal of the instance, by their indexes.

    Which belong together is what Ganeti had then; of one of which that is not known each disk is by itself.
    """
    right = cluster.matching(instance, frozenset(str(each["instance"]) for each in there))
    if len(right) > 1:
        raise NotHere(f"{instance} can be {', '.join(right)}: type more of the name")
    if not right:
        raise NotHere(f"no removed instance {instance} can be had back: 'zfsext undelete' lists them")
    removals: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for each in there:
        if each["instance"] == right[0]:
            volumes = (each["was"] or {}).get("volumes") or [each["volume"]]
            removals.setdefault(tuple(volumes), []).append(each)
    chosen = [
        (volumes, of)
        for volumes, of in removals.items()
        if when is None or any(human.moment(each["seconds"]).startswith(when) for each in of)
    ]
    if len(chosen) != 1:
        known = ", ".join(human.moment(of[0]["seconds"]) for of in removals.values())
        raise BadInput(f"{right[0]} has disks of several removals ({known}): say which with --removed 'WHEN'")
    ((volumes, of),) = chosen
    by_volume = {each["volume"]: each for each in of}
    missing = [volume for volume in volumes if volume not in by_volume]
    if missing:
        raise Refused(
            f"of the {len(volumes)} disks that {right[0]} had, {', '.join(missing)} is on no node that answers. "
            "'gnt-instance add … --disk N:…,source=DATASET@SNAPSHOT' takes what there is"
        )
    return [by_volume[volume] for volume in volumes]


COMMANDS = (undelete,)
