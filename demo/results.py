"""The demo's results in numbers: read once at the end, for the tables and the JSON line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet, Sum

from analytics.selectors import totals
from analytics.services import compute_day
from common.clocks import market_now
from common.db.sql import rows
from common.reason_codes import Code
from connections.models import TradingPause
from connections.selectors import account_join_sql
from connections.trading_day import trading_date
from execution.base.statements import ALL_PENDING_SQL
from execution.exits.order_sizes import target_of_leg
from execution.models import ALL_PENDING, Order
from positions.models import StopRule

BY_SIGNAL = """
SELECT s.id, s.currency_pair, s.direction, s.order_type, s.stop_price, s.open_price, s.action,
  s.candidate_count, coalesce(o.states, '{}'::jsonb) AS states
FROM signals_signal s
LEFT JOIN LATERAL (
  SELECT jsonb_object_agg(x.status, x.n) AS states FROM (
    SELECT status, count(*) AS n FROM execution_order
    WHERE signal_id = s.id AND leg = 'entry' GROUP BY status) x) o ON true
WHERE s.published_at IS NOT NULL ORDER BY s.id
"""
REASONS = """
SELECT status, reason, count(*) AS n FROM execution_order
WHERE leg LIKE 'entry%%' AND status IN ('SKIPPED', 'DENIED', 'REJECTED', 'FAILED', 'EXPIRED',
  'CANCELLED', 'UNKNOWN')
GROUP BY 1, 2 ORDER BY array_position(ARRAY['SKIPPED', 'DENIED', 'REJECTED'], status::text), n DESC
"""
CLOSES = """
SELECT close_reason AS reason, count(*) AS n, count(*) FILTER (WHERE realized_pnl > 0) AS won,
  count(*) FILTER (WHERE realized_pnl < 0) AS lost
FROM positions_executionposition WHERE closed_at IS NOT NULL GROUP BY 1 ORDER BY n DESC
"""
SLIPPAGE = """
SELECT what, unit, count(*) AS n, min(slip) AS best,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY slip) AS median,
  percentile_disc(0.95) WITHIN GROUP (ORDER BY slip) AS p95, max(slip) AS worst
FROM (
  SELECT o.pair || ' ' || CASE WHEN o.position_id IS NULL THEN lower(o.order_type) || ' entry'
    WHEN o.leg LIKE 'sl%%' THEN 'stop loss' || CASE WHEN o.order_type = 'MARKET'
      THEN ', guarded by us' ELSE ', guarded by the broker' END
    WHEN o.leg LIKE 'tp%%' THEN 'target' ELSE 'close' END AS what, o.slippage_pips AS slip,
    o.slippage_unit AS unit
  FROM execution_order o WHERE o.filled_quantity > 0 AND o.slippage_pips IS NOT NULL) one
GROUP BY what, unit ORDER BY unit, worst DESC
"""
CONNECTIONS = f"""
SELECT c.id, c.name, u.username, a.currency,
  count(*) FILTER (WHERE o.filled_quantity > 0) AS filled, count(*) AS orders
FROM connections_executionconnection c
JOIN users_user u ON u.id = coalesce(c.user_id, c.admin_id)
{account_join_sql()}
LEFT JOIN execution_order o ON o.connection_id = c.id AND o.leg LIKE 'entry%%'
GROUP BY 1, 2, 3, 4
"""
FIRST_FILL = """
SELECT extract(epoch FROM min(o.filled_at) - min(e.created_at)) AS seconds
FROM events_event e, execution_order o
WHERE e.kind = 'signal.published' AND o.filled_at IS NOT NULL
"""
LOST_REPLIES = """
SELECT count(DISTINCT l.order_id) AS lost,
  count(DISTINCT l.order_id) FILTER (WHERE o.status <> 'UNKNOWN') AS resolved
FROM execution_executionlog l JOIN execution_order o ON o.id = l.order_id
WHERE l.status = 'UNKNOWN'
"""
# Without entries that wait until their broker can be reached: the demo's silent accounts stay so.
UNFINISHED = f"""
SELECT count(*) AS n FROM execution_order
WHERE ({ALL_PENDING_SQL} AND (position_id IS NOT NULL
    OR reason <> '{Code.CONNECTION_UNREACHABLE.value}'))
  OR status IN ('SUBMITTING', 'UNKNOWN', 'CANCEL_REQUESTED') OR pending_action <> ''
  OR (position_id IS NOT NULL AND done_at IS NULL)
