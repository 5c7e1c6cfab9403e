"""What a disk is made of is root's alone, and the scripts trust no place that others can write to."""

import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from conftest import PROVIDER, RUN, Disk, command, datasets, loops, mounts

pytestmark = pytest.mark.zfs
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
ASIDE = f"{RUN}.aside"
PRECIOUS = "somebody else's\n"
#: The ten scripts with variables that each would work with.
ACTIONS: Mapping[str, Mapping[str, str]] = {
    "create": {"VOL_SIZE": "64"},
    "attach": {},
    "open": {"VOL_OPEN_EXCLUSIVE": "True"},
    "grow": {"VOL_SIZE": "64", "VOL_NEW_SIZE": "128"},
    "setinfo": {"VOL_METADATA": "originstname+web1"},
    "snapshot": {"VOL_SNAPSHOT_SIZE": "64"},
    "close": {},
    "verify": {},
    "detach": {},
    "remove": {},
}
#: The calls that give a name to something, take one away, or change who may use it.
CALLS = (
    "openat,?open,?creat,?mkdir,mkdirat,?mknod,mknodat,?rename,renameat,renameat2,?unlink,unlinkat,?rmdir,"
    "?chmod,fchmodat,?symlink,symlinkat,?link,linkat"
)
CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (\d+)")
#: A path as strace -y shows it, after the directory that it is relative to.
PATH = re.compile(r'(?:AT_FDCWD<([^>]*)>, |\d+<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')


def variables(action: str, volume: str) -> dict[str, str]:
    given = dict(ACTIONS[action])
    if action == "snapshot":
        given["VOL_SNAPSHOT_NAME"] = f"{volume}.snap"
    return given


def kernels() -> tuple[set[str], set[str], set[str]]:
    """Return what the node has of disks besides the notes, whose directory is what is being played with."""
    return datasets(), loops(), mounts()


@pytest.fixture
def run_is() -> Iterator[Callable[[str], Path]]:
    """Put something else in the place of the directory of the locks, and give a directory that must stay empty."""
    elsewhere = Path(f"{RUN}.elsewhere")

    def replace(kind: str) -> Path:
        elsewhere.mkdir(mode=0o700)
        os.rename(RUN, ASIDE)
        if kind == "a link":
            os.symlink(elsewhere, RUN)
            return elsewhere
        if kind == "a file":
            Path(RUN).touch(mode=0o600)
            return elsewhere
        os.mkdir(RUN)
        os.chmod(RUN, {"writable by its group": 0o720, "open to all": 0o777}.get(kind, 0o700))
        if kind == "another's":
            os.chown(RUN, pwd.getpwnam("nobody").pw_uid, -1)
        return Path(RUN)

    yield replace
    if os.path.isdir(RUN) and not os.path.islink(RUN):
        shutil.rmtree(RUN)  # also what a script that should have refused has made in there
    else:
        os.unlink(RUN)
    shutil.rmtree(elsewhere)
    os.rename(ASIDE, RUN)


@pytest.mark.parametrize(
    "kind",
    [
        "a link",
        pytest.param("a file", marks=pytest.mark.proof),
        "another's",
        pytest.param("writable by its group", marks=pytest.mark.proof),
        pytest.param("open to all", marks=pytest.mark.proof),
    ],
)
def test_a_directory_of_locks_that_others_could_write_to_is_refused_before_anything_is_touched(
    run_is: Callable[[str], Path], kind: str
) -> None:
    disk = Disk("00000000-0000-4000-8000-00000000aaaa.ext.disk0")
    there = kernels()
    empty = run_is(kind)
    for action in ACTIONS:
        said = disk.refused(action, **variables(action, disk.name))
        assert f"{RUN} must be a directory that only root can enter" in said, f"{action}: {said}"
        assert "Traceback" not in said
        assert not os.listdir(empty), f"{action} made {os.listdir(empty)}"
    assert kernels() == there


@pytest.mark.parametrize("there", [True, pytest.param(False, marks=pytest.mark.proof)])
def test_a_lock_that_is_a_link_is_not_followed(disk: Disk, tmp_path: Path, there: bool) -> None:
    target = tmp_path / "target"
    if there:
        target.write_text(PRECIOUS, encoding="utf-8")
    lock = Path(f"{RUN}/{disk.name}.lock")
    lock.unlink()
    lock.symlink_to(target)
    before = kernels()
    try:
        for action in ACTIONS:
            said = disk.refused(action, **variables(action, disk.name))
            assert f"{lock} is a link" in said, f"{action}: {said}"
            assert f"rm {lock}" in said
            assert target.exists() == there, action
            assert not there or target.read_text(encoding="utf-8") == PRECIOUS
    finally:
        lock.unlink()
    assert kernels() == before
    assert disk.attach()


def of_the_disk(disk: Disk) -> list[str]:
    """Return every path of the disk and its export that there is: locks, notes, images, and what they are in."""
    export = f"{RUN}/{disk.name}.snap"
    found = [RUN, *(f"{RUN}/{name}" for name in os.listdir(RUN) if name.startswith(disk.name))]
    for directory in (disk.directory, export):
        found += [directory, *(f"{directory}/{name}" for name in os.listdir(directory))]
    return sorted(set(found))


