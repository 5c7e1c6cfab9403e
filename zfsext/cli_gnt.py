"""What the commands that end in one of Ganeti's have in common: gnt-instance, which works on the master alone."""

import shlex
import subprocess
import sys
from collections.abc import Sequence

import click

from zfsext import cluster, contract, nodes
from zfsext.cluster import Cluster
from zfsext.errors import BadInput, Refused


def require_master(what: str) -> None:
    """Raise Refused where gnt-instance does not work; what is the command to be typed on the master."""
    if nodes.master() != nodes.this_node():
        raise Refused(f"gnt-instance works on the master alone: '{what}' on {nodes.master()}")


def new_name(name: str, known: Cluster) -> str:
    """Return the name, which can be a new instance's. Raises BadInput if not."""
    contract.instance_name(name)
    if cluster.matching(name, known.instances):
        raise BadInput(f"there is an instance {name} already: take another name")
    return name


def run(command: Sequence[str]) -> int:
    """Run the command, with our terminal, and return its exit code; as a shell has it, if a signal ended it."""
    sys.stdout.flush()
    code = subprocess.run(command, check=False).returncode
    return code if code >= 0 else 128 - code


def add(command: Sequence[str], *, dry: bool) -> None:
    """Show the command that adds an instance, and run it unless dry. Ends with its exit code if it fails."""
    click.echo(shlex.join(command))
    if dry:
        click.echo("nothing was done (--dry-run)")
    elif code := run(command):
        sys.exit(code)
