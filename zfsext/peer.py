"""Another node: one ssh, through which it is asked and told, and which carries the disks' data.

On the other side runs zfsext.answer. Requests and answers are JSON, a line each; a request may be followed by one
replication stream, of which the receiver reads no byte too much. Ganeti's own ssh is used, with its keys and its known
hosts: it lets master candidates alone reach other nodes.
"""

import fcntl
import json
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from zfsext import command, guard, nodes, trace
from zfsext.errors import (
    AlreadyThere,
    BadInput,
    Busy,
    ConfigError,
    KeyNotLoaded,
    NoSpace,
    NotHere,
    PoolUnavailable,
    Refused,
    Speechless,
    SystemRefused,
    ZfsextError,
)

#: What nodes say to each other. Both must have the same; it is told before anything is asked.
PROTOCOL = 2
ANSWER = "/usr/libexec/zfsext/answer"

#: How long an answer is waited for, in seconds: most need a lock for five at the most, and a few transactions.
SECONDS = 60
#: How long a stream may stand still, in seconds. ssh itself gives up on a connection that is cut after 30.
STILL = 120
#: How much is on its way from ZFS to ssh, in bytes: with the usual 64 KiB all of them wait for each other.
PIPE = 1 << 20

KINDS: dict[str, type[ZfsextError]] = {
    kind.__name__: kind
    for kind in (AlreadyThere, BadInput, Busy, ConfigError, KeyNotLoaded, NoSpace, NotHere, PoolUnavailable, Refused)
}


class Line:
    """A connection to another node, until it is closed or the node falls silent."""

    def __init__(self, node: nodes.Node) -> None:
        self.name = node.name
        self._ssh = subprocess.Popen(
            [*nodes.ssh_command(node), ANSWER, str(PROTOCOL), nodes.this_node()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=command.ENVIRONMENT,
            preexec_fn=guard.die_with_parent,
            pipesize=PIPE,
        )
        self._to, self._from = _number(self._ssh.stdin), _number(self._ssh.stdout)
        self._heard = b""
        self._greeted = False

    def call(self, op: str, seconds: float = SECONDS, **fields: Any) -> dict[str, Any]:
        """Ask, and return the answer. Raises Speechless if there is none, and what the other node raised."""
        self._request(op, fields)
        return self._answer(seconds)

    def follow(self, op: str, said: Callable[[list[Any]], None], seconds: float, **fields: Any) -> dict[str, Any]:
        """Ask what takes long, and return the answer; said is called with what the other node tells of it meanwhile."""
        self._request(op, fields)
        while True:
            answer = self._answer(seconds)
            if "progress" not in answer:
                return answer
            said(answer["progress"])

    def stream(
        self, op: str, write: Callable[[int], None], passed: Callable[[int], None], **fields: Any
    ) -> dict[str, Any]:
        """Ask, and let write put a stream into a pipe; passed is called with each number of bytes that has gone.

        write runs in a thread: the library that sends lets others run meanwhile. Its error goes before the receiver's.
        """
        self._request(op, fields)
        ready = self._answer(SECONDS)
        if not ready.get("ready"):
            return ready
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE)
        troubles: list[BaseException] = []

        def work() -> None:
            try:
                write(writer)
            except (ZfsextError, OSError) as error:
                troubles.append(error)
            finally:
                os.close(writer)

        sender = threading.Thread(target=work, daemon=True)
        sender.start()
        try:
            broken = self._pump(reader, passed)
        finally:
            os.close(reader)  # which ends a sender that nobody reads any more
            sender.join()
        if troubles and not broken:
            self.close()  # in the middle of a stream nothing else can be said
            raise troubles[0]
        return self._answer(STILL)

    def _request(self, op: str, fields: dict[str, Any]) -> None:
        if trace.wanted():
            fields = {**fields, "verbose": True}
        try:
            self._write(json.dumps({"op": op, **fields}).encode() + b"\n", SECONDS)
        except BrokenPipeError:
            if not self._greeted:  # one of another version ends at once, and has said which it is
                self._answer(SECONDS)
            self._give_up()

    def _pump(self, reader: int, passed: Callable[[int], None]) -> bool:
        """Pass on all that there is to read, from pipe to pipe; return True if the other side takes no more of it."""
        self._require_open()
        with selectors.DefaultSelector() as source, self._taking() as wait:
            source.register(reader, selectors.EVENT_READ)
            while True:
                source.select()
                wait(STILL)
                try:
                    count = os.splice(reader, self._to, PIPE, flags=os.SPLICE_F_NONBLOCK)
                except BlockingIOError:
                    continue
                except BrokenPipeError:  # what it has to say of that is still to be read
                    return True
                if not count:
                    return False
                passed(count)

    def _write(self, data: bytes, seconds: float) -> None:
        self._require_open()
        view = memoryview(data)
        os.set_blocking(self._to, False)
        with self._taking() as wait:
            while view:
                wait(seconds)
                try:
                    view = view[os.write(self._to, view) :]
                except BlockingIOError:
                    continue

    @contextmanager
    def _taking(self) -> Iterator[Callable[[float], None]]:
        """Give what waits until the other node takes something, and raises Speechless after so many seconds."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._to, selectors.EVENT_WRITE)

            def wait(seconds: float) -> None:
                if not selector.select(seconds):
                    self.close()
                    raise Speechless(f"{self.name} has taken nothing for {seconds:g} s")

            yield wait

    def _answer(self, seconds: float) -> dict[str, Any]:
        self._require_open()
        deadline = time.monotonic() + seconds
        if not self._greeted:
            self._greeted = True
            self._greeting(self._read(deadline))
        answer = self._read(deadline)
        trace.elsewhere(self.name, answer.pop("typed", ()))
        if "error" in answer:
            raise KINDS.get(answer["error"], SystemRefused)(f"{self.name}: {answer.get('text', '')}")
        return answer

    def _greeting(self, greeting: dict[str, Any]) -> None:
        if greeting.get("protocol") != PROTOCOL:
            self.close()
            raise Refused(
                f"{self.name} has zfsext {greeting.get('version')} with protocol {greeting.get('protocol')}, and this "
                f"node has protocol {PROTOCOL}: install the same version on both, nothing was changed"
            )

    def _read(self, deadline: float) -> dict[str, Any]:
        with selectors.DefaultSelector() as selector:
            selector.register(self._from, selectors.EVENT_READ)
            while b"\n" not in self._heard:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self.close()
                    raise Speechless(f"{self.name} does not answer")
                part = os.read(self._from, 65536)
                if not part:
                    self._give_up()
                self._heard += part
        line, _, self._heard = self._heard.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self.close()
            raise Speechless(f"{self.name} says what zfsext does not: {line[:80]!r}")
        return answer

    def _require_open(self) -> None:
        if self._ssh.stdin is None or self._ssh.stdin.closed:  # the number may be another file's by now
            raise Speechless(f"the connection to {self.name} has broken off")

    def _give_up(self) -> None:
        """Raise Speechless with what ssh said of the connection's end."""
        if not self._ended():
            self._ssh.kill()
        words = os.read(_number(self._ssh.stderr), 65536).decode(errors="replace").strip().splitlines()
        self.close()
        raise Speechless(f"{self.name} does not answer: {words[-1] if words else 'the connection broke off'}")

    def _ended(self) -> bool:
        try:
            self._ssh.wait(5)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """End the connection, and with it what the other node does for us."""
        if self._ssh.poll() is None:
            self._ssh.kill()
        for pipe in (self._ssh.stdin, self._ssh.stdout, self._ssh.stderr):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        self._ssh.wait()


