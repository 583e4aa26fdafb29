"""Store what the market did while an entry in slices ran, as soon as it has ended.

Minute bars are kept for a week, and the price source of an account may be changed, so the averages
are stored with the plan. They are read when the last minute of the entry is complete. A process
that dies before storing loses nothing: the plan has no result yet, and the next round reads it. A
plan whose prices are not known (any more) gets a result without averages, which says so.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from common.clocks import market_at, market_now
from common.db.sql import Query, columns, periodic_rows, run
from common.failpoints import failpoint
from connections.selectors import connection_join_sql
from execution.models import TERMINAL
from prices.selectors import MarketAverages, average_prices, minute_of

MAX_STORED = 500  # plans in one round
MINUTE = timedelta(minutes=1)
LATE_QUOTES = timedelta(seconds=5)
"""How long after a minute its last quotes may still be written."""


class EndedPlan(NamedTuple):
    """A plan of which nothing works any more. ended_at: machine time; starts_at: market time."""

    order_id: int
    source_id: int | None
    pair: str
    starts_at: datetime
    ends_at: datetime
    ended_at: datetime


ENDED_PLANS = Query(
    EndedPlan,
    f"""
SELECT d.order_id, c.data_connection_id AS source_id, e.pair, d.starts_at, d.ends_at,
  s.ended_at
FROM execution_sliceplan d JOIN execution_order e ON e.id = d.order_id
{connection_join_sql("e.connection_id")}
CROSS JOIN LATERAL (
  SELECT max(o.done_at) AS ended_at, bool_and(o.status = ANY('{{{",".join(TERMINAL)}}}')) AS ended
  FROM execution_order o WHERE o.signal_id = e.signal_id AND o.connection_id = e.connection_id
    AND o.leg LIKE 'entry%'
) s
WHERE d.market_until IS NULL AND s.ended AND s.ended_at IS NOT NULL
ORDER BY d.order_id LIMIT {MAX_STORED}
""",
)
STORE = """
UPDATE execution_sliceplan d SET market_average = t.average, market_vwap = t.vwap,
  market_minutes = t.minutes, market_until = t.until
FROM unnest(%s::bigint[], %s::numeric[], %s::numeric[], %s::int[], %s::timestamptz[])
  AS t(order_id, average, vwap, minutes, until)
WHERE d.order_id = t.order_id AND d.market_until IS NULL
"""


def counts_until(ends_at: datetime, ended_at: datetime) -> datetime:
    """Return until when the market counts for a plan: its end, earlier if it ended early.

    ended_at: machine time; the others: market time.
    """
    return min(ends_at, market_at(ended_at))


def store_slice_averages() -> int:
    """Store the market's averages of plans that have ended; return how many."""
    now = market_now()
    complete = [
        (plan, until)
        for plan in periodic_rows(ENDED_PLANS)
        if minute_of(until := counts_until(plan.ends_at, plan.ended_at)) + MINUTE + LATE_QUOTES
        <= now
    ]
    if not complete:
        return 0
    records = _records(complete)
    failpoint("slice_averages.read")
    return run(STORE, columns(records, 5))


def _records(plans: Sequence[tuple[EndedPlan, datetime]]) -> list[tuple[Any, ...]]:
    """Read the averages of each plan; those of many accounts are often the same ones."""
    known: dict[tuple[Any, ...], MarketAverages | None] = {}
    records: list[tuple[Any, ...]] = []
    for plan, until in plans:
        key = plan.source_id, plan.pair, minute_of(plan.starts_at), minute_of(until)
        if key not in known:
            known[key] = (
                average_prices(plan.source_id, plan.pair, plan.starts_at, until)
                if plan.source_id is not None
                else None
            )
        found = known[key]
        averages: tuple[Decimal | None, Decimal | None, int] = (
            (found.by_time, found.by_quotes, found.minutes) if found else (None, None, 0)
        )
        records.append((plan.order_id, *averages, until))
    return records
