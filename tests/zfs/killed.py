"""A script's life and death: the state that it starts from, the kill, and what must be true afterwards."""

import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from conftest import MIB, STANDBY, Disk, Done, datasets, left, loops, read_device, run, write_device
from killpoints import Point, hold, kill, points, trace
from quick import Quick

Picture = dict[str, set[str]]

#: The properties that no two disks have alike: that they are there is what counts.
UNIQUE = re.compile(r"(\tzfsext:(?:id|stamp))\t.*")
DATA = random.Random(1).randbytes(MIB)  # noqa: S311 (the same in each process)


def fresh(disk: Disk) -> None:
    disk.ok("remove")


def made(disk: Disk, **parameters: str) -> None:
    """A disk with data and a snapshot of somebody else's, detached."""
    if not disk.exists():
        disk.create(**parameters)
        write_device(disk.attach(), DATA)
        run("zfs", "snapshot", f"{disk.dataset}@autosnap_2026-01-01_daily")
    disk.ok("detach")


def attached(disk: Disk) -> None:
    made(disk)
    disk.attach()


def remade(disk: Disk) -> None:
    fresh(disk)
    attached(disk)


def thick(disk: Disk) -> None:
    fresh(disk)
    made(disk, reservation="thick")


def renamed(disk: Disk) -> None:
    made(disk)
    run("zfs", "set", "zfsext:instance=web0", disk.dataset)


def without_export(disk: Disk) -> None:
    export(disk).ok("remove")
    attached(disk)


def with_export(disk: Disk) -> None:
    attached(disk)
    disk.snapshot()


def remade_with_export(disk: Disk) -> None:
    remade(disk)
    disk.snapshot()


def with_attached_export(disk: Disk) -> None:
    with_export(disk)
    export(disk).attach()


def export(disk: Disk) -> Disk:
    found = type(disk)(f"{disk.name}.snap", disk.size)
    found.dataset = f"{STANDBY}/{found.name}"
    return found


class Scenario(NamedTuple):
    """A script, the state of the disk from which it starts, and Ganeti's variables."""

    action: str
    begin: Callable[[Disk], None]
    variables: Mapping[str, str]


SNAPSHOT = {"VOL_SNAPSHOT_NAME": "DISK.snap", "VOL_SNAPSHOT_SIZE": "64"}
GROW = {"VOL_SIZE": "64", "VOL_NEW_SIZE": "96"}
SCENARIOS = {
    "create": Scenario("create", fresh, {"VOL_SIZE": "64"}),
    "create-thick": Scenario("create", fresh, {"VOL_SIZE": "64", "EXTP_RESERVATION": "thick"}),
    "attach": Scenario("attach", made, {}),
    "open": Scenario("open", made, {"VOL_OPEN_EXCLUSIVE": "True"}),
    "detach": Scenario("detach", attached, {}),
    "grow": Scenario("grow", remade, GROW),
    "grow-thick": Scenario("grow", thick, GROW),
    "setinfo": Scenario("setinfo", renamed, {"VOL_METADATA": "originstname+web1"}),
    "snapshot": Scenario("snapshot", without_export, SNAPSHOT),
    "snapshot-again": Scenario("snapshot", with_export, SNAPSHOT),
    "remove": Scenario("remove", remade_with_export, {}),
    "remove-export": Scenario("remove", with_attached_export, {}),
    "verify": Scenario("verify", made, {}),
}


class Life:
    """One scenario with its disk: killed, run again, looked at."""

    before: set[str]
    points: list[Point]
    expected: Picture

    def __init__(self, name: str, disk: Disk, log: Path) -> None:
        self.scenario = SCENARIOS[name]
        self.disk = disk
        self.quick = Quick(disk.name, disk.size)
        self.target = export(disk) if name == "remove-export" else disk
        self.variables = {key: value.replace("DISK", disk.name) for key, value in self.scenario.variables.items()}
        self.log = log

    def rehearse(self) -> None:
        """Let the script run through once, for its kill points and for what must be there afterwards."""
        self.begin()
        self.before = datasets()
        self.points = points(trace(self.log, self.scenario.action, self.target, self.variables))
        self.expected = picture(self.disk)

    def begin(self) -> None:
        self.scenario.begin(self.quick)

    def again(self, action: str = "", **variables: str) -> Done:
        return self.target.call(action or self.scenario.action, **(variables or self.variables))

    def kill(self, point: Point, group: bool) -> None:
        """Let the script come as far as the point, and die there."""
        kill(point, group, self.log, self.scenario.action, self.target, self.variables)

    def stop(self, point: Point) -> None:
        """Let the script come as far as the point, and stay there."""
        hold(point, self.log, self.scenario.action, self.target, self.variables)

    def survives(self, point: Point, group: bool) -> None:
        self.begin()
        self.kill(point, group)
        assert_sane(self.disk, point)
        self.health_names_what_is_left(point)
        for time in ("second", "third"):
            done = self.again()
            assert done.code == 0, f"{time} run after {point}: {done}"
            assert picture(self.disk) == self.expected, f"{time} run after {point}"
        self.has_its_data(point)

    def health_names_what_is_left(self, point: Point) -> None:
        """What is there neither before nor after the script is a finding until that is run again."""
        for name in datasets() - self.before - self.expected["datasets"]:
            assert f" {name} " in f" {run('zfsext', 'health', check=False)} ", f"{name} after {point}"

    def finishes(self, expected: Picture, point: Point) -> None:
        """After a power cut: the same, but for what a node does not have when it has just come up."""
        for time in ("second", "third"):
            done = self.again()
            assert done.code == 0, f"{time} run after {point}: {done}"
            assert lasting(picture(self.disk)) == expected, f"{time} run after {point}"
        self.has_its_data(point)

    def has_its_data(self, point: Point) -> None:
        if self.scenario.begin is not fresh and self.disk.exists():
            assert read_device(self.quick.attach(), MIB) == DATA, point


def picture(disk: Disk) -> Picture:
    """Return what the node has of the disk, but for what differs from run to run without a difference."""
    found = left()
    if disk.exists():  # its mount point comes with the first look into it, and stays until it is removed
        found["directories"].discard(disk.name)
    found["loops"] = {line.split(None, 1)[1] for line in loops()}
    lines = run("zfs", "get", "-Hpr", "-s", "local", "-o", "name,property,value", "all", "zfs").splitlines()
    found["properties"] = {UNIQUE.sub(r"\1", line) for line in lines}
    found["size"] = {str(disk.image.stat().st_size)} if disk.image.exists() else set()
    return found


def lasting(found: Picture) -> Picture:
    """Return of a picture what a boot does not change."""
    return {name: found[name] for name in ("datasets", "properties")}


def assert_sane(disk: Disk, point: Point) -> None:
    """What must hold at any moment, also right after a kill."""
    lines = loops()
    assert not any("(deleted)" in line for line in lines), point
    assert sum(str(disk.image) in line for line in lines) <= 1, point
    assert not disk.exists() or disk.property("zfsext:state") == "owner", point


