"""Each script, killed at every call that may change something, and run again: the disk is as if nothing had happened.

After each kill the script is run again, which must leave the node just as one undisturbed run does, and once more,
which must change nothing; then the data is read, and at the end all is removed and nothing may be left.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Disk
from killed import SCENARIOS, Life, fresh, picture

pytestmark = pytest.mark.zfs

#: How many points a short run tries, and what it is told which ones.
SAMPLE = 6
SEED = os.environ.get("ZFSEXT_SLICE") or str(random.SystemRandom().randrange(10**6))


@pytest.mark.proof
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_script_killed_anywhere_is_finished_by_the_next(
    name: str, disks: Callable[..., Disk], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    life = Life(name, disks(), tmp_path / "strace")
    life.rehearse()
    for point in life.points:
        for group in (False, True):
            life.survives(point, group)
    assert life.points
    with capsys.disabled():
        print(f"\nkill points: {name}: {len(life.points)} of the kernel's, 2 kills at each")


@pytest.mark.proof
def test_a_create_killed_anywhere_can_be_taken_back(disks: Callable[..., Disk], tmp_path: Path) -> None:
    life = Life("create", disks(), tmp_path / "strace")
    life.rehearse()
    fresh(life.disk)
    nothing = picture(life.disk)
    for point in life.points:
        life.begin()
        life.kill(point, True)
        life.disk.ok("remove")
        assert picture(life.disk) == nothing, point


def test_a_few_points_of_the_whole(
    disks: Callable[..., Disk], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another few for each commit: what make check has the time for."""
    chance = random.Random(SEED)  # noqa: S311 (a choice of tests is no secret)
    names = chance.sample(sorted(SCENARIOS), 3)
    with capsys.disabled():
        print(f"\nkill points: {SAMPLE} of {', '.join(names)}, ZFSEXT_SLICE={SEED}")
    for name in names:
        life = Life(name, disks(), tmp_path / "strace")
        life.rehearse()
        for point in chance.sample(life.points, min(SAMPLE // len(names), len(life.points))):
            life.survives(point, chance.random() < 0.5)
