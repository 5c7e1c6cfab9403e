"""The process at the other end of the line, and the line: what comes over it, and what ends it."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from asked import GOOD, SECOND, SOURCE, touch
from conftest import WEB

from zfsext import answer, nodes
from zfsext.errors import BadInput, NoSpace, Refused
from zfsext.peer import Line

PROCESS = """
import os, sys
sys.path.insert(0, {root!r})
sys.argv = sys.argv[1:]
from zfsext import answer, answers, config, errors, pool, taking
config.load = lambda: config.Config(["zfs/vm"], "16K", "", "thin")
pool.require = lambda _: None

def look(volume, _):
    print("to people", flush=True)
    os.system("echo and from a child")
    return {{"volume": volume, "argv": sys.argv[1:]}}

def receive(volume, offer, _, pipe, ready):
    if offer.compression is None:
        raise errors.Refused("it is older")
    ready()
    found = os.read(pipe, 5)
    if not offer.full:
        raise errors.NoSpace("full")
    with open({file!r}, "wb") as file:
        file.write(found)

taking.look, taking.receive = look, receive
answer.main()
"""


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """Return a line to another node, which runs the real answer there; a stream of five bytes ends up in a file."""
    script = PROCESS.format(root=str(Path(answer.__file__).parents[1]), file=str(tmp_path / "received"))
    monkeypatch.setattr(nodes, "ssh_command", lambda _: [sys.executable, "-c", script])
    monkeypatch.setattr(nodes, "this_node", lambda: SOURCE)
    made = Line(nodes.Node("node2", "192.0.2.2"))
    yield made
    made.close()


def test_nothing_but_answers_comes_over_the_line(line: Line) -> None:
    for volume in (WEB, SECOND):
        assert line.call("look", volume=volume) == {"volume": volume, "argv": ["2", SOURCE]}
    line._ssh.stdin.close()  # type: ignore[union-attr]
    assert line._ssh.wait(20) == 0
    assert line._ssh.stderr.read() == b"to people\nand from a child\n" * 2  # type: ignore[union-attr]


def test_an_error_does_not_end_the_line(line: Line) -> None:
    with pytest.raises(BadInput, match=r"node2: volume is '\.\./x'"):
        line.call("look", volume="../x")
    with pytest.raises(BadInput, match="is no request"):
        line.call("no")
    with pytest.raises(Refused, match="it is older"):
        line.stream("receive", lambda _: touch(), touch, **GOOD["receive"] | {"compression": "", "parent": "zfs/vm"})
    assert line.call("look", volume=WEB)["volume"] == WEB


def test_of_a_stream_no_byte_too_much_is_read(line: Line, tmp_path: Path) -> None:
    def write(pipe: int) -> None:
        os.write(pipe, b"12345")

    passed: list[int] = []
    assert line.stream("receive", write, passed.append, **GOOD["receive"]) == {}
    assert (tmp_path / "received").read_bytes() == b"12345"
    assert passed == [5]
    assert line.call("look", volume=WEB)["volume"] == WEB


def test_a_receiver_that_failed_in_a_stream_takes_no_request_from_it(line: Line) -> None:
    def write(pipe: int) -> None:
        os.write(pipe, b"12345" + json.dumps({"op": "look", "volume": WEB}).encode() + b"\n")

    with pytest.raises(NoSpace, match="node2: full"):
        line.stream("receive", write, lambda _: None, **GOOD["receive"] | {"full": False})
    assert line._ssh.wait(20) == 1


def process(*arguments: str) -> list[str]:
    script = PROCESS.format(root=str(Path(answer.__file__).parents[1]), file=os.devnull)
    return [sys.executable, "-c", script, "answer", *arguments]


def run(*arguments: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(process(*arguments), input=given, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("arguments", [(), ("2",), ("2", SOURCE, "more")])
def test_who_types_it_is_told_what_it_is(arguments: Sequence[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"Usage: answer PROTOCOL NODE")


@pytest.mark.parametrize("protocol", ["0", "1", "", "2.0"])
def test_one_who_speaks_another_protocol_is_told_so_and_not_listened_to(protocol: str) -> None:
    done = run(protocol, SOURCE, given=json.dumps({"op": "look", "volume": WEB}).encode() + b"\n")
    assert done.returncode == 3
    assert [sorted(json.loads(said)) for said in done.stdout.splitlines()] == [["protocol", "version"]]


def test_a_request_without_an_end_is_not_kept_for_ever() -> None:
    done = subprocess.Popen(process("2", SOURCE), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert done.stdin is not None
    with done, contextlib.suppress(BrokenPipeError):
        done.stdin.write(b"x" * (answer.LONGEST + (1 << 20)))
        assert done.wait(20) == 0  # though who writes it has not hung up


def test_a_request_that_breaks_off_is_not_answered() -> None:
    one = json.dumps({"op": "look", "volume": WEB}).encode()
    done = run("2", SOURCE, given=one + b"\n" + one)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)
