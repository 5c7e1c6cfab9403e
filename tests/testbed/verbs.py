"""The verbs of the testbed's command line."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import answers
import cache
import frozen
import host
import network
import package
import state
from frozen import Testbed
from image import Image
from machine import RUN, Machine
from progress import say, step
from settings import MOST_NODES, RELEASE, RELEASES, STATE, Node, TestbedError, node_called, nodes
from ssh import Connection

CLEAN = "clean"
"""The snapshot of the clean cluster with the package installed."""

USAGE = """\
testbed up [--nodes N] [--release bookworm|trixie]
                                     N (default 2) nodes in one Ganeti cluster, a pool and the package on each
       testbed run NODE -- COMMAND...       on the node as root; its output and exit status (255: not reached)
       testbed copy NODE SOURCE... TARGET   files to the node
       testbed kill NODE | start NODE       power off without warning | power on
       testbed cut NODE | heal NODE         take the node off the cluster's network | put it back
       testbed reset                        every node back to the clean cluster, with the package
       testbed down                         end everything it started
"""


def up(release: str, count: int) -> None:
    """COUNT nodes of RELEASE with the working tree's package, whatever is there now."""
    begun = time.monotonic()
    host.check()
    with state.alone():
        host.install_missing()
        wanted = frozen.key(release, count)
        now = state.read()
        if now is not None and (now.frozen, now.release, now.count) == (wanted, release, count):
            testbed = Testbed(Image(Path(now.image)), count)
            network.build(testbed.nodes)
            _power_on_again(testbed)
            fresh = False
        else:
            _clear()
            testbed = frozen.thaw(release, count)
            now = state.State(release, count, wanted, str(testbed.image.place), state.boot_id())
            fresh = True
            now.write()
        _install(testbed, now, package.key())
        if fresh:
            _keep_clean(testbed, now)
    say(f"up: {count} node{'s' if count > 1 else ''} of {release}, {time.monotonic() - begun:.1f} s in all")


def _power_on_again(testbed: Testbed) -> None:
    dead = [node for node in testbed.nodes if testbed.machines[node].pid() is None]
    testbed.each(testbed.boot, dead)
    testbed.each(lambda node: answers.wait(testbed.connections[node], testbed.nodes))


def _install(testbed: Testbed, now: state.State, wanted: str) -> None:
    """Install the package of that key on every node where it isn't yet."""
    built = package.build(wanted)
    if built is not None and now.package != wanted:
        with step(f"installing {built.name}"):
            testbed.each(lambda node: package.install(testbed.connections[node], built))
    now.package = wanted
    now.write()


def _keep_clean(testbed: Testbed, now: state.State) -> None:
    with step("keeping this as what reset goes back to"):
        testbed.save(CLEAN)
    now.clean = now.package
    now.write()


def reset() -> None:
    """Every node, on or off, back to the clean cluster with the package that is installed now."""
    with state.alone():
        now = state.need()
        testbed = Testbed(Image(Path(now.image)), now.count)
        if now.clean == now.package:
            with step("reset"):
                testbed.load(CLEAN)
            return
        say("the package is newer than the clean cluster: it is installed there once more")
        wanted = now.package or package.NONE
        with step("reset"):
            now.package = now.clean = None
            testbed.load(frozen.READY)
        _install(testbed, now, wanted)
        _keep_clean(testbed, now)


def down() -> None:
    """End every process of this testbed, remove its network and its state; the cache stays."""
    host.check()
    with state.alone():
        _clear()
    say("down")


def _clear() -> None:
    state.forget()
    nothing = Image(STATE)
    for node in nodes(MOST_NODES):
        Connection(node, nothing).close()
        Machine(node, nothing).kill()
        cache.discard(node.state)
    network.remove()
    if RUN.exists():
        shutil.rmtree(RUN)


def _reach(name: str) -> tuple[Machine, Connection, state.State]:
    """The machine of that name and the way to it; TestbedError if it isn't one of those that are up."""
    now = state.need()
    node = node_called(name)
    if node.number > now.count:
        raise TestbedError(f"{node.name} is not among the {now.count} that are up (up --nodes N)")
    made = Image(Path(now.image))
    return Machine(node, made), Connection(node, made), now


