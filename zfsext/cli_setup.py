"""The commands that make a cluster ready for zfsfile disks, and see whether it is: setup and doctor."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator

import click

from zfsext import cluster, config, doctor, facts, node, nodes, owner, places, pool, progress, settings, zfs
from zfsext.cli_common import AS_JSON, Failure, dry_run, examples, require_cluster, require_root
from zfsext.config import Config, standby
from zfsext.errors import Refused, SystemRefused, ZfsextError
from zfsext.peer import peers

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
    for command in _parents(conf):
        click.echo(shlex.join(command))
        if not dry:
            _run(command)
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


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, env=zfs.ENVIRONMENT, check=False)
    if done.returncode:
        raise SystemRefused(f"{shlex.join(command)} failed with {done.returncode}, and so nothing after it was done")


@click.command("doctor", epilog=examples("zfsext doctor", "zfsext doctor --json | jq -r '.findings[].mend'"))
@AS_JSON
def doctor_(as_json: bool) -> None:
    """Look whether all nodes of the cluster can have zfsfile disks; from one place, a master candidate.

    That is the package, the pools, the parents, the settings of the cluster, ssh between the nodes, clocks, versions
    with known trouble. Each finding has the command that mends it. What is wrong with single disks is health's.

    Ends with 1 if a disk is at risk, or a node does not answer.
    """
    require_cluster()
    conf = config.load()
    if not nodes.is_candidate():
        raise Refused("this node is no master candidate, and may not log in on others: run it on the master")
    found, silent = [], {}
    with progress.working("asking the nodes"), peers() as others:
        for name in sorted({nodes.this_node(), *nodes.peers()}):
            began = time.time()
            try:
                told = owner.at(name, "facts", conf, others)["facts"]
            except ZfsextError as error:
                silent[name] = str(error)
                continue
            found.append({**told, "skew": _skew(told["time"], began, time.time())})
    known = cluster.configuration()
    ailments = doctor.examine(found, silent, list(settings.of(known)) if known else [])
    if as_json:
        click.echo(json.dumps({"nodes": found, "findings": [each._asdict() for each in ailments]}, indent=2))
    else:
        for each in sorted(ailments, key=lambda each: (not each.bad, each.node)):
            click.echo(f"{'!!' if each.bad else ' -'} {each.node}: {each.what}")
            if each.mend:
                click.echo(f"     {each.mend}")
        click.echo(f"{len(found)} nodes asked, {len(ailments)} findings")
    if any(each.bad for each in ailments):
        sys.exit(1)


def _skew(theirs: float, began: float, ended: float) -> float:
    """Return how far a clock is ahead of ours, as far as the time that the answer took lets one tell, in seconds."""
    return theirs - ended if theirs > ended else min(0.0, theirs - began)


COMMANDS = (setup, doctor_)
