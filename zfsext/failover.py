"""The veto of a failover or migration to a node that does not have the VM's disks.

Ganeti takes ext for storage that each node reaches, so it stops the VM first and then finds no disk on the target.
Its pre hook runs on the master and on the target while the VM still runs, and a failure of it ends the operation
(lib/cmdlib/instance_migration.py: LUInstanceFailover.BuildHooksNodes; doc/hooks.rst for the variables). A migration has
hooks of its own, also when always_failover makes a failover of it.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from typing import NoReturn

from zfsext import cluster, config, contract, guard, nodes, ownership, places, pool
from zfsext.errors import NotHere, Refused, ZfsextError

CLEANUPS = ("GANETI_FAILOVER_CLEANUP", "GANETI_MIGRATE_CLEANUP")


def main() -> NoReturn:
    """Be the hook: exit 0 if nothing speaks against the failover, 1 with the reason otherwise."""
    try:
        check(os.environ)
    except (ZfsextError, OSError) as error:
        sys.stderr.write(f"zfsext: {error}\n")
        sys.exit(1)
    sys.exit(0)


def check(environ: Mapping[str, str]) -> None:
    """Raise Refused if this node is the target and does not have one of the instance's zfsfile disks.

    Nothing speaks against cleaning up after a move that failed: that only finds out where the instance is.
    """
    if any(environ.get(name) == "True" for name in CLEANUPS):
        return
    volumes = list(disks(environ))
    target = environ.get("GANETI_NEW_PRIMARY", "")
    if not volumes or not nodes.is_this_node(target, environ.get("GANETI_DATA_DIR", nodes.DATA)):
        return
    settings = config.load()
    working = [name for name in places.pools(settings.live) if pool.works(name)]
    missing = guard.run(lambda: ", ".join(_missing(volumes, settings)), working, "the look for the disks")
    if missing:
        raise Refused(
            f"{environ.get('GANETI_INSTANCE_NAME', 'the instance')} was not stopped: its disk "
            f"{missing} is not on {target}. A zfsfile disk is on its node's own ZFS; "
            "gnt-backup export and import take the VM to another node"
        )


def disks(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the volumes of the instance's zfsfile disks."""
    for index in range(int(environ.get("GANETI_INSTANCE_DISK_COUNT", "0"))):
        prefix = f"GANETI_INSTANCE_DISK{index}_"
        if environ.get(prefix + "PROVIDER") == cluster.PROVIDER:
            yield contract.volume_name(prefix + "ID", environ.get(prefix + "ID", ""))


def _missing(volumes: list[str], settings: config.Config) -> Iterator[str]:
    for volume in volumes:
        try:
            ownership.openable(volume, places.find(volume, settings).copies)
        except NotHere:
            yield volume
