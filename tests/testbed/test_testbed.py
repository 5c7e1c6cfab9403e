"""The testbed's own verbs, on two emulated nodes: only as true as they are can any other test be.

They need root and minutes: `pytest tests/testbed/test_testbed.py`, with ZFSEXT_TESTBED_STATE set to another
directory if the testbed that is up is to be left alone.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

TESTBED = Path(__file__).resolve().parent / "testbed"

ODD = ["", " ", "two  words", "$HOME", "`id`", "a;b", "*", "~", "\\", '"', "'", "new\nline", "-n", "--", "#", "!", "ä→"]


def call(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """One call of the testbed, never checked here."""
    return subprocess.run([TESTBED, *words], input=stdin, capture_output=True, check=False)


def must(*words: str, stdin: bytes = b"") -> str:
    """One call of the testbed that must succeed; its stdout."""
    done = call(*words, stdin=stdin)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout.decode()


def on(node: str, *command: str) -> str:
    return must("run", node, "--", *command)


def pings(source: str, target: str) -> bool:
    return call("run", source, "--", "ping", "-c1", "-W2", target).returncode == 0


def skew(node: str) -> float:
    """Seconds between the node's clock and ours, of a call that takes a moment itself."""
    before = float(subprocess.run(["date", "+%s.%N"], capture_output=True, check=True).stdout)
    return float(on(node, "date", "+%s.%N")) - before


@pytest.fixture(scope="module", autouse=True)
def _up() -> None:
    must("up", "--nodes", "2")
    must("reset")


def test_arguments_arrive_unchanged() -> None:
    out = on("node1", "python3", "-c", "import sys; print(sys.argv[1:])", *ODD)
    assert out == f"{ODD}\n"


def test_exit_status_is_the_command_s() -> None:
    assert call("run", "node1", "--", "sh", "-c", "exit 7").returncode == 7
    assert call("run", "node1", "--", "true").returncode == 0
    assert call("run", "node1", "--", "no-such-command").returncode == 127


def test_stdin_stdout_and_stderr_are_apart() -> None:
    sent = bytes(range(256)) * 1000
    done = call("run", "node1", "--", "sh", "-c", "cat; echo said >&2", stdin=sent)
    assert (done.returncode, done.stdout, done.stderr) == (0, sent, b"said\n")


def test_copy(tmp_path: Path) -> None:
    one, tree = tmp_path / "one $file", tmp_path / "tree"
    one.write_bytes(b"1\0\n")
    one.chmod(0o750)
    (tree / "under").mkdir(parents=True)
    (tree / "under" / "two").write_text("2")
    on("node2", "mkdir", "/root/copied")
    must("copy", "node2", str(one), str(tree), "/root/copied")
    assert on("node2", "find", "/root/copied", "-type", "f", "-printf", "%P %s %m|").split("|")[:-1] == [
        "one $file 3 750", "tree/under/two 1 644"]
    assert call("copy", "node2", str(tmp_path / "missing"), "/root").returncode == 1


def test_cluster_is_as_promised() -> None:
    info = on("node1", "gnt-cluster", "info")
    for line in ("enabled disk templates: ext, file, plain", "Enabled hypervisors: fake, kvm",
                 "lvm volume group: xenvg"):
        assert line in info
    for node in ("node1", "node2"):
        assert on(node, "zfs", "list", "-H", "-o", "name,mountpoint,readonly") == (
            "zfs\t/zfs\toff\nzfs/vm\t/zfs/vm\toff\nzfs/vm-standby\t/zfs/vm-standby\ton\n")
        assert on(node, "vgs", "--noheadings", "-o", "vg_name").strip() == "xenvg"
        assert on(node, "systemctl", "list-timers", "--no-legend").split() == []