def masked(mask: int, disk: Disk, action: str) -> str:
    """Run a script with this umask, which the node daemon's own would hide, and return what it said."""
    script, environ = command(action, disk.name, variables(action, disk.name))
    done = subprocess.run([script], env=environ, umask=mask, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{action}: {done}"
    return done.stdout.strip()


@pytest.mark.parametrize("mask", [0o000, pytest.param(0o077, marks=pytest.mark.proof)])
def test_all_that_a_disk_is_made_of_is_roots_alone(disks: Callable[..., Disk], mask: int) -> None:
    disk = disks()
    export = Disk(f"{disk.name}.snap")
    for action in ("create", "attach", "setinfo", "snapshot", "grow"):
        masked(mask, disk, action)
    masked(mask, export, "attach")
    paths = of_the_disk(disk)
    assert {str(disk.image), f"{RUN}/{disk.name}.lock", f"{RUN}/{disk.name}.attached"} < set(paths)
    for path in paths:
        status = os.lstat(path)
        assert (status.st_uid, stat.S_IMODE(status.st_mode) & 0o077) == (0, 0), f"{path}: {status.st_mode:o}"
    assert stat.S_IMODE(disk.image.stat().st_mode) == 0o600
    for path in (*paths, disk.attach()):
        done = subprocess.run([*NOBODY, "head", "-c", "1", path], check=False, capture_output=True)
        assert done.returncode, f"nobody can read {path}"
        assert not done.stdout
    disk.ok("detach")
    assert not os.listdir(disk.directory)
    assert stat.S_IMODE(os.lstat(disk.directory).st_mode) & 0o022 == 0, "others could hide the image"
    export.ok("remove")


@pytest.mark.proof
@pytest.mark.parametrize("name", ["{}.lock", "{}.attached", "{}.attached~", "{}.new"])
def test_others_can_put_no_link_where_a_note_or_a_lock_will_be(disks: Callable[..., Disk], name: str) -> None:
    path = f"{RUN}/{name.format(disks().name)}"
    done = subprocess.run([*NOBODY, "ln", "-s", "/etc/passwd", path], check=False, capture_output=True, text=True)
    assert "Permission denied" in done.stderr
    assert not os.path.lexists(path)


@pytest.mark.parametrize("action", [pytest.param(name, marks=[] if name == "attach" else [pytest.mark.proof])
                                    for name in ACTIONS])  # fmt: skip
def test_a_script_that_nobody_runs_says_that_it_is_for_root(disk: Disk, action: str) -> None:
    disk.attach()
    before = kernels()
    script, environ = command(action, disk.name, variables(action, disk.name))
    done = subprocess.run([*NOBODY, script], env=environ, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "only root" in done.stderr
    assert "Traceback" not in done.stderr
    assert kernels() == before


def created(trace: str) -> set[str]:
    """Return each path that a traced call which succeeded made, renamed, removed or gave a mode to."""
    paths = set()
    for line in trace.splitlines():
        call = CALL.match(line)
        if call is None or (call[1] in ("open", "openat") and "O_CREAT" not in call[2]):
            continue
        if call[1] in ("symlink", "symlinkat"):
            raise AssertionError(f"a link was made: {line}")
        for at, beside, path in PATH.findall(call[2]):
            paths.add(os.path.normpath(os.path.join(at or beside or PROVIDER, path)))
    return paths


@pytest.mark.proof
def test_a_whole_life_makes_nothing_outside_of_roots_own_places(disks: Callable[..., Disk], tmp_path: Path) -> None:
    disks().create().ok("remove")  # what Python compiles of a library that was just copied here is no part of this
    disk = disks()
    export = Disk(f"{disk.name}.snap")
    steps = [(disk, action) for action in ACTIONS if action != "remove"]
    steps += [(export, "attach"), (export, "detach"), (export, "remove"), (disk, "remove")]
    paths = set()
    for number, (volume, action) in enumerate(steps):
        trace = tmp_path / f"{number}.trace"
        script, environ = command(action, volume.name, variables(action, volume.name))
        watched = ["strace", "-f", "-y", "-s", "4096", "-o", str(trace), "-e", f"trace={CALLS}", script]
        done = subprocess.run(watched, env=environ, cwd=PROVIDER, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{action}: {done}"
        paths |= created(trace.read_text(encoding="utf-8"))
    assert {str(disk.image).replace(disk.directory, f"{RUN}/{disk.name}.new"), f"{RUN}/{disk.name}.lock"} <= paths
    own = (f"{RUN}/{disk.name}", f"{disk.directory}/")
    elsewhere = {path for path in paths if path not in (RUN, disk.directory) and not path.startswith(own)}
    assert {path for path in elsewhere if os.path.dirname(path) != "/dev"} == set()
    for path in paths - elsewhere:
        for above in Path(path).parents:
            assert not above.exists() or not above.stat().st_mode & 0o022, f"others can write to {above}"
