"""The commands about an instance's snapshots: snapshot and rollback."""

import json
from typing import Any

import click

from zfsext import completion, config, freeze, human, moments, nodes, owner, progress, trace, whereabouts
from zfsext.cli_common import (
    AS_JSON,
    asked,
    dry_run,
    examples,
    instance_named,
    require_all_asked,
    require_cluster,
    verbose,
    volumes_of,
)
from zfsext.errors import NotHere, Refused
from zfsext.ownership import OWNER
from zfsext.peer import Peers, peers


@click.command(
    epilog=examples(
        "zfsext snapshot web1                           one named by the moment, taken-20261129T185100Z",
        "zfsext snapshot web1 before-upgrade --quiesce  with the guest's file systems at rest",
        "zfsext snapshot web1 --keep 24                 and those of this kind but the last 24 go",
    ),
)
@click.argument("instance", shell_complete=completion.instances)
@click.argument("name", required=False)
@click.option("--quiesce", is_flag=True, help="Freeze the guest's file systems meanwhile, through its guest agent.")
@click.option(
    "--thaw-after",
    "seconds",
    metavar="SECONDS",
    type=click.IntRange(1, freeze.LONGEST),
    default=freeze.SECONDS,
    show_default=True,
    help="With --quiesce: thaw the guest then, whatever happens.",
)
@click.option(
    "--keep", metavar="N", type=click.IntRange(1, 100_000), help="Destroy those without a name of their own but N."
)
@verbose
def snapshot(instance: str, name: str | None, quiesce: bool, seconds: int, keep: int | None) -> None:
    """Take a snapshot of all disks of an instance, at one moment, wherever they are.

    The instance may run: the snapshot is what a power cut would leave, or, with --quiesce, file systems at rest. It
    needs qemu-guest-agent in the guest and use_guest_agent for the instance. Without NAME it is named by the moment.
    """
    known = require_cluster()
    settings = config.load()
    if name is not None:
        moments.checked(name)
        if keep is not None:
            raise click.UsageError("--keep is for those that are named by their moment: leave NAME or --keep away")
    full = instance_named(instance, set(), known)
    volumes = volumes_of(full, known, settings)
    fields: dict[str, Any] = {
        "name": name or "",
        "keep": keep or 0,
        "quiesce": full if quiesce else "",
        "thaw_after": seconds,
    }
    with progress.working(f"taking a snapshot of {full}"), peers() as others:
        taken = owner.ask(volumes[0], "snapshot", settings, others, **fields)
    still = "" if taken["still"] is None else f", the guest stood still for {taken['still'] / 1000:.1f} s"
    gone = f", {len(taken['pruned'])} older ones destroyed" if taken["pruned"] else ""
    click.echo(f"{full}: {taken['name']} of {len(volumes)} disk{'s' * (len(volumes) > 1)}{still}{gone}")


@click.command(
    epilog=examples(
        "zfsext rollback web1                  what can be gone back to, and what is kept",
        "zfsext rollback web1 before-upgrade   go back; what the disks are now is kept",
        "zfsext rollback web1 --back           undo that",
        "zfsext rollback web1 --drop           destroy what is kept",
    ),
)
@click.argument("instance", shell_complete=completion.instances)
@click.argument("name", required=False)
@click.option("--back", is_flag=True, help="Make the disks again what they were before the rollback.")
@click.option("--drop", is_flag=True, help="Destroy what is kept, on other nodes too.")
@click.option("--kept", "generation", metavar="GENERATION", help="With --back or --drop: of which rollback.")
@AS_JSON
@dry_run
@verbose
def rollback(
    instance: str, name: str | None, back: bool, drop: bool, generation: str | None, as_json: bool, dry: bool
) -> None:
    """Make a stopped instance's disks what they were at a snapshot. Nothing is destroyed.

    What they are now is kept, with the snapshots that are newer: --back makes it the disks again, --drop destroys it.
    Copies on other nodes go back with the next round. Without NAME: what there is.
    """
    known = require_cluster()
    settings = config.load()
    if (name is not None) + back + drop > 1:
        raise click.UsageError("NAME, --back and --drop are three different things: give one of them")
    if as_json and (name is not None or back or drop):
        raise click.UsageError("--json is for what there is: without NAME, --back and --drop")
    if generation is not None and not (back or drop):
        raise click.UsageError("--kept goes with --back or --drop")
    full = instance_named(instance, set(), known)
    volumes = volumes_of(full, known, settings)
    with progress.working(f"looking at the disks of {full}"), peers() as others:
        if drop:
            _drop(full, volumes, generation or "", dry, settings, others)
        elif back:
            _require_here(volumes, settings, others)
            done = _ask_owner(volumes[0], "back", settings, others, generation=generation or "", dry=dry)
            _say(full, done, dry, "is what it was before the rollback", "shows what it was in between, which is kept")
        elif name is None:
            _show(full, volumes, settings, others, as_json=as_json)
        else:
            done = _ask_owner(volumes[0], "rollback", settings, others, to=name, dry=dry)
            _say(full, done, dry, f"is what it was at {name}", "--back undoes that, --drop destroys what is kept")


