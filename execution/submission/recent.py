"""What accounts have sent and hold: what is stored, and what the bundle has allowed since.

It is read only for entries with limits that count it: for most bundles nothing is. The accounts are
locked: what another claim has sent before is counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from common.clocks import machine_seconds_until, market_now
from common.db.sql import Query, columns, rows
from connections.trading_day import trading_day
from execution.base.statements import LIVE_SQL, counts_as_live_sql, is_partly_known_sql
from execution.submission.rows import OrderRow, SignalRow
from execution.submission.sizing import ZERO
from positions.joins import open_nets_sql
from signals.joins import feed_of_signal_sql

LAST_ENTRIES = 20
"""How many entries of a symbol the median size is of."""
ENTRIES_SEARCHED = 500
"""Among how many entries of the account those are looked for."""


class RecentRow(NamedTuple):
    """What an account has sent and holds, for the limits of an entry that count it.

    day_notional, net_*: account currency; net_*: what is held in the base and quote of the entry's
    pair, below 0 if it is sold. day_volume, last_quantities: base units. same_trade_age: seconds
    since the last entry of the same feed, pair and side, if it lies in the window.
    """

    id: int
    sent_in_minute: int
    day_notional: Decimal
    day_volume: Decimal
    net_base: Decimal
    net_quote: Decimal
    last_quantities: list[Decimal] | None
    same_trade_age: Decimal | None


NOTHING_SENT = RecentRow(0, 0, ZERO, ZERO, ZERO, ZERO, None, None)


class NewEntry(NamedTuple):
    """An entry to be checked. sign: 1 for a buy, -1 for a sell; notional: account currency."""

    pair: str
    sign: int
    quantity: Decimal
    notional: Decimal
    feed_id: int

    @property
    def parts(self) -> tuple[tuple[str, Decimal], tuple[str, Decimal]]:
        """What it buys and sells: the net value by base and quote, below 0 if sold."""
        base, _, quote = self.pair.rpartition("/")
        value = self.notional * self.sign
        return (base, value), (quote, -value)


@dataclass(slots=True)
class BundleFlow:
    """What the bundle has allowed for an account so far. It is not in `RecentRow` yet."""

    sent: int = 0
    notional: Decimal = ZERO
    volumes: dict[str, Decimal] = field(default_factory=dict)  # by pair
    nets: dict[str, Decimal] = field(default_factory=dict)  # by currency
    trades: set[tuple[int, str, int]] = field(default_factory=set)  # (feed, pair, sign)

    def add(self, entry: NewEntry) -> None:
        """Count an allowed entry, so that the limits of the next one include it."""
        self.sent += 1
        self.notional += entry.notional
        self.volumes[entry.pair] = self.volumes.get(entry.pair, ZERO) + entry.quantity
        for currency, value in entry.parts:
            self.nets[currency] = self.nets.get(currency, ZERO) + value
        self.trades.add((entry.feed_id, entry.pair, entry.sign))


# Entries that were sent; an attempt that was not sent after all is PENDING.
_SENT = """x.connection_id = o.connection_id AND x.leg LIKE 'entry%%'
    AND x.submitted_at IS NOT NULL AND x.status <> 'PENDING'"""
# A slice that is planned; by the index `order_waiting`.
_PLANNED = """x.connection_id = o.connection_id AND x.status = 'PENDING' AND x.reason <> ''
    AND x.leg LIKE 'entry-%%' AND x.quantity IS NOT NULL"""
# What an entry counts in the sums of a day: all of it while it may be filled.
_COUNTED = f"CASE WHEN {counts_as_live_sql('x')} THEN x.quantity ELSE x.filled_quantity END"
_PRICE = "coalesce(x.expected_price, 0) * coalesce(x.conversion_rate, 0)"
_WORTH = f"{_COUNTED} * {_PRICE}"
_SIGN = "CASE x.side WHEN 'BUY' THEN 1 ELSE -1 END"
_MINUTE = "(statement_timestamp() - interval '1 minute')"  # stable, so by the index
# Always true. The planner takes a range with an unknown start for a small one, and uses the index;
# without an upper bound it expects a third of all orders, and may read every one.
_IN_RANGE = "x.submitted_at <= 'infinity'"
_BASE, _QUOTE = "split_part({}.pair, '/', 1)", "split_part({}.pair, '/', 2)"


def _net_of(currency: str) -> str:
    """Return SQL of the net value that is held in a currency, an expression."""
    return f"""coalesce(sum(CASE WHEN {_BASE.format("n")} = {currency} THEN n.net
      WHEN {_QUOTE.format("n")} = {currency} THEN -n.net END), 0)"""


# since: the start of the trading day in machine time; NULL: no limit of the day. time_window: of
# the same trade, in seconds; NULL: no limit.
RECENT = Query(
    RecentRow,
    f"""
