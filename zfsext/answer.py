"""The other end of zfsext.peer: reads requests, a JSON line each, and answers them, until the other node hangs up.

Ganeti's ssh lets root of master candidates in, who could do anything here; the grammar is small all the same, and each
value is checked before it is used, so that a mistake of one version is an error of the next and not a command.
"""

import json
import os
import sys
from typing import Any, NoReturn

import zfsext
from zfsext import answers, config, trace
from zfsext.errors import BadInput, ZfsextError
from zfsext.peer import PROTOCOL
from zfsext.request import Say

ERRORS = (ZfsextError, OSError, ValueError, KeyError, TypeError, RecursionError)
LONGEST = 1 << 20  # bytes of a request


def main() -> NoReturn:
    """Be the command: answer PROTOCOL NODE."""
    out = os.dup(1)
    os.dup2(2, 1)  # nothing but answers goes to the other node
    if len(sys.argv) != 3:
        os.write(2, b"Usage: answer PROTOCOL NODE (run by zfsext on another node)\n")
        os._exit(2)
    _say(out, {"protocol": PROTOCOL, "version": zfsext.__version__})
    if sys.argv[1] != str(PROTOCOL):
        os._exit(3)
    pending = b""
    while True:
        while b"\n" not in pending:
            part = os.read(0, 65536)
            if not part or len(pending) > LONGEST:
                os._exit(0)
            pending += part
        line, _, pending = pending.partition(b"\n")
        streaming = False

        def said(told: dict[str, Any]) -> None:
            nonlocal streaming
            streaming = streaming or "ready" in told
            _say(out, told)

        answer = _answered(line, said)
        _say(out, answer)
        if streaming and "error" in answer:
            os._exit(1)  # in the middle of a stream, of which the rest is no request


def _answered(line: bytes, say: Say) -> dict[str, Any]:
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise BadInput("a request is an object")
        if request.get("verbose") is not True:
            return answers.answer(request, sys.argv[2], config.load(), say)
        with trace.collected() as typed:
            return {**_tried(request, say), "typed": typed}
    except ERRORS as error:
        return _told(error)


def _tried(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Answer, also with an error: who asked to see what is done is to see how far it came."""
    try:
        return answers.answer(request, sys.argv[2], config.load(), say)
    except ERRORS as error:
        return _told(error)


def _told(error: Exception) -> dict[str, Any]:
    words = str(error) if isinstance(error, (ZfsextError, OSError)) else f"{type(error).__name__}: {error}"
    return {"error": type(error).__name__, "text": words}


def _say(out: int, what: dict[str, Any]) -> None:
    data = json.dumps(what).encode() + b"\n"
    while data:
        data = data[os.write(out, data) :]
