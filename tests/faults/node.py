"""A node of the testbed, by one open connection: orders to the agent there, power off, power on."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

TREE = Path(__file__).resolve().parents[2]
TESTBED = str(TREE / "tests/testbed/testbed")
TARGET = "/var/tmp/zfsext-faults"  # noqa: S108 (on a node that is root's alone)


def testbed(*words: str) -> None:
    """Run the testbed's command, which must succeed."""
    done = subprocess.run([TESTBED, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"testbed {' '.join(words)}: {done.stdout}{done.stderr}"


class Agent:
    """The agent on one node of the testbed that is up, to be told what to do."""

    def __init__(self, name: str) -> None:
        self.name = name
        testbed("run", name, "--", "rm", "-rf", TARGET)
        testbed("run", name, "--", "mkdir", TARGET)
        testbed("copy", name, *(str(path) for path in sorted((TREE / "tests/zfs").glob("[!t]*.py"))), TARGET)
        self._connect()

    def _connect(self) -> None:
        self.agent = subprocess.Popen(
            [TESTBED, "run", self.name, "--", "python3", "-B", f"{TARGET}/agent.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def order(self, name: str, *arguments: object) -> Any:
        """Have the agent do something, and return its answer."""
        assert self.agent.stdin is not None
        assert self.agent.stdout is not None
        self.agent.stdin.write(json.dumps([name, arguments]) + "\n")
        self.agent.stdin.flush()
        answer = self.agent.stdout.readline()
        assert answer, f"the agent on {self.name} ended with {self.agent.wait()} at {name}{arguments}"
        return json.loads(answer)

    def power_cut(self) -> None:
        """Take the node's power away, and give it back."""
        testbed("kill", self.name)
        self.close()
        testbed("start", self.name)
        self._connect()

    def close(self) -> None:
        """End the connection."""
        self.agent.kill()
        self.agent.communicate()


class Node(Agent):
    """The node for a test that needs one.

    It is made clean first; with ZFSEXT_NODE=NODE it is that one as it is, beside a run on another node.
    """

    def __init__(self) -> None:
        testbed("up")
        if "ZFSEXT_NODE" not in os.environ:
            testbed("reset")
        super().__init__(os.environ.get("ZFSEXT_NODE") or "node1")
