"""The health of this node as a Nagios plugin says it: one line with performance data, and the exit code."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import nagiosplugin

from zfsext import finding, health
from zfsext.finding import Finding, Limits
from zfsext.inventory import Inventory

NAMED = 3  # as many findings are named in the line; more would not be read


class Node(nagiosplugin.Resource):  # type: ignore[misc]
    """What was found, as numbers."""

    name = "zfsext"

    def __init__(self, found: Inventory, findings: Sequence[Finding]) -> None:
        self.found = found
        self.findings = findings

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        """Yield the state, which is no performance data, and the performance data, which decides nothing."""
        yield nagiosplugin.Metric("status", finding.exit_code(self.findings), context="status")
        for pool in self.found.pools:
            if pool.size_bytes:
                yield nagiosplugin.Metric(f"pool_{pool.name}", pool.percent, "%", min=0, max=100, context="pool")
        yield nagiosplugin.Metric("disks", len(self.found.disks), min=0, context="count")
        counts = Counter(each.severity for each in self.findings)
        for severity in finding.SEVERITIES:
            yield nagiosplugin.Metric(f"findings_{severity}", counts[severity], min=0, context="count")


class Status(nagiosplugin.Context):  # type: ignore[misc]
    """The state that the findings ask for."""

    def evaluate(self, metric: nagiosplugin.Metric, resource: Node) -> nagiosplugin.Result:
        """Return the state of the whole check."""
        states = (nagiosplugin.Ok, nagiosplugin.Warn, nagiosplugin.Critical, nagiosplugin.Unknown)
        return self.result_cls(states[metric.value], words(resource.found, resource.findings), metric)


class Line(nagiosplugin.Summary):  # type: ignore[misc]
    """The words of the line, the same for each state."""

    def ok(self, results: nagiosplugin.Results) -> str:
        """Return the words that came with the state."""
        return str(next(result.hint for result in results if result.hint))

    problem = ok


class Figures(nagiosplugin.ScalarContext):  # type: ignore[misc]
    """Performance data. With limits it shows them, and it decides nothing: what is too much is health's to say."""

    def evaluate(self, metric: nagiosplugin.Metric, resource: Node) -> nagiosplugin.Result:  # noqa: ARG002
        """Return that all is well."""
        return self.result_cls(nagiosplugin.Ok, None, metric)


def words(found: Inventory, findings: Sequence[Finding]) -> str:
    """Return the summary and the worst findings, on one line and without the sign before the performance data."""
    bad = [each for each in findings if finding.SEVERITIES[each.severity]]
    named = [f"{each.kind}: {each.what}" if len(bad) == 1 else f"{each.kind} {each.subject}" for each in bad[:NAMED]]
    more = [f"{len(bad) - NAMED} more"] if len(bad) > NAMED else []
    text = "; ".join([health.summary(found, findings), *named, *more])
    return " ".join(text.replace("|", "/").split())


@nagiosplugin.guarded(verbose=0)  # type: ignore[untyped-decorator]
def report(examined: Callable[[], tuple[Inventory, Sequence[Finding]]], limits: Limits) -> None:
    """Look, print the line and end with the exit code; whatever goes wrong in that is UNKNOWN."""
    found, findings = examined()
    pool = Figures("pool", str(limits.pool_warning), str(limits.pool_critical))
    check = nagiosplugin.Check(Node(found, findings), Status("status"), pool, Figures("count"), Line())
    check.main(verbose=0)
