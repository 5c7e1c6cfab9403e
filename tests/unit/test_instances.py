"""An instance like another one: what of it is said again to gnt-instance add, and what whoever types it decides."""

from typing import Any

import pytest

from zfsext import instances
from zfsext.errors import BadInput

CONFIG: dict[str, Any] = {
    "instances": {
        "7": {
            "name": "web1",
            "os": "debootstrap+default",
            "hypervisor": "kvm",
            "hvparams": {"kernel_args": "a=1,b"},
            "beparams": {"maxmem": 512},
            "osparams": {},
            "nics": [{"mac": "aa:00:00", "nicparams": {"link": "br0"}, "network": None, "ip": "192.0.2.7"}],
        }
    }
}
DISKS = [
    {"size": "64M", "provider": "zfsfile", "source": "zfs/vm/a@monday"},
    {"size": "32M", "provider": "zfsfile", "source": "zfs/vm/b@monday", "replicas": "node2:node3"},
]


def test_all_but_what_is_its_own_is_said_again() -> None:
    was = instances.described("web1", CONFIG)
    assert instances.command(was, "web2", "node1", DISKS, ()) == [
        *("gnt-instance", "add", "-t", "ext", "--no-install", "--no-start"),
        *("--disk", "0:size=64M,provider=zfsfile,source=zfs/vm/a@monday"),
        *("--disk", "1:size=32M,provider=zfsfile,source=zfs/vm/b@monday,replicas=node2:node3"),
        *("-n", "node1", "-o", "debootstrap+default", "-H", "kvm:kernel_args=a=1\\,b", "-B", "maxmem=512"),
        *("--net", "0:link=br0", "web2"),
    ]


def test_who_types_it_has_the_last_word() -> None:
    was = instances.described("web1", CONFIG)
    more = ("-n", "node2", "-o", "noop", "-H", "fake", "-B", "memory=1G", "--no-nics")
    words = instances.command(was, "web2", "node1", DISKS[:1], more)
    assert words[8:] == [*more, "web2"]


def test_without_an_operating_system_it_is_asked_for() -> None:
    with pytest.raises(BadInput, match="-o debootstrap"):
        instances.command({}, "web2", "node1", DISKS, ())
    assert "--no-nics" in instances.command({}, "web2", "node1", DISKS, ("-o", "noop"))


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"x"'])
def test_what_cannot_be_read_is_nothing(text: str) -> None:
    assert instances.read(text) == {}


def test_the_index_of_a_disk() -> None:
    assert instances.index_of("uuid.ext.disk3", {}) == 3
    assert instances.index_of("uuid.ext.disk3", {"index": 0}) == 0
    assert instances.index_of("other", {}) is None
