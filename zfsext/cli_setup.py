"""The command that makes a node, and its cluster, ready for zfsfile disks: setup."""

import shlex
import subprocess
from collections.abc import Iterator

import click

from zfsext import cluster, command, config, doctor, facts, node, nodes, places, pool, settings, zfs
from zfsext.cli_common import Failure, dry_run, examples, require_root
from zfsext.config import Config, standby
from zfsext.errors import Refused, SystemRefused

POOL = "-o ashift=12 -o autotrim=on -O compression=lz4 -O atime=off -O xattr=sa -O acltype=off -O mountpoint=none"


@click.command(
    epilog=examples(
        "zfsext setup --dry-run   what is missing on this node",
        "zfsext setup             make the parents of the disks; say what else is to be done",
        "zfsext setup --apply     on the master: also change the settings of the cluster that are needed",
        "zfsext setup --apply-all the advised ones too",
    ),
)
@click.option("--apply", "apply", is_flag=True, help="On the master: change the settings that are needed.")
@click.option("--apply-all", "apply_all", is_flag=True, help="Those that are advised too.")
@dry_run
def setup(apply: bool, apply_all: bool, dry: bool) -> None:
    """Bring this node, and its cluster, to where '-t ext' works; it can be run again and again.

    It makes the file systems that disks are made below, and says, with the commands, what it does not do itself: the
    pool, the memory that ZFS may take and, without --apply, the settings of the cluster.
    """
    require_root()
    conf = config.load()
    missing = [name for name in places.pools(conf.live) if not pool.works(name)]
    for name in missing:
        _pool(name)
    for words in _parents(conf):
        click.echo(shlex.join(words))
        if not dry:
            _run(words)
    _memory()
    if missing:
        raise Failure("make the pool, and run 'zfsext setup' again")
    for finding in node.findings(conf) if not dry else ():
        click.echo(finding, err=True)
    if nodes.in_cluster():
        _settings(apply=apply or apply_all, everything=apply_all, dry=dry)
    else:
        click.echo(
            "this node is in no cluster yet: 'gnt-cluster init' or 'gnt-node add', and run it again on the master"
        )
    if dry:
        click.echo("nothing was done (--dry-run)")


def _pool(name: str) -> None:
    state = pool.state(name)
    if state:
        raise SystemRefused(f"pool {name} is {state}: 'zpool status {name}'")
    click.echo(f"there is no pool {name}. On disks of its own (by-id names stay the same):")
    click.echo(f"  zpool create {POOL} {name} mirror /dev/disk/by-id/DISK1 /dev/disk/by-id/DISK2")
    click.echo("or on what a volume group of LVM's has free ('vgs' shows it; it grows with 'lvextend', see zfsext(8)):")
    click.echo(f"  lvcreate -l 100%FREE -n zfs VG && zpool create {POOL} -o autoexpand=on {name} /dev/VG/zfs")
    click.echo("or, if it exists and is not imported:")
    click.echo(f"  zpool import {name}")


def _parents(conf: Config) -> Iterator[list[str]]:
    """Yield the commands that make what is missing of the parents, in order."""
    for parent in conf.live:
        if not pool.works(pool.of(parent)):
            continue
        there = zfs.read([parent, standby(parent)], ["type"])
        for name in (parent, standby(parent)):
            if name not in there:
                words = shlex.split(places.how_to_make(name).strip("'"))
                yield [*words[:2], "-p", *words[2:]]


def _memory() -> None:
    found = facts.arc()
    if found["arc_max"] in ("", "0"):
        click.echo("ZFS may take half of the memory. An eighth is enough for a node with VMs:")
        click.echo(f"  {doctor.memory_command(found['memory'])}")


def _settings(*, apply: bool, everything: bool, dry: bool) -> None:
    known = cluster.configuration()
    if known is None or nodes.master() != nodes.this_node():
        click.echo(f"the settings of the cluster are looked at on the master, {nodes.master()}: 'zfsext setup' there")
        if apply:
            raise Refused(f"gnt-cluster works on the master alone: 'zfsext setup --apply' on {nodes.master()}")
        return
    for each in settings.of(known):
        if each.right:
            continue
        do = apply and (each.needed or everything) and not dry
        click.echo(f"{each.name} is {each.now or 'empty'} ({'needed' if each.needed else 'advised'}): {each.why}")
        click.echo(f"  {shlex.join(each.command)}")
        if do:
            _run(each.command)


def _run(words: list[str]) -> None:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, env=command.ENVIRONMENT, check=False)
    if done.returncode:
        raise SystemRefused(f"{shlex.join(words)} failed with {done.returncode}, and so nothing after it was done")


COMMANDS = (setup,)
