"""The package as it was built: what is in it, and what it does when it is installed or removed."""

import re
import subprocess
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROVIDER = "./usr/share/ganeti/extstorage/zfsfile"
HOOKS = [
    *("instance-failover-pre", "instance-migrate-pre", "instance-remove-post"),
    *("node-add-post", "node-modify-pre"),
]
SCRIPTS = ["attach", "close", "create", "detach", "grow", "open", "remove", "setinfo", "snapshot", "verify"]


def opened(part: str) -> Iterator[tarfile.TarFile]:
    """Open one of the two archives that a Debian package is made of."""
    (deb,) = ROOT.glob("dist/ganeti-extstorage-zfs_*_all.deb")
    unpacked = subprocess.run(["dpkg-deb", part, deb], stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=BytesIO(unpacked)) as tar:
        yield tar


@pytest.fixture(name="files")
def _files() -> Iterator[tarfile.TarFile]:
    yield from opened("--fsys-tarfile")


@pytest.fixture(name="control")
def _control() -> Iterator[tarfile.TarFile]:
    yield from opened("--ctrl-tarfile")


def text(tar: tarfile.TarFile, name: str) -> str:
    member = tar.extractfile(name)
    assert member is not None
    return member.read().decode()


def test_ganeti_finds_the_ten_scripts(files: tarfile.TarFile) -> None:
    links = {name: files.getmember(f"{PROVIDER}/{name}").linkname for name in SCRIPTS}
    assert links == dict.fromkeys(SCRIPTS, "run")
    assert files.getmember(f"{PROVIDER}/run").mode == 0o755


def test_nothing_else_is_where_ganeti_looks_for_providers(files: tarfile.TarFile) -> None:
    # Each entry there is a provider to Ganeti, and one that isn't is shown as a broken one.
    above = PROVIDER.rpartition("/")[0]
    assert {name for name in files.getnames() if name.rpartition("/")[0] == above} == {PROVIDER}


def test_scripts_start_without_the_site_module(files: tarfile.TarFile) -> None:
    # Debian's tools rewrite first lines; -I keeps noded's environment out, -S is most of the time that a start takes.
    assert text(files, f"{PROVIDER}/run").splitlines()[0] == "#!/usr/bin/python3 -IS"


def test_the_command_is_where_the_sudoers_line_has_it(files: tarfile.TarFile) -> None:
    command = files.getmember("./usr/sbin/zfsext")
    assert command.mode == 0o755
    assert text(files, command.name).splitlines()[0] == "#!/usr/bin/python3 -IS"
    examples = "./usr/share/doc/ganeti-extstorage-zfs/examples"
    assert "NOPASSWD: /usr/sbin/zfsext health --nagios\n" in text(files, f"{examples}/zfsext.sudoers")
    assert "_ZFSEXT_COMPLETE=bash_complete" in text(files, "./usr/share/bash-completion/completions/zfsext")


@pytest.mark.parametrize("event", HOOKS)
def test_the_hook_has_a_name_that_ganeti_runs(files: tarfile.TarFile, event: str) -> None:
    hook = files.getmember(f"./etc/ganeti/hooks/{event}.d/zfsext")
    assert hook.mode == 0o755
    assert text(files, hook.name).splitlines()[0] == "#!/usr/bin/python3 -IS"


def test_what_an_administrator_may_change_is_kept_on_upgrade(control: tarfile.TarFile) -> None:
    hooks = [f"/etc/ganeti/hooks/{event}.d/zfsext" for event in HOOKS]
    assert text(control, "./conffiles").split() == [*hooks, "/etc/zfsext.conf"]


def test_what_other_nodes_run_is_where_they_look_for_it(files: tarfile.TarFile) -> None:
    for name in ("answer", "thaw"):
        program = files.getmember(f"./usr/libexec/zfsext/{name}")
        assert program.mode == 0o755
        assert text(files, program.name).splitlines()[0] == "#!/usr/bin/python3 -IS"


def test_the_timer_is_there_and_not_enabled(files: tarfile.TarFile, control: tarfile.TarFile) -> None:
    timer, service = (text(files, f"./lib/systemd/system/zfsext-replicate.{kind}") for kind in ("timer", "service"))
    assert "\nOnCalendar=*:0/15\n" in timer
    assert "\nPersistent=true\n" in timer
    assert "\nExecStart=/usr/sbin/zfsext replicate --all\n" in service
    assert "multi-user.target.wants" not in " ".join(files.getnames())
    scripts = [text(control, m.name) for m in control if m.isfile() and m.mode & 0o100]
    commands = [line for script in scripts for line in script.splitlines() if "zfsext-replicate" in line]
    # What was enabled stays so on an upgrade; nothing enables it, and nothing starts it.
    assert [line for line in commands if " enable " in line] == [
        "\t\t\tdeb-systemd-helper enable 'zfsext-replicate.timer' >/dev/null || true"
    ]
    condition = "if deb-systemd-helper --quiet was-enabled 'zfsext-replicate.timer'; then\n"
    assert condition in text(control, "./postinst")
    assert not [line for line in commands if re.search(r"\b(re)?start\b", line)]


def test_the_library_is_complete(files: tarfile.TarFile) -> None:
    installed = {Path(name).name for name in files.getnames() if "/dist-packages/zfsext/" in name}
    assert installed == {path.name for path in (ROOT / "zfsext").iterdir() if path.is_file()}


def test_the_directory_that_ganeti_logs_to_is_there_without_systemd(files: tarfile.TarFile) -> None:
    logs = files.getmember("./var/log/ganeti/extstorage")
    assert (logs.isdir(), logs.mode, logs.uname) == (True, 0o750, "root")


def test_what_is_noted_of_copies_is_for_root_alone(files: tarfile.TarFile) -> None:
    notes = files.getmember("./var/lib/zfsext")
    assert (notes.isdir(), notes.mode, notes.uname) == (True, 0o700, "root")


def test_no_maintainer_script_goes_near_a_disk(control: tarfile.TarFile) -> None:
    # Installed, upgraded, removed and purged beside running virtual machines.
    scripts = [text(control, m.name) for m in control if m.isfile() and m.mode & 0o100]
    assert scripts
    commands = " ".join(line for script in scripts for line in script.splitlines() if not line.startswith("#"))
    for harmless in ("ganeti-extstorage-zfs", "/dev/null", "systemctl --system daemon-reload"):
        commands = commands.replace(harmless, "")
    dangerous = r"\b(zfs|zpool|losetup|u?mount|dmsetup|lvm|mdadm|udevadm|systemctl|invoke-rc.d|rm -r\w*)\b|/dev/"
    assert re.search(dangerous, commands) is None
