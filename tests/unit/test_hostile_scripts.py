"""Hostile input to the scripts themselves: they say which value is bad, and until all is checked they do nothing.

The real scripts are run with it; and what they do is done again in a child of this process, in which the first file
made, lock taken, program run or process forked is the end.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hostile import CASES, EDITS, GOOD, GOOD_PARAMETERS, HOSTILE, PARAMETERS, TARGETS, Edit, edited, environment
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_hostile import CONFIG, bad_variables, good_parameter

# All that a script loads is loaded here, so that in the trap there is nothing left to load.
from zfsext import config, lock, provider, verbs

SCRIPTS = Path(__file__).parents[2] / "extstorage/zfsfile"
TRAPPED = 99
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

#: A script and which of its variables are edited; or create, a disk parameter ("" for an unknown one), a good value.
CALLS = [*TARGETS, *(("create", parameter) for parameter in PARAMETERS)]


def bad_call(call: tuple[str, tuple[str, ...]], edit: Edit) -> tuple[str, dict[bytes, bytes], set[str]]:
    """Return a script, an environment that it must refuse, and the words one of which it must begin with."""
    action, names = call
    if call in TARGETS:
        environ = environment(names, edit)
    else:
        name, good = names
        value = edited(good or "recordsize", edit)
        assume(value is not None)
        environ = GOOD | ({f"EXTP_{name.upper()}": str(value)} if name else {f"EXTP_{value}": "16K"})
    passed = {as_bytes(name): as_bytes(value) for name, value in environ.items()}
    assume(not any(b"=" in name for name in passed))  # it would end there, and be another variable
    environ = {os.fsdecode(name): os.fsdecode(value) for name, value in passed.items()}
    bad = bad_variables(action, environ)
    if action in ("create", "verify") and not bad:
        ours = {name[5:].lower(): value for name, value in environ.items() if name.startswith("EXTP_")}
        wrong = {name for name, value in ours.items() if not good_parameter(name, value)} - {"provider", "access"}
        bad = {name if name in GOOD_PARAMETERS else "unknown disk parameter" for name in wrong}
    assume(bad)
    return action, passed, bad


def as_bytes(value: str) -> bytes:
    """Return value as an environment has it: without NUL, and with bytes that are no UTF-8 for its surrogates."""
    return value.replace("\0", "").encode(errors="surrogatepass")


def assert_refused(action: str, said: bytes, bad: set[str]) -> None:
    (line,) = said.decode("ascii").splitlines()
    assert line.startswith(f"zfsext {action} ")
    assert len(line) < 800
    assert any(f": {name} " in line for name in bad)


@settings(HOSTILE, max_examples=min(300, CASES // 100))
@given(call=st.sampled_from(CALLS), edit=EDITS)
def test_a_script_names_the_bad_value_and_ends(call: tuple[str, tuple[str, ...]], edit: Edit) -> None:
    action, environ, bad = bad_call(call, edit)
    before = os.path.exists(lock.RUN)
    done = subprocess.run([SCRIPTS / action], env=environ, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b""), done.stderr
    assert_refused(action, done.stderr, bad)
    assert os.path.exists(lock.RUN) == before


def trap(event: str, arguments: tuple[object, ...]) -> None:
    """Let a file be read; end this process at anything else that Python reports."""
    if event == "open" and isinstance(arguments[2], int) and not arguments[2] & WRITING:
        return
    os.write(2, f"{event} {arguments}".encode("ascii", "backslashreplace"))
    os._exit(TRAPPED)


def trapped(action: str, environ: dict[bytes, bytes]) -> tuple[int, bytes]:
    """Do what the script does, in a child with the trap; return its exit status and what it said on stderr."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _be_the_script(action, environ, writer)
    os.close(writer)
    with open(reader, "rb") as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def _be_the_script(action: str, environ: dict[bytes, bytes], stderr: int) -> NoReturn:
    try:
        os.dup2(stderr, 2)
        sys.argv = [str(SCRIPTS / action)]
        os.environb.clear()
        os.environb.update(environ)
        sys.addaudithook(trap)
        provider.main()
    finally:
        os._exit(98)  # whatever it was, the tests are not to go on in the child


@pytest.fixture(scope="module", autouse=True)
def configured() -> Iterator[None]:
    """Give the scripts in the trap a configuration that is not this machine's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "load", lambda: CONFIG)
        yield


@settings(HOSTILE, max_examples=min(1000, CASES // 50))
@given(call=st.sampled_from(CALLS), edit=EDITS)
def test_nothing_is_done_before_the_check(call: tuple[str, tuple[str, ...]], edit: Edit) -> None:
    action, environ, bad = bad_call(call, edit)
    status, said = trapped(action, environ)
    assert status == 1, said
    assert_refused(action, said, bad)


@pytest.mark.parametrize("action", verbs.VERBS)
def test_the_trap_holds_who_passes_the_check(action: str) -> None:
    status, said = trapped(action, {as_bytes(name): as_bytes(value) for name, value in GOOD.items()})
    assert status == TRAPPED, said
    assert said.startswith(b"os.mkdir ('" + lock.RUN.encode())
