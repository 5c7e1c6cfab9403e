"""A disk's size and instance, of those who may know them."""

from conftest import CLUSTER, MIB, WEB

from zfsext import inventory
from zfsext.inventory import Disk, Inventory


def test_the_size_is_the_images_else_the_noted_one_else_ganetis() -> None:
    assert inventory.size(Disk("zfs/vm/x", WEB, "live", image_bytes=65 * MIB, size_mib=66), CLUSTER) == 65
    assert inventory.size(Disk("zfs/vm/x", WEB, "live", size_mib=66), CLUSTER) == 66
    assert inventory.size(Disk("zfs/vm/x", WEB, "live"), CLUSTER) == 64
    assert inventory.size(Disk("zfs/vm/x", WEB, "live"), None) is None


def test_the_instance_is_ganetis_else_the_noted_one_also_of_an_export() -> None:
    live, export = Disk("a", WEB, "live", instance="old.example.com"), Disk("b", WEB + ".snap", "export")
    found = Inventory([live, export])
    assert [found.instance(disk, CLUSTER) for disk in found.disks] == ["web1.example.com"] * 2
    assert [found.instance(disk, None) for disk in found.disks] == ["old.example.com"] * 2
