"""What a node must have of some volumes after everything that was done to them: the model of the random life."""

from dataclasses import dataclass, field

PARENT, STANDBY = "zfs/vm", "zfs/vm-standby"
MIB = 1 << 20


@dataclass
class Volume:
    """What we know of one disk that exists."""

    name: str
    size: int
    thick: bool
    attached: bool = False
    exported: bool = False
    blocks: dict[int, int] = field(default_factory=dict)
    snapshots: dict[str, str] = field(default_factory=dict)

    @property
    def dataset(self) -> str:
        return f"{PARENT}/{self.name}"

    @property
    def image(self) -> str:
        return f"/{self.dataset}/disk.raw"

    @property
    def untouched(self) -> bool:
        """Whether a create of the same name and size counts as this very one, interrupted."""
        return not (self.blocks or self.attached or self.snapshots or self.exported)

    def datasets(self) -> set[str]:
        """Return the names of all that it is made of."""
        found = {self.dataset, *self.snapshots}
        if self.exported:
            found |= {f"{self.dataset}@zfsext-export", f"{STANDBY}/{self.name}.snap"}
        return found

    def variables(self, action: str) -> dict[str, str]:
        """Return Ganeti's variables for an action on it."""
        return variables(action, self.name, self.size, self.thick)

    def did(self, action: str) -> None:
        """Take note of an action that succeeded; create and remove are its owner's to note."""
        if action in ("attach", "open"):
            self.attached = True
        elif action == "detach":
            self.attached = False
        elif action == "grow":
            self.size += GROWTH
        elif action == "snapshot":
            self.exported = True


GROWTH = 16
ACTIONS = ("grow", "attach", "snapshot", "open", "detach", "create", "setinfo", "remove")


def variables(action: str, volume: str, size: int, thick: bool) -> dict[str, str]:
    """Return the variables that Ganeti sets for the action. Sizes are in MiB; a grow is always by the same."""
    return {
        "create": {"VOL_SIZE": str(size), "EXTP_RESERVATION": "thick" if thick else "thin"},
        "open": {"VOL_OPEN_EXCLUSIVE": "True"},
        "grow": {"VOL_SIZE": str(size), "VOL_NEW_SIZE": str(size + GROWTH)},
        "setinfo": {"VOL_METADATA": f"originstname+{volume[:8]}.example.com"},
        "snapshot": {"VOL_SNAPSHOT_NAME": f"{volume}.snap", "VOL_SNAPSHOT_SIZE": str(size)},
    }.get(action, {})
