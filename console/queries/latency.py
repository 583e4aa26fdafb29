"""Latency of the steps of an entry, over the newest orders, from one query."""

from dataclasses import dataclass
from datetime import datetime

from common.db.sql import rows
from console.charts import Span, span

NEWEST = 20_000  # orders
MINUTES = 15
TARGET_MS = 250

STEPS: dict[str, tuple[str, str]] = {
    "validated": ("Published → sized and checked", "the intent is stored"),
    "submitted": ("Published → sent", "all eligible candidates"),
    "acknowledged": ("Sent → acknowledged", "the broker’s own time"),
    "filled": ("Acknowledged → filled", "market orders only"),
}

_FROM_TO = {
    "validated": ("created_at", "validated_at"),
    "submitted": ("created_at", "submitted_at"),
    "acknowledged": ("submitted_at", "acknowledged_at"),
    "filled": ("acknowledged_at", "filled_at"),
}


def _columns() -> str:
    parts = []
    for step, (start, end) in _FROM_TO.items():
        only = " AND order_type = 'MARKET'" if step == "filled" else ""
        ms = f"extract(epoch FROM {end} - {start}) * 1000"
        kept = f"FILTER (WHERE {end} >= {start}{only})"
        parts.append(
            "percentile_cont(ARRAY[0.5, 0.9, 0.99, 1])"
            f" WITHIN GROUP (ORDER BY {ms}) {kept} AS {step},"
            f" count(*) {kept} AS {step}_count"
        )
    return ", ".join(parts)


_RECENT = f"""
SELECT {_columns()}, count(*) AS orders, min(created_at) AS since FROM (
  SELECT * FROM execution_order ORDER BY id DESC LIMIT {NEWEST}
) newest
WHERE created_at > clock_timestamp() - interval '{MINUTES} minutes' AND leg = 'entry'
"""  # our own names and numbers. Later slices wait for their time: how long is no latency


@dataclass(frozen=True, slots=True)
class Step:
    """One step's times in milliseconds."""

    name: str
    note: str
    count: int
    p50: float
    p90: float
    p99: float
    maximum: float

    @property
    def span(self) -> Span:
        return span(self.p50, self.p99, self.maximum)


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency by step over recent entries. sent_p99: milliseconds from publication to sent."""

    orders: int
    since: datetime | None
    steps: list[Step]
    sent_p99: float | None

    @property
    def is_slow(self) -> bool:
        return self.sent_p99 is not None and self.sent_p99 > TARGET_MS


def recent() -> Latency:
    """Return the latency of the newest entries of 15 minutes; steps without data are left out."""
    row = rows(_RECENT)[0]
    steps = {
        key: Step(
            name, note, getattr(row, f"{key}_count"), *(float(ms) for ms in getattr(row, key))
        )
        for key, (name, note) in STEPS.items()
        if getattr(row, key)
    }
    sent = steps.get("submitted")
    return Latency(row.orders, row.since, list(steps.values()), sent.p99 if sent else None)
