"""The figures of `load`: what has grown, what an order costs, and whether every bar is met."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.environment import BenchEnvironment
from benchmarks.load_accounts import Mix
from benchmarks.load_samples import Sampler
from benchmarks.results import Result, percentile
from benchmarks.trends import Trend, trend

# Caches fill in the first minutes: plans, PostgreSQL's buffers, and at full size until the tenth
# the 10,000 orders that adapters keep.
WARM_SECONDS, WARM_SHARE = 600.0, 1 / 3  # the shorter of both is left out
# Flat: what the samples prove of a growth (the slope less twice its standard error) is at most so
# much, and they would have shown more: what the slope may be off is no more either. At 2 % an hour
# of 800 MB a server would need two days for another 800.
MEMORY_SHARE_AN_HOUR = 0.02
LAG_SECONDS_AN_HOUR = 1.0
UNKNOWN = 1e6  # the uncertainty of a line through two samples
PAGES_P99_MS = 300.0
UNFILLED_SHARE = 0.01  # an overloaded stack lets entries expire, rightly: that is no load carried
# Autovacuum begins at 20,000 dead rows of orders and of positions, at some thousands and a fifth of
# any other table: with more than a quarter of all rows it falls behind.
DEAD_SHARE = 0.25
MANY_ROWS = 10_000
COUNTS = """
SELECT c.type, o.leg LIKE 'entry%%' AS entry, o.status, o.reason, count(*)
FROM execution_order o JOIN connections_executionconnection c ON c.id = o.connection_id
GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC
"""
CANDIDATES = """
SELECT (SELECT coalesce(sum(candidate_count), 0) FROM signals_signal s
    WHERE action = 'OPEN' AND EXISTS (SELECT FROM execution_order WHERE signal_id = s.id)),
  (SELECT count(*) FROM execution_order WHERE leg LIKE 'entry%%'),
  (SELECT count(DISTINCT (signal_id, connection_id)) FROM execution_order WHERE leg LIKE 'entry%%')
"""


def result_of(
    environment: BenchEnvironment, mix: Mix, sampler: Sampler, late: Sequence[float],
    audit: Mapping[str, Any], left: int, machine: Mapping[str, Any],
) -> Result:  # fmt: skip
    """Return the result: its ratio is the worst of all figures by their bars.

    machine: the facts about it from before the run.
    """
    samples = settled(sampler.samples)
    counts = _counts(environment)
    trends = trends_of(samples)
    pages = [
        one.milliseconds
        for at, one in sampler.requests
        if at > samples[0]["at"] and one.status == 200
    ]
    failed = [one for _, one in sampler.requests if one.status != 200]
    bars = _bars(trends, pages, samples) | {
        "failed_pages": (float(len(failed)), 0.5),
        "orders_not_each_once": (float(_wrong(counts, audit, left)), 0.5),
        "unfilled_share": (_unfilled_share(counts), UNFILLED_SHARE),
    }
    orders = counts["entries"] + counts["exits"]
    ratio = max(value / bar for value, bar in bars.values())
    return Result(
        name="load",
        n=round(sampler.samples[-1]["at"] / 60),
        seconds=samples[-1]["at"],
        rate=orders / sampler.samples[-1]["at"],
        p50_ms=_middle(samples, "p50_ms"),
        p99_ms=_middle(samples, "p99_ms"),
        baseline=None,
        ratio=max(ratio, 0.001),
        target=1.0,
        ok=ratio <= 1,
        half=ratio <= 2,
        detail={
            "unit": "the worst figure by its bar, less is better",
            "bars": {name: {"value": value, "bar": bar} for name, (value, bar) in bars.items()},
            "trends": {name: one._asdict() for name, one in trends.items()},
            "pages": _pages(pages, len(failed), sampler),
            "an_order": cost_of_an_order(samples),
            "late_p99_s": percentile(late, 99),
            "signals": len(sampler.published),
            "published_again": sampler.repeated,
            "accounts": {**asdict(mix), "all": mix.all, "of_a_feed": mix.of_a_feed},
            "counts": counts,
            "positions_left": left,
            "audit": dict(audit),
            "autovacuums": _vacuums(sampler.samples),
            "machine": dict(machine),
        },
    )  # fmt: skip


def as_dict(result: Result) -> dict[str, Any]:
    """Return the result for a file."""
    return asdict(result)


def settled(samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the samples after the first minutes; all of them if too few are left."""
    warm = min(WARM_SECONDS, samples[-1]["at"] * WARM_SHARE)
    found = [one for one in samples if one["at"] >= warm and one["orders"]["signals"]]
    return found if len(found) >= 3 else list(samples)


def trends_of(samples: Sequence[dict[str, Any]]) -> dict[str, Trend]:
    """Return how memory, lag, the time to a fill and pages change over the samples."""
    series = {
        "memory_mb": [sum(one["mb"].values()) for one in samples],
        "memory_mb_without_postgres": [
            sum(mb for name, mb in one["mb"].items() if name != "postgres") for one in samples
        ],
        "lag_s": [one["due_s"] for one in samples],
        "fill_p50_ms": [one["orders"]["all"]["p50_ms"] or 0.0 for one in samples],
        "page_p50_ms": [one["pages"]["p50_ms"] or 0.0 for one in samples],
    }
    names = samples[0]["mb"]
    series |= {f"memory_mb_{name}": [one["mb"].get(name, 0.0) for one in samples] for name in names}
    at = [one["at"] for one in samples]
    return {name: trend(at, values) for name, values in series.items()}


