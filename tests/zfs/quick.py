"""The scripts in forks of this process, for what a test only needs to be done before it begins.

What takes most of a script's time in an emulated node is the start of Python and the import of pyzfs. Here both are
done once. What is tested is always a script that is started as Ganeti starts it.
"""

import os
import sys
import traceback
from collections.abc import Mapping
from typing import NoReturn

import libzfs_core  # noqa: F401 (so that no fork has to)
from conftest import PROVIDER, Disk, Done, command

from zfsext import provider


class Quick(Disk):
    """A volume, and the scripts' code on it."""

    def call(self, action: str, **variables: str) -> Done:
        outputs = [os.pipe(), os.pipe()]
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _be(action, self.name, variables, [writer for _, writer in outputs])
        said = []
        for _, writer in outputs:
            os.close(writer)
        for reader, _ in outputs:  # what a script says fits into a pipe, so one can be read after the other
            with os.fdopen(reader) as file:
                said.append(file.read())
        _, status = os.waitpid(child, 0)
        return Done(os.waitstatus_to_exitcode(status), *said)


def _be(action: str, volume: str, variables: Mapping[str, str], outputs: list[int]) -> NoReturn:
    try:
        script, environ = command(action, volume, variables)
        os.chdir(PROVIDER)
        os.umask(0o077)
        for number, output in enumerate([os.open(os.devnull, os.O_RDONLY), *outputs]):
            os.dup2(output, number)
        os.environ.clear()
        os.environ.update(environ)
        sys.argv = [script]
        provider.main()
    except BaseException:  # noqa: BLE001 (of a fork of the test nothing may get out)
        os.write(2, traceback.format_exc().encode())
    os._exit(70)
