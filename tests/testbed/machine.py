"""One node as a QEMU process: power, snapshots of the whole machine, and its monitor."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any, TextIO

import hardware
import network
from image import Image
from progress import command
from settings import Node, TestbedError, namespace

RUN = Path("/run") / namespace()
"""Sockets and pid files: gone after a restart of this machine, as the processes are."""


def console_tail(node: Node, lines: int = 25) -> str:
    """The last lines of NODE's console, ready to be shown."""
    try:
        text = node.console.read_text(errors="replace").replace("\r", "")
    except OSError:
        text = ""
    shown = [f"    | {line}" for line in text.splitlines() if line.strip()][-lines:]
    return f"  the end of {node.name}'s console ({node.console}):\n" + "\n".join(shown or ["    | (nothing)"])


class Machine:
    """The QEMU of one node; there may be none at the moment."""

    def __init__(self, node: Node, image: Image) -> None:
        self.node = node
        self._image = image
        self._pidfile = RUN / f"{node.name}.pid"
        self._socket = RUN / f"{node.name}.monitor"

    def pid(self) -> int | None:
        """Its process, made sure by its command line to be ours; None if it isn't running."""
        try:
            pid = int(self._pidfile.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (OSError, ValueError):
            return None
        dying = stat.rpartition(")")[2].split()[0] in "ZX"
        return pid if str(self._pidfile).encode() in words and not dying else None

    def start(self, snapshot: str | None = None) -> None:
        """Power it on: from SNAPSHOT if given, else a boot from its disks."""
        if self.pid() is not None:
            raise TestbedError(f"{self.node.name} is already powered on")
        RUN.mkdir(exist_ok=True)
        taps = (network.tap(self.node, network.CONTROL), network.tap(self.node, network.CLUSTER))
        argv = hardware.qemu(self.node, self._image, taps, self._socket, self._pidfile)
        try:
            command(network.entered(*argv, *(["-loadvm", snapshot] if snapshot else [])))
        except TestbedError as error:
            shown = console_tail(self.node)
            raise TestbedError(f"cannot power on {self.node.name}: {error}\n{shown}") from error

    def kill(self) -> None:
        """Power it off without warning; what it had not flushed is lost."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            while self.pid() is not None:
                time.sleep(0.01)
        self._pidfile.unlink(missing_ok=True)
        self._socket.unlink(missing_ok=True)

    def pause(self) -> None:
        """Stop its processors."""
        self._ask("stop")

    def go_on(self) -> None:
        """Let its processors run."""
        self._ask("cont")

    def save(self, snapshot: str) -> None:
        """Keep memory and disks under that name, in place of an older one of the name."""
        self._ask_human(f"savevm {snapshot}")

    def load(self, snapshot: str) -> None:
        """Go back to that snapshot, whatever it is doing."""
        self._ask_human(f"loadvm {snapshot}")

    def _ask_human(self, line: str) -> None:
        answer = self._ask("human-monitor-command", {"command-line": line})
        if answer:
            raise TestbedError(f"{self.node.name}'s monitor on {line!r}: {answer.strip()}")

    def _ask(self, verb: str, arguments: dict[str, Any] | None = None) -> Any:
        """One command to the monitor and its answer; TestbedError if it fails or nobody is there."""
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(300)
                link.connect(str(self._socket))
                with link.makefile("rw") as talk:
                    talk.readline()
                    self._say(talk, {"execute": "qmp_capabilities"})
                    answer = self._say(talk, {"execute": verb, "arguments": arguments or {}})
        except (OSError, ValueError) as error:
            raise TestbedError(f"{self.node.name}'s monitor does not answer: {error}") from error
        if "error" in answer:
            raise TestbedError(f"{self.node.name}'s monitor on {verb}: {answer['error'].get('desc')}")
        return answer["return"]

    @staticmethod
    def _say(talk: TextIO, request: dict[str, Any]) -> dict[str, Any]:
        talk.write(json.dumps(request) + "\n")
        talk.flush()
        while True:
            answer: dict[str, Any] = json.loads(talk.readline())
            if "event" not in answer:
                return answer
