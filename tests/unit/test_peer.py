"""The line to another node, which is a process of this machine here: what it says, and how it can fail to."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zfsext import nodes, peer
from zfsext.errors import Busy, NoSpace, PoolUnavailable, Refused, Speechless, SystemRefused, ZfsextError
from zfsext.peer import Line, Peers

NODE2, NODE3 = nodes.Node("node2", "192.0.2.2"), nodes.Node("node3", "192.0.2.3")
#: What each of the other nodes here begins with.
PRELUDE = """
import json, os, sys, time

def say(**what):
    os.write(1, json.dumps(what).encode() + b"\\n")

def hear():
    line = b""
    while not line.endswith(b"\\n"):
        part = os.read(0, 1)
        if not part:
            sys.exit(0)
        line += part
    return json.loads(line)

def read(count):
    found = b""
    while len(found) < count:
        part = os.read(0, count - len(found))
        if not part:
            break
        found += part
    return found

def end(words, code=255):
    os.write(2, words.encode())
    os._exit(code)
"""
GREETING = 'say(protocol=2, version="1.0")\n'
STREAM = os.urandom(1 << 20) * 3  # far more than a pipe holds


class Other:
    """How the other nodes are to behave: a script of each, run where ssh would be."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.scripts: dict[str, str] = {}
        self.lines: list[Line] = []
        self.called: list[str] = []
        patch.setattr(nodes, "ssh_command", self.command)
        patch.setattr(nodes, "this_node", lambda: "node1")
        patch.setattr(nodes, "peers", lambda: {each.name: each for each in (NODE2, NODE3)})

    def command(self, node: nodes.Node) -> list[str]:
        self.called.append(node.name)
        return [sys.executable, "-c", self.scripts[node.name]]

    def __call__(self, script: str, node: nodes.Node = NODE2, greeting: str = GREETING) -> Line:
        self.scripts[node.name] = PRELUDE + greeting + script
        self.lines.append(Line(node))
        return self.lines[-1]


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[Other]:
    found = Other(monkeypatch)
    before = set(os.listdir("/proc/self/fd"))
    yield found
    for line in found.lines:
        line.close()
        assert line._ssh.returncode is not None
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_request_is_answered(other: Other) -> None:
    line = other("while True: say(heard=hear(), argv=sys.argv[1:])")
    answer = line.call("look", volume="web", full=True)
    assert answer["heard"] == {"op": "look", "volume": "web", "full": True}
    assert answer["argv"] == ["/usr/libexec/zfsext/answer", "2", "node1"]
    assert line.call("ask", volumes=["ä\n"])["heard"] == {"op": "ask", "volumes": ["ä\n"]}


def test_an_answer_may_come_in_parts_and_two_at_once(other: Other) -> None:
    line = other("""
hear()
for part in (b'{"one"', b': 1', b'}\\n{"two": 2}\\n'):
    os.write(1, part)
    time.sleep(0.05)
hear(), hear()
""")
    assert line.call("first") == {"one": 1}
    assert line.call("second") == {"two": 2}


def test_a_request_may_be_larger_than_a_pipe(other: Other) -> None:
    line = other("time.sleep(0.1); say(length=len(json.loads(sys.stdin.readline())['volumes']))")
    assert line.call("ask", volumes=["web"] * 100_000) == {"length": 100_000}


@pytest.mark.parametrize("kind", peer.KINDS.values())
def test_an_error_is_the_one_that_the_other_node_has(other: Other, kind: type[ZfsextError]) -> None:
    line = other("while True: say(error=hear()['kind'], text='what to do')")
    with pytest.raises(ZfsextError, match=r"^node2: what to do$") as raised:
        line.call("look", kind=kind.__name__)
    assert type(raised.value) is kind
    with pytest.raises(kind):  # and the line goes on
        line.call("look", kind=kind.__name__)


@pytest.mark.parametrize("kind", ["OSError", "KeyError", "Speechless", "SystemExit", "", "no such"])
def test_an_error_of_no_known_kind_is_the_systems(other: Other, kind: str) -> None:
    line = other("say(error=hear()['kind'])")
    with pytest.raises(SystemRefused, match=r"^node2: $"):
        line.call("look", kind=kind)


