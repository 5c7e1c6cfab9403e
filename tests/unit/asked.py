"""What a node is asked in the tests of its answers: a good request of each kind, and how its answer is got."""

import json
from typing import Any, NoReturn

from conftest import WEB

from zfsext import answer
from zfsext.config import Config

CONFIG = Config(["zfs/vm", "tank/vm"], "16K", "", "thin")
SOURCE = "node1.example.com"
SECOND = WEB.replace("disk0", "disk1")
FACTS = {"zfsext:id": "11", "zfsext:size": "64"}
BASES = {"node3": ["0.2-6"]}
KEEPS = {"bases": BASES, "moments": {WEB: ["taken-20261129T185100Z"], SECOND: []}}
#: A good request of each kind.
GOOD: dict[str, dict[str, Any]] = {
    "ask": {"volumes": [SECOND, WEB]},
    "look": {"volume": WEB},
    "room": {"parent": "tank/vm"},
    "receive": {
        "volume": WEB,
        "parent": "tank/vm",
        "snapshot": "zfsext-0.2-7",
        "full": True,
        "generation": "0.2",
        "claim": "0.3",
        "facts": FACTS,
        "recordsize": 65536,
        "compression": "lz4",
    },
    "abort": {"volume": WEB, "token": "1-af-c0"},
    "idle": {"facts": {WEB: FACTS, SECOND: {}}, "round": "0.2-7", "generation": "0.2", "taken": 17},
    "round": {"facts": {WEB: FACTS, SECOND: {}}, "round": "0.2-7", "generation": "0.2", "taken": 17, **KEEPS},
    "rewind": {"volume": WEB, "guid": "77", "id": "11", "generation": "0.3"},
    "prepare": {"facts": {WEB: FACTS, SECOND: {}}, "final": "0.2-7"},
    "ticket": {"volumes": [WEB], "number": "0.3", "final": "0.2-7", "knows": ["node3"], "bases": BASES},
    "revoke": {"volumes": [WEB], "number": "0.3", "before": "0.2"},
    "pull": {"volume": WEB, "but": []},
    "reclaim": {"volume": WEB},
    "accept": {"volume": WEB},
    "word": {"volumes": [WEB, SECOND]},
    "replicate": {"volume": WEB, "to": "node3", "bandwidth": 4096, "urgent": True, "but": []},
    "floor": {"volumes": [WEB], "floor": "7.0"},
    "forget": {"volume": WEB, "id": "11", "owner": "0.2", "dry": True},
    "withdraw": {"volume": WEB, "on": "node3", "dry": False},
    "remove": {"volume": WEB},
    "offline": {},
    "claims": {},
    "yield": {"volume": WEB, "generation": "7.0"},
    "snapshot": {"volume": WEB, "name": "monday", "keep": 3, "quiesce": "web1", "thaw_after": 30},
    "rollback": {"volume": WEB, "to": "monday", "dry": True},
    "back": {"volume": WEB, "generation": "0.2", "dry": False},
    "drop": {"volumes": [WEB], "generation": "", "dry": False},
    "goals": {"volumes": [WEB]},
    "kept": {"volumes": [WEB]},
    "hello": {},
    "sources": {"volumes": [WEB], "short": "monday", "dry": False},
    "disks": {"snapshots": True},
    "facts": {},
    "removed": {},
    "revive": {"datasets": ["zfs/vm-standby/web.removed-17"], "dry": False},
    "purge": {"dataset": "zfs/vm-standby/web.removed-17", "began": True},
}


class Touched(BaseException):
    """Something that is not to be touched was; no handler takes this for an error."""


def touch(*_: object, **__: object) -> NoReturn:
    raise Touched


def answered(request: object) -> dict[str, Any]:
    """Return the answer to a request as it comes over the line, which must be one that can go back."""
    line = request if isinstance(request, bytes) else json.dumps(request).encode()
    found = answer._answered(line, touch)
    assert json.loads(json.dumps(found)) == found
    return found


def refused(request: object, kind: str = "BadInput") -> str:
    """Return what was said of a malformed request."""
    found = answered(request)
    assert (set(found), found["error"]) == ({"error", "text"}, kind), found
    assert 10 < len(found["text"]) < 1000
    return str(found["text"])
