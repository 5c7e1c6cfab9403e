"""How Ganeti has an instance, as far as it takes to add another one like it: with disks that begin with others' data.

From Ganeti's configuration (src/Ganeti/Objects.hs: Instance), which master candidates have. What is the cluster's
default is not in it, and stays the default.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zfsext import cluster
from zfsext.errors import BadInput

#: What is taken over: the rest is made anew (UUIDs, MAC addresses), or is nobody's wish.
KEYS = ("os", "hypervisor", "hvparams", "beparams", "osparams", "nics")
_INDEX = re.compile(r".*\.disk([0-9]{1,4})")


def of_volume(volume: str) -> dict[str, Any]:
    """Return what Ganeti has of the instance that has this volume, and the disk's index; nothing if it is not known."""
    known = cluster.load()
    disk = known.disks.get(volume) if known is not None else None
    if known is None or disk is None:
        return {}
    mine = sorted(
        (each for each in known.disks.values() if each.instance == disk.instance), key=lambda each: each.index
    )
    was = described(disk.instance, cluster.configuration() or {"instances": {}})
    return {**was, "index": disk.index, "volumes": [each.volume for each in mine]}


def described(instance: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Ganeti's configuration has of the instance of this name; nothing if it has none."""
    for uuid, each in config["instances"].items():
        if each.get("name") == instance:
            nics = [{"link": nic.get("nicparams", {}), "network": nic.get("network")} for nic in each.get("nics", [])]
            return {"uuid": uuid, "name": instance, **{key: each.get(key) for key in KEYS}, "nics": nics}
    return {}


def read(text: str) -> dict[str, Any]:
    """Return what was noted of an instance; nothing if that cannot be read."""
    try:
        found = json.loads(text) if text else {}
    except ValueError:  # anybody can set a property
        return {}
    return found if isinstance(found, dict) else {}


def index_of(volume: str, was: Mapping[str, Any]) -> int | None:
    """Return a disk's index in its instance: as Ganeti had it, else as its name says it was when it was made."""
    index = was.get("index")
    if isinstance(index, int):
        return index
    match = _INDEX.fullmatch(volume)
    return int(match[1]) if match else None


def command(
    was: Mapping[str, Any], name: str, node: str, disks: Sequence[Mapping[str, str]], more: Sequence[str]
) -> list[str]:
    """Return the gnt-instance command that adds an instance with disks of these parameters, stopped and not installed.

    more are options that whoever types the command gives; what they say is not said again. Raises BadInput where the
    operating system is not known and not given.
    """
    given = {option.partition("=")[0] for option in more}
    if given & {"--submit", "--dry-run"}:
        raise BadInput(
            "--submit and --dry-run of gnt-instance's are not for this; zfsext's own --dry-run goes before '--'"
        )
    words = ["gnt-instance", "add", "-t", "ext", "--no-install", "--no-start"]
    for index, each in enumerate(disks):
        words += ["--disk", f"{index}:{_list(each)}"]
    if not given & {"-n", "--node", "-I", "--iallocator"}:
        words += ["-n", node]
    if not given & {"-o", "--os-type"}:
        if not was.get("os"):
            raise BadInput(
                f"which operating system {name} has is not known here: give it, as in '-- -o debootstrap+default'"
            )
        words += ["-o", str(was["os"])]
    words += [*_options(was, given), *more, name]
    return words


def command_for_disks(name: str, disks: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the gnt-instance command that adds disks of these parameters to an instance that there is."""
    return ["gnt-instance", "modify", *(word for each in disks for word in ("--disk", f"add:{_list(each)}")), name]


def _options(was: Mapping[str, Any], given: set[str]) -> Iterator[str]:
    if was.get("hypervisor") and not given & {"-H", "--hypervisor-parameters"}:
        yield from ("-H", ":".join(filter(None, (str(was["hypervisor"]), _list(was.get("hvparams"))))))
    if (values := _list(was.get("beparams"))) and not given & {"-B", "--backend-parameters"}:
        yield from ("-B", values)
    if (values := _list(was.get("osparams"))) and not given & {"-O", "--os-parameters"}:
        yield from ("-O", values)
    if not given & {"--net", "--no-nics"}:
        nics = was.get("nics") or []
        if not nics:
            yield "--no-nics"
        for index, nic in enumerate(nics):
            if nic["network"]:  # which says the rest, and lets nobody else say it
                link = {"network": nic["network"]}
            else:
                link = {key: value for key, value in nic["link"].items() if key in ("mode", "link", "vlan") and value}
            yield from ("--net", f"{index}:{_list(link)}")


def _list(values: object) -> str:
    """Return parameters as Ganeti's commands take them; a comma in a value would end it, and is masked."""
    if not isinstance(values, Mapping):
        return ""
    return ",".join(f"{name}={str(value).replace(',', chr(92) + ',')}" for name, value in values.items())
