"""The command zfsext, run in this process."""

import io
from contextlib import redirect_stderr, redirect_stdout

import pytest

from zfsext import cli


class run:  # noqa: N801
    """How the command ended, and what it said. Not click's own CliRunner: 8.1 and 8.2 tell stderr in different ways."""

    def __init__(self, *arguments: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            cli.commands(arguments, prog_name="zfsext")
        self.exit_code = ended.value.code
        self.stdout, self.stderr = out.getvalue(), err.getvalue()
