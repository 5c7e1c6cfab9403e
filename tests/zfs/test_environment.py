"""A script does its work and keeps Ganeti's contract whatever it is started in: variables, files, limits, directory."""

import fcntl
import os
import resource
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import ENVIRONMENT, PROVIDER, Disk, Done, command, left, loops, run

pytestmark = pytest.mark.zfs
LOGS = Path("/var/log/ganeti/extstorage")

#: A disk's whole life: each script in its turn, with what it needs.
LIFE: list[tuple[str, Mapping[str, str]]] = [
    ("verify", {}),
    ("create", {"VOL_SIZE": "64"}),
    ("attach", {}),
    ("open", {"VOL_OPEN_EXCLUSIVE": "True"}),
    ("setinfo", {"VOL_METADATA": "originstname+web1"}),
    ("grow", {"VOL_SIZE": "64", "VOL_NEW_SIZE": "96"}),
    ("snapshot", {"VOL_SNAPSHOT_SIZE": "96"}),
    ("close", {}),
    ("detach", {}),
    ("attach", {}),
    ("remove", {}),
]


def call(disk: Disk, action: str, variables: Mapping[str, str], **options: Any) -> Done:
    """Run a script with options of subprocess in place of what the node daemon gives it."""
    if action == "snapshot":
        variables = {**variables, "VOL_SNAPSHOT_NAME": f"{disk.name}.snap"}
    script, environ = command(action, disk.name, variables)
    bare = {name: value for name, value in environ.items() if name not in ENVIRONMENT}
    base = options.pop("env", ENVIRONMENT)
    given: dict[str, Any] = {"cwd": PROVIDER, "stdin": subprocess.DEVNULL, **options}
    done = subprocess.run(
        [script], env={**base, **bare}, check=False, capture_output=True, errors="surrogateescape", timeout=300, **given
    )
    return Done(done.returncode, done.stdout, done.stderr)


def kept(disk: Disk, action: str, done: Done) -> None:
    """Assert that the contract was kept: how it ended, and that only attach said anything, and that the device."""
    assert "Traceback" not in done.err, done.err
    assert "Warning" not in done.err, done.err
    assert done.code == 0, f"{action}: {done}"
    if action == "attach":
        assert done.out.startswith("/dev/loop")
        assert done.out.count("\n") == 1
        assert done.out.endswith("\n")
        assert any(line.split() == [done.out.strip(), str(disk.image)] for line in loops())
        assert disk.image.stat().st_mode & 0o777 == 0o600
    else:
        assert done.out == ""


def live(disk: Disk, **options: Any) -> None:
    for action, variables in LIFE:
        kept(disk, action, call(disk, action, variables, **options))
    assert not any(disk.name in line for line in loops())


@pytest.fixture
def trap(tmp_path: Path) -> tuple[str, Path]:
    """Give a directory with false programs, and the file that one of them makes if it is run."""
    mark = tmp_path / "ran"
    directory = tmp_path / "false"
    directory.mkdir()
    names = ("zfs", "zpool", "python3", "mount", "umount", "losetup", "modprobe", "sh", "ssh", "env", "ldconfig", "gcc")
    for name in names:
        program = directory / name
        program.write_text(f"#!/bin/sh\necho $0 >>{mark}\nexit 1\n", encoding="utf-8")
        program.chmod(0o755)
    return str(directory), mark


ENVIRONMENTS = {
    "nothing": {},
    "a path that leads nowhere": {"PATH": "/nonexistent"},
    "an empty path": {"PATH": ""},
    "a locale that there is not": {"LC_ALL": "xx_YY.KOI8-R", "LANG": "tlh_KX"},
    "a language without UTF-8": {"LANG": "de_DE.ISO-8859-1", "LC_CTYPE": "de_DE.ISO-8859-1"},
    "bytes that are no text": {"LANG": "\udcff\udcfe", "NAME\udcff": "\udcff"},
    "settings of Python": {
        "PYTHONPATH": "/nonexistent", "PYTHONHOME": "/nonexistent", "PYTHONSTARTUP": "/nonexistent",
        "PYTHONUTF8": "x", "PYTHONWARNINGS": "error", "PYTHONVERBOSE": "1", "PYTHONINSPECT": "1",
    },
    "settings of ZFS and of the linker": {"ZFS_COLOR": "1", "ZFS_ABORT": "1", "ZPOOL_SCRIPTS_AS_ROOT": "1"},
}  # fmt: skip


@pytest.mark.proof
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_disk_lives_whatever_the_variables_say(disks: Callable[..., Disk], name: str) -> None:
    live(disks(), env=ENVIRONMENTS[name])