def _powered(name: str) -> tuple[Node, Connection]:
    machine, connection, _ = _reach(name)
    if machine.pid() is None:
        raise TestbedError(f"{machine.node.name} is powered off: testbed start {machine.node.name}")
    connection.open()
    return machine.node, connection


def run(name: str, command: Sequence[str]) -> None:
    """Become the command on the node; never returns."""
    _, connection = _powered(name)
    argv = connection.argv(command)
    os.execvp(argv[0], argv)  # noqa: S606 (no shell is the point)


def copy(name: str, sources: Sequence[str], target: str) -> None:
    """Become the copy to the node; never returns."""
    _, connection = _powered(name)
    for source in sources:
        if not os.path.lexists(source):
            raise TestbedError(f"there is no {source} to copy")
    argv = connection.copy_argv([os.path.abspath(source) for source in sources], target)
    os.execvp(argv[0], argv)  # noqa: S606 (no shell is the point)


def kill(name: str) -> None:
    """Power off without warning."""
    machine, connection, _ = _reach(name)
    machine.kill()
    connection.close()


def start(name: str) -> None:
    """Power on and return when Ganeti answers there."""
    machine, _, now = _reach(name)
    testbed = Testbed(Image(Path(now.image)), now.count)
    testbed.boot(machine.node)
    joined = [node for node in testbed.nodes if testbed.machines[node].pid() and network.is_joined(node)]
    voting = machine.node in joined and len(joined) * 2 > now.count
    if not voting:
        say("too few nodes are on and joined for Ganeti to have a master: only noded is waited for")
    with step(f"waiting for Ganeti on {machine.node.name}", machine.node.console):
        answers.wait(testbed.connections[machine.node], testbed.nodes, voting)
        if voting:
            # The master among the others may have found no majority until now.
            testbed.each(lambda node: answers.wait(testbed.connections[node], testbed.nodes), joined)


def cut(name: str) -> None:
    """Off the cluster's network, in silence."""
    network.cut(_reach(name)[0].node)


def heal(name: str) -> None:
    """Back on the cluster's network."""
    network.heal(_reach(name)[0].node)


def main(words: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="testbed", usage=USAGE, allow_abbrev=False, add_help=True)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    begin = verbs.add_parser("up")
    begin.add_argument("--nodes", type=int, default=2, choices=range(1, MOST_NODES + 1), metavar="N")
    begin.add_argument("--release", default=RELEASE, choices=RELEASES)
    doing = verbs.add_parser("run")
    doing.add_argument("node")
    copying = verbs.add_parser("copy")
    copying.add_argument("node")
    copying.add_argument("source", nargs="+")
    copying.add_argument("target")
    single = {"kill": kill, "start": start, "cut": cut, "heal": heal}
    for verb in single:
        verbs.add_parser(verb).add_argument("node")
    whole = {"reset": reset, "down": down}
    for verb in whole:
        verbs.add_parser(verb)
    # What stands after -- is another command's and none of ours to read.
    here, there = list(words), list[str]()
    if here[:1] == ["run"] and "--" in here:
        here, there = here[:here.index("--")], here[here.index("--") + 1:]
    asked = parser.parse_args(here)
    if asked.verb == "up" and asked.release not in RELEASES:  # of the environment: argparse does not look at a default
        parser.error(f"ZFSEXT_TESTBED_RELEASE is {asked.release!r}; there are {', '.join(RELEASES)}")
    if asked.verb == "run" and not there:
        parser.error("the command to run follows --: testbed run NODE -- COMMAND...")
    try:
        if asked.verb == "up":
            up(asked.release, asked.nodes)
        elif asked.verb == "run":
            run(asked.node, there)
        elif asked.verb == "copy":
            copy(asked.node, asked.source, asked.target)
        elif asked.verb in single:
            single[asked.verb](asked.node)
        else:
            whole[asked.verb]()
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 255 if asked.verb == "run" else 1
    except KeyboardInterrupt:
        return 130
    return 0
