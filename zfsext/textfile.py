"""The health of this node as metrics for Prometheus, in a file that node_exporter reads (its textfile collector)."""

import os
import time
from collections import Counter
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from zfsext import finding, inventory
from zfsext.cluster import Cluster
from zfsext.finding import Finding
from zfsext.image import MIB
from zfsext.inventory import REPLICA, Inventory

MODE = 0o644  # node_exporter is not root


def write(path: str, found: Inventory, known: Cluster | None, findings: Sequence[Finding]) -> None:
    """Write the metrics, in one rename, so that nobody reads a part of them."""
    before = os.umask(0o777 & ~MODE)
    try:
        write_to_textfile(path, registry(found, known, findings))
    finally:
        os.umask(before)


def registry(found: Inventory, known: Cluster | None, findings: Sequence[Finding]) -> CollectorRegistry:
    """Return the metrics. Their names are documented in zfsext(8) and do not change."""
    made = CollectorRegistry()

    def gauge(name: str, words: str, *labels: str) -> Gauge:
        return Gauge(f"zfsext_{name}", words, labels, registry=made)

    capacity = gauge("pool_capacity_ratio", "What is allocated of the pool, 0 to 1.", "pool")
    healthy = gauge("pool_healthy", "1 if the pool is ONLINE and has no known data errors.", "pool")
    for pool in found.pools:
        healthy.labels(pool.name).set(pool.state == "ONLINE" and not pool.errors)
        if pool.size_bytes:
            capacity.labels(pool.name).set(pool.allocated_bytes / pool.size_bytes)
    gauge("disks", "Datasets of disks on this node, whatever their role.").set(len(found.disks))
    labels = ("instance", "volume", "role")
    size = gauge("disk_size_bytes", "The disk's size.", *labels)
    used = gauge("disk_used_bytes", "What the dataset takes of the pool, with its snapshots.", *labels)
    logical = gauge("disk_logical_bytes", "What the image holds, before compression.", *labels)
    rounds = gauge("copy_round_timestamp_seconds", "When the last round of a replica was taken.", *labels)
    for disk in found.disks:
        values = (found.instance(disk, known), disk.volume, disk.role)
        used.labels(*values).set(disk.used_bytes)
        logical.labels(*values).set(disk.logical_bytes)
        if disk.role == REPLICA and disk.rounded is not None:
            rounds.labels(*values).set(disk.rounded)
        mebibytes = inventory.size(disk, known)
        if mebibytes is not None:
            size.labels(*values).set(mebibytes * MIB)
    counts = gauge("findings", "What zfsext health found, by severity and kind.", "severity", "kind")
    for (severity, kind), count in Counter((each.severity, each.kind) for each in findings).items():
        counts.labels(severity, kind).set(count)
    gauge("health_status", "0 ok, 1 warning, 2 critical, 3 unknown.").set(finding.exit_code(findings))
    gauge("health_timestamp_seconds", "When this was written, in seconds since 1970.").set(time.time())
    return made
