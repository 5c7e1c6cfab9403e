"""The command that makes an instance out of another one's snapshot: clone."""

import time

import click

from zfsext import cli_gnt, cluster, completion, config, instances, moments, owner, progress
from zfsext.cli_common import dry_run, examples, instance_named, require_cluster, verbose, volumes_of
from zfsext.cluster import Cluster
from zfsext.contract import shown
from zfsext.errors import BadInput
from zfsext.peer import peers


@click.command(
    epilog=examples(
        "zfsext clone web1@before-upgrade web1-test",
        "zfsext clone web1 web1-test                      as web1 is now",
        "zfsext clone web1@golden web2 -- -B memory=4G    with options of gnt-instance add",
    ),
)
@click.argument("what", metavar="INSTANCE[@SNAPSHOT]", shell_complete=completion.instances)
@click.argument("name", metavar="NEWNAME")
@click.argument("options", nargs=-1, metavar="[-- OPTION...]")
@dry_run
@verbose
def clone(what: str, name: str, options: tuple[str, ...], dry: bool) -> None:
    """Add an instance whose disks begin with another one's snapshot; on the master, in a second, whatever their size.

    It has the other's operating system, memory and networks, unless OPTIONs of gnt-instance add say otherwise, new MAC
    addresses, and is not started. Without SNAPSHOT one is taken now. The disks are clones: that snapshot cannot be
    destroyed as long as they are ('zfs promote' ends that).

    Ends with the exit code of gnt-instance.
    """
    known = require_cluster()
    cli_gnt.require_master(f"zfsext clone {what} {name}")
    settings = config.load()
    if options and not options[0].startswith("-"):
        raise click.UsageError(f"one new instance at a time: {options[0]} is no option of gnt-instance add's")
    instance, at, short = what.partition("@")
    full = instance_named(instance, set(), known)
    if at and not short:
        raise BadInput(f"{shown(what)} has no snapshot's name after the @")
    new = cli_gnt.new_name(name, known)
    was = instances.described(full, cluster.configuration() or {"instances": {}})
    instances.command(was, new, "", [], options)  # what is wrong with the options is said before anything is taken
    volumes = [each.volume for each in _in_order(full, known)] or volumes_of(full, known, settings)
    with progress.working(f"looking at the disks of {full}"), peers() as others:
        if not short:
            if dry:
                short = moments.name(time.time())
            else:
                taken = owner.ask(volumes[0], "snapshot", settings, others, name="", keep=0, quiesce="", thaw_after=1)
                short = taken["name"]
        there = owner.ask(volumes[0], "sources", settings, others, volumes=volumes, short=short, dry=dry and not at)
    # Whether a copy of the new instance is to be anywhere is for whoever adds it.
    none = {"replicas": ""} if settings.replicas else {}
    disks = [
        {**{name: of for name, of in there["disks"][volume].items() if name != "replicas"}, **none}
        for volume in volumes
    ]
    cli_gnt.add(instances.command(was, new, there["node"], disks, options), dry=dry)


def _in_order(instance: str, known: Cluster) -> list[cluster.Disk]:
    return sorted((disk for disk in known.disks.values() if disk.instance == instance), key=lambda disk: disk.index)


COMMANDS = (clone,)
