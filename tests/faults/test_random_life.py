"""Disks that live at random, on real ZFS, against a model: in any order, at the same time, killed, without power.

A short life belongs to make check; `make soak` makes them long (ZFSEXT_LIVES, ZFSEXT_STEPS). Each run is another one:
its seed is printed, and ZFSEXT_SEED gives the same again.
"""

import os
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from life import ACTIONS, MIB, PARENT, STANDBY, Volume, variables
from node import Node

LIVES = int(os.environ.get("ZFSEXT_LIVES", "3"))
STEPS = int(os.environ.get("ZFSEXT_STEPS", "10"))
SEED = int(os.environ.get("ZFSEXT_SEED") or random.SystemRandom().randrange(10**9))
NAMES = [f"{number:08d}-0000-4000-8000-000000000000.ext.disk0" for number in (1, 2, 3)]
SIZE = 32

#: A disk that is removed has nothing to lose, so that is the rarest.
WEIGHED = [action for action in ACTIONS if action != "remove"] * 2 + ["remove"]
names = st.sampled_from(NAMES)
actions = st.sampled_from(WEIGHED)
done: Counter[str] = Counter()

CALL = st.tuples(st.just("call"), names, actions, st.booleans(), st.none())
KILLED = st.tuples(st.just("call"), names, actions, st.booleans(), st.floats(0, 1.6))
AT_ONCE = st.tuples(st.just("at_the_same_time"), names, st.lists(actions, min_size=2, max_size=4))
SIDES = st.lists(st.tuples(names, actions), min_size=2, max_size=3, unique_by=lambda pair: pair[0])
SIDE_BY_SIDE = st.tuples(st.just("side_by_side"), SIDES)
SNAPSHOT = st.tuples(st.just("snapshot_of_another_tool"), names)
EXPORT_REMOVED = st.tuples(st.just("remove_the_export"), names)
POWER_CUT = st.tuples(st.just("power_cut"), names, actions, st.floats(0, 1.6))
#: Each as often as it stands here. A power cut takes half a minute, so that is for long lives.
KINDS = [AT_ONCE, CALL, CALL, CALL, KILLED, KILLED, KILLED, KILLED, AT_ONCE, SIDE_BY_SIDE, SNAPSHOT, EXPORT_REMOVED]
STEPS_OF_A_LIFE = st.one_of(*KINDS, *KINDS, POWER_CUT) if STEPS > 30 else st.one_of(*KINDS)