def cost_of_an_order(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return CPU, WAL and bytes of tables and indexes for each order that ended meanwhile.

    Pages, account reads and prices are part of it: it is the whole stack's use by its orders.
    """
    first, last = samples[0], samples[-1]
    orders = sum(one["orders"]["all"].get("count", 0) for one in samples[1:])
    if not orders:
        return {}
    cpu = {name: last["cpu_s"][name] - used for name, used in first["cpu_s"].items()
           if name in last["cpu_s"]}  # fmt: skip
    sizes = {part: _sum(last, part) - _sum(first, part) for part in ("table_mb", "index_mb")}
    return {
        "orders": orders,
        "cpu_us": {name: 1e6 * max(used, 0.0) / orders for name, used in cpu.items()},
        "cpu_us_in_all": 1e6 * sum(max(used, 0.0) for used in cpu.values()) / orders,
        "wal_bytes": 1e6 * (last["wal_mb"] - first["wal_mb"]) / orders,
        "table_bytes": 1e6 * sizes["table_mb"] / orders,
        "index_bytes": 1e6 * sizes["index_mb"] / orders,
    }


def dead_share(sample: Mapping[str, Any]) -> float:
    """Return the share of dead rows in all tables with many rows."""
    tables = [one for one in sample["tables"].values() if one["live"] + one["dead"] > MANY_ROWS]
    everything = sum(one["live"] + one["dead"] for one in tables)
    return sum(one["dead"] for one in tables) / everything if everything else 0.0


def _bars(
    trends: Mapping[str, Trend], pages: Sequence[float], samples: Sequence[dict[str, Any]]
) -> dict[str, tuple[float, float]]:
    """Return each figure with its bar; less is better."""
    memory, lag = trends["memory_mb"], trends["lag_s"]
    unsure = min(memory.uncertainty / memory.mean, UNKNOWN)
    return {
        "memory_uncertain_share": (unsure, MEMORY_SHARE_AN_HOUR),
        "lag_uncertain_seconds": (min(lag.uncertainty, UNKNOWN), LAG_SECONDS_AN_HOUR),
        "memory_share_an_hour": (memory.share_at_least(), MEMORY_SHARE_AN_HOUR),
        "lag_seconds_an_hour": (lag.at_least, LAG_SECONDS_AN_HOUR),
        "pages_p99_ms": (percentile(pages, 99) if pages else 0.0, PAGES_P99_MS),
        "dead_share": (statistics.median(map(dead_share, samples[len(samples) // 2 :])),
                       DEAD_SHARE),
    }  # fmt: skip


def _counts(environment: BenchEnvironment) -> dict[str, Any]:
    rows = environment.sql(COUNTS)
    ((candidates, entries, each_once),) = environment.sql(CANDIDATES)
    states: Counter[str] = Counter()
    by_type: dict[str, Counter[str]] = {}
    for kind, _, status, reason, count in rows:
        states[status] += count
        by_type.setdefault(kind, Counter())[f"{status} {reason}".strip()] += count
    return {
        "candidates": int(candidates),
        "entries": int(entries),
        "each_once": int(each_once),
        "exits": sum(states.values()) - int(entries),
        "states": dict(states),
        "by_type": {kind: dict(found) for kind, found in by_type.items()},
    }


def _wrong(counts: Mapping[str, Any], audit: Mapping[str, Any], left: int) -> int:
    """Return how many orders are not there once, and what is open or counted by the audit."""
    missing = abs(counts["candidates"] - counts["entries"])
    twice = counts["entries"] - counts["each_once"]
    counted = sum(int(number) for number in audit["counters"].values())
    return int(missing + twice + left + counted)


def _unfilled_share(counts: Mapping[str, Any]) -> float:
    """Return the share of the orders that have ended without being filled."""
    orders = sum(counts["states"].values())
    return 1 - counts["states"].get("FILLED", 0) / orders if orders else 1.0


def _pages(pages: Sequence[float], failed: int, sampler: Sampler) -> dict[str, Any]:
    by_page: dict[str, list[float]] = {}
    for _, one in sampler.requests:
        by_page.setdefault(one.page, []).append(one.milliseconds)
    return {
        "count": len(pages),
        "failed": failed,
        "p50_ms": percentile(pages, 50) if pages else None,
        "p99_ms": percentile(pages, 99) if pages else None,
        "by_page": {
            page: {"count": len(took), "p50_ms": percentile(took, 50),
                   "p99_ms": percentile(took, 99)}
            for page, took in by_page.items()
        },
    }  # fmt: skip


def _middle(samples: Sequence[dict[str, Any]], name: str) -> float | None:
    """Return the median over the samples of a percentile of the time to a fill."""
    found = [one["orders"]["all"][name] for one in samples if one["orders"]["all"][name]]
    return statistics.median(found) if found else None


def _vacuums(samples: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return how often autovacuum has worked on each table meanwhile."""
    first, last = samples[0]["tables"], samples[-1]["tables"]
    counts = {
        table: int(one["autovacuums"] - first.get(table, {"autovacuums": 0})["autovacuums"])
        for table, one in last.items()
    }
    return {table: count for table, count in counts.items() if count}


def _sum(sample: Mapping[str, Any], part: str) -> float:
    return sum(float(one[part]) for one in sample["tables"].values())
