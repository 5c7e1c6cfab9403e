"""A guest at rest for the moment of a snapshot: its file systems are frozen through its agent, and thawed in any case.

Before the freeze systemd is told to thaw the guest after so many seconds, on the node that the guest runs on: whoever
is killed, stopped or hangs, and whatever connection is cut meanwhile, the guest does not stand still for longer.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from zfsext import agent, command, contract, thaw
from zfsext.errors import BadInput, Busy, Refused, Speechless, SystemRefused, ZfsextError

THAW = "/usr/libexec/zfsext/thaw"
#: How long a guest may stand still, in seconds, unless something else is asked for.
SECONDS = 30
LONGEST = 600


class Wish(NamedTuple):
    """That an instance is to be frozen, and after how many seconds it is thawed whatever happens."""

    instance: str
    seconds: int = SECONDS


class Stillness:
    """How long the guest stood still, in milliseconds, once it does so no more."""

    __slots__ = ("milliseconds",)

    def __init__(self) -> None:
        self.milliseconds = 0


def wish(instance: object, seconds: object) -> Wish:
    """Return the wish. Raises BadInput for what is no instance's name, or a number of seconds that cannot be meant."""
    name = contract.instance_name(instance)
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds <= LONGEST:
        raise BadInput(f"a guest can be thawed after 1 to {LONGEST} seconds")
    return Wish(name, seconds)


@contextmanager
def frozen(wish: Wish) -> Iterator[Stillness]:
    """Freeze the instance's file systems, and thaw them at the end.

    Raises Refused, Busy or Speechless, with the guest as it was, if it cannot be frozen; Refused also at the end if it
    was thawed before: what was done meanwhile was not done at rest.
    """
    socket = agent.path(wish.instance)
    if agent.ask(socket, "guest-fsfreeze-status") != "thawed":
        raise Busy(f"{wish.instance} is frozen already, by somebody else: see who, then 'zfsext snapshot' again")
    stillness = Stillness()
    unit = _watch(socket, wish)
    began = time.monotonic()
    try:
        if not agent.ask(socket, "guest-fsfreeze-freeze", wish.seconds):
            raise Refused("the guest's agent has found no file system that it can freeze: leave --quiesce away")
        yield stillness
    finally:
        thawed = _thaw(socket)
        stillness.milliseconds = int((time.monotonic() - began) * 1000)
        if thawed is not None:  # else the watchdog goes on trying
            _stop(unit)
    if thawed is None:
        raise Speechless(
            f"the guest's agent did not answer at the end. systemd thaws the guest within {wish.seconds} s; what was "
            "taken is at rest all the same"
        )
    if not thawed:
        raise Refused(
            f"the guest did not stand still for all of it: it was thawed after {wish.seconds} s. What was taken is "
            "what a power cut would leave; --thaw-after gives it more time"
        )


def _thaw(socket: str) -> int | None:
    """Thaw, and return how many file systems stood still until now; None if the agent does not say."""
    try:
        return int(agent.ask(socket, "guest-fsfreeze-thaw", agent.PATIENCE))
    except (ZfsextError, ValueError, TypeError):
        return None


def _watch(socket: str, wish: Wish) -> str:
    """Have systemd thaw the guest after so many seconds, and return the unit that does."""
    unit = f"zfsext-thaw-{wish.instance.replace('+', '_')}"
    done = command.run(
        *("systemd-run", "--collect", "--quiet", f"--unit={unit}", f"--on-active={wish.seconds}s"),
        *("--timer-property=AccuracySec=100ms", "--description=thaw a guest that zfsext froze", THAW, socket),
        *(str(os.getpid()), thaw.started(os.getpid())),
    )
    if done.returncode:
        if "already" in done.stderr:
            raise Busy(f"{wish.instance} is just being frozen by another zfsext: try again")
        raise SystemRefused(
            f"nobody would thaw the guest if zfsext were killed, so it is not frozen: {done.stderr.strip()}"
        )
    return unit


def _stop(unit: str) -> None:
    command.run("systemctl", "stop", f"{unit}.timer")
