"""What the commands of zfsext have in common: their errors, their options, and how an instance or a node is named."""

import difflib
import os
from collections.abc import Callable
from typing import Any

import click

from zfsext import cluster, config, datasets, nodes, owner, trace
from zfsext.cluster import Cluster
from zfsext.config import Config
from zfsext.errors import BadInput, NotHere, Refused


class Failure(click.ClickException):
    """What zfsext raised, as click ends a command with it: exit code 1, the words on stderr."""

    def show(self, file: Any = None) -> None:
        """Print the error."""
        click.echo(f"zfsext: {self.message}", err=True, file=file)


def examples(*lines: str) -> str:
    """Return the end of a command's help, which click is told not to wrap."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, with units in the keys' names.")


def _rate(_context: click.Context, _parameter: click.Parameter, given: str | None) -> int | None:
    try:
        return None if given is None else config.bandwidth(given)
    except BadInput as error:
        raise click.BadParameter(str(error)) from error


def bandwidth(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option --bandwidth, in bytes per second; None if it was not given."""
    words = "Send no more than so many bytes per second, such as 50M; 0 is no limit. Default: as in /etc/zfsext.conf."
    return click.option("--bandwidth", metavar="RATE", callback=_rate, help=words)(command)


def quiet(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option --quiet."""
    return click.option("--quiet", "-q", is_flag=True, help="Show no progress, on a terminal either.")(command)


def dry_run(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option --dry-run, as dry."""
    return click.option("--dry-run", "-n", "dry", is_flag=True, help="Say what would be done, and do nothing.")(command)


def verbose(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option --verbose, which it need not know of."""
    words = "Print each change of ZFS, on whichever node, as one would type it."
    options = {"is_flag": True, "expose_value": False, "callback": _tell, "help": words}
    return click.option("--verbose", "-v", **options)(command)


def _tell(_context: click.Context, _parameter: click.Parameter, given: bool) -> None:
    if given:
        trace.tell(lambda line: click.echo(line, err=True))


def require_root() -> None:
    """Raise Refused for anybody but root."""
    if os.geteuid() != 0:
        raise Refused("this needs root, as ZFS and Ganeti's files do: 'sudo zfsext …'")


def require_cluster() -> Cluster:
    """Return what Ganeti knows. Raises Refused for a node that is in no cluster, and for anybody but root."""
    require_root()
    known = cluster.load()
    if known is None:
        raise Refused("this node is in no Ganeti cluster, and copies are for other nodes of one: 'gnt-cluster info'")
    return known


def instance_named(given: str, here: set[str], known: Cluster | None) -> str:
    """Return the instance that a name means, among those that disks here name and those that Ganeti has."""
    names = frozenset(here | known.instances if known else here)
    right = cluster.matching(given, names)
    if len(right) == 1:
        return right[0]
    if right:
        raise NotHere(f"{given} can be {', '.join(right)}: type more of the name")
    hint = _similar(given, names)
    raise NotHere(f"no instance {given} is known to this node{hint}: 'zfsext list' shows those with disks here")


def asked(heard: owner.Heard) -> list[tuple[str, dict[str, Any]]]:
    """Return what the nodes say; who is marked offline, and so was not asked, is named on stderr."""
    for name in heard.offline:
        click.echo(f"{name} is marked offline, and was not asked", err=True)
    return heard.told


def require_all_asked(heard: owner.Heard) -> None:
    """Raise Failure, saying why, if a node refuses or is silent; to be called when all that is known was shown."""
    if heard.failed:
        raise Failure(f"not on all nodes: {'; '.join(heard.failed.values())}")


def node_named(given: str) -> str:
    """Return the node that a name means, as gnt-node takes it. Raises NotHere."""
    names = frozenset({*nodes.peers(), nodes.this_node()})
    right = cluster.matching(given, names)
    if len(right) == 1:
        return right[0]
    if right:
        raise NotHere(f"{given} can be {', '.join(right)}: type more of the name")
    raise NotHere(f"this cluster has no node {given}{_similar(given, names)}: 'gnt-node list' shows them")


def volumes_of(instance: str, known: Cluster, settings: Config) -> list[str]:
    """Return the instance's volumes: as Ganeti has them, or, where this node is not told, as the copies here say."""
    mine = [disk.volume for disk in known.disks.values() if disk.instance == instance]
    volumes = sorted(mine) if known.complete else datasets.volumes(instance, settings)
    if not volumes:
        where = "" if known.complete else " that this node knows of: try it on the master"
        raise NotHere(f"{instance} has no zfsfile disk{where}")
    return volumes


def _similar(given: str, names: frozenset[str]) -> str:
    labels = {name.partition(".")[0]: name for name in names} | {name: name for name in names}
    similar = dict.fromkeys(labels[label] for label in difflib.get_close_matches(given, labels, 5))
    return f"; similar are {', '.join(similar)}" if similar else ""
