"""Others at the same time: snapshot tools, somebody in the directory, and scripts on the same disk."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import (
    MIB,
    PARENT,
    STANDBY,
    Disk,
    datasets,
    finish,
    loops,
    read_device,
    run,
    start,
    together,
    write_device,
)

pytestmark = pytest.mark.zfs
DATA = b"acknowledged".ljust(MIB, b".")

SNAPSHOTS = 'n=0; while :; do n=$((n+1)); zfs snapshot "$1@other-$n" 2>/dev/null; done'
HOLDS = (
    'n=0; while :; do n=$((n+1)); zfs snapshot "$1@held-$n" 2>/dev/null && zfs hold other "$1@held-$n" 2>/dev/null; '
    'zfs release other "$1@held-$n" 2>/dev/null; done'
)
CLONES = (
    'n=0; while :; do n=$((n+1)); zfs snapshot "$1@cloned-$n" 2>/dev/null && '
    'zfs clone -o canmount=off "$1@cloned-$n" "zfs/clone-$n" 2>/dev/null; zfs destroy "zfs/clone-$n" 2>/dev/null; done'
)


@contextmanager
def meanwhile(loop: str, dataset: str) -> Iterator[None]:
    """Let somebody else be at the dataset all the while."""
    other = subprocess.Popen(["sh", "-c", loop, "sh", dataset], start_new_session=True)
    time.sleep(1)
    yield
    os.killpg(other.pid, 15)
    other.wait()
    deadline = time.monotonic() + 60
    while run("sh", "-c", "pgrep -x zfs || true"):  # the last command of the loop
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for name in datasets("zfs"):
        if name.startswith("zfs/clone-"):
            run("zfs", "destroy", name)
        if name.startswith(f"{dataset}@held-"):
            run("zfs", "release", "other", name, check=False)


def foreign(dataset: str) -> dict[str, str]:
    """Return the snapshots of others, with their guids."""
    listed = run("zfs", "list", "-Hp", "-t", "snapshot", "-d", "1", "-o", "name,guid", dataset)
    found = dict(line.split("\t") for line in listed.splitlines())
    return {name: guid for name, guid in found.items() if not name.endswith("@zfsext-export")}


VERBS: dict[str, Mapping[str, str]] = {
    "attach": {},
    "open": {"VOL_OPEN_EXCLUSIVE": "True"},
    "setinfo": {"VOL_METADATA": "originstname+web1"},
    "grow": {"VOL_SIZE": "64", "VOL_NEW_SIZE": "80"},
    "snapshot": {"VOL_SNAPSHOT_NAME": "DISK.snap", "VOL_SNAPSHOT_SIZE": "64"},
    "detach": {},
}


@pytest.mark.proof
@pytest.mark.parametrize("loop", [SNAPSHOTS, HOLDS, CLONES], ids=["snapshots", "holds", "clones"])
def test_each_script_goes_on_beside_a_snapshot_tool(disk: Disk, loop: str) -> None:
    write_device(disk.attach(), DATA)
    disk.ok("detach")
    seen: dict[str, str] = {}
    with meanwhile(loop, disk.dataset):
        for action, variables in VERBS.items():
            disk.ok(action, **{name: value.replace("DISK", disk.name) for name, value in variables.items()})
            assert seen.items() <= foreign(disk.dataset).items(), action
            seen = foreign(disk.dataset)
    assert seen
    assert read_device(disk.attach(), MIB) == DATA


@pytest.mark.parametrize(
    "loop",
    [
        pytest.param(SNAPSHOTS, id="snapshots"),
        pytest.param(HOLDS, id="holds", marks=pytest.mark.proof),
        pytest.param(CLONES, id="clones", marks=pytest.mark.proof),
    ],
)
def test_a_remove_beside_a_snapshot_tool_is_done_or_says_what_stops_it(disk: Disk, loop: str) -> None:
    disk.attach()
    with meanwhile(loop, disk.dataset):
        for _ in range(5):
            done = disk.call("remove")
            assert "Traceback" not in done.err
            if done.code == 0:
                break
            assert f"{disk.dataset}@" in done.err, done
    disk.ok("remove")
    assert not disk.exists()


@contextmanager
def sitting_in(directory: str, seconds: float) -> Iterator["subprocess.Popen[bytes]"]:
    sitter = subprocess.Popen(["sleep", str(seconds)], cwd=directory)
    yield sitter
    sitter.kill()
    sitter.wait()


def remove_as_ganeti_does(disk: Disk) -> tuple[int, list[str]]:
    """Repeat a failing remove every 3 s for 30 s (lib/backend.py: BlockdevRemove); returns the last code, all words."""
    deadline = time.monotonic() + 30
    said: list[str] = []
    while True:
        done = disk.call("remove")
        if done.code == 0 or time.monotonic() >= deadline:
            return done.code, said
        said.append(done.err)
        time.sleep(3)


@pytest.mark.proof
def test_a_disk_that_stays_busy_is_not_touched_and_can_be_removed_later(disk: Disk) -> None:
    write_device(disk.attach(), DATA)
    run("zfs", "snapshot", f"{disk.dataset}@other")
    with sitting_in(disk.directory, 600) as sitter:
        code, said = remove_as_ganeti_does(disk)
        assert code == 1
        assert f"pid {sitter.pid} (sleep)" in said[-1]
        assert f"{disk.dataset}@other" in datasets()
        assert read_device(disk.attach(), MIB) == DATA
    disk.ok("remove")


@pytest.mark.proof
@pytest.mark.parametrize("action", ["attach", "grow", "snapshot", "setinfo", "create"])
def test_a_remove_at_the_same_time_leaves_nothing_half(disk: Disk, action: str) -> None:
    variables = {name: value.replace("DISK", disk.name) for name, value in VERBS.get(action, {}).items()}
    other, removed = together(
        [start(action, disk.name, variables or {"VOL_SIZE": "64"}), start("remove", disk.name, {})]
    )
    assert removed.code == 0, removed
    assert other.code == 0 or "is not on this node" in other.err, other
    if disk.exists():
        assert action == "create", "only a create that came after the remove makes a disk"
    assert not any(disk.name in line for line in loops()) or disk.exists()
    disk.ok("remove")


@pytest.mark.proof
def test_a_snapshot_and_the_remove_of_its_export_do_not_wait_for_each_other(disk: Disk) -> None:
    export = f"{disk.name}.snap"
    variables = {"VOL_SNAPSHOT_NAME": export, "VOL_SNAPSHOT_SIZE": "64"}
    disk.attach()
    for _ in range(2):
        scripts = [start("snapshot", disk.name, variables), start("remove", export, {}), start("remove", export, {})]
        for done in together(scripts):
            assert done.code == 0, done
    disk.ok("remove")
    Disk(export).ok("remove")


def test_who_waits_says_for_whom(disk: Disk) -> None:
    first = start("snapshot", disk.name, {"VOL_SNAPSHOT_NAME": f"{disk.name}.snap", "VOL_SNAPSHOT_SIZE": "64"})
    lock = Path(f"/run/zfsext/{disk.name}.lock")
    deadline = time.monotonic() + 30
    while "snapshot" not in lock.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline
    second = disk.call("grow", VOL_SIZE="64", VOL_NEW_SIZE="96")
    assert finish(first).code == 0
    assert second.code == 0
    assert "grow waits for snapshot (pid " in second.err


@pytest.mark.proof
def test_a_missing_loop_control_is_told(disk: Disk) -> None:
    control = Path("/dev/loop-control")
    control.rename("/dev/loop-control.away")
    try:
        assert "modprobe loop" in disk.refused("attach")
    finally:
        Path("/dev/loop-control.away").rename(control)
    assert disk.attach()


@pytest.mark.proof
def test_a_parent_that_is_renamed_meanwhile_is_no_missing_disk(disk: Disk) -> None:
    stop = threading.Event()

    def rename() -> None:
        while not stop.is_set():
            run("zfs", "rename", PARENT, f"{PARENT}-away", check=False)  # which an attached disk does not let happen
            run("zfs", "rename", "-u", f"{PARENT}-away", PARENT, check=False)

    other = threading.Thread(target=rename)
    other.start()
    try:
        for _ in range(5):
            done = disk.call("attach")
            assert "is not on this node" not in done.err, done
            assert "Traceback" not in done.err
            disk.call("detach")
    finally:
        stop.set()
        other.join()
        run("zfs", "rename", "-u", f"{PARENT}-away", PARENT, check=False)
    assert disk.attach()
    assert f"{STANDBY}/{disk.name}" not in datasets()
