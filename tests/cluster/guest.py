"""A real guest that the tests start from its kernel: the node's own, with an initramfs of tests/guest."""

import subprocess
from pathlib import Path

from conftest import TESTBED, Node

GUEST = Path(__file__).resolve().parents[1] / "guest"
VM = "guest1.example.com"


def initramfs(node: Node, directory: Path, *options: str) -> tuple[str, Path]:
    """Build one in that directory for the kernel of a node, and return the kernel's release and its path."""
    release = node.run("uname", "-r")
    modules = directory / "modules"
    modules.mkdir()
    with subprocess.Popen(
        [TESTBED, "run", node.name, "--", "tar", "c", "-C", f"/lib/modules/{release}", "."], stdout=subprocess.PIPE
    ) as sent:
        subprocess.run(["tar", "x", "-C", str(modules)], stdin=sent.stdout, check=True)
    path = directory / "guest.cpio.gz"
    build = [str(GUEST / "build"), *options, "--kernel-release", release, "--modules", str(modules)]
    subprocess.run([*build, "--output", str(path)], check=True)
    return release, path
