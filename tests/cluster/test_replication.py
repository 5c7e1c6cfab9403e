"""Rounds from node to node: what travels and what does not, what others spoil, and what breaks off in the middle."""

import re
import shlex
import subprocess
import time
from collections.abc import Callable

import pytest
from conftest import MIB, Cluster, Node, bed
from vm import STANDBY, Vm

pytestmark = pytest.mark.cluster
WEB = "web1.example.com"
#: Snapshots of others: the first two kinds belong to the disk's history, the rest to a tool on just one node.
HISTORY = ["autosnap_2026-01-0{}_00:00:00_daily", "before-upgrade-{}"]
PRIVATE = ["syncoid_node1_2026-01-0{}:00:00:00-GMT00:00", "__simplesnap_main_2026-01-0{}T00:00:00__"]


def ours(node: Node, dataset: str) -> set[str]:
    """Return the snapshots that zfsext took of a dataset."""
    names = {name.partition("@")[2] for name in node.guids(dataset)}
    return {name for name in names if name.startswith("zfsext-")}


def snapshots_of_others(node: Node, dataset: str, day: int) -> None:
    for name in HISTORY + PRIVATE:
        node.run("zfs", "snapshot", f"{dataset}@{name.format(day)}")


def has_the_history(source: Node, live: str, target: Node, standby: str, days: int) -> None:
    """See that the snapshots of others are on the target just if they belong to the disk's history."""
    mine, theirs = source.guids(live), target.guids(standby)
    for day in range(1, days + 1):
        for name in (each.format(day) for each in HISTORY):
            assert theirs.get(f"{standby}@{name}") == mine[f"{live}@{name}"], name
        for name in (each.format(day) for each in PRIVATE):
            assert f"{live}@{name}" in mine
            assert f"{standby}@{name}" not in theirs


