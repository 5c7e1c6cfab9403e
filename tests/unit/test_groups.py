"""Which of a VM's disks a node has a claim to, and so gives, or takes back, together."""

import pytest

from zfsext import groups, local
from zfsext.config import Config
from zfsext.ownership import OWNER, REPLICA, SEALED, TICKET, Record

CONFIG = Config(["zfs/vm"], "16K", "", "thin")


class Here:
    """This node's copy."""

    def __init__(self, state: str) -> None:
        self.record = Record(state)


@pytest.mark.parametrize(
    ("states", "claimed"),
    [
        ({"web0": OWNER, "web1": OWNER}, ["web0", "web1"]),
        ({"web0": SEALED, "web1": TICKET}, ["web0", "web1"]),
        ({"web0": OWNER, "web1": REPLICA}, ["web0"]),
        ({"web0": OWNER}, ["web0"]),
        ({"web1": OWNER}, ["web0", "web1"]),  # what was asked for is looked at in any case
    ],
)
def test_a_disk_that_is_elsewhere_stays_there(
    states: dict[str, str], claimed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "of", lambda *_: ["web0", "web1"])
    here = {volume: Here(states[volume]) if volume in states else None for volume in ("web0", "web1")}
    monkeypatch.setattr(local, "find_all", lambda volumes, _: {volume: here[volume] for volume in volumes})
    assert groups.claimed("web0", CONFIG) == claimed
