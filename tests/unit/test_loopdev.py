"""Loop devices, real ones, on plain files: they need root and a kernel that has them, but no ZFS."""

import fcntl
import mmap
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zfsext import attachment, holders, image, loopdev
from zfsext.errors import Busy, SystemRefused

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists(loopdev.CONTROL), reason="loop devices need root and the loop module"
)
MIB = 1 << 20


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    image.create(str(tmp_path), 8)
    path = tmp_path / image.NAME
    yield path
    for loop in loopdev.on(str(path)):
        subprocess.run(["losetup", "-d", loop.path], check=True)


@contextmanager
def user_of(device: str, seconds: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Let a process of its own have the device open for so long."""
    with open(device, "rb") as opened:
        user = subprocess.Popen(["sleep", seconds], stdin=opened)
    yield user
    user.kill()
    user.wait()


@pytest.fixture
def device(file: Path) -> str:
    return set_up(file)


def set_up(file: Path) -> str:
    descriptor = image.open_checked(str(file.parent))
    try:
        return loopdev.attach(descriptor, str(file))
    finally:
        os.close(descriptor)


def test_a_device_is_the_whole_image_and_stays(file: Path, device: str) -> None:
    loop = loopdev.look(device)
    status = file.stat()
    assert loop is not None
    assert (loop.backing, loop.whole, loop.lasting) == ((status.st_dev, status.st_ino), True, True)
    assert loopdev.size(device) == 8 * MIB
    assert [found.path for found in loopdev.on(str(file))] == [device]


def test_what_is_written_to_the_device_is_in_the_image(file: Path, device: str) -> None:
    target = os.open(device, os.O_RDWR | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    page.write(b"guest" * 819)
    os.pwrite(target, page, MIB)
    os.close(target)
    with file.open("rb") as written:
        written.seek(MIB)
        assert written.read(5) == b"guest"


def test_a_device_grows_with_its_image(file: Path, device: str) -> None:
    os.truncate(file, 16 * MIB)
    assert loopdev.size(device) == 8 * MIB
    loopdev.refresh(device)
    assert loopdev.size(device) == 16 * MIB


def test_a_path_without_a_device_is_none(tmp_path: Path) -> None:
    assert loopdev.look("/dev/null") is None
    assert loopdev.look(str(tmp_path / "none")) is None


def test_a_device_that_nobody_uses_goes_away(file: Path, device: str) -> None:
    attachment._take_device(device, str(file.parent))
    assert not loopdev.stands(device)


def test_a_device_in_use_stays_and_its_user_is_named(file: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachment, "SECONDS", 0.3)
    with user_of(device, "100") as user:
        with pytest.raises(Busy, match=rf"pid {user.pid} \(sleep\)"):
            attachment._take_device(device, str(file.parent))
        loop = loopdev.look(device)
    assert loop is not None
    assert loop.lasting, "the kernel was left to remove the device when its user goes"
    assert loopdev.stands(device)


def test_a_user_who_leaves_in_time_is_no_trouble(file: Path, device: str) -> None:
    with user_of(device, "0.3"):
        attachment._take_device(device, str(file.parent))
    assert not loopdev.stands(device)


@pytest.mark.parametrize("options", [["--read-only"], ["--offset", "4096"], ["--sizelimit", "4096"]])
def test_a_device_set_up_by_hand_in_another_way_is_refused(file: Path, options: list[str]) -> None:
    subprocess.run(["losetup", *options, "--find", str(file)], check=True)
    with pytest.raises(Busy, match="losetup -d"):
        loopdev.usable(loopdev.on(str(file)), file.stat().st_ino, str(file))


def test_two_devices_on_one_image_are_refused(file: Path, device: str) -> None:
    second = set_up(file)
    with pytest.raises(Busy) as error:
        loopdev.usable(loopdev.on(str(file)), file.stat().st_ino, str(file))
    assert device in str(error.value)
    assert second in str(error.value)


def test_a_device_that_was_told_to_vanish_is_told_to_stay(file: Path, device: str) -> None:
    held = os.open(device, os.O_RDONLY)
    subprocess.run(["losetup", "-d", device], check=True)
    found = loopdev.on(str(file))
    assert not found[0].lasting
    assert loopdev.usable(found, file.stat().st_ino, str(file)) == device
    os.close(held)
    assert loopdev.stands(device)


def test_a_device_on_an_image_that_was_replaced_is_not_the_images(file: Path, device: str) -> None:
    os.rename(file, file.with_name("old"))
    image.create(str(file.parent), 8)
    assert loopdev.on(str(file)) == []
    status = file.stat()
    found = [loop for loop in loopdev.within(status.st_dev) if loop.path == device]
    with pytest.raises(Busy, match="another file"):
        loopdev.usable(found, status.st_ino, str(file))
    subprocess.run(["losetup", "-d", device], check=True)


def test_holders_are_named_by_what_they_are(device: str) -> None:
    assert holders.of_device(device) == []
    second = subprocess.run(
        ["losetup", "--find", "--show", device], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        assert holders.of_device(device) == [second]
    finally:
        subprocess.run(["losetup", "-d", second], check=True)


def test_a_free_device_that_somebody_has_for_himself_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopdev, "PAUSE", 0)
    with open(loopdev.CONTROL, "r+b", buffering=0) as control:
        free = f"/dev/loop{fcntl.ioctl(control, loopdev.CTL_GET_FREE)}"
    alone = os.open(free, os.O_RDWR | os.O_EXCL)
    try:
        with pytest.raises(SystemRefused, match=f"{free} is free, but"):
            set_up(file)
    finally:
        os.close(alone)
    assert set_up(file) == free