@pytest.mark.proof
def test_rounds(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """The first copy, an increment, idle rounds and those of --all: the data, and just what belongs to a replica."""
    node, other = cluster.nodes
    vm = Vm(cluster, WEB, start=False, parameters=f",replicas={other.fqdn}")
    live, standby = vm.live()[0], vm.standby()[0]
    vm.write(node, 12)
    snapshots_of_others(node, live, 1)
    before = node.sent()
    vm.replicate(other)
    first = vm.is_replicated(node, other)
    assert node.sent() - before > 24 * MIB
    has_the_history(node, live, other, standby, 1)

    vm.write(node, 1)
    snapshots_of_others(node, live, 2)
    before = node.sent()
    vm.replicate(other)
    second = vm.is_replicated(node, other)
    assert 2 * MIB < node.sent() - before < 8 * MIB
    assert first != second
    has_the_history(node, live, other, standby, 2)

    before = node.sent()
    vm.replicate(other)
    other.run("zfsext", "replicate", WEB, "--to", other.fqdn, "--quiet")  # which asks the owner
    node.run("zfsext", "replicate", "--all")
    assert node.sent() - before < MIB
    vm.is_replicated(node, other)
    for place, dataset in ((node, live), (other, standby)):
        assert 1 <= len(ours(place, dataset)) <= 2
    vm.write(node, 1)
    node.run("zfsext", "replicate", "--all", "--jobs", "2")
    vm.is_replicated(node, other)
    vm.write(node, 1)
    node.run("systemctl", "start", "zfsext-replicate.service")  # what the timer does
    vm.is_replicated(node, other)

    node.refused("zfsext", "replicate", WEB, "--to", node.fqdn)
    node.refused("zfsext", "replicate", WEB, "--to", "node9.example.com")
    node.refused("zfsext", "replicate", "web2", "--to", other.fqdn)
    cluster.gnt("zfsext", "forget", WEB, "--on", other.fqdn)
    assert other.guids(STANDBY).keys() == {STANDBY}
    assert not any(node.holds(f"{live}@{name}") for name in ours(node, live))
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()


def works_or_says_how(vm: Vm, target: Node) -> None:
    """Replicate. What is refused must say what to type, and where; when that is typed, it works."""
    master = vm.cluster.master
    command = ("zfsext", "replicate", vm.name, "--to", target.fqdn, "--quiet")
    said = ""
    for _ in range(3):
        done = master.call(*command)
        said = done.stdout + done.stderr
        if done.returncode == 0:
            return
        quoted = re.findall(r"(?:on (node\d)\S*\s+)?'((?:zfsext|zfs|gnt-\w+) [^']+)'", said)
        typed = [(where, words) for where, words in quoted if "replicate" not in words]
        assert typed, f"refused without a command to type: {said}"
        where, words = typed[0]
        place = next((each for each in vm.cluster.nodes if each.name == where), master)
        place.run(*shlex.split(words))
    pytest.fail(f"what was said did not help: {said}")


def drop(node: Node, snapshot: str) -> None:
    """Destroy a snapshot as somebody does who means it: whoever holds it."""
    for tag in node.holds(snapshot):
        node.run("zfs", "release", tag, snapshot)
    node.run("zfs", "destroy", snapshot)


def unmounted(node: Node, dataset: str) -> None:
    """Have a dataset unmounted, and no directory left of it."""
    script = 'if mountpoint -q "/$1"; then zfs unmount "$1"; fi; [ ! -d "/$1" ] || rmdir "/$1"'
    node.run("sh", "-c", script, "sh", dataset)


@pytest.mark.proof
def test_what_others_spoil(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """Each either does not matter, or is refused with the words that help."""
    node, other = cluster.nodes
    vm = Vm(cluster, WEB, start=False)
    live, standby = vm.live()[0], vm.standby()[0]
    vm.write(node)
    vm.replicate(other)
    vm.is_replicated(node, other)

    # A tool prunes what the next increment begins with, on the owner; then on the replica.
    for place, dataset in ((node, live), (other, standby)):
        for name in ours(place, dataset):
            drop(place, f"{dataset}@{name}")
        vm.write(node)
        works_or_says_how(vm, other)
        vm.is_replicated(node, other)

    # A tool takes a snapshot of the replica. It is not ours: it is kept, or it is said that it is not.
    snapshot = f"{standby}@autosnap_2026-01-01_00:00:00_hourly"
    other.run("zfs", "snapshot", snapshot)
    guid = other.guids(standby)[snapshot]
    vm.write(node)
    works_or_says_how(vm, other)
    vm.is_replicated(node, other)
    assert guid in other.guids(STANDBY).values()

    # The replica is mounted and written to.
    other.run("zfs", "set", "readonly=off", standby)
    other.run("zfs", "mount", standby)
    other.run("dd", "if=/dev/urandom", f"of=/{standby}/disk.raw", "bs=4k", "count=1", "conv=notrunc,fsync")
    unmounted(other, standby)
    other.run("zfs", "inherit", "readonly", standby)
    vm.write(node)
    works_or_says_how(vm, other)
    vm.is_replicated(node, other)

    # The replica is mounted while a round comes in.
    other.run("zfs", "mount", standby)
    vm.write(node)
    works_or_says_how(vm, other)
    unmounted(other, standby)
    vm.is_replicated(node, other)

    # Half a round has arrived, and what it is of is gone.
    vm.write(node, 16)
    running = copying(vm, node, other, 4 * MIB, "1M")
    killed(node, "[z]fsext replicate|[z]fs send")
    running.communicate()
    assert tokens(other)
    for name in node.guids(*vm.live()):
        if "@zfsext-" in name:
            drop(node, name)
    works_or_says_how(vm, other)
    vm.is_replicated(node, other)
    assert not tokens(other)

    for name in other.guids(STANDBY):
        if ".aside-" in name and "@" in name:
            drop(other, name)
    for name in other.guids(STANDBY):
        if ".aside-" in name:
            other.run("zfs", "destroy", name)
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()


def tokens(node: Node) -> set[str]:
    """Return the tokens with which interrupted receives can be resumed on a node."""
    command = ("zfs", "get", "-Hpr", "-t", "filesystem", "-o", "value", "receive_resume_token", STANDBY)
    return set(node.run(*command).split()) - {"-"}


def copying(vm: Vm, source: Node, target: Node, size: int, bandwidth: str) -> "subprocess.Popen[bytes]":
    """Begin a round with this bandwidth, and come back in its middle, when so many bytes are on their way."""
    before = source.sent()
    running = source.begin("zfsext", "replicate", vm.name, "--to", target.fqdn, "--bandwidth", bandwidth)
    while source.sent() - before < size or not tokens(target):
        assert running.poll() is None, running.communicate()[0].decode()
        time.sleep(0.2)
    return running


def killed(node: Node, pattern: str) -> None:
    """Kill the processes with such a command line; there must be one."""
    node.run("pkill", "-9", "-f", pattern)


#: How a round breaks off: the testbed's verb for the target node and the one that mends it, or whose processes die.
BREAKS = {"network": ("cut", "heal"), "power": ("kill", "start"), "sender": (), "receiver": ()}


def break_off(how: str, node: Node, other: Node) -> None:
    if how == "sender":
        killed(node, "[z]fsext replicate|[z]fs send")
    elif how == "receiver":
        killed(other, "[z]fsext/answer|[z]fs rec")
    else:
        bed(BREAKS[how][0], other.name)


def ends(running: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Tell whether it ends within so many seconds."""
    try:
        running.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


@pytest.mark.proof
def test_a_target_that_is_full(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """What has no room is not begun; what runs out of it in the middle goes on where it was once there is room."""
    node, other = cluster.nodes
    vm = Vm(cluster, WEB, start=False)
    vm.write(node, 24)
    whole = 48 * MIB
    other.run("zfs", "set", f"quota={whole // 2}", STANDBY)
    said = node.refused("zfsext", "replicate", WEB, "--to", other.fqdn)
    assert "make room there" in said, said
    assert other.guids(STANDBY).keys() == {STANDBY}

    other.run("zfs", "set", "quota=none", STANDBY)
    running = copying(vm, node, other, 4 * MIB, "8M")
    other.run("zfs", "set", f"quota={whole // 2}", STANDBY)
    said = running.communicate()[0].decode()
    assert running.returncode != 0
    assert "space" in said or "quota" in said, said
    assert tokens(other)
    other.run("zfs", "set", "quota=none", STANDBY)
    before = node.sent()
    vm.replicate(other)
    assert node.sent() - before < whole - 4 * MIB
    vm.is_replicated(node, other)
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()


@pytest.mark.proof
def test_a_first_copy_that_breaks_off_goes_on(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """No network, no power, a process killed: what goes on, at once or in another run, sends the rest."""
    node, other = cluster.nodes
    vm = Vm(cluster, WEB, start=False)
    vm.write(node, 32)
    node.fill(node.loops()[vm.volumes[0]], 1000, 32, 32)
    vm.sums = vm.read(node)
    whole = 96 * MIB
    for how, verbs in BREAKS.items():
        running = copying(vm, node, other, 32 * MIB, "4M")
        before = node.sent()
        break_off(how, node, other)
        ended = ends(running, 120)  # else it tries again by itself
        if verbs:
            bed(verbs[1], other.name)
        if not ended:
            assert ends(running, 600), how
        if running.returncode != 0:
            assert tokens(other), how
            vm.replicate(other)
        assert node.sent() - before < whole - 8 * MIB, how
        assert not tokens(other)
        vm.is_replicated(node, other)
        cluster.gnt("zfsext", "forget", WEB, "--on", other.fqdn)
        assert other.guids(STANDBY).keys() == {STANDBY}
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    nothing_left()
