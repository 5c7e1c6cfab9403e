"""What Ganeti's own data tells zfsext: whose the disks are, which are nobody's, and which are not there."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Cluster, Node

pytestmark = [pytest.mark.cluster, pytest.mark.proof]
WEB, DB = "web1.example.com", "db1.example.com"
EXAMPLES = "/usr/share/doc/ganeti-extstorage-zfs/examples"
STATUS = ("ok", "warning", "critical", "unknown")


def health(node: Node) -> list[dict[str, Any]]:
    """Return what a node's health check finds, having seen that its exit code says the same."""
    done = node.call("zfsext", "health", "--json")
    said: dict[str, Any] = json.loads(done.stdout)
    assert STATUS[done.returncode] == said["status"], done.stdout
    found: list[dict[str, Any]] = said["findings"]
    return found


def kinds(node: Node) -> list[tuple[str, str]]:
    return [(each["severity"], each["kind"]) for each in health(node)]


def test_the_command_knows_whose_disks_are_here(cluster: Cluster, nothing_left: Callable[[], None]) -> None:
    """A sound VM, a disk that vanished, a disk that Ganeti forgot, a wrong primary: list, show and health say it."""
    node, other = cluster.nodes
    cluster.add(WEB, "-t", "ext", "--disk", "0:size=64M,provider=zfsfile", "--disk", "1:size=32M,provider=zfsfile")
    cluster.add(DB, "-t", "ext", "--disk", "0:size=64M,provider=zfsfile", node=other)
    volume, second = cluster.volume(WEB), cluster.volume(WEB, 1)
    assert (health(node), health(other)) == ([], [])
    lines = [line.split() for line in node.run("zfsext", "list").splitlines()[1:]]
    assert [(line[0], line[1], line[2], line[4]) for line in lines] == [
        (WEB, "0", volume, "64M"),
        (WEB, "1", second, "32M"),
    ]
    shown = json.loads(node.run("zfsext", "show", "web1", "--json"))
    assert [disk["volume"] for disk in shown["disks"]] == [volume, second]
    assert DB in node.refused("zfsext", "show", "db2")
    assert cluster.volume(DB) in node.run("zfsext", "show", DB)

    node.run("env", f"VOL_NAME={second}", "/usr/share/ganeti/extstorage/zfsfile/detach")
    node.run("zfs", "rename", f"zfs/vm/{second}", "zfs/away")
    found = health(node)
    assert [(each["severity"], each["kind"]) for each in found] == [("critical", "missing"), ("warning", "stray")]
    assert (WEB in found[0]["what"], "zfs/away" in found[1]["what"]) == (True, True)
    node.run("zfs", "rename", "zfs/away", f"zfs/vm/{second}")
    assert health(node) == []

    cluster.gnt("gnt-instance", "modify", "--new-primary=node2.example.com", WEB)
    assert kinds(node) == [("notice", "misplaced")] * 2
    assert kinds(other) == [("critical", "missing")] * 2
    cluster.gnt("gnt-instance", "modify", "--new-primary=node1.example.com", WEB)
    assert (health(node), health(other)) == ([], [])

    # If attach fails at a removal, Ganeti reports success and never calls remove (lib/backend.py: BlockdevRemove).
    node.run("env", f"VOL_NAME={volume}", "/usr/share/ganeti/extstorage/zfsfile/attach")
    node.run("mv", f"/zfs/vm/{volume}/disk.raw", f"/zfs/vm/{volume}/disk.away")
    node.call("env", f"VOL_NAME={volume}", "/usr/share/ganeti/extstorage/zfsfile/detach")
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    (finding,) = [each for each in health(node) if each["kind"] == "orphan"]
    assert volume in finding["what"]
    node.run("sh", "-c", finding["command"])
    assert health(node) == []
    cluster.gnt("gnt-instance", "remove", "-f", DB)
    nothing_left()


def test_nagios_and_prometheus_get_what_they_read(cluster: Cluster) -> None:
    """The shipped files, NRPE and its own plugin, with the user that it runs as."""
    node = cluster.master
    node.run("install", "-m", "0440", f"{EXAMPLES}/zfsext.sudoers", "/etc/sudoers.d/zfsext")
    node.run("visudo", "-c")
    node.run("install", "-m", "0644", f"{EXAMPLES}/nrpe-zfsext.cfg", "/etc/nagios/nrpe.d/zfsext.cfg")
    node.run("/usr/sbin/nrpe", "-c", "/etc/nagios/nrpe.cfg", "--daemon")
    time.sleep(1)
    check = ("/usr/lib/nagios/plugins/check_nrpe", "-H", "127.0.0.1", "-t", "60", "-c", "check_zfsext")
    said = node.run(*check)
    assert said.startswith("ZFSEXT OK - ")
    assert "pool_zfs=" in said
    assert len(said.splitlines()) == 1
    node.run("zfs", "create", "zfs/vm-standby/web.new")
    done = node.call(*check)
    assert (done.returncode, done.stdout[:16]) == (1, "ZFSEXT WARNING -"), done
    node.run("zpool", "export", "zfs")
    done = node.call(*check)
    assert (done.returncode, done.stdout[:17]) == (2, "ZFSEXT CRITICAL -"), done
    node.run("zpool", "import", "zfs")
    node.refused("su", "-s", "/bin/sh", "nagios", "-c", "sudo -n /usr/sbin/zfsext list")
    node.run("sh", "-c", next(each["command"] for each in health(node) if each["kind"] == "half-made"))
    assert node.run(*check).startswith("ZFSEXT OK - ")
    node.run("pkill", "-x", "nrpe")

    directory = "/var/lib/prometheus/node-exporter"
    node.run("mkdir", "-p", directory)
    for unit in ("zfsext-metrics.service", "zfsext-metrics.timer"):
        node.run("install", "-m", "0644", f"{EXAMPLES}/{unit}", "/etc/systemd/system")
    node.run("systemctl", "daemon-reload")
    node.run("systemctl", "start", "zfsext-metrics.service")
    parse = "import sys; from prometheus_client.parser import text_string_to_metric_families as parse; " \
        "print(*sorted(family.name for family in parse(sys.stdin.read())))"
    names = node.run("sh", "-c", f"python3 -c '{parse}' < {directory}/zfsext.prom").split()
    assert {"zfsext_pool_healthy", "zfsext_findings", "zfsext_health_timestamp_seconds"} <= set(names)
