"""Two nodes that hand the disks of a VM to and fro, driven script by script, and which of them may go on."""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from conftest import Cluster, Node
from vm import OPEN, SIZES

from tests.faults.node import Agent

WEB = "web1.example.com"
ANSWER = "/usr/libexec/zfsext/answer"
#: Where the program that answers other nodes is meanwhile, and what stands in for it: it numbers the connections, and
#: lets strace have the one that is asked for (or all).
STAND_IN = "/root/answers"
SCRIPT = f"""\
#!/bin/sh
cd {STAND_IN}
exec 9>lock
flock 9
number=$(($(cat number) + 1))
echo $number >number
exec 9>&-
case " $(cat which) " in
*" all "* | *" $number "*) exec strace -f -y -b execve -o log.$number $(cat options) {STAND_IN}/answer "$@" ;;
esac
exec {STAND_IN}/answer "$@"
"""

Call = tuple[int, str, str]


class Pair:
    """A VM's disks on two nodes: node1, whose they are to begin with and whom Ganeti thinks to have them, and node2."""

    def __init__(self, cluster: Cluster) -> None:
        self.source, self.target = cluster.nodes
        disks = [("--disk", f"{index}:size={size}M,provider=zfsfile") for index, size in enumerate(SIZES)]
        cluster.add(WEB, "-t", "ext", *itertools.chain(*disks))
        self.volumes = [cluster.volume(WEB, index) for index in range(len(SIZES))]
        self.agents = {node.name: Agent(node.name) for node in cluster.nodes}
        self.blocks: dict[str, dict[int, int]] = {volume: {} for volume in self.volumes}
        self.devices = [""] * len(SIZES)
        self._runs_on: Node | None = None  # as far as that is known
        self._numbers = itertools.count(1)

    def close(self) -> None:
        for agent in self.agents.values():
            agent.close()

    def order(self, node: Node, name: str, *arguments: object) -> Any:
        return self.agents[node.name].order(name, *arguments)

    def scripts(self, node: Node, action: str, how: str = "scripts", **variables: str) -> list[Call]:
        """Call a script for each disk, one after the other, as Ganeti does."""
        return [each for volume in self.volumes for each in self._scripts(node, action, [volume], variables, how)]

    def at_once(self, node: Node, action: str, how: str = "scripts", **variables: str) -> list[Call]:
        """Call a script for all disks at the same time."""
        return self._scripts(node, action, self.volumes, variables, how)

    def _scripts(
        self, node: Node, action: str, volumes: list[str], variables: dict[str, str], how: str = "scripts"
    ) -> list[Call]:
        calls = [{"action": action, "volume": volume, "variables": variables} for volume in volumes]
        return [(code, out, err) for code, out, err in self.order(node, how, calls)]

    def close_first(self) -> None:
        """Call close for the first disk on node1, which hands all of them over, or fails."""
        self._scripts(self.source, "close", self.volumes[:1], {})

    def opens(self, node: Node, how: str = "scripts") -> bool:
        """Try to go on there: attach, open, attach, and a block to each disk. All disks can, or none.

        how says whether the scripts are started as Ganeti starts them, or "quickly".
        """
        looked = self.at_once(node, "attach", how)
        opened = self.scripts(node, "open", how, **OPEN)
        if opened[0][0] != 0 and opened[-1][0] == 0:  # what stood in the way has just gone
            opened = self.scripts(node, "open", how, **OPEN)
        assert len({code == 0 for code, _, _ in opened}) == 1, f"half a VM on {node.name}: {opened}"
        if opened[0][0] != 0:
            assert all(out == "" for _, out, _ in looked + opened), f"{node.name}: {looked} {opened}"
            assert all(err for _, _, err in opened)
            return False
        attached = self.at_once(node, "attach", how)
        assert all(code == 0 and out.startswith("/dev/") for code, out, _ in attached), f"{node.name}: {attached}"
        self.devices = [out.strip() for _, out, _ in attached]
        self.works(node)
        return True

    def works(self, node: Node) -> None:
        """Read and write each disk, where the VM runs."""
        for volume, device in zip(self.volumes, self.devices, strict=True):
            self.reads_and_writes(node, volume, device)

    def is_shut_out(self, node: Node) -> None:
        """See that the disks cannot be opened there, while they are open on the other node."""
        looked, opened = self.at_once(node, "attach"), self.at_once(node, "open", **OPEN)
        assert all(code != 0 for code, _, _ in opened), f"the disks are open on both nodes: {opened}"
        assert all(out == "" for _, out, _ in looked + opened), f"{node.name}: {looked} {opened}"
        assert all(err for _, _, err in opened)

    def reads_and_writes(self, node: Node, volume: str, device: str) -> None:
        """See that each block that was ever acknowledged is there, and have one more."""
        blocks = self.blocks[volume]
        assert self.order(node, "wrong", device, list(blocks.items())) == [], f"{node.name} has lost blocks of {volume}"
        number = next(self._numbers)
        offset = number * 17 % 4096 * 4096
        self.order(node, "write", device, offset, number)
        blocks[offset] = number

    def one_goes_on(self, first: Node, patience: int = 6) -> Node:
        """See that exactly one node opens the disks, the first if it may, and return which.

        What a killed script left running may have them for a moment yet, so there is another try.
        """
        second = self.target if first is self.source else self.source
        for _ in range(patience):
            for node, other in ((first, second), (second, first)):
                if self.opens(node):
                    self.is_shut_out(other)
                    self._runs_on = node
                    return node
            time.sleep(10)
        raise AssertionError("neither node opens the disks")

    def runs_at_the_source(self) -> None:
        """Have the VM run on node1, wherever it ended."""
        if self._runs_on is self.source:
            return
        for node in (self.target, self.source):
            self.at_once(node, "detach", "quickly")
        assert self.opens(self.source, "quickly")

    def leave_word(self) -> None:
        """Run the hook on the target as Ganeti does before a failover, while the VM runs."""
        variables = {
            "PATH": "/sbin:/bin:/usr/sbin:/usr/bin",
            "GANETI_HOOKS_VERSION": "2",
            "GANETI_HOOKS_PHASE": "pre",
            "GANETI_HOOKS_PATH": "instance-failover",
            "GANETI_OP_CODE": "OP_INSTANCE_FAILOVER",
            "GANETI_OBJECT_TYPE": "INSTANCE",
            "GANETI_OP_TARGET": WEB,
            "GANETI_DATA_DIR": "/var/lib/ganeti",
            "GANETI_CLUSTER": "cluster.example.com",
            "GANETI_MASTER": self.source.fqdn,
            "GANETI_FAILOVER_CLEANUP": "False",
            "GANETI_IGNORE_CONSISTENCY": "False",
            "GANETI_SHUTDOWN_TIMEOUT": "120",
            "GANETI_INSTANCE_NAME": WEB,
            "GANETI_INSTANCE_PRIMARY": self.source.fqdn,
            "GANETI_INSTANCE_STATUS": "up",
            "GANETI_INSTANCE_DISK_TEMPLATE": "ext",
            "GANETI_OLD_PRIMARY": self.source.fqdn,
            "GANETI_NEW_PRIMARY": self.target.fqdn,
            "GANETI_INSTANCE_DISK_COUNT": str(len(self.volumes)),
        }
        for index, volume in enumerate(self.volumes):
            prefix = f"GANETI_INSTANCE_DISK{index}_"
            variables |= {f"{prefix}ID": volume, f"{prefix}PROVIDER": "zfsfile", f"{prefix}DEV_TYPE": "ext"}
        code, _, err = self.order(self.target, "before_move", variables)
        assert code == 0, err

    def ready(self) -> None:
        """Have all as it is when Ganeti has just stopped the VM on node1 for its failover to node2."""
        self.runs_at_the_source()
        self.leave_word()
        self.works(self.source)
        self._runs_on = None  # whatever comes next may move it

    @contextmanager
    def stand_in(self) -> Iterator[None]:
        """Have the connections to node2 counted, and strace at hand."""
        self.target.run("sh", "-c", f"mkdir {STAND_IN} && cp -p {ANSWER} {STAND_IN}/answer")
        self.trace("none")
        new = f"{STAND_IN}/new"
        self.target.run("sh", "-c", f"cat >{new} && chmod 755 {new} && mv {new} {ANSWER}", data=SCRIPT.encode())
        yield
        self.target.run("sh", "-c", f"mv {STAND_IN}/answer {ANSWER} && rm -r {STAND_IN}")

    def trace(self, which: str, options: Sequence[str] = ()) -> None:
        """From now on count the connections from 1, and have these traced, with more options of strace's."""
        script = 'cd "$1" && rm -f log.* && echo 0 >number && echo "$2" >which && echo "$3" >options'
        self.target.run("sh", "-c", script, "sh", STAND_IN, which, " ".join(options))

    def traced(self) -> list[int]:
        """Return the connections that were traced, when all have ended."""
        ended = "while pgrep -x strace >/dev/null; do sleep 0.2; done"
        names = self.target.run("sh", "-c", f"{ended}; cd {STAND_IN} && ls log.* 2>/dev/null || true").split()
        return sorted(int(name.partition(".")[2]) for name in names)
