"""What the cluster has to be told so that Ganeti takes zfsfile disks, and what it had better be told."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """One setting of the cluster: what it is now, what it should be, why, and the command that sets it.

    needed says that no disk can be made without it; the others are advice.
    """

    name: str
    now: str
    wanted: str
    why: str
    command: list[str]
    needed: bool = False

    @property
    def right(self) -> bool:
        """Whether it is as it should be."""
        return self.now == self.wanted


def of(config: Mapping[str, Any]) -> Iterator[Setting]:
    """Yield the settings, from Ganeti's whole configuration (src/Ganeti/Objects.hs: Cluster)."""
    cluster = config["cluster"]
    enabled = list(cluster.get("enabled_disk_templates") or [])
    yield Setting(
        "enabled disk templates",
        ",".join(enabled),
        ",".join(_with_ext(enabled)),
        "without ext among them Ganeti makes no disk of a provider's",
        ["gnt-cluster", "modify", f"--enabled-disk-templates={','.join(_with_ext(enabled))}"],
        needed=True,
    )
    allowed = list((cluster.get("ipolicy") or {}).get("disk-templates") or [])
    yield Setting(
        "ipolicy disk templates",
        ",".join(allowed),
        ",".join(_with_ext(allowed)),
        "the instance policy allows the templates one by one",
        ["gnt-cluster", "modify", f"--ipolicy-disk-templates={','.join(_with_ext(allowed))}"],
        needed=True,
    )
    backend = (cluster.get("beparams") or {}).get("default") or {}
    yield Setting(
        "always_failover",
        _truth(backend.get("always_failover")),
        "True",
        "zfsfile disks cannot be migrated live: with this gnt-instance migrate, and gnt-node migrate, fail them over",
        ["gnt-cluster", "modify", "-B", "always_failover=True"],
    )
    if "kvm" in (cluster.get("enabled_hypervisors") or []):
        yield from _kvm((cluster.get("hvparams") or {}).get("kvm") or {})


def _kvm(parameters: Mapping[str, Any]) -> Iterator[Setting]:
    yield Setting(
        "kvm disk_discard",
        str(parameters.get("disk_discard") or "default"),
        "unmap",
        "what a guest deletes and trims comes back to the pool",
        ["gnt-cluster", "modify", "-H", "kvm:disk_discard=unmap"],
    )
    yield Setting(
        "kvm use_guest_agent",
        _truth(parameters.get("use_guest_agent")),
        "True",
        "zfsext snapshot --quiesce talks with the guest's agent; an instance gets it with its next start",
        ["gnt-cluster", "modify", "-H", "kvm:use_guest_agent=True"],
    )


def _with_ext(templates: list[str]) -> list[str]:
    return templates if "ext" in templates else [*templates, "ext"]


def _truth(value: object) -> str:
    return "True" if value is True else "False"