class Life(RuleBasedStateMachine):
    """Three volumes on one node."""

    node: Node

    def __init__(self) -> None:
        super().__init__()
        self.node.order("remove", [*[f"{name}.snap" for name in NAMES], *NAMES])
        self.volumes: dict[str, Volume] = {}
        self.numbers = iter(range(1, 10**6))
        done["lives"] += 1

    @initialize()
    def made(self) -> None:
        """Every life begins with three disks, attached."""
        for action in ("create", "attach"):
            answers = self._scripts([self._call(name, action, False) for name in NAMES])
            for name, answer in zip(NAMES, answers, strict=True):
                self._judge(name, action, False, answer)

    @rule(step=STEPS_OF_A_LIFE)
    def step(self, step: tuple[Any, ...]) -> None:
        """One of the steps below. As rules of their own, hypothesis would leave out most of them in each life."""
        kind, *arguments = step
        done[kind] += 1
        getattr(self, kind)(*arguments)

    def call(self, name: str, action: str, thick: bool, seconds: float | None) -> None:
        """One script; if it dies after so many seconds, it is run again."""
        self._guests_write()
        call = self._call(name, action, thick)
        if seconds is not None:
            self._scripts([{**call, "kill_after": seconds}])
            done["killed"] += 1
        self._judge(name, action, thick, *self._scripts([call]))

    def snapshot_of_another_tool(self, name: str) -> None:
        """A snapshot is taken by somebody else; only the disk's own remove may destroy it."""
        if name in self.volumes:
            snapshot = f"{PARENT}/{name}@autosnap_{next(self.numbers)}"
            self.node.order("snapshot", snapshot)
            self.volumes[name].snapshots[snapshot] = self.node.order("look")["datasets"][snapshot]

    def remove_the_export(self, name: str) -> None:
        """gnt-backup has done with its clone."""
        export = {"action": "remove", "volume": f"{name}.snap", "variables": {}}
        ((code, _, err),) = self._scripts([export])
        assert code == 0, err
        if name in self.volumes:
            self.volumes[name].exported = False

    def at_the_same_time(self, name: str, pair: list[str]) -> None:
        """Scripts on one volume at once. Which was first is not known, so it is asked; no order loses anything."""
        self._guests_write()
        before = self.volumes.get(name)
        answers = self._scripts([self._call(name, action, False) for action in pair])
        if {"create", "remove"} & set(pair):
            self._settled(name, pair)
            return
        for action, (code, _, err) in zip(pair, answers, strict=True):
            assert code == (0 if before is not None or action == "detach" else 1), f"{action} of {pair}: {err}"
        if before is not None:
            before.exported |= "snapshot" in pair
            before.size += 16 if "grow" in pair else 0
            before.attached = bool(self._loops(before))

    def side_by_side(self, firsts: list[tuple[str, str]]) -> None:
        """Scripts on several volumes at once, which do not concern each other."""
        self._guests_write()
        answers = self._scripts([self._call(name, action, False) for name, action in firsts])
        for (name, action), answer in zip(firsts, answers, strict=True):
            self._judge(name, action, False, answer)

    def power_cut(self, name: str, action: str, seconds: float) -> None:
        """The node loses its power while a script is at work, and that is run again when it is back."""
        self._guests_write()
        call = self._call(name, action, False)
        self.node.order("begin", call, seconds)
        self.node.power_cut()
        for volume in self.volumes.values():
            volume.attached = False
        self._judge(name, action, False, *self._scripts([call]))

    @invariant()
    def all_is_as_it_should_be(self) -> None:
        """The oracle: nothing is there but what must be, and each attached disk has each acknowledged block."""
        found = self.node.order("look")
        expected = {PARENT, STANDBY}.union(*(volume.datasets() for volume in self.volumes.values()))
        assert set(found["datasets"]) == expected
        assert not found["scripts"]
        assert not [file for _, file in found["loops"] if file.endswith("(deleted)")]
        for volume in self.volumes.values():
            assert all(found["datasets"][name] == guid for name, guid in volume.snapshots.items())
            devices = [device for device, file in found["loops"] if file == volume.image]
            assert len(devices) == volume.attached, f"{volume}: {devices}"
            if volume.attached:
                assert self.node.order("size", devices[0]) == volume.size * MIB
                assert self.node.order("wrong", devices[0], list(volume.blocks.items())) == []
        done["looks"] += 1

    def teardown(self) -> None:
        """At the end each disk is attached and read, and removed."""
        for volume in list(self.volumes.values()):
            if not volume.attached:
                self._judge(volume.name, "attach", False, *self._scripts([self._call(volume.name, "attach", False)]))
        self.all_is_as_it_should_be()
        for name in list(self.volumes):
            self._judge(name, "remove", False, *self._scripts([self._call(name, "remove", False)]))
        self.all_is_as_it_should_be()

    def _guests_write(self) -> None:
        """Each guest writes a block somewhere, and has it flushed: from now on it must be there."""
        for volume in self.volumes.values():
            if volume.attached:
                number = next(self.numbers)
                offset = random.Random(number).randrange(SIZE * MIB // 4096) * 4096  # noqa: S311 (it is no secret)
                self.node.order("write", self._device(volume), offset, number)
                volume.blocks[offset] = number
                done["writes"] += 1

    def _call(self, name: str, action: str, thick: bool) -> dict[str, Any]:
        volume = self.volumes.get(name)
        given = volume.variables(action) if volume else variables(action, name, SIZE, thick)
        return {"action": action, "volume": name, "variables": given}

    def _scripts(self, calls: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
        for call in calls:
            done[call["action"]] += 1
        return [(code, out, err) for code, out, err in self.node.order("scripts", calls)]

    def _judge(self, name: str, action: str, thick: bool, answer: tuple[int, str, str]) -> None:
        """See whether the script answered as it must, and note what it did."""
        code, out, err = answer
        volume = self.volumes.get(name)
        assert "Traceback" not in err, err
        if action == "create":
            assert code == (0 if volume is None or volume.untouched else 1), err
            if volume is None:
                self.volumes[name] = Volume(name, SIZE, thick)
        elif action == "remove":
            assert code == 0, err
            self.volumes.pop(name, None)
        elif volume is None:
            assert (code, out) == (0 if action == "detach" else 1, ""), err
        else:
            assert code == 0, err
            volume.did(action)
            assert out == (f"{self._device(volume)}\n" if action == "attach" else ""), out

    def _settled(self, name: str, pair: list[str]) -> None:
        """After a race with create or remove: either is done once more, alone, and then all is known again."""
        if "remove" in pair:
            self._judge(name, "remove", False, *self._scripts([self._call(name, "remove", False)]))
        elif name not in self.volumes:
            found = self.node.order("look")
            assert f"{PARENT}/{name}" in found["datasets"], f"a create in {pair} made nothing"
            self.volumes[name] = Volume(name, SIZE, False)
            self._asked(self.volumes[name], found)
        else:
            self._asked(self.volumes[name], self.node.order("look"))

    def _asked(self, volume: Volume, found: dict[str, Any]) -> None:
        volume.attached = any(file == volume.image for _, file in found["loops"])
        volume.exported = f"{STANDBY}/{volume.name}.snap" in found["datasets"]
        if volume.attached:
            volume.size = self.node.order("size", self._device(volume)) // MIB
        else:
            self._judge(volume.name, "attach", False, *self._scripts([self._call(volume.name, "attach", False)]))
            volume.size = self.node.order("size", self._device(volume)) // MIB

    def _loops(self, volume: Volume) -> list[str]:
        return [device for device, file in self.node.order("look")["loops"] if file == volume.image]

    def _device(self, volume: Volume) -> str:
        (device,) = self._loops(volume)
        return device


@pytest.mark.cluster
def test_a_random_life(capsys: pytest.CaptureFixture[str]) -> None:
    Life.node = Node()
    chosen = settings(
        max_examples=LIVES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    with capsys.disabled():
        print(f"\nrandom life: ZFSEXT_SEED={SEED} ZFSEXT_LIVES={LIVES} ZFSEXT_STEPS={STEPS}")
    try:
        run_state_machine_as_test(seed(SEED)(Life), settings=chosen)
    finally:
        Life.node.close()
        with capsys.disabled():
            print(f"random life: {', '.join(f'{count} {what}' for what, count in sorted(done.items()))}")
