"""A real guest whose file system is at rest in a snapshot, and which is thawed whatever happens."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ADD, TESTBED, Cluster, Node, bed
from guest import VM, initramfs

pytestmark = [pytest.mark.cluster, pytest.mark.proof]
CONTROL = "/var/run/ganeti/kvm-hypervisor/ctrl"
SAID = re.compile(rb"frozen: (\d+) at ([0-9.]+)")


class Console:
    """What the guest says: numbers that are on its disk, and when, by its own clock."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @contextmanager
    def follow(self) -> Iterator[None]:
        """Read the console into a file on the node meanwhile."""
        serial = f"UNIX-CONNECT:{CONTROL}/{VM}.serial,retry=600,interval=0.5"
        command = [TESTBED, "run", self._node.name, "--", "sh", "-c", f"exec socat -u {serial} - >/root/console"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as reader:
            yield
            reader.kill()

    def numbers(self) -> list[tuple[int, float]]:
        text = self._node.run("sh", "-c", "cat /root/console 2>/dev/null || true").encode()
        return [(int(number), float(up)) for number, up in SAID.findall(text)]

    def wait_beyond(self, number: int, seconds: float = 600) -> int:
        """Wait until the guest has written more than that, and return the number."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.numbers()
            if found and found[-1][0] > number:
                return found[-1][0]
            time.sleep(2)
        raise AssertionError(f"the guest has not come beyond {number}: {self.numbers()[-3:]}")


@pytest.fixture
def guest(cluster: Cluster, tmp_path: Path) -> Iterator[Console]:
    """Give a guest on node2, with an agent, that writes to an ext4."""
    node = cluster.nodes[1]
    release, initrd = initramfs(node, tmp_path, "--frozen")
    for each in cluster.nodes:
        bed("copy", each.name, str(initrd), "/root")
    kernel = (
        f"kvm:kernel_path=/boot/vmlinuz-{release},initrd_path=/root/{initrd.name},kernel_args=quiet,"
        "serial_console=true,serial_speed=115200,kvm_flag=disabled,use_guest_agent=true"
    )
    disk = ("-t", "ext", "--disk", "0:size=64M,provider=zfsfile")
    options = ("--hypervisor-parameters", kernel, "-B", "memory=192M,auto_balance=false", "-n", node.fqdn)
    cluster.gnt("gnt-instance", "add", *ADD, "--no-start", *disk, *options, VM)
    cluster.gnt("gnt-instance", "activate-disks", VM)
    node.run("mkfs.ext4", "-q", node.loops()[cluster.volume(VM)])
    cluster.gnt("gnt-instance", "deactivate-disks", VM)
    console = Console(node)
    with console.follow():
        cluster.gnt("gnt-instance", "start", VM)
        console.wait_beyond(3, 900)
        yield console


def status(node: Node) -> str:
    """Ask the guest's agent whether its file systems are frozen."""
    program = "from zfsext import agent; print(agent.ask(agent.path('" + VM + "'), 'guest-fsfreeze-status', 60))"
    return node.run("python3", "-c", program)


def test_a_guest_is_at_rest_in_a_snapshot_and_never_for_longer(
    cluster: Cluster, nothing_left: Callable[[], None], guest: Console
) -> None:
    node = cluster.nodes[1]
    live = f"zfs/vm/{cluster.volume(VM)}"
    said = cluster.gnt("zfsext", "snapshot", VM, "rest", "--quiesce", "--thaw-after", "120")
    assert re.search(r"the guest stood still for [0-9.]+ s", said)
    assert status(node) == "thawed"
    guest.wait_beyond(guest.numbers()[-1][0])

    # At rest is what needs no journal: its file system is clean but for being mounted.
    shown = node.run("zfsext", "mount", f"{VM}@rest")
    (directory,) = re.findall(r"^(/run/zfsext-view/\S+)  \(ext4\)$", shown, re.MULTILINE)
    number = int(node.run("cat", f"{directory}/number"))
    assert number in {found for found, _ in guest.numbers()}
    device = node.run("findmnt", "-no", "SOURCE", directory)
    assert "needs_recovery" not in node.run("dumpe2fs", "-h", device)
    node.run("zfsext", "umount", f"{VM}@rest")
    assert "not mounted any more" not in node.run("zfsext", "umount")

    # zfsext is killed between the freeze and the thaw: systemd thaws the guest.
    held = node.begin(
        *("python3", "-c"),
        "import time\nfrom zfsext import freeze\n"
        f"with freeze.frozen(freeze.Wish('{VM}', 90)):\n print('frozen', flush=True)\n time.sleep(600)\n",
    )
    assert held.stdout is not None
    assert held.stdout.readline() == b"frozen\n"
    assert status(node) == "frozen"
    assert "frozen already" in cluster.master.refused("zfsext", "snapshot", VM, "again", "--quiesce")
    node.run("pkill", "-9", "-f", "freeze.frozen")
    held.communicate()
    before = guest.numbers()[-1][0]
    guest.wait_beyond(before, 300)
    assert status(node) == "thawed"

    # The node of the guest is cut off from the one that asked, while what freezes the guest hangs.
    timer = f"zfsext-thaw-{VM}.timer"
    wait = f"until systemctl is-active --quiet {timer}; do sleep 0.1; done; sleep 1"
    stopping = node.begin("sh", "-c", f"{wait}; pkill -STOP -f zfsext/answe[r]; echo stopped")
    asking = cluster.master.begin("zfsext", "snapshot", VM, "cut", "--quiesce", "--thaw-after", "60")
    assert stopping.stdout is not None
    assert stopping.stdout.readline() == b"stopped\n"
    stopping.communicate()
    bed("cut", node.name)
    node.run("sh", "-c", "while pgrep -f zfsext/answe[r] >/dev/null; do sleep 1; done")  # it is in the way of the thaw
    guest.wait_beyond(guest.numbers()[-1][0], 300)
    assert status(node) == "thawed"
    bed("heal", node.name)
    asking.communicate(timeout=600)
    assert asking.returncode == 1

    # An agent that does not answer is no agent, and nothing is taken.
    node.run("pkill", "-STOP", "qemu-system")
    refused = cluster.master.refused("zfsext", "snapshot", VM, "never", "--quiesce")
    node.run("pkill", "-CONT", "qemu-system")
    assert "does not answer" in refused
    assert f"{live}@never" not in node.guids(live)
    cluster.gnt("gnt-instance", "stop", "--timeout=0", VM)
    cluster.gnt("gnt-instance", "remove", "-f", VM)
    nothing_left()