"""


@dataclass(frozen=True, slots=True)
class ConnectionResult:
    """A connection's result of the session, in its account's currency."""

    owner: str
    connection: str
    currency: str
    orders: int
    filled: int
    trades: int
    net: Decimal


@dataclass(frozen=True, slots=True)
class StopMoves:
    """How often rules moved stops, of how many positions, and how many of those closed there."""

    moves: int
    positions: int
    closed: int


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that the summary shows."""

    signals: Sequence[Any]
    reasons: Sequence[Any]
    closes: Sequence[Any]
    slippage: Sequence[Any]
    results: Sequence[ConnectionResult]
    stop_moves: StopMoves
    slices_filled: int
    targets_hit: int
    paused: int  # accounts that reached a loss limit
    lost_replies: Any  # how many orders got no reply; of how many a look-up found the outcome
    seconds_to_first_fill: float | None
    audit: Mapping[str, Any]

    @property
    def passes_audit(self) -> bool:
        """Whether the audit proves that nothing is missing.

        Counters of 0 prove nothing if there was no signal or a broker's books could not be read.
        """
        return bool(self.audit["ok"] and self.audit["signals"] and not self.audit["unread"])

    @property
    def slippage_max(self) -> dict[str, Decimal]:
        """The worst slippage of all fills, by its unit."""
        found: dict[str, Decimal] = {}
        for row in self.slippage:
            found[row.unit] = max(row.worst, found.get(row.unit, row.worst))
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the values of the JSON line: the audit's, and those of the replay."""
        return {
            **self.audit,
            "ok": self.passes_audit,
            "closes": {row.reason: row.n for row in self.closes},
            "slippage_pips_max": None,
            **{
                f"slippage_{unit.lower()}_max": round(float(worst), 1)
                for unit, worst in self.slippage_max.items()
            },
            "stops_moved": self.stop_moves.moves,
            "slices_filled": self.slices_filled,
            "targets_hit": self.targets_hit,
            "accounts_paused": self.paused,
            "seconds_to_first_fill": self.seconds_to_first_fill,
        }


def is_settled() -> bool:
    """Return whether no order can still be sent or answered soon and no exit is unfinished."""
    (found,) = rows(UNFINISHED)
    return bool(found.n == 0)


def are_entries_sent() -> bool:
    """Return whether every entry was sent or decided, but those to brokers that do not answer."""
    waiting = Order.objects.entries().filter(ALL_PENDING)
    return not waiting.exclude(reason=Code.CONNECTION_UNREACHABLE).exists()


def collect(audit: Mapping[str, Any]) -> Results:
    """Compute the day's results and read all figures. audit: the audit's report as a mapping."""
    day = trading_date(market_now())
    compute_day(day)
    (first,) = rows(FIRST_FILL)
    filled = Order.objects.filter(filled_quantity__gt=0)
    return Results(
        signals=rows(BY_SIGNAL),
        reasons=rows(REASONS),
        closes=rows(CLOSES),
        slippage=rows(SLIPPAGE),
        results=_results(day),
        stop_moves=_stop_moves(),
        slices_filled=filled.entries().exclude(signal__execution_style="").count(),
        targets_hit=_targets_hit(filled),
        paused=TradingPause.objects.exclude(limit=None).values("connection").distinct().count(),
        lost_replies=rows(LOST_REPLIES)[0],
        seconds_to_first_fill=None if first.seconds is None else round(float(first.seconds), 3),
        audit=audit,
    )


def _targets_hit(filled: QuerySet[Order]) -> int:
    """Return how many targets were executed.

    One may take several orders, of one request (`tp-1+2`) or of a repeated one (`tp-1.2`).
    """
    exits = filled.filter(leg__startswith="tp").values_list("position_id", "leg")
    return len({(position_id, target_of_leg(leg)) for position_id, leg in exits})


def _stop_moves() -> StopMoves:
    moved = StopRule.objects.filter(moves__gt=0)
    return StopMoves(
        moves=moved.aggregate(sum=Sum("moves", default=0))["sum"],
        positions=moved.count(),
        closed=moved.filter(position__close_reason__in=("trailing", "break_even")).count(),
    )


def _results(day: Any) -> list[ConnectionResult]:
    by_connection = totals(None, day, day)
    found = []
    for row in rows(CONNECTIONS):
        rollup = by_connection.get(row.id)
        found.append(
            ConnectionResult(
                row.username, row.name, row.currency or "", row.orders, row.filled,
                rollup.trades if rollup else 0, rollup.total if rollup else Decimal(0),
            )
        )  # fmt: skip
    return sorted(found, key=lambda result: result.net, reverse=True)
