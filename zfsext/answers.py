"""What a node answers to another one's requests; the answers themselves are in the files answers_*.py."""

import importlib
from collections.abc import Callable
from typing import Any

from zfsext import contract, places, pool, records
from zfsext.config import Config
from zfsext.errors import BadInput
from zfsext.request import Call, Request, Say

#: What is answered though a pool does not work: it is about Ganeti's configuration, or about just that.
ALWAYS = ("offline", "facts", "disks", "hello")
#: Where the answers are: each takes as long again to import as the first, and a round of replication needs just that.
MODULES = ("answers_copies", "answers_disks", "answers_people")


def answer(request: dict[str, Any], source: str, config: Config, say: Say) -> dict[str, Any]:
    """Return the answer to one request of the node `source`; say tells it something meanwhile.

    A pool that does not work is an error, which the other node takes for silence: nothing is "not here" because of it.
    """
    op = request.get("op")
    found = _found(op) if isinstance(op, str) else None
    if found is None:
        raise BadInput(f"{contract.shown(str(op))} is no request")
    for name in places.pools(config.live) if op not in ALWAYS else ():
        pool.require(name)
    return found(Call(Request(request), records.node(source), config, say))


def _found(op: str) -> Callable[[Call], dict[str, Any]] | None:
    for name in MODULES:
        ops: dict[str, Callable[[Call], dict[str, Any]]] = importlib.import_module(f"zfsext.{name}").OPS
        if op in ops:
            return ops[op]
    return None
