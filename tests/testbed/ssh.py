"""The kept-open connection to each node, over which commands and files go.

It goes in through the control bridge, with a key that Ganeti knows nothing of.
"""

from __future__ import annotations

import fcntl
import shlex
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from image import Image
from machine import RUN, console_tail
from network import entered
from settings import Node, TestbedError


class Connection:
    """The way to one node as root."""

    def __init__(self, node: Node, image: Image) -> None:
        self.node = node
        self._key = image.ssh_key
        self._control = RUN / f"{node.name}.ssh"

    def _options(self) -> list[str]:
        # The proxy enters the network namespace, so ssh itself, and scp, run unchanged outside.
        options = {
            "ControlPath": str(self._control), "IdentityFile": str(self._key), "IdentitiesOnly": "yes",
            "ProxyCommand": shlex.join([*entered("socat", "-", f"TCP:{self.node.control_address}:22")]),
            "BatchMode": "yes", "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR", "ConnectTimeout": "20", "ServerAliveInterval": "10",
            "ServerAliveCountMax": "12", "Compression": "no", "ForwardAgent": "no", "ForwardX11": "no",
            # The cheapest of what the two sides can do: the emulator computes ten times slower than we do.
            "KexAlgorithms": "curve25519-sha256", "HostKeyAlgorithms": "ssh-ed25519,rsa-sha2-256",
            "Ciphers": "aes128-ctr", "MACs": "umac-64@openssh.com",
        }
        return ["-F", "/dev/null", *(f"-o{name}={value}" for name, value in options.items())]

    def open(self) -> None:
        """Connect unless connected; TestbedError if the node does not answer."""
        RUN.mkdir(exist_ok=True)
        with self._control.with_suffix(".ssh-lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._is_open():
                return
            self._control.unlink(missing_ok=True)
            done = subprocess.run(
                ["ssh", *self._options(), "-o", "ControlMaster=yes", "-N", "-f", f"root@{self.node.fqdn}"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
            )
        if done.returncode != 0:
            raise TestbedError(f"{self.node.name} does not answer ssh")

    def _is_open(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._control))
            except OSError:
                return False
        return True

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._control.exists():
            subprocess.run(["ssh", *self._options(), "-O", "exit", f"root@{self.node.fqdn}"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        self._control.unlink(missing_ok=True)

    def wait(self, seconds: float) -> None:
        """Connect as soon as the node answers; TestbedError with its console after SECONDS."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.open()
            except TestbedError as error:
                if time.monotonic() > end:
                    raise TestbedError(f"{error}\n{console_tail(self.node)}") from error
            time.sleep(0.5)

    def argv(self, command: Sequence[str]) -> list[str]:
        """The ssh command that runs COMMAND there, each word unchanged: the remote shell gets them quoted."""
        return ["ssh", *self._options(), "-T", f"root@{self.node.fqdn}", "--", shlex.join(command)]

    def copy_argv(self, sources: Sequence[str], target: str) -> list[str]:
        """The scp command that copies SOURCES of this machine to TARGET there."""
        return ["scp", *self._options(), "-q", "-r", "-p", "--", *sources, f"root@{self.node.fqdn}:{target}"]

    def call(self, *command: str, stdin: str = "") -> str:
        """Run COMMAND there and return its stdout; TestbedError with all it said if it fails."""
        self.open()
        done = subprocess.run(self.argv(command), input=stdin, text=True, errors="replace", check=False,
                              capture_output=True)
        if done.returncode != 0:
            said = "\n".join(f"    {line}" for line in (done.stdout + done.stderr).splitlines()[-25:])
            raise TestbedError(f"on {self.node.name}, {shlex.join(command)[:200]} exited {done.returncode}:\n"
                               f"{said}\n{console_tail(self.node, 12)}")
        return done.stdout

    def copy(self, source: Path, target: str) -> None:
        """Copy one file or directory there; TestbedError if that fails."""
        self.open()
        done = subprocess.run(self.copy_argv([str(source)], target), stdin=subprocess.DEVNULL, text=True,
                              check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise TestbedError(f"copying {source} to {self.node.name}:{target} failed: {done.stdout.strip()}")