def test_programs_that_stand_first_in_the_path_are_never_run(
    disks: Callable[..., Disk], trap: tuple[str, Path]
) -> None:
    directory, mark = trap
    live(disks(), env={"PATH": f"{directory}:{ENVIRONMENT['PATH']}"})
    assert not mark.exists(), mark.read_text(encoding="utf-8")


def closing(*numbers: int) -> Callable[[], None]:
    def close() -> None:
        for number in numbers:
            os.close(number)

    return close


@pytest.mark.proof
@pytest.mark.parametrize("number", [0, 2])
def test_a_disk_lives_without_stdin_or_stderr(disks: Callable[..., Disk], number: int) -> None:
    live(disks(), preexec_fn=closing(number))


@pytest.mark.parametrize("numbers", [(1,), (0, 1, 2)])
def test_without_stdout_attach_fails_or_says_nothing_and_no_other_file_is_written_to(
    disks: Callable[..., Disk], numbers: tuple[int, ...]
) -> None:
    """A file that a script opens gets the lowest number that is free, so what it says could end up in a disk."""
    disk = disks()
    for action, variables in LIFE[:-1]:
        done = call(disk, action, variables, preexec_fn=closing(*numbers))
        assert "Traceback" not in done.err, done.err
        assert done.out == ""
        if action != "attach":
            assert done.code == 0, f"{action}: {done}"
        if action == "attach":
            assert done.code == 1, "attach has not said which device it is"
            assert disk.image.read_bytes() == bytes(disk.image.stat().st_size)
    for name in os.listdir("/run/zfsext"):
        text = Path("/run/zfsext", name).read_text(encoding="utf-8")
        assert "zfsext " not in text, f"{name}: {text}"


@pytest.mark.proof
def test_a_reader_that_is_slow_gets_the_whole_answer(disk: Disk) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    filled = os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    script, environ = command("attach", disk.name, {})
    with subprocess.Popen([script], env=environ, stdout=writer, stderr=subprocess.PIPE, text=True) as process:
        os.close(writer)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        with os.fdopen(reader, "rb") as file:
            said = file.read()[filled:].decode()
        assert process.wait(timeout=60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert said == f"{disk.attach()}\n"


@pytest.mark.proof
def test_nobody_who_reads_is_an_error_without_a_traceback(disk: Disk) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    script, environ = command("attach", disk.name, {})
    done = subprocess.run([script], env=environ, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert "Broken pipe" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.proof
def test_a_disk_lives_with_sixteen_files_at_the_most(disks: Callable[..., Disk]) -> None:
    live(disks(), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16)))


@pytest.mark.proof
def test_too_few_files_are_an_error_without_a_traceback(
    disks: Callable[..., Disk], before: dict[str, set[str]]
) -> None:
    disk = disks()
    for limit in range(4, 12):
        done = call(disk, "create", {"VOL_SIZE": "64"}, preexec_fn=limited(limit))
        assert "Traceback" not in done.err, f"{limit}: {done}"
        disk.ok("remove")
    assert left() == before


def limited(files: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


@pytest.mark.parametrize("mask", [0, pytest.param(0o077, marks=pytest.mark.proof)])
def test_a_disk_is_roots_alone_whatever_the_umask(disks: Callable[..., Disk], mask: int) -> None:
    disk = disks()
    for action, variables in LIFE[:3]:
        kept(disk, action, call(disk, action, variables, umask=mask))
    assert Path(disk.directory).stat().st_mode & 0o777 == 0o700
    for name in os.listdir("/run/zfsext"):
        assert Path("/run/zfsext", name).stat().st_mode & 0o022 == 0, name


@pytest.mark.proof
def test_a_disk_lives_without_the_directory_of_the_logs(disks: Callable[..., Disk]) -> None:
    """Ganeti runs nothing without it; by hand the scripts do, and verify tells."""
    away = LOGS.with_name("extstorage.away")
    LOGS.rename(away)
    try:
        disk = disks()
        done = call(disk, "verify", {})
        assert done.code == 1
        assert str(LOGS) in done.err
        for action, variables in LIFE[1:]:
            kept(disk, action, call(disk, action, variables))
    finally:
        away.rename(LOGS)


@pytest.mark.proof
def test_a_disk_lives_in_a_directory_that_is_gone(disks: Callable[..., Disk], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    def vanish() -> None:
        if gone.exists():
            os.rmdir(gone)

    disk = disks()
    for action, variables in LIFE:
        gone.mkdir(exist_ok=True)
        kept(disk, action, call(disk, action, variables, cwd=gone, preexec_fn=vanish))
    assert run("pwd")
