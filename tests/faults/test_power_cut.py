"""The node loses its power while a script is at work, held by strace at a call that changes something.

A sample of the kill points of tests/zfs/killed.py, another one each time; ZFSEXT_SEED gives the same again.
"""

import os
import random

import pytest
from node import Node

SEED = int(os.environ.get("ZFSEXT_SEED") or random.SystemRandom().randrange(10**9))
#: The scenarios that change something on the pool, and how many points of each are tried.
SCENARIOS = ("create", "create-thick", "attach", "grow-thick", "snapshot-again", "remove")
EACH = 2


@pytest.mark.cluster
@pytest.mark.proof
def test_a_script_that_lost_its_node_is_finished_by_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    node = Node()
    chance = random.Random(SEED)  # noqa: S311 (a choice of tests is no secret)
    tried = 0
    for name in SCENARIOS:
        points, expected = node.order("rehearse", name)
        for point in chance.sample(points, EACH):
            node.order("stop_at", name, point)
            node.power_cut()
            node.order("finish_after", name, point, expected)
            tried += 1
    node.close()
    with capsys.disabled():
        print(f"\npower cuts: {tried} points of {', '.join(SCENARIOS)}, ZFSEXT_SEED={SEED}")
