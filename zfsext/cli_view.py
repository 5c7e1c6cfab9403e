"""The commands that show what is in a snapshot: mount and umount."""

import click

from zfsext import completion, config, local, progress, view, zfs
from zfsext.cli_common import examples, instance_named, require_cluster, volumes_of
from zfsext.contract import shown
from zfsext.errors import BadInput, NotHere
from zfsext.rollback import require


@click.command(epilog=examples("zfsext mount web1@before-upgrade", "zfsext umount web1@before-upgrade"))
@click.argument("what", metavar="INSTANCE@SNAPSHOT", shell_complete=completion.instances)
def mount(what: str) -> None:
    """Show the file systems of a snapshot, read-only, to take a file back; on a node that has the disks or a copy.

    They are below /run/zfsext-view, partition by partition. The instance may run: it does not notice. LVM and RAID in
    the disks are left to guestmount. 'zfsext umount' ends it.
    """
    known = require_cluster()
    settings = config.load()
    instance, _, short = what.partition("@")
    if not short:
        raise BadInput(f"{shown(what)} names no snapshot: INSTANCE@SNAPSHOT; 'zfsext rollback INSTANCE' lists them")
    name = instance_named(instance, set(), known)
    volumes = volumes_of(name, known, settings)
    order = {volume: disk.index for volume, disk in known.disks.items()}
    here = local.require_all(sorted(volumes, key=lambda volume: order.get(volume, 0)), settings)
    by_volume = {each.volume: each for each in here}
    for each in here:
        require(each, short, [found.short for found in zfs.snapshots(each.name)])
    snapshots = [f"{by_volume[volume].name}@{short}" for volume in sorted(volumes, key=lambda each: order.get(each, 0))]
    with progress.working(f"looking into {name}@{short}"):
        found = view.mount(f"{name}@{short}", snapshots)
    for seen in found:
        click.echo(f"{seen.directory}  ({seen.kind})" if seen.directory else f"{seen.device}: {seen.kind}, {seen.why}")
    click.echo(f"when you are done: zfsext umount {name}@{short}")


@click.command(epilog=examples("zfsext umount                        which there are", "zfsext umount web1@monday"))
@click.argument("what", metavar="INSTANCE@SNAPSHOT", required=False)
def umount(what: str | None) -> None:
    """End what 'zfsext mount' began, also if that was killed. Without an argument: list what is mounted."""
    require_cluster()
    there = view.shown()
    if what is None:
        for name in there:
            click.echo(name)
        return
    instance, _, short = what.partition("@")
    right = [name for name in there if name == what or (name.startswith(f"{instance}.") and name.endswith(f"@{short}"))]
    if len(right) != 1:
        raise NotHere(f"{shown(what)} is not mounted; {', '.join(there) or 'nothing'} is")
    view.unmount(right[0])
    click.echo(f"{right[0]} is not mounted any more")


COMMANDS = (mount, umount)
