"""What is wrong with the nodes of a cluster, as far as zfsfile disks go: a function of the facts of each node."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from zfsext import contract, human
from zfsext.finding import split
from zfsext.settings import Setting

#: How far two clocks may be apart, in seconds: Ganeti itself minds from 150 on (NODE_MAX_CLOCK_SKEW).
SKEW = 30
#: The scripts that a provider has: Ganeti's, and what they share.
SCRIPTS = frozenset({*contract.ACTIONS, "parameters.list"})
_VERSION = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)")


class Ailment(NamedTuple):
    """One thing that is wrong on a node, and the command, or the words, that mend it; bad: disks are at risk."""

    node: str
    what: str
    mend: str
    bad: bool = False


def examine(
    facts: Sequence[Mapping[str, Any]], silent: Mapping[str, str], settings: Sequence[Setting]
) -> list[Ailment]:
    """Return what is wrong; silent are the nodes that did not answer, with why."""
    found = [Ailment(node, f"does not answer: {why}", f"ssh {node}", bad=True) for node, why in silent.items()]
    for each in settings:
        if not each.right:
            what = f"{each.name} is {each.now or 'empty'}, and should be {each.wanted}: {each.why}"
            found.append(Ailment("cluster", what, " ".join(each.command), bad=each.needed))
    for of in facts:
        found += _node(of)
    return found + list(_differences(facts))


def _node(facts: Mapping[str, Any]) -> Iterator[Ailment]:
    node = facts["node"]
    missing = sorted(SCRIPTS - set(facts["provider"]))
    if missing:
        what = f"the provider zfsfile lacks {', '.join(missing)}"
        yield Ailment(node, what, "apt install --reinstall ganeti-extstorage-zfs", bad=True)
    for text in facts["unfit"]:
        what, command = split(text)
        yield Ailment(node, what, command, bad=True)
    for text in facts["trouble"]:
        yield Ailment(node, text, "zfsext health")
    for name, pool in facts["pools"].items():
        yield from _pool(node, name, pool)
    yield from _places(node, facts["places"])
    yield from _versions(node, facts)
    if not facts["mounts_before_daemon"]:
        what = f"{facts['daemon']} may start before ZFS has imported its pools at boot"
        yield Ailment(node, what, f"systemctl edit {facts['daemon']}   ([Unit] After=zfs-mount.service)")
    for other, why in facts["unreached"].items():
        what = f"does not reach {other}, so no disk goes there from here: {why}"
        yield Ailment(node, what, f"gnt-cluster verify   (on the master; then, on {node}, ssh {other})", bad=True)
    arc = int(facts["arc_max"] or 0)
    if arc == 0 or arc > facts["memory"] * 6 // 10:
        what = (
            "zfs_arc_max is not set, so ZFS may take half of the memory that the VMs were promised"
            if arc == 0
            else f"zfs_arc_max lets ZFS take {human.size(arc)} of {human.size(facts['memory'])}"
        )
        yield Ailment(node, what, memory_command(facts["memory"]))


def memory_command(memory: int) -> str:
    """Return the commands that let ZFS have an eighth of a node's memory (bytes), now and after a boot."""
    limit = memory // 8
    return (
        f"echo options zfs zfs_arc_max={limit} > /etc/modprobe.d/zfs.conf; "
        f"echo {limit} > /sys/module/zfs/parameters/zfs_arc_max"
    )


def _pool(node: str, name: str, pool: Mapping[str, Any]) -> Iterator[Ailment]:
    if pool.get("health") not in (None, "ONLINE"):
        yield Ailment(node, f"pool {name} is {pool['health']}", f"zpool status {name}", bad=True)
    for path, more in pool.get("grown", {}).items():
        what = f"{path} has grown by {human.size(more)}, as with lvextend, and pool {name} has not"
        yield Ailment(node, what, f"zpool online -e {name} {path}")
    if pool.get("ashift") in ("9", "10", "11"):
        what = f"pool {name} has ashift={pool['ashift']}, smaller than the blocks of today's disks: writes are slow"
        yield Ailment(node, what, "a new pool with ashift=12; 'zpool set ashift=12' is for devices that are added")
    size, allocated = int(pool.get("size", 0)), int(pool.get("allocated", 0))
    if size and allocated * 100 // size >= 80:
        yield Ailment(
            node, f"pool {name} is {allocated * 100 // size} % full", f"zfs list -r -o space {name}", bad=True
        )


