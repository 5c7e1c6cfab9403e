"""A hand-over dies, or loses the other side, at any point: exactly one node can go on, with all that was acknowledged.

The hand-over is the script `close` on node1 after the hook on node2 has left word. It is killed before each of its
calls that may change something, and so is what answers it on node2; at a few of these points a node loses its power,
or both lose each other. ZFSEXT_SLICE=1/4 takes the first quarter of the points (every fourth), ZFSEXT_SEED says
which few.
"""

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import MIB, Cluster, bed
from handing import STAND_IN, Pair
from vm import PARENT, STANDBY

pytestmark = [pytest.mark.cluster, pytest.mark.proof]

SLICE, SLICES = (int(word) for word in os.environ.get("ZFSEXT_SLICE", "1/1").split("/"))
SEED = int(os.environ.get("ZFSEXT_SEED") or random.SystemRandom().randrange(10**9))
#: How many points a test tries where each takes minutes.
FEW = 3

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Give a way to print what tests/proof keeps."""

    def line(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return line


@pytest.fixture
def pair(cluster: Cluster) -> Iterator[Pair]:
    """Give the two nodes with a VM's disks."""
    made = Pair(cluster)
    yield made
    made.close()


def rehearsed(pair: Pair) -> list[Any]:
    """Let a hand-over go through, and return the points of it."""
    pair.ready()
    found: list[Any] = pair.order(pair.source, "points_of", "close", pair.volumes[0], {})
    assert [code for code, _, _ in pair.scripts(pair.source, "close")] == [0, 0]
    assert pair.one_goes_on(pair.target) is pair.target
    assert found
    return found


def test_a_close_killed_anywhere(pair: Pair, say: Say) -> None:
    """Killed, alone and with all it started in turn, and each node in turn is the first to try."""
    points = rehearsed(pair)
    mine = points[SLICE - 1 :: SLICES]
    met, went_on = 0, {pair.source.name: 0, pair.target.name: 0}
    for number, point in enumerate(mine):
        pair.ready()
        met += pair.order(pair.source, "kill_at", "close", pair.volumes[0], {}, point, number // 2 % 2 == 0)
        first = pair.source if number % 2 else pair.target
        went_on[pair.one_goes_on(first).name] += 1
    say(f"kill points: close: {met} of the {len(points)} in a run (ZFSEXT_SLICE={SLICE}/{SLICES}); went on: {went_on}")
    assert met >= len(mine) * 3 // 4


def test_an_answer_killed_anywhere(pair: Pair, say: Say) -> None:
    """The same with what answers on the target; close may fail then, or find a way."""
    with pair.stand_in():
        pair.ready()
        pair.trace("all")
        pair.close_first()
        connections = pair.traced()
        assert connections
        points = [
            (connection, point)
            for connection in connections
            for point in pair.order(pair.target, "points_in", f"{STAND_IN}/log.{connection}")
        ]
        pair.trace("none")
        assert pair.one_goes_on(pair.target) is pair.target
        mine = points[SLICE - 1 :: SLICES]
        met, went_on = 0, {pair.source.name: 0, pair.target.name: 0}
        for number, (connection, (name, path, count, _)) in enumerate(mine):
            pair.ready()
            inject = ["-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={count}"]
            pair.trace(str(connection), [*inject, "-P", path] if path else inject)
            pair.close_first()
            log = pair.target.call("cat", f"{STAND_IN}/log.{connection}").stdout
            met += "+++ killed by SIGKILL +++" in log
            pair.trace("none")
            went_on[pair.one_goes_on(pair.source if number % 2 else pair.target).name] += 1
    say(f"kill points: answer: {met} of the {len(points)} in a run (ZFSEXT_SLICE={SLICE}/{SLICES}); went on: {went_on}")
    assert met >= len(mine) * 3 // 4


def test_the_last_disk_does_not_arrive(pair: Pair) -> None:
    """The target has no room for what is left of one of the disks: none has moved, and all move when it has."""
    pair.ready()
    device = pair.source.loops()[pair.volumes[-1]]
    copy = f"{STANDBY}/{pair.volumes[-1]}"
    used = int(pair.target.run("zfs", "get", "-Hpo", "value", "used", copy))
    pair.target.run("zfs", "set", f"quota={used + 2 * MIB}", copy)
    pair.source.fill(device, 1, 12, 16)
    closed = pair.scripts(pair.source, "close")
    assert [code for code, _, _ in closed] == [1, 1]
    assert all("space" in err or "quota" in err for _, _, err in closed), closed
    for node, state in ((pair.source, "owner"), (pair.target, "replica")):
        command = ("zfs", "get", "-Hrt", "filesystem", "-o", "value", "zfsext:state", PARENT, STANDBY)
        assert node.run(*command).split().count(state) == len(pair.volumes), node.name
    assert pair.one_goes_on(pair.source) is pair.source
    pair.target.run("zfs", "set", "quota=none", copy)
    pair.ready()
    assert [code for code, _, _ in pair.scripts(pair.source, "close")] == [0, 0]
    assert pair.one_goes_on(pair.target) is pair.target


def held(pair: Pair, points: list[Any], chance: random.Random) -> Any:
    """Have a close stop at one of the points, and return that."""
    for _ in range(5):
        point = chance.choice(points)
        pair.ready()
        if pair.order(pair.source, "hold_at", "close", pair.volumes[0], {}, point):
            return point
    pytest.fail("close came to none of five points that it came to before")


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_node_without_power(pair: Pair, say: Say, side: str) -> None:
    """The node is off while close stands at a point; when it is back, exactly one goes on."""
    chance = random.Random(SEED)  # noqa: S311 (a choice of tests is no secret)
    points = rehearsed(pair)
    dead = pair.source if side == "source" else pair.target
    for number in range(FEW):
        held(pair, points, chance)
        pair.source.run("sync", "-f", "/var/lib/ganeti")  # what Ganeti noted of its own jobs; not the pool
        pair.agents[dead.name].power_cut()
        if dead is pair.target:
            pair.order(pair.source, "held_ended")
        pair.one_goes_on(pair.target if number % 2 else pair.source)
    say(f"power cuts: {FEW} points of close, {side}, ZFSEXT_SEED={SEED}")


def test_nodes_that_lose_each_other(pair: Pair, say: Say) -> None:
    """Packets are dropped from a point on: never two go on meanwhile, and exactly one when they are heard again."""
    chance = random.Random(SEED)  # noqa: S311 (a choice of tests is no secret)
    points = rehearsed(pair)
    for number in range(FEW):
        held(pair, points, chance)
        bed("cut", pair.target.name)
        pair.order(pair.source, "held_ended")
        alone = [node for node in (pair.target, pair.source) if pair.opens(node)]
        bed("heal", pair.target.name)
        assert len(alone) <= 1, "the disks are open on both nodes"
        first = pair.target if number % 2 else pair.source
        one = pair.one_goes_on(alone[0] if alone else first)
        assert alone in ([], [one])
    say(f"network cuts: {FEW} points of close, ZFSEXT_SEED={SEED}")