SELECT o.id, day.sent_in_minute, day.day_notional + planned.notional AS day_notional,
  day.day_volume + planned.volume AS day_volume, nets.net_base, nets.net_quote,
  CASE WHEN o.counts_size THEN ARRAY(
    SELECT coalesce(whole.quantity, x.quantity) FROM (
      SELECT x.id, x.leg, x.pair, x.quantity, x.filled_quantity, x.submitted_at
      FROM execution_order x
      WHERE {_SENT} ORDER BY x.submitted_at DESC LIMIT {ENTRIES_SEARCHED}) x
    LEFT JOIN execution_sliceplan whole ON whole.order_id = x.id
    WHERE x.pair = o.pair AND x.leg = 'entry' AND x.filled_quantity > 0
    ORDER BY x.submitted_at DESC LIMIT {LAST_ENTRIES}) END AS last_quantities,
  (SELECT extract(epoch FROM statement_timestamp() - max(x.submitted_at)) FROM execution_order x
    WHERE o.time_window IS NOT NULL AND {_SENT}
      AND x.submitted_at > statement_timestamp() - make_interval(secs => o.time_window)
      AND {_IN_RANGE}
      AND x.pair = o.pair AND x.side = o.side
      AND ({counts_as_live_sql("x")} OR x.filled_quantity > 0)
      AND {feed_of_signal_sql("x.signal_id")} = o.feed_id) AS same_trade_age
FROM unnest(%s::bigint[], %s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::timestamptz[],
    %s::boolean[], %s::boolean[], %s::boolean[], %s::float8[])
  AS o (id, connection_id, pair, side, feed_id, since, counts_day, counts_nets, counts_size,
    time_window)
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE x.submitted_at > {_MINUTE})::int AS sent_in_minute,
    coalesce(sum({_WORTH}) FILTER (WHERE x.submitted_at >= o.since), 0) AS day_notional,
    coalesce(sum({_COUNTED}) FILTER (WHERE x.submitted_at >= o.since AND x.pair = o.pair), 0)
      AS day_volume
  FROM execution_order x
  WHERE o.counts_day AND {_SENT} AND x.submitted_at >= least(o.since, {_MINUTE})
    AND {_IN_RANGE}) day
CROSS JOIN LATERAL (
  SELECT coalesce(sum(x.quantity * {_PRICE}), 0) AS notional,
    coalesce(sum(x.quantity) FILTER (WHERE x.pair = o.pair), 0) AS volume
  FROM execution_order x WHERE o.since IS NOT NULL AND {_PLANNED}) planned
CROSS JOIN LATERAL (
  SELECT {_net_of(_BASE.format("o"))} AS net_base, {_net_of(_QUOTE.format("o"))} AS net_quote
  FROM (
    {open_nets_sql("o.connection_id", where="o.counts_nets")}
    UNION ALL
    SELECT x.pair, (x.quantity - x.filled_quantity) * {_PRICE} * {_SIGN} AS net
    FROM execution_order x
    WHERE o.counts_nets AND x.connection_id = o.connection_id AND x.position_id IS NULL
      AND x.status IN {LIVE_SQL}
    UNION ALL
    SELECT x.pair, (x.quantity - x.filled_quantity) * {_PRICE} * {_SIGN}
    FROM execution_order x
    WHERE o.counts_nets AND x.connection_id = o.connection_id AND x.position_id IS NULL
      AND {is_partly_known_sql("x")}
    UNION ALL
    SELECT x.pair, x.quantity * {_PRICE} * {_SIGN} FROM execution_order x
    WHERE o.counts_nets AND {_PLANNED}) n) nets
""",
)


def recent_of(
    pending: Sequence[OrderRow], signals: Mapping[int, SignalRow]
) -> dict[int, RecentRow]:
    """Return by order id what was sent and is held, for the entries whose limits count it."""
    asked = [
        _asked(row, signals) for row in pending if row.position_id is None and row.terms.has_preset
    ]
    needed = [record for record in asked if any(record[6:9]) or record[9] is not None]
    return {row.id: row for row in rows(RECENT, columns(needed, 10))} if needed else {}


def _asked(row: OrderRow, signals: Mapping[int, SignalRow]) -> tuple[Any, ...]:
    """Return the parameters of RECENT for an entry; of a later slice only its minute counts."""
    is_daily = (
        row.terms.limits.max_daily_notional is not None
        or row.terms.limits.max_daily_volume is not None
    )
    signal = signals.get(row.signal_id or 0)
    of = (row.id, row.connection_id, row.pair, row.side, signal.feed_id if signal else None)
    if row.leg != "entry":
        return (*of, None, row.terms.limits.max_orders_per_minute is not None, False, False, None)
    return (
        *of,
        _day_start(row) if is_daily else None,
        is_daily or row.terms.limits.max_orders_per_minute is not None,
        row.terms.limits.max_currency_exposure_percent is not None
        or row.terms.limits.correlated_exposure_warning_percent is not None,
        row.terms.limits.max_size_multiple is not None,
        row.terms.limits.same_trade_window_seconds if signal else None,
    )


def _day_start(row: OrderRow) -> datetime:
    """Return when the account's trading day began, by the machine's clock."""
    start = trading_day(row.terms, market_now()).start
    return datetime.now(UTC) + timedelta(seconds=machine_seconds_until(start))