def test_export_and_import_copy_the_disk() -> None:
    instance = "copied.example.com"
    on("node1", "gnt-instance", "add", "-t", "file", "--disk", "0:size=64M", "-o", "noop+default", "--no-ip-check",
       "--no-name-check", "--no-nics", "--no-start", "-B", "memory=32M", "-n", "node1.example.com", instance)
    image = on("node1", "sh", "-c", "echo /srv/ganeti/file-storage/*/*").strip()
    on("node1", "sh", "-c", f"dd if=/dev/urandom of={image} bs=1M count=3 seek=60 conv=notrunc status=none")
    digest = on("node1", "sha256sum", image).split()[0]
    on("node1", "gnt-backup", "export", "-n", "node2.example.com", "--noshutdown", instance)
    on("node1", "gnt-instance", "remove", "-f", instance)
    on("node1", "gnt-backup", "import", "-t", "file", "--src-node", "node2.example.com", "--no-ip-check",
       "--no-name-check", "-n", "node1.example.com", instance)
    image = on("node1", "sh", "-c", "echo /srv/ganeti/file-storage/*/*").strip()
    assert on("node1", "sha256sum", image).split()[0] == digest


def test_cut_drops_packets_in_silence_and_heal_puts_back() -> None:
    assert pings("node1", "node2.example.com")
    must("cut", "node2")
    try:
        assert on("node2", "cat", "/sys/class/net/eth1/carrier") == "1\n"
        assert not pings("node1", "node2.example.com")
        assert not pings("node2", "node1.example.com")
    finally:
        must("heal", "node2")
    assert pings("node1", "node2.example.com")


def test_kill_loses_what_was_not_flushed_and_start_brings_ganeti_back() -> None:
    on("node2", "sh", "-c", "echo kept >/root/kept; sync; echo lost >/root/lost")
    must("kill", "node2")
    off = call("run", "node2", "--", "true")
    assert off.returncode == 255
    assert b"powered off" in off.stderr
    must("start", "node2")
    assert on("node2", "sh", "-c", "cat /root/kept /root/lost 2>/dev/null || true") == "kept\n"
    assert on("node2", "zpool", "list", "-H", "-o", "health", "zfs") == "ONLINE\n"
    listed = on("node1", "gnt-node", "list", "--no-headers", "-o", "name,mfree").split("\n")
    assert all("?" not in line for line in listed), listed
    assert call("start", "node2").returncode == 1


def test_kill_and_start_of_the_master() -> None:
    must("kill", "node1")
    must("start", "node1")
    assert "node2.example.com" in on("node1", "gnt-node", "list", "--no-headers", "-o", "name")


def test_a_reboot_from_inside_leaves_the_testbed_working() -> None:
    before = on("node2", "cat", "/proc/sys/kernel/random/boot_id")
    on("node2", "systemctl", "reboot")
    for _ in range(240):
        now = call("run", "node2", "--", "cat", "/proc/sys/kernel/random/boot_id")
        if now.returncode == 0 and now.stdout.decode() != before:
            break
        subprocess.run(["sleep", "0.5"], check=True)
    else:
        pytest.fail("node2 did not come back from its reboot")


def test_reset_undoes_everything() -> None:
    on("node1", "zfs", "create", "zfs/vm/left")
    on("node1", "touch", "/root/left")
    must("cut", "node1")
    must("kill", "node2")
    must("reset")
    for node in ("node1", "node2"):
        assert on(node, "zfs", "list", "-H", "-o", "name", "-r", "zfs") == "zfs\nzfs/vm\nzfs/vm-standby\n"
        assert abs(skew(node)) < 5
    assert call("run", "node1", "--", "test", "-e", "/root/left").returncode == 1
    assert pings("node1", "node2.example.com")
    assert on("node1", "gnt-instance", "list", "--no-headers") == ""
    assert on("node1", "gnt-node", "list", "--no-headers", "-o", "name").split() == [
        "node1.example.com", "node2.example.com"]


def test_bad_words_are_refused() -> None:
    assert call("run", "node9", "--", "true").returncode == 255
    assert call("kill", "cluster").returncode == 1
    assert call("run", "node1", "true").returncode == 2
    assert call("up", "--release", "woody").returncode == 2
