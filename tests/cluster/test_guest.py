"""A real guest under kvm: what it was told is on disk is on disk, whatever happens to it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ADD, TESTBED, Cluster, Node, bed
from guest import GUEST, VM, initramfs

from tests.guest.ledger import Ledger

pytestmark = [pytest.mark.cluster, pytest.mark.proof]
ON_NODE = "/root/guest"
PACKAGE = "ganeti-extstorage-zfs"
MOVES = 5
CONSOLE = f"UNIX-CONNECT:/var/run/ganeti/kvm-hypervisor/ctrl/{VM}.serial,retry=600,interval=0.5"


@pytest.fixture
def kernel(cluster: Cluster, tmp_path: Path) -> str:
    """Put the guest's initramfs and the checker on the nodes, and give kvm's options for them."""
    release, initrd = initramfs(cluster.master, tmp_path)
    files = [str(initrd), *(str(GUEST / name) for name in ("check-disk", "ledger.py", "image.py"))]
    for each in cluster.nodes:
        each.run("mkdir", "-p", ON_NODE)
        bed("copy", each.name, *files, ON_NODE)
    return (
        f"kvm:kernel_path=/boot/vmlinuz-{release},initrd_path={ON_NODE}/guest.cpio.gz,kernel_args=quiet ledger.rate=5,"
        "serial_console=true,serial_speed=115200,kvm_flag=disabled"
    )


def console(node: Node) -> list[str]:
    """Return the command that reads the guest's console on a node, as soon as it runs there."""
    return [TESTBED, "run", node.name, "--", "socat", "-u", CONSOLE, "-"]


def add(cluster: Cluster, kernel: str, node: Node) -> str:
    """Add the guest with one disk, and return that's volume."""
    disk = ("-t", "ext", "--disk", "0:size=64M,provider=zfsfile")
    options = ("--hypervisor-parameters", kernel, "-B", "memory=96M,auto_balance=false", "-n", node.fqdn)
    cluster.gnt("gnt-instance", "add", *ADD, "--no-start", *disk, *options, VM)
    return cluster.volume(VM)


def check_disk(node: Node, device: str, ledger: Ledger) -> None:
    node.run(f"{ON_NODE}/check-disk", device, *(str(word) for word in ledger.disk("vda").arguments()))


def test_a_guest_finds_every_block_of_its_ledger(
    cluster: Cluster, kernel: str, nothing_left: Callable[[], None]
) -> None:
    """Stopped hard, grown, the package upgraded and removed under it, its node without power: no block is ever lost."""
    node = cluster.master
    volume = add(cluster, kernel, node)
    ledger = Ledger()
    with ledger.follow(console(node)):
        cluster.gnt("gnt-instance", "start", VM)
        ledger.wait_for("vda", 20, timeout=600)

        known = len(ledger.boots)
        node.run("pkill", "-9", "qemu-system")
        cluster.gnt("gnt-instance", "reboot", "--type=full", VM)
        boot = ledger.wait_boot(known, timeout=600)
        ledger.wait_found("vda", boot, timeout=600)
        ledger.wait_more("vda", 20, timeout=600)

        cluster.gnt("gnt-instance", "grow-disk", VM, "0", "64M")
        ledger.wait_more("vda", 5, timeout=600)

        package = node.run("sh", "-c", "echo /root/ganeti-extstorage-zfs_*.deb")
        for change in (("-i", package), ("--remove", PACKAGE), ("--purge", PACKAGE), ("-i", package)):
            node.run("dpkg", *change)
            ledger.wait_more("vda", 2, timeout=600)

        known = len(ledger.boots)
        node.run("sync", "-f", "/var/lib/ganeti")  # what Ganeti noted of its own jobs; not the pool
        bed("kill", node.name)
        bed("start", node.name)
        if cluster.status(VM) != "running":  # else the watcher was quicker
            cluster.gnt("gnt-instance", "start", VM)
        boot = ledger.wait_boot(known, timeout=600)
        ledger.wait_found("vda", boot, timeout=600)
        ledger.wait_more("vda", 5, timeout=600)

        cluster.gnt("gnt-instance", "shutdown", VM)
        ledger.wait_powered_off(boot, timeout=120)
    assert not ledger.troubles
    cluster.gnt("gnt-instance", "activate-disks", VM)
    check_disk(node, node.loops()[volume], ledger)
    cluster.gnt("gnt-instance", "remove", "-f", VM)
    nothing_left()


@pytest.mark.parametrize("home", ["node1", "node2"])
def test_a_guest_moves_ten_times(
    cluster: Cluster, kernel: str, nothing_left: Callable[[], None], home: str
) -> None:
    """Five failovers from each node on, to and fro: at each start it finds every block that it wrote before."""
    here, there = cluster.nodes if home == "node1" else cluster.nodes[::-1]
    volume = add(cluster, kernel, here)
    ledger = Ledger()
    with ledger.follow(console(here)), ledger.follow(console(there)):
        cluster.gnt("gnt-instance", "start", VM)
        boot = ledger.wait_boot(0, timeout=600)
        ledger.wait_more("vda", 20, timeout=600)
        for _ in range(MOVES):
            here, there = there, here
            known = len(ledger.boots)
            cluster.gnt("gnt-instance", "failover", "-f", "-n", here.fqdn, VM)
            boot = ledger.wait_boot(known, timeout=600)
            ledger.wait_found("vda", boot, timeout=600)
            ledger.wait_more("vda", 20, timeout=600)
            assert (cluster.primary(VM), cluster.status(VM)) == (here.name, "running")
        cluster.gnt("gnt-instance", "shutdown", VM)
        ledger.wait_powered_off(boot, timeout=120)
    assert not ledger.troubles
    assert len(ledger.boots) == MOVES + 1
    cluster.gnt("gnt-instance", "activate-disks", VM)
    check_disk(here, here.loops()[volume], ledger)
    cluster.gnt("gnt-instance", "remove", "-f", VM)
    nothing_left()
