"""Several VMs at the same time."""

import subprocess
from collections.abc import Callable

import pytest
from conftest import ADD, TESTBED, Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.proof]
NAMES = [f"vm{number}.example.com" for number in range(3)]


def all_at_once(*commands: tuple[str, ...]) -> None:
    running = [
        subprocess.Popen(
            [TESTBED, "run", "node1", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for command in commands
    ]
    said = [process.communicate()[0].decode() for process in running]
    assert [process.returncode for process in running] == [0] * len(running), said


def test_three_vms_are_made_started_and_removed_together(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    disk = ("-t", "ext", "--disk", "0:size=64M,provider=zfsfile", "-B", "memory=32M", "-n", "node1.example.com")
    all_at_once(*(("gnt-instance", "add", *ADD, "--no-start", *disk, name) for name in NAMES))
    volumes = {cluster.volume(name) for name in NAMES}
    assert cluster.master.volumes() == volumes
    all_at_once(*(("gnt-instance", "start", name) for name in NAMES))
    devices = cluster.master.loops()
    assert set(devices) == volumes
    assert len(set(devices.values())) == 3
    assert "/dev/loop0" in devices.values()
    all_at_once(
        *(("gnt-instance", "info", name) for name in NAMES), *(("gnt-instance", "info", name) for name in NAMES)
    )
    assert cluster.master.loops() == devices
    all_at_once(*(("gnt-instance", "remove", "-f", name) for name in NAMES))
    nothing_left()
