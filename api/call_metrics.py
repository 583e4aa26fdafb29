"""Rate, errors and duration of tasks, brokers' calls, buses and rate limits, for /metrics.

Of all processes: `common.process.stored_figures` has what they counted.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from prometheus_client.metrics_core import HistogramMetricFamily, Metric

from common.db.sql import rows
from common.process.call_figures import SECONDS, Kind
from common.process.stored_figures import READ


class Family(NamedTuple):
    """A metric. labels: of the columns name, operation (if there are three) and outcome."""

    name: str
    description: str
    labels: tuple[str, ...]


FAMILIES = {
    Kind.TASK: Family("task_seconds", "Celery tasks, by task and outcome.", ("task", "outcome")),
    Kind.JOB: Family(
        "job_trouble_seconds",
        "Runs of background jobs that failed, began late, or took long, by job and outcome.",
        ("job", "outcome"),
    ),
    Kind.BROKER: Family(
        "broker_call_seconds",
        "Calls of adapters to brokers, by broker type, operation and outcome.",
        ("broker", "operation", "outcome"),
    ),
    Kind.BUS: Family("bus_write_seconds", "Writes to buses, by outcome.", ("bus", "outcome")),
    Kind.RATE_LIMIT: Family(
        "rate_limit_wait_seconds",
        "Waits of requests for a broker's rate limit, by purpose and outcome.",
        ("limit", "purpose", "outcome"),
    ),
}


def families() -> list[Metric]:
    """Return the figures of all processes as Prometheus' histograms."""
    found = {
        kind: HistogramMetricFamily(
            f"fillcast_{family.name}", family.description, labels=family.labels
        )
        for kind, family in FAMILIES.items()
    }
    for row in rows(READ):
        if row.kind not in FAMILIES:
            continue  # of a later release
        family = FAMILIES[kind := Kind(row.kind)]
        has_operation = len(family.labels) > 2
        labels = (row.name, *([row.operation] if has_operation else []), row.outcome)
        found[kind].add_metric(labels, list(_cumulative(row.counts)), row.seconds)
    return list(found.values())


def _cumulative(counts: Sequence[int]) -> Iterator[tuple[str, float]]:
    """Yield the upper bound of each bucket, with the calls up to it."""
    total = 0
    for bound, count in zip((*map(str, SECONDS), "+Inf"), counts, strict=False):
        total += count
        yield bound, float(total)