def test_what_takes_long_is_told_of_meanwhile(other: Other) -> None:
    line = other("hear(); say(progress=['web', 1, 2]); say(progress=['web', 2, 2]); say(sent=7)")
    told: list[list[Any]] = []
    assert line.follow("replicate", told.append, 20) == {"sent": 7}
    assert told == [["web", 1, 2], ["web", 2, 2]]


def test_silence_ends_the_line(other: Other) -> None:
    line = other("hear(); time.sleep(600)")
    with pytest.raises(Speechless, match="node2 does not answer"):
        line.call("look", 0.3)
    with pytest.raises(Speechless, match="has broken off"):
        line.call("look")
    assert line._ssh.returncode is not None


def test_a_half_answer_is_none(other: Other) -> None:
    line = other("""hear(); os.write(1, b'{"one":'); time.sleep(600)""")
    with pytest.raises(Speechless, match="node2 does not answer"):
        line.call("look", 0.5)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("end('ssh: banner\\nssh: connect to host node2: Connection refused\\n')", "connect to host node2: Connection"),
        ("end('')", "node2 does not answer: the connection broke off"),
        ("hear(); end('Connection closed')", "node2 does not answer: Connection closed"),
        ("hear(); os.write(1, b'{\"one\"'); end('Connection reset')", "node2 does not answer: Connection reset"),
        ("os.close(1); end('no route')", "node2 does not answer: no route"),
    ],
)
@pytest.mark.parametrize("greeting", [GREETING, ""])
def test_a_connection_that_breaks_off_says_why(other: Other, script: str, words: str, greeting: str) -> None:
    line = other(script, greeting=greeting)
    with pytest.raises(Speechless, match=words):
        line.call("look")
    with pytest.raises(Speechless, match="has broken off"):
        line.call("look")


