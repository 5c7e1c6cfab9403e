"""The guest agent of a VM: what QEMU's qemu-ga says over the socket that Ganeti gives it.

Ganeti makes the socket if use_guest_agent is on (lib/hypervisor/hv_kvm/__init__.py: _InstanceQemuGuestAgentMonitor). It
takes one connection at a time, so none is kept for longer than one question. The protocol is JSON lines (QEMU's
docs/interop/qemu-ga.rst); what an earlier, broken off conversation has left in it is skipped by a sync.
"""

import json
import os
import socket
import time
from typing import Any

from zfsext.errors import Busy, Refused, Speechless

SOCKETS = "/run/ganeti/kvm-hypervisor/ctrl"
#: Sent before an answer to a sync, which no JSON has (guest-sync-delimited).
SENTINEL = b"\xff"
#: How long a guest may take to answer at all, in seconds, before it counts as one without an agent.
PATIENCE = 10


def path(instance: str) -> str:
    """Return the socket of the instance's agent, on the node where it runs."""
    return f"{SOCKETS}/{instance}.qga"


def ask(path: str, command: str, seconds: float = PATIENCE) -> Any:
    """Have the agent do one thing, and return its answer.

    Raises Refused if the VM has no agent's socket here or the agent refuses, Busy if somebody else talks with it, and
    Speechless if it says nothing for so many seconds.
    """
    deadline = time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as line:
        _connect(line, path, deadline)
        number = int.from_bytes(os.urandom(4), "big")
        _send(line, {"execute": "guest-sync-delimited", "arguments": {"id": number}}, before=SENTINEL)
        heard = _Heard(line, min(deadline, time.monotonic() + PATIENCE))
        while heard.after_sentinel().get("return") != number:  # the end of somebody else's conversation
            continue
        _send(line, {"execute": command})
        heard.deadline = deadline
        answer = heard.next()
    if "error" in answer:
        raise Refused(f"the guest's agent does not do {command}: {_words(answer['error'])}")
    return answer.get("return")


def thaw(path: str) -> bool:
    """Have the agent thaw the guest as soon as it can, and tell whether it says that nothing is frozen any more.

    The command is sent without waiting for the agent: one that is still busy with the freeze finds it after that.
    Raises Refused if the VM does not run here any more, and what ask raises.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as line:
        _connect(line, path, time.monotonic() + PATIENCE)
        _send(line, {"execute": "guest-fsfreeze-thaw"}, before=SENTINEL)
    return bool(ask(path, "guest-fsfreeze-status") == "thawed")


def _connect(line: socket.socket, path: str, deadline: float) -> None:
    line.settimeout(max(0.1, deadline - time.monotonic()))
    try:
        line.connect(path)
    except FileNotFoundError:
        raise Refused(
            f"{path} is not there: the instance does not run here, or was started without use_guest_agent "
            "('gnt-instance modify -H use_guest_agent=true INSTANCE', stop and start it). Without --quiesce the "
            "snapshot is what a power cut would leave"
        ) from None
    except (BlockingIOError, TimeoutError):
        raise Busy(f"somebody else talks with the guest's agent ({path}): try again") from None
    except ConnectionRefusedError:
        raise Refused(f"nobody listens on {path}: the instance does not run here") from None


def _send(line: socket.socket, what: dict[str, Any], before: bytes = b"") -> None:
    try:
        line.sendall(before + json.dumps(what).encode() + b"\n")
    except OSError as error:
        raise Speechless(f"the guest's agent hung up: {error.strerror or error}") from error


class _Heard:
    """What comes over the line, by messages."""

    def __init__(self, line: socket.socket, deadline: float) -> None:
        self._line = line
        self._bytes = b""
        self.deadline = deadline

    def after_sentinel(self) -> dict[str, Any]:
        while SENTINEL not in self._bytes:
            self._more()
        self._bytes = self._bytes.rpartition(SENTINEL)[2]
        return self.next()

    def next(self) -> dict[str, Any]:
        while b"\n" not in self._bytes:
            self._more()
        text, _, self._bytes = self._bytes.partition(b"\n")
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Speechless(f"the guest's agent says what no agent does: {text[:80]!r}")
        return found

    def _more(self) -> None:
        left = self.deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._line.settimeout(left)
            part = self._line.recv(65536)
        except TimeoutError:
            raise Speechless(
                "the guest's agent does not answer: is qemu-guest-agent installed and running in the guest? Without "
                "--quiesce the snapshot is what a power cut would leave"
            ) from None
        except OSError as error:
            raise Speechless(f"the guest's agent hung up: {error.strerror or error}") from error
        if not part:
            raise Speechless("the guest's agent hung up: the instance was stopped, or somebody else talks with it")
        self._bytes += part


def _words(error: object) -> str:
    return str(error.get("desc", error)) if isinstance(error, dict) else str(error)
