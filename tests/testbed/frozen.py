"""Frozen clusters: the disks and memory of N nodes in a clean cluster, cached; thawed they run in seconds.

A cluster of N is made from the frozen one of N-1, so each number of nodes costs one more `gnt-node add`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import answers
import cache
import cluster
import hardware
import image
import network
from image import Image
from machine import Machine
from progress import command, step
from settings import Node, nodes
from ssh import Connection

READY = "ready"
"""The snapshot of the clean cluster, before any package."""


class Testbed:
    """The machines of N nodes of one release, and the connections to them."""

    def __init__(self, made: Image, count: int) -> None:
        self.image = made
        self.nodes = nodes(count)
        self.machines = {node: Machine(node, self.image) for node in self.nodes}
        self.connections = {node: Connection(node, self.image) for node in self.nodes}

    def each(self, work: Callable[[Node], None], which: Iterable[Node] | None = None) -> None:
        """Do WORK for all nodes (or WHICH) at the same time; raise one's error when all have ended."""
        some = list(self.nodes if which is None else which)
        with ThreadPoolExecutor(max(1, len(some))) as pool:
            for _ in pool.map(work, some):
                pass

    def save(self, snapshot: str) -> None:
        """Keep all memory and disks, as of one point in time; every connection is closed for it."""
        self.each(lambda node: cluster.quiesce(self.connections[node]))
        self.each(lambda node: self.connections[node].close())
        self.each(lambda node: self.machines[node].pause())
        try:
            self.each(lambda node: self.machines[node].save(snapshot))
        finally:
            self.each(lambda node: self.machines[node].go_on())

    def load(self, snapshot: str) -> None:
        """Every node back to SNAPSHOT, on or off, cut or not; returns when Ganeti answers."""
        self.each(lambda node: self.connections[node].close())
        network.build(self.nodes)
        for node in self.nodes:
            if self.machines[node].pid() is not None:
                self.machines[node].pause()

        def back(node: Node) -> None:
            machine = self.machines[node]
            if machine.pid() is None:
                machine.start(snapshot)
            else:
                machine.load(snapshot)
                machine.go_on()
            self.connections[node].wait(60)
            answers.wait(self.connections[node], self.nodes)

        self.each(back)

    def boot(self, node: Node) -> None:
        """Power NODE on; returns when ssh answers."""
        with step(f"{node.name} boots", node.console):
            self.machines[node].start()
            self.connections[node].wait(240)

    def stop(self) -> None:
        """Every machine off at once, every connection closed."""
        self.each(lambda node: self.connections[node].close())
        self.each(lambda node: self.machines[node].kill())


def key(release: str, count: int) -> str:
    """The name of the frozen cluster of COUNT nodes."""
    made_by = cache.sources("hardware.py", "cluster.py")
    return cache.digest(image.key(release), str(count), hardware.version(), made_by)


def thaw(release: str, count: int) -> Testbed:
    """COUNT running nodes in a clean cluster, made first if there is no frozen one."""
    place = cache.entry(f"cluster{count}-{release}-{key(release, count)}",
                        lambda making: _freeze(release, count, making))
    testbed = Testbed(image.image(release), count)
    with step(f"thawing {count} node{'s' if count > 1 else ''}"):
        for node in testbed.nodes:
            node.state.mkdir(parents=True, exist_ok=True)
            node.console.unlink(missing_ok=True)

        def copy(node: Node) -> None:
            for disk in (place / node.name).iterdir():
                command(["cp", "--sparse=always", disk, node.state])

        testbed.each(copy)
        testbed.load(READY)
    return testbed


def _freeze(release: str, count: int, making: Path) -> None:
    """Make a clean cluster of COUNT nodes and put its disks, with memory, into MAKING."""
    if count > 1:
        thaw(release, count - 1)
    testbed = Testbed(image.image(release), count)
    network.build(testbed.nodes)
    newest = testbed.nodes[-1]
    hardware.create_disks(newest, testbed.image)
    newest.console.unlink(missing_ok=True)
    testbed.boot(newest)
    master, joining = testbed.connections[testbed.nodes[0]], testbed.connections[newest]
    cluster.equip(joining)
    if count == 1:
        cluster.found(master)
    else:
        cluster.join(master, joining)
    for connection in testbed.connections.values():
        answers.wait(connection, testbed.nodes)
    with step(f"freezing {count} node{'s' if count > 1 else ''}"):
        testbed.save(READY)
        testbed.stop()
        for node in testbed.nodes:
            (making / node.name).mkdir()
            for disk in hardware.DISKS:
                shutil.move(node.state / f"{disk}.qcow2", making / node.name)