def _number(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise ValueError("ssh was started without this pipe")
    return pipe.fileno()


class Peers:
    """The connections of one piece of work: each node is called once, and all hang up at its end."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}
        self._silent: dict[str, str] = {}

    def line(self, name: str) -> Line:
        """Return the connection to the node. Raises Speechless at once for one that has not answered before."""
        if name in self._silent:
            raise Speechless(self._silent[name])
        if name not in self._lines:
            known = nodes.peers()
            if name not in known:
                raise Speechless(f"{name} is no other node of this cluster")
            self._lines[name] = Line(known[name])
        return self._lines[name]

    def ask(self, names: "list[str]", op: str, **fields: Any) -> Iterator[tuple[str, dict[str, Any] | Speechless]]:
        """Ask nodes the same; yield each one's answer, or why there is none. What a node refuses to say is silence."""
        for name in names:  # all are called before the first is waited for
            if name not in self._silent:
                try:
                    self.line(name)
                except Speechless as error:
                    self._silent[name] = str(error)
        for name in names:
            try:
                yield name, self.line(name).call(op, **fields)
            except Speechless as error:
                self.hang_up(name, str(error))
                yield name, error
            except ZfsextError as error:
                yield name, Speechless(str(error))

    def call_again(self, name: str) -> Line:
        """Connect anew to a node that fell silent. Whether it is back shows when it is asked."""
        self._silent.pop(name, None)
        return self.line(name)

    def hang_up(self, name: str, why: str) -> None:
        """End the connection to a node that fell silent."""
        self._silent[name] = why
        line = self._lines.pop(name, None)
        if line is not None:
            line.close()

    def close(self) -> None:
        """End all connections."""
        for line in self._lines.values():
            line.close()
        self._lines.clear()


@contextmanager
def peers() -> Iterator[Peers]:
    """Give the other nodes, and hang up at the end."""
    found = Peers()
    try:
        yield found
    finally:
        found.close()