def _ask_owner(volume: str, op: str, settings: config.Config, others: Peers, **fields: Any) -> dict[str, Any]:
    """Ask the disk's owner; what was handed over to a node and not started there since is made its own first."""
    if not fields["dry"] and whereabouts.holder(volume, settings, others).state != OWNER:
        owner.ask(volume, "accept", settings, others)
    return owner.ask(volume, op, settings, others, **fields)


def _say(instance: str, done: dict[str, Any], dry: bool, what: str, undo: str) -> None:
    for each in done["newer"]:
        click.echo(f"{'would go' if dry else 'goes'} with what is kept: {each}")
    if dry:
        for words in done["commands"]:
            click.echo(trace.command(words))
        click.echo("nothing was done (--dry-run)")
        return
    option, _, words = undo.partition(" ") if undo.startswith("-") else ("", "", undo)
    click.echo(f"{instance} {what}: '{f'zfsext rollback {instance} {option}'.rstrip()}' {words}")


def _show(instance: str, volumes: list[str], settings: config.Config, others: Peers, *, as_json: bool) -> None:
    shorts = owner.ask(volumes[0], "goals", settings, others, volumes=volumes)["snapshots"]
    heard = owner.everywhere("kept", settings, others, volumes=volumes)
    kept = [{"node": node, **each} for node, answer in asked(heard) for each in answer["kept"]]
    if as_json:
        told = [{**each, "used_bytes": each["used"]} for each in kept]
        for each in told:
            del each["used"]
        click.echo(json.dumps({"instance": instance, "snapshots": shorts, "kept": told}, indent=2))
    else:
        for short in shorts:
            click.echo(short)
        if not shorts:
            click.echo(
                f"{instance} has no snapshot that all its disks have: 'zfsext snapshot {instance}' takes one", err=True
            )
        for each in {(each["node"], each["generation"], _was(each)): each for each in kept}.values():
            together = [other["used"] for other in kept if _alike(each, other)]
            what = f"generation {each['generation']}, {_was(each)}, {human.size(sum(together))}"
            click.echo(f"kept on {each['node']}: {what}")
    require_all_asked(heard)


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether two disks' states were kept by the same rollback."""
    return all(one[key] == other[key] for key in ("node", "generation", "instead", "copy"))


def _was(kept: dict[str, Any]) -> str:
    if kept["copy"]:
        return "a copy, before it went back"
    instead = kept["instead"]
    return f"before it went back to {instead[1:]}" if instead[0] == "@" else f"before --back to generation {instead}"


def _require_here(volumes: list[str], settings: config.Config, others: Peers) -> None:
    """Raise Refused if what was kept of these disks is on another node than the disks are by now."""
    node = whereabouts.holder(volumes[0], settings, others).node or nodes.this_node()
    told = owner.everywhere("kept", settings, others, volumes=volumes).told
    there = [name for name, answer in told if not all(each["copy"] for each in answer["kept"])]
    if there and node not in there:
        raise Refused(
            f"the disks are on {node}, and what they were before the rollback is kept on {', '.join(there)}: fail the "
            "VM over to there first"
        )


def _drop(
    instance: str, volumes: list[str], generation: str, dry: bool, settings: config.Config, others: Peers
) -> None:
    """Drop what is kept on each node that answers; say which do not."""
    heard = owner.everywhere("drop", settings, others, volumes=volumes, generation=generation, dry=dry)
    dropped = [(node, dataset) for node, answer in asked(heard) for dataset in answer["dropped"]]
    for node, dataset in dropped:
        click.echo(f"{'would drop' if dry else 'dropped'} {dataset} on {node}")
    if dry:
        click.echo("nothing was done (--dry-run)")
    require_all_asked(heard)
    if not dropped:
        raise NotHere(f"nothing is kept of {instance}: 'zfsext rollback {instance}' shows what there is")


COMMANDS = (snapshot, rollback)
