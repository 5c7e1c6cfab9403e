"""What the timer does: a round of replication of each disk that names nodes for its copies (zfsext:replicas).

Each VM goes to its nodes one after the other, several VMs at a time. Each round is a child of its own: a hand-over ends
the process that replicates its VM, and shall end no other round with it.
"""

import os
import signal
from collections.abc import Iterator
from typing import NamedTuple

from zfsext import attempt, cluster, datasets, groups, guard, nodes, places, pool, properties, records, transfers
from zfsext.config import Config
from zfsext.errors import Refused, ZfsextError
from zfsext.ownership import OWNER
from zfsext.peer import peers

#: How long a round may take, in seconds: a first copy is large, and a link may be slow.
SECONDS = 14 * 86400


class Due(NamedTuple):
    """A VM's disks, by name, what to call them, the nodes that they go to, and the pools that they are in."""

    volumes: list[str]
    title: str
    nodes: list[str]
    pools: list[str]


def run(config: Config, jobs: int) -> int:
    """Replicate all that is due from this node, and return how many rounds failed; why is said on stderr."""
    from concurrent.futures import ThreadPoolExecutor  # which a round of one VM does not need

    failures = list(datasets.ill(config))
    due = list(_due(config, failures))
    for words in failures:
        _say(words)
    executor = ThreadPoolExecutor(jobs)
    try:
        return len(failures) + sum(executor.map(lambda each: _rounds(each, config), due))
    finally:
        executor.shutdown(cancel_futures=True)


def _due(config: Config, failures: list[str]) -> Iterator[Due]:
    """Yield what is to be replicated; what cannot be read is added to the failures, in words."""
    wanted: dict[str, set[str]] = {}
    instances: dict[str, str] = {}
    pools: dict[str, str] = {}
    names = ["guid", *properties.RECORD, properties.INSTANCE, properties.REPLICAS]
    for volume, dataset in datasets.of(config, names):
        given = dataset.local(properties.REPLICAS)
        try:
            record = records.of(dataset) if given else None
        except Refused as error:
            failures.append(str(error))
            continue
        if given and record is not None and record.state == OWNER and places.is_disk(volume):
            wanted[volume] = set(given.split())
            instances[volume] = dataset.local(properties.INSTANCE) or ""
            pools[volume] = pool.of(dataset.name)
    seen: set[str] = set()
    for volume in sorted(wanted):
        if volume not in seen:
            group = groups.of(volume, config)
            seen.update(group)
            title = instances[volume] or volume
            given_names = set().union(*(wanted.get(each, set()) for each in group))
            there = _nodes(title, sorted(given_names), failures)
            yield Due(group, title, there, sorted({pools[each] for each in group if each in pools}))


def _nodes(title: str, given: list[str], failures: list[str]) -> list[str]:
    """Return the other nodes that these names mean, without those that are marked offline."""
    known = nodes.peers()
    here = nodes.this_node()
    found = []
    for name in given:
        right = cluster.matching(name, frozenset({*known, here}))
        if len(right) != 1:
            failures.append(f"{title} is to be replicated to {name}, which is no node of this cluster")
        elif right[0] != here and known[right[0]].offline:
            _say(f"{title} is not replicated to {right[0]}, which is marked offline")
        elif right[0] != here:
            found.append(right[0])
    return list(dict.fromkeys(found))


def _rounds(due: Due, config: Config) -> int:
    """Replicate a VM to each of its nodes, and return how often that failed."""
    failed = 0
    for node in due.nodes:
        busy = next(filter(None, (transfers.under_way(volume) for volume in due.volumes)), "")
        if busy:
            _say(f"{due.title} is not replicated to {node} just now: {busy} is under way")
            continue
        try:
            _round(due, node, config)
        except (ZfsextError, OSError) as error:
            _say(f"{due.title} was not replicated to {node}: {error}")
            failed += 1
    return failed


def _round(due: Due, node: str, config: Config) -> None:
    def work() -> str:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        with peers() as others:
            return str(attempt.replicate(due.volumes, node, config, others, bandwidth=config.bandwidth))

    guard.run(work, due.pools, f"the replication of {due.title} to {node}", SECONDS)


def _say(words: str) -> None:
    os.write(2, f"zfsext: {words}\n".encode(errors="backslashreplace"))
