"""What the machine that carries the testbed must have, and the package mirrors it uses."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from progress import command, step
from settings import TestbedError

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "socat": "socat",
    "ssh": "openssh-client",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "git": "git",
    "gpg": "gpg",
    "dpkg-buildpackage": "dpkg-dev",
    "dh": "debhelper",
    "dh_python3": "dh-python",
}
"""The programs that the testbed calls, each with the package that has it."""


def check() -> None:
    """TestbedError unless this is a machine that can carry a testbed."""
    if os.geteuid() != 0:
        raise TestbedError("needs root (namespaces, taps, apt-get): run it with sudo")
    if not shutil.which("apt-get"):
        raise TestbedError("needs a Debian machine: there is no apt-get here")
    if not Path("/dev/net/tun").exists():
        raise TestbedError("needs /dev/net/tun, and this kernel has none (modprobe tun?)")


def install_missing() -> None:
    """Install what is missing of PROGRAMS from the machine's own package sources."""
    missing = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    if not missing:
        return
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    with step(f"installing {' '.join(missing)} on this machine"):
        command(["apt-get", "update", "-q"])
        command(["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing])


def install_build_dependencies(tree: Path) -> None:
    """Install what TREE's debian/control needs on this machine to be built, if anything of it is missing."""
    try:
        command(["dpkg-checkbuilddeps", tree / "debian/control"])
    except TestbedError:
        with step("installing what the package needs to be built"):
            command(["apt-get", "update", "-q"])
            command(["apt-get", "build-dep", "-q", "-y", "--no-install-recommends", tree])


def mirrors(release: str) -> list[str]:
    """sources.list lines (main and contrib) for RELEASE, from the mirrors that this machine uses itself.

    A machine with one Debian release has the other one's mirrors too: only the suite's name differs.
    """
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    targets = command(["apt-get", "indextargets", "--format", "$(CREATED_BY) $(SITE) $(RELEASE)"])
    lines: list[str] = []
    for target in targets.splitlines():
        kind, _, where = target.partition(" ")
        site, _, suite = where.partition(" ")
        if kind == "Packages" and suite in (codename, f"{codename}-updates", f"{codename}-security"):
            lines.append(f"deb {site} {suite.replace(codename, release)} main contrib")
    if not lines:
        raise TestbedError(f"no Debian mirror for {codename!r} in this machine's apt sources")
    return list(dict.fromkeys(lines))