def test_an_ssh_that_does_not_end_by_itself_is_ended(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    line = other("os.close(1); time.sleep(600)")
    wait = subprocess.Popen.wait
    monkeypatch.setattr(subprocess.Popen, "wait", lambda ssh, seconds=None: wait(ssh, seconds and 0.1))
    with pytest.raises(Speechless, match="the connection broke off"):
        line.call("look")


def test_ssh_sees_nothing_of_the_callers_environment(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_ASKPASS", "/bin/true")
    line = other("hear(); say(names=sorted(set(os.environ) - {'LC_CTYPE'}))")
    assert line.call("look") == {"names": ["LC_ALL", "PATH"]}


def test_a_connection_that_broke_off_between_two_requests_says_why(other: Other) -> None:
    line = other("hear(); os.close(0); say(); end('Timeout, server not responding')")
    assert line.call("look") == {}
    with pytest.raises(Speechless, match="node2 does not answer: Timeout, server not responding"):
        line.call("look")


@pytest.mark.parametrize(
    "greeting", ['say(protocol=3, version="2.0"); sys.exit(3)\n', 'say(version="2.0")\n', 'say(protocol="1")\n']
)
def test_two_versions_that_do_not_understand_each_other_do_nothing(other: Other, greeting: str) -> None:
    line = other("say(done=hear())", greeting=greeting)
    with pytest.raises(Refused, match="install the same version on both, nothing was changed"):
        line.call("look")
    with pytest.raises(Speechless, match="has broken off"):
        line.call("look")


def test_another_version_is_one_also_if_it_ended_before_it_was_asked(other: Other) -> None:
    line = other("", greeting='say(protocol=3, version="2.0"); sys.exit(3)\n')
    line._ssh.wait()
    with pytest.raises(Refused, match="with protocol 3, and this node"):
        line.call("look")


@pytest.mark.parametrize("words", ["Welcome to node2!", "[1]", "7", "null", "", '{"one": 1', "\\xff\\xfe"])
@pytest.mark.parametrize("greeting", [GREETING, ""])
def test_what_zfsext_does_not_say_is_no_answer(other: Other, words: str, greeting: str) -> None:
    line = other(f"hear(); os.write(1, b'{words}\\n'); hear()", greeting=greeting)
    with pytest.raises(Speechless, match="node2 says what zfsext does not"):
        line.call("look")
    with pytest.raises(Speechless, match="has broken off"):
        line.call("look")


RECEIVER = """
hear()
say(ready=True)
found = read({})
say(got=len(found), begin=found[:4].hex(), end=found[-4:].hex())
"""


def writes(data: bytes) -> Callable[[int], None]:
    """Return a sender: it writes to the pipe until that is closed under it, as ZFS does."""

    def write(pipe: int) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(pipe, view) :]

    return write


def nothing(_: int) -> None:
    return


def test_a_stream_goes_through_whole_and_the_line_goes_on(other: Other) -> None:
    line = other(RECEIVER.format(len(STREAM)) + "say(heard=hear())")
    passed: list[int] = []
    answer = line.stream("receive", writes(STREAM), passed.append, volume="web")
    assert answer == {"got": len(STREAM), "begin": STREAM[:4].hex(), "end": STREAM[-4:].hex()}
    assert sum(passed) == len(STREAM)
    assert line.call("round")["heard"] == {"op": "round"}


def test_nothing_is_sent_before_the_other_node_is_ready(other: Other) -> None:
    line = other("hear(); say(error='NoSpace', text='full'); hear(); say(already=True)")
    written = threading.Event()
    with pytest.raises(NoSpace, match="node2: full"):
        line.stream("receive", lambda _: written.set(), nothing)
    assert line.stream("receive", lambda _: written.set(), nothing) == {"already": True}
    assert not written.is_set()


def test_a_node_that_is_never_ready_is_silent(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    line = other("hear(); time.sleep(600)")
    monkeypatch.setattr(peer, "SECONDS", 0.3)
    with pytest.raises(Speechless, match="node2 does not answer"):
        line.stream("receive", writes(STREAM), nothing)


def test_a_receiver_that_stops_reading_is_not_waited_for(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    line = other("hear(); say(ready=True); read(20_000); time.sleep(600)")  # so much that some more fits into the pipe
    monkeypatch.setattr(peer, "STILL", 0.5)
    threads = threading.active_count()
    with pytest.raises(Speechless, match=r"node2 has taken nothing for 0\.5 s"):
        line.stream("receive", writes(STREAM), nothing)
    assert threading.active_count() == threads
    assert line._ssh.returncode is not None


def test_a_receiver_that_does_not_say_how_it_went_is_silent(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    line = other("hear(); say(ready=True); read(5); time.sleep(600)")
    monkeypatch.setattr(peer, "STILL", 0.5)
    with pytest.raises(Speechless, match="node2 does not answer"):
        line.stream("receive", writes(b"12345"), nothing)


def test_a_receiver_that_fails_has_the_last_word(other: Other) -> None:
    line = other("hear(); say(ready=True); read(1000); say(error='NoSpace', text='out of space'); os._exit(1)")
    with pytest.raises(NoSpace, match="node2: out of space"):
        line.stream("receive", writes(STREAM), nothing)


def test_a_receiver_that_dies_leaves_what_ssh_says(other: Other) -> None:
    line = other("hear(); say(ready=True); read(1000); end('Connection to node2 closed by remote host.')")
    with pytest.raises(Speechless, match="node2 does not answer: Connection to node2 closed by remote host"):
        line.stream("receive", writes(STREAM), nothing)


@pytest.mark.parametrize("error", [PoolUnavailable("the pool is gone"), OSError(5, "Input/output error")])
def test_a_sender_that_fails_ends_the_line(other: Other, error: Exception) -> None:
    line = other(RECEIVER.format(len(STREAM)))

    def write(pipe: int) -> None:
        writes(STREAM[: len(STREAM) // 2])(pipe)
        raise error

    passed: list[int] = []
    with pytest.raises(type(error)) as raised:
        line.stream("receive", write, passed.append)
    assert raised.value is error
    assert sum(passed) == len(STREAM) // 2
    with pytest.raises(Speechless, match="has broken off"):  # it would be taken for a part of the stream
        line.call("look")


def test_who_is_told_of_the_progress_can_end_it(other: Other) -> None:
    line = other(RECEIVER.format(len(STREAM)))

    def passed(_: int) -> None:
        raise Refused("it takes too long")

    threads = threading.active_count()
    with pytest.raises(Refused, match="it takes too long"):
        line.stream("receive", writes(STREAM), passed)
    assert threading.active_count() == threads


def test_a_line_can_be_closed_twice_and_ends_the_other_side(other: Other) -> None:
    line = other("while True: say(heard=hear())")
    line.call("look")
    line.close()
    line.close()
    assert line._ssh.returncode is not None


ECHO = "while True: request = hear(); say(error='Refused', text='no') if request['op'] == 'no' else say(heard=request)"


@pytest.fixture
def two(other: Other) -> Iterator[Peers]:
    """Return connections to two nodes that answer all; the third is in no list."""
    other.scripts = {each.name: PRELUDE + GREETING + ECHO for each in (NODE2, NODE3)}
    with peer.peers() as found:
        yield found


def test_each_node_is_called_once(two: Peers, other: Other) -> None:
    line = two.line("node2")
    assert two.line("node2") is line
    assert two.line("node3") is not line
    assert line.call("look")["heard"] == {"op": "look"}
    assert other.called == ["node2", "node3"]


def test_all_are_called_before_the_first_is_waited_for(two: Peers, other: Other) -> None:
    answers = two.ask(["node3", "node2"], "ask", volumes=["web"])
    name, answer = next(answers)
    assert (name, answer) == ("node3", {"heard": {"op": "ask", "volumes": ["web"]}})
    assert other.called == ["node3", "node2"]
    assert [name for name, _ in answers] == ["node2"]


def test_who_does_not_answer_is_not_asked_again(two: Peers, other: Other) -> None:
    other.scripts["node2"] = PRELUDE + "end('No route to host')"
    for _ in range(2):
        (name, silence), (third, answer) = two.ask(["node2", "node3"], "ask")
        assert (name, third) == ("node2", "node3")
        assert isinstance(silence, Speechless)
        assert "node2 does not answer: No route to host" in str(silence)
        assert answer == {"heard": {"op": "ask"}}
    with pytest.raises(Speechless, match="No route to host"):
        two.line("node2")
    assert other.called == ["node2", "node3"]


def test_a_node_of_no_cluster_is_silent(two: Peers, other: Other) -> None:
    with pytest.raises(Speechless, match=r"node9 is no other node of this cluster"):
        two.line("node9")
    ((_, silence),) = two.ask(["node9"], "ask")
    assert isinstance(silence, Speechless)
    assert other.called == []


def test_what_a_node_refuses_to_say_is_silence_and_the_line_stays(two: Peers, other: Other) -> None:
    ((_, silence),) = two.ask(["node2"], "no")
    assert isinstance(silence, Speechless)
    assert str(silence) == "node2: no"
    ((_, answer),) = two.ask(["node2"], "ask")
    assert answer == {"heard": {"op": "ask"}}
    assert other.called == ["node2"]


def test_a_node_that_fell_silent_can_be_called_again(two: Peers) -> None:
    first = two.line("node2")
    two.hang_up("node2", "it is booting")
    with pytest.raises(Speechless, match="it is booting"):
        two.line("node2")
    again = two.call_again("node2")
    assert again is two.line("node2")
    assert again is not first
    assert first._ssh.returncode is not None
    assert again.call("look")["heard"] == {"op": "look"}
    two.hang_up("node9", "who is never called has no line to end")


def test_all_hang_up_at_the_end(other: Other) -> None:
    other.scripts["node2"] = PRELUDE + GREETING + ECHO
    with peer.peers() as found:
        line = found.line("node2")
    assert line._ssh.returncode is not None


def test_all_hang_up_at_an_end_with_an_error(other: Other) -> None:
    other.scripts["node2"] = PRELUDE + GREETING + "say(error='Busy', text=str(os.getpid()))"
    with pytest.raises(Busy) as raised, peer.peers() as found:
        found.line("node2").call("look")
    with pytest.raises(ProcessLookupError):
        os.kill(int(str(raised.value).removeprefix("node2: ")), 0)
