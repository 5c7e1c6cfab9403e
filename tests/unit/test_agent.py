"""A guest's agent, played by the test: what is asked of it, and that a guest is thawed whatever it says."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from zfsext import agent, command, freeze
from zfsext.errors import Busy, Refused, Speechless, SystemRefused

Answer = Callable[[str], Any]


class Guest:
    """What listens on the agent's socket; answers says what each command returns (None: nothing, ever)."""

    def __init__(self, path: str) -> None:
        self.commands: list[str] = []
        self.frozen = False
        self.before = b""
        self.mute: set[str] = set()
        self.errors: dict[str, str] = {}
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen(5)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._socket.accept()
            except OSError:
                return
            with line, line.makefile("rb") as heard:
                line.sendall(self.before)
                for text in heard:
                    command = json.loads(text.lstrip(b"\xff"))
                    self._answer(line, command["execute"], command.get("arguments", {}))

    def _answer(self, line: socket.socket, command: str, arguments: dict[str, Any]) -> None:
        if command == "guest-sync-delimited":
            line.sendall(b"\xff" + json.dumps({"return": arguments["id"]}).encode() + b"\n")
            return
        self.commands.append(command)
        if command in self.mute:
            return
        if command in self.errors:
            line.sendall(json.dumps({"error": {"desc": self.errors[command]}}).encode() + b"\n")
            return
        returned: Any = {}
        if command == "guest-fsfreeze-status":
            returned = "frozen" if self.frozen else "thawed"
        elif command == "guest-fsfreeze-freeze":
            self.frozen, returned = True, 2
        elif command == "guest-fsfreeze-thaw":
            returned, self.frozen = 2 if self.frozen else 0, False
        line.sendall(json.dumps({"return": returned}).encode() + b"\n")


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guest]:
    monkeypatch.setattr(agent, "SOCKETS", str(tmp_path))
    monkeypatch.setattr(agent, "PATIENCE", 0.5)
    made = Guest(str(tmp_path / "web1.qga"))
    yield made
    made.close()


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Return the commands of systemd's that were run."""
    commands: list[tuple[str, ...]] = []

    def run(*words: str) -> "CompletedProcess[str]":
        commands.append(words)
        return CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(command, "run", run)
    return commands


def test_an_answer_comes_after_what_an_earlier_conversation_left(guest: Guest) -> None:
    guest.before = b'{"return": "old"}\n{"return'
    assert agent.ask(agent.path("web1"), "guest-fsfreeze-status") == "thawed"


def test_what_the_agent_does_not_do_is_said(guest: Guest) -> None:
    guest.errors["guest-fsfreeze-freeze"] = "freezing is disabled"
    with pytest.raises(Refused, match="freezing is disabled"):
        agent.ask(agent.path("web1"), "guest-fsfreeze-freeze")


def test_silence_is_an_error(guest: Guest) -> None:
    guest.mute.add("guest-ping")
    with pytest.raises(Speechless, match="qemu-guest-agent"):
        agent.ask(agent.path("web1"), "guest-ping", 0.3)


def test_without_a_socket_it_is_said_what_to_set(guest: Guest) -> None:  # noqa: ARG001
    with pytest.raises(Refused, match="use_guest_agent=true"):
        agent.ask(agent.path("web2"), "guest-ping")


def test_the_watchdog_is_there_before_the_guest_is_frozen_and_goes_after(
    guest: Guest, ran: list[tuple[str, ...]]
) -> None:
    with freeze.frozen(freeze.Wish("web1", 7)) as stillness:
        assert guest.frozen
        ((name, *words),) = ran
        assert name == "systemd-run"
        assert {"--unit=zfsext-thaw-web1", "--on-active=7s", agent.path("web1")} <= set(words)
    assert not guest.frozen
    assert stillness.milliseconds >= 0
    assert ran[-1] == ("systemctl", "stop", "zfsext-thaw-web1.timer")


def test_a_guest_is_thawed_when_what_was_to_be_done_fails(guest: Guest, ran: list[tuple[str, ...]]) -> None:
    with pytest.raises(ZeroDivisionError), freeze.frozen(freeze.Wish("web1")):
        os.write(-1 // 0, b"")
    assert not guest.frozen
    assert ran[-1][0] == "systemctl"


def test_without_a_watchdog_nothing_is_frozen(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "run", lambda *words: CompletedProcess(words, 1, "", "no systemd"))
    with pytest.raises(SystemRefused, match="no systemd"), freeze.frozen(freeze.Wish("web1")):
        pass
    assert "guest-fsfreeze-freeze" not in guest.commands


def test_one_that_somebody_else_froze_is_left_alone(guest: Guest, ran: list[tuple[str, ...]]) -> None:
    guest.frozen = True
    with pytest.raises(Busy, match="frozen already"), freeze.frozen(freeze.Wish("web1")):
        pass
    assert guest.frozen
    assert ran == []


def test_one_that_was_thawed_meanwhile_is_no_guest_at_rest(guest: Guest, ran: list[tuple[str, ...]]) -> None:
    with pytest.raises(Refused, match="did not stand still"), freeze.frozen(freeze.Wish("web1")):
        guest.frozen = False
    assert ran[-1][0] == "systemctl"


def test_the_watchdog_goes_on_if_the_guest_does_not_answer_at_the_end(guest: Guest, ran: list[tuple[str, ...]]) -> None:
    with pytest.raises(Speechless, match="systemd thaws"), freeze.frozen(freeze.Wish("web1")):
        guest.mute.add("guest-fsfreeze-thaw")
    assert [each[0] for each in ran] == ["systemd-run"]
