"""A pool that is suspended: no script hangs, no process piles up, and afterwards everything goes on."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Disk, finish, run, start, write_device

pytestmark = pytest.mark.zfs
SICK = "sick"
SECTORS = 256 << 11
STATE = Path(f"/proc/spl/kstat/zfs/{SICK}/state")


def load(table: str) -> None:
    run("dmsetup", "suspend", "--noflush", "--nolockfs", "sickvdev")
    run("dmsetup", "load", "sickvdev", "--table", table)
    run("dmsetup", "resume", "sickvdev")


@pytest.fixture
def vdev(tmp_path: Path, configured: Callable[[str], None]) -> Iterator[str]:
    """Give a pool whose only device can be made to fail, and let zfsext use it."""
    file = tmp_path / "vdev"
    run("truncate", "-s", "256M", str(file))
    loop = run("losetup", "--find", "--show", str(file))
    run("dmsetup", "create", "sickvdev", "--table", f"0 {SECTORS} linear {loop} 0")
    run("zpool", "create", "-o", "failmode=wait", SICK, "/dev/mapper/sickvdev")
    for name in (f"{SICK}/vm", f"{SICK}/vm-standby"):
        run("zfs", "create", "-o", "canmount=off", name)
    configured(f"[zfsext]\ndataset = {SICK}/vm\n")
    yield loop
    configured("[zfsext]\ndataset = zfs/vm\n")
    run("zpool", "destroy", SICK)
    run("dmsetup", "remove", "sickvdev")
    run("losetup", "-d", loop)


def suspend() -> None:
    """Make the device fail, and something be written, until the kernel says that the pool is suspended."""
    load(f"0 {SECTORS} error")
    run("sh", "-c", f"zfs set zfsext.test:poke=1 {SICK} >/dev/null 2>&1 &")
    deadline = time.monotonic() + 60
    while STATE.read_text(encoding="utf-8").strip() != "SUSPENDED":
        assert time.monotonic() < deadline, "the pool was not suspended"
        time.sleep(0.2)


def mend(loop: str) -> None:
    load(f"0 {SECTORS} linear {loop} 0")
    run("zpool", "clear", SICK)
    assert STATE.read_text(encoding="utf-8").strip() == "ONLINE"


VARIABLES = {
    "create": {"VOL_SIZE": "64"},
    "attach": {},
    "open": {"VOL_OPEN_EXCLUSIVE": "True"},
    "grow": {"VOL_SIZE": "64", "VOL_NEW_SIZE": "128"},
    "setinfo": {"VOL_METADATA": "originstname+web1"},
    "detach": {},
    "remove": {},
    "close": {},
    "verify": {},
}


@pytest.mark.proof
def test_every_script_comes_back_from_a_suspended_pool(vdev: str, disks: Callable[..., Disk]) -> None:
    disk, other = disks().create(), disks().create()
    write_device(disk.attach(), b"data")
    suspend()
    try:
        for action, variables in VARIABLES.items():
            if action == "detach":
                continue  # needs no pool to begin with: next test
            done = finish(start(action, disk.name, variables), timeout=60)
            assert done.code == 1, f"{action}: {done}"
            assert f"pool {SICK} is SUSPENDED" in done.err
            assert done.out == ""
        assert "zpool clear" in other.refused("attach")
    finally:
        mend(vdev)
    assert disk.attach()


def test_a_script_that_is_caught_ends_and_leaves_one_child_at_the_most(vdev: str, disks: Callable[..., Disk]) -> None:
    disk = disks().create()
    write_device(disk.attach(), b"data")
    # Everything is asked for while the device already fails and the pool has not noticed yet.
    load(f"0 {SECTORS} error")
    try:
        first = finish(start("setinfo", disk.name, VARIABLES["setinfo"]), timeout=120)
        assert first.code == 1
        assert "SUSPENDED" in first.err
        for action in ("setinfo", "grow", "remove", "detach"):
            done = finish(start(action, disk.name, VARIABLES[action]), timeout=60)
            assert done.code == 1, f"{action}: {done}"
            assert "SUSPENDED" in done.err
        stuck = run("sh", "-c", "ps -eo pid,args | grep '[e]xtstorage/zfsfile' || true").splitlines()
        assert len(stuck) <= 1, stuck
    finally:
        mend(vdev)
    deadline = time.monotonic() + 60
    while run("sh", "-c", "ps -eo pid,args | grep '[e]xtstorage/zfsfile' || true"):
        assert time.monotonic() < deadline, "a child outlived the trouble"
        time.sleep(0.2)
    disk.ok("setinfo", VOL_METADATA="originstname+web1")
    assert disk.property("zfsext:instance") if disk.exists() else True
    disk.ok("detach")
