"""Ganeti's hooks: before a VM moves, after one is removed, before a node comes back.

A pre hook of failover and migrate runs on the master and on the target while the VM still runs, and a failure of it
ends the operation (lib/cmdlib/instance_migration.py: LUInstanceFailover.BuildHooksNodes; doc/hooks.rst for the
variables). A migration has hooks of its own, also when always_failover makes a failover of it.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn

from zfsext import cluster, config, contract, forgetting, guard, node, nodes, places, pool, returning, seeding
from zfsext.errors import Refused, ZfsextError
from zfsext.peer import peers

CLEANUPS = ("GANETI_FAILOVER_CLEANUP", "GANETI_MIGRATE_CLEANUP")
#: How long a hook may take, in seconds. Ganeti ends it after 900 (src/Ganeti/Types.hs: RpcTimeout, Slow).
SECONDS = 840


def main(hook: Callable[[Mapping[str, str]], None]) -> NoReturn:
    """Be the hook: exit 0 if nothing speaks against what Ganeti is about to do, 1 with the reason otherwise."""
    try:
        hook(os.environ)
    except (ZfsextError, OSError) as error:
        sys.stderr.write(f"zfsext: {error}\n")
        sys.exit(1)
    sys.exit(0)


def before_move(environ: Mapping[str, str]) -> None:
    """Bring the VM's disks to this node, if it is the target, as far as that can be done while the VM runs.

    Raises what speaks against the move. Nothing speaks against cleaning up after a move that failed: that only
    finds out where the instance is.
    """
    if any(environ.get(name) == "True" for name in CLEANUPS):
        return
    volumes = list(disks(environ))
    target = environ.get("GANETI_NEW_PRIMARY", "")
    if not volumes or not nodes.is_this_node(target, environ.get("GANETI_DATA_DIR", nodes.DATA)):
        return
    instance = environ.get("GANETI_INSTANCE_NAME", "the instance")
    try:
        _require_failover(environ, instance)
        settings = config.load()
        findings = node.findings(settings)
        if findings:
            raise Refused("\n".join([f"{target} cannot have zfsfile disks:", *findings]))
        working = [name for name in places.pools(settings.live) if pool.works(name)]
        primary = environ.get("GANETI_OLD_PRIMARY", "")
        guard.run(
            lambda: seeding.seed(volumes, instance, primary, settings), working, f"the move of {instance}", SECONDS
        )
    except (ZfsextError, OSError) as error:
        raise Refused(f"{instance} was not stopped: {error}") from error


def _require_failover(environ: Mapping[str, str], instance: str) -> None:
    """Raise Refused for a live migration, for which both nodes would have to see the same data at once."""
    live = environ.get("GANETI_OP_CODE") == "OP_INSTANCE_MIGRATE"
    always = {name.lower(): value for name, value in environ.items()}.get("ganeti_instance_be_always_failover")
    if live and always != "True" and environ.get("GANETI_INSTANCE_STATUS", "up") == "up":
        raise Refused(
            f"a zfsfile disk cannot be migrated live: 'gnt-instance failover {instance}' moves it with seconds of "
            "downtime; 'gnt-instance modify -B always_failover=true' makes a failover of each migration"
        )


def after_remove(environ: Mapping[str, str]) -> None:
    """Destroy what is left of a removed instance's disks on any node; on the master alone."""
    volumes = list(disks(environ))
    if not volumes or nodes.master() != nodes.this_node():
        return
    settings = config.load()
    working = [name for name in places.pools(settings.live) if pool.works(name)]

    def work() -> str:
        with peers() as others:
            for volume in volumes:
                if cluster.knows(volume) is False:
                    forgetting.end_everywhere(volume, settings, others)
        return ""

    guard.run(work, working, "the end of the disks")


def before_node_changes(environ: Mapping[str, str]) -> None:
    """Before a node is taken for online again have it set aside what was promoted elsewhere; on the master alone.

    Raises what the node says, or that it does not answer: then it stays offline.
    """
    if environ.get("GANETI_OFFLINE") == "False":
        judge_return(environ)


def judge_return(environ: Mapping[str, str]) -> None:
    """Have a node that comes back set aside what was promoted elsewhere meanwhile; on the master alone."""
    name = environ.get("GANETI_OP_TARGET", "")
    if nodes.master() != nodes.this_node() or name not in nodes.peers():
        return
    others = [each.name for each in nodes.peers().values() if each.name != name and not each.offline]
    settings = config.load()
    working = [each for each in places.pools(settings.live) if pool.works(each)]

    def work() -> str:
        with peers() as lines:
            return "\n".join(returning.judge(name, others, settings, lines))

    said = guard.run(work, working, f"the look at {name}'s disks")
    if said:
        sys.stderr.write(f"zfsext: {said}\n")


def disks(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the volumes of the instance's zfsfile disks."""
    for index in range(int(environ.get("GANETI_INSTANCE_DISK_COUNT", "0"))):
        prefix = f"GANETI_INSTANCE_DISK{index}_"
        if environ.get(prefix + "PROVIDER") == cluster.PROVIDER:
            yield contract.volume_name(prefix + "ID", environ.get(prefix + "ID", ""))
