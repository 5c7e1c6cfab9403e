"""The scripts, and the hook before a move, in forks of this process: for what is only to be done before a test begins.

What takes most of a script's time in an emulated node is the start of Python and the import of pyzfs. Here both are
done once. What is tested is always a script that is started as Ganeti starts it.
"""

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import NoReturn

import libzfs_core  # noqa: F401 (so that no fork has to)
from conftest import PROVIDER, Disk, Done, command

from zfsext import hook, provider, seeding, verbs  # noqa: F401 (the same)


class Fork:
    """A script in a fork, which has begun."""

    def __init__(self, script: str, environ: Mapping[str, str], main: Callable[[], NoReturn]) -> None:
        outputs = [os.pipe(), os.pipe()]
        sys.stdout.flush()
        self._child = os.fork()
        if self._child == 0:
            _be(script, environ, main, [writer for _, writer in outputs])
        for _, writer in outputs:
            os.close(writer)
        self._readers = [reader for reader, _ in outputs]

    def finish(self) -> Done:
        said = []
        for reader in self._readers:  # what a script says fits into a pipe, so one can be read after the other
            with os.fdopen(reader) as file:
                said.append(file.read())
        _, status = os.waitpid(self._child, 0)
        return Done(os.waitstatus_to_exitcode(status), *said)


def begin(action: str, volume: str, variables: Mapping[str, str]) -> Fork:
    script, environ = command(action, volume, variables)
    return Fork(script, environ, provider.main)


def before_move(environ: Mapping[str, str]) -> Done:
    """Be the hook of failover and migrate, to its end."""
    return Fork("zfsext", environ, lambda: hook.main(hook.before_move)).finish()


class Quick(Disk):
    """A volume, and the scripts' code on it."""

    def call(self, action: str, **variables: str) -> Done:
        return begin(action, self.name, variables).finish()


def _be(script: str, environ: Mapping[str, str], main: Callable[[], NoReturn], outputs: list[int]) -> NoReturn:
    try:
        os.chdir(PROVIDER)
        os.umask(0o077)
        for number, output in enumerate([os.open(os.devnull, os.O_RDONLY), *outputs]):
            os.dup2(output, number)
        os.environ.clear()
        os.environ.update(environ)
        sys.argv = [script]
        main()
    except SystemExit as end:
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 70)
    except BaseException:  # noqa: BLE001 (of a fork of the test nothing may get out)
        os.write(2, traceback.format_exc().encode())
    os._exit(70)