def _places(node: str, places: Mapping[str, Mapping[str, str]]) -> Iterator[Ailment]:
    for name, each in places.items():
        if each["sync"] == "disabled":
            what = f"{name} has sync=disabled: what a guest was told is safe is lost in a power cut"
            yield Ailment(node, what, f"zfs inherit sync {name}", bad=True)
        if name.endswith("-standby") and each["readonly"] != "on":
            what = f"{name} is not readonly, so the copies in it can be written to, and the next round is refused then"
            yield Ailment(node, what, f"zfs set readonly=on {name}")
        if name.endswith("-standby") and each["com.sun:auto-snapshot"] != "false":
            what = f"{name} may get snapshots of zfs-auto-snapshot's, which nobody prunes there"
            yield Ailment(node, what, f"zfs set com.sun:auto-snapshot=false {name}")


def _versions(node: str, facts: Mapping[str, Any]) -> Iterator[Ailment]:
    module, tools = _VERSION.match(facts["module"]), _VERSION.match(facts["tools"])
    if module is None:
        yield Ailment(node, "the ZFS module is not loaded", "modprobe zfs", bad=True)
        return
    if tools is not None and module[0] != tools[0]:
        what = f"the ZFS module is {module[0]} and the tools are {tools[0]}: the node was not booted since the upgrade"
        yield Ailment(node, what, "reboot when its VMs are elsewhere")
    number = tuple(int(part) for part in module.groups())
    patched = "deb12u" in facts["module"] or "deb12u" in facts["tools"]
    if (2, 2, 0) <= number < (2, 2, 2) or ((2, 1, 4) <= number < (2, 1, 14) and not patched):
        what = f"ZFS {module[0]} can corrupt files that are copied while they are written (openzfs #15526)"
        yield Ailment(
            node, what, "apt install zfsutils-linux zfs-dkms   (2.1.14, 2.2.2, or Debian's 2.1.11-1+deb12u1)", bad=True
        )
    if number[:2] == (2, 3) and number < (2, 3, 1):
        what = f"ZFS {module[0]} can crash with loop devices (openzfs #16956)"
        yield Ailment(node, what, "apt install zfsutils-linux zfs-dkms   (2.3.1 or later)", bad=True)
    if facts["kernel"].startswith("6.12.25"):
        what = f"kernel {facts['kernel']} can hang with loop devices on ZFS (openzfs #17277)"
        yield Ailment(node, what, "apt install linux-image-amd64   (a later one, and boot it)", bad=True)


def _differences(facts: Sequence[Mapping[str, Any]]) -> Iterator[Ailment]:
    """Yield what is not the same on all nodes that should be."""
    words = {
        "version": ("zfsext", "apt install ganeti-extstorage-zfs   (the same version on all nodes)"),
        "config": (
            "what /etc/zfsext.conf says",
            "gnt-cluster copyfile /etc/zfsext.conf   (on the node that has it right)",
        ),
        "ganeti": ("Ganeti", "apt install ganeti   (the same version on all nodes)"),
    }
    for name, (what, mend) in words.items():
        told = {of["node"]: of[name] for of in facts}
        if len({repr(value) for value in told.values()}) > 1:
            values = ", ".join(f"{node}: {_short(value, told.values())}" for node, value in told.items())
            yield Ailment("cluster", f"{what} differs between the nodes ({values})", mend, name != "ganeti")
    majors = {of["node"]: ".".join(of["module"].split(".")[:2]) for of in facts if of["module"]}
    if len(set(majors.values())) > 1:
        values = ", ".join(f"{node}: {value}" for node, value in majors.items())
        what = f"ZFS differs between the nodes ({values}): disks may not go back to an older one"
        yield Ailment("cluster", what, "upgrade the older nodes; do not 'zpool upgrade' before that")
    for of in facts:
        skew = of.get("skew", 0.0)
        if abs(skew) > SKEW:
            yield Ailment(
                of["node"], f"its clock is {skew:+.0f} s off this node's", "systemctl restart systemd-timesyncd"
            )
    if sum(bool(of["candidate"]) for of in facts) < len(facts):
        others = [of["node"] for of in facts if not of["candidate"]]
        what = "is no master candidate, so its disks cannot be replicated or moved from there"
        for node in others:
            yield Ailment(node, what, f"gnt-node modify -C yes {node}")


def _short(value: object, others: Collection[Any]) -> str:
    """Return a value in words; of a dictionary just what is not the same in the others."""
    if not isinstance(value, dict):
        return str(value)
    return "; ".join(f"{key}={each}" for key, each in value.items() if any(of.get(key) != each for of in others))
