"""What fees are in the account's currency: a rate that is kept on the fill, or none.

A fee is converted by what was quoted when its execution was told. One in the pair's base currency
is worth what the execution paid for it. Where no fresh quote joins the two currencies the fee is
added to nothing: it stands beside the result, in its own currency (`unconverted_fees`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from brokers.types import Execution
from common.money import to_stored
from common.sql import array, rows, run
from prices.selectors import Conversion, conversion, pairs_between

MAX_AGE_SECONDS = 60  # of a quote that a fee is converted by, as for an entry's

QUOTES = """
SELECT data_connection_id, symbol, bid, ask, time FROM prices_latestquote
WHERE data_connection_id = ANY(%s::bigint[]) AND symbol = ANY(%s::text[])
  AND received_at > clock_timestamp() - make_interval(secs => %s)
"""

# Only where a fee without a rate came, went or stood before: few orders ever have one.
UNCONVERTED = """
WITH mine AS (SELECT unnest(%(ids)s::bigint[]) AS id), beside AS (
  SELECT m.id, coalesce((SELECT jsonb_object_agg(currency, trim_scale(fee)::text) FROM (
    SELECT f.commission_currency AS currency, sum(f.commission) AS fee FROM execution_fill f
    WHERE f.order_id = m.id AND f.commission_rate IS NULL
    GROUP BY 1 HAVING sum(f.commission) <> 0) x), '{}') AS fees
  FROM mine m
)
UPDATE execution_order o SET unconverted_fees = b.fees FROM beside b
WHERE o.id = b.id AND o.unconverted_fees <> b.fees
"""
UNCONVERTED_OF_POSITIONS = """
WITH mine AS (
  SELECT position_id AS id FROM execution_order
  WHERE id = ANY(%(ids)s) AND position_id IS NOT NULL
  UNION
  SELECT p.id FROM execution_order o JOIN positions_executionposition p
    ON p.connection_id = o.connection_id AND p.signal_id = o.signal_id
  WHERE o.id = ANY(%(ids)s) AND o.position_id IS NULL
), beside AS (
  SELECT m.id, coalesce((SELECT jsonb_object_agg(currency, trim_scale(fee)::text) FROM (
    SELECT e.key AS currency, sum(e.value::numeric) AS fee
    FROM (
      SELECT x.unconverted_fees FROM execution_order x WHERE x.position_id = p.id
      UNION ALL
      SELECT n.unconverted_fees FROM execution_order n
      WHERE n.position_id IS NULL AND n.connection_id = p.connection_id
        AND n.signal_id = p.signal_id AND n.leg LIKE 'entry%%'  -- as the index `one_entry` says it
    ) o CROSS JOIN jsonb_each_text(o.unconverted_fees) e
    GROUP BY 1 HAVING sum(e.value::numeric) <> 0) x), '{}') AS fees
  FROM mine m JOIN positions_executionposition p USING (id)
)
UPDATE positions_executionposition p SET unconverted_fees = b.fees,
  last_activity_at = clock_timestamp()
FROM beside b WHERE p.id = b.id AND p.unconverted_fees <> b.fees
"""


class FeeRate(NamedTuple):
    """Account currency for one of the fee's currency, and from when the quote was.

    rate: None where nothing fresh joins the two. at: None where the two are the same.
    """

    rate: Decimal | None
    at: datetime | None = None


SAME = FeeRate(Decimal(1))
UNKNOWN = FeeRate(None)


def converted(commission: Decimal, rate: Decimal | None) -> Decimal:
    """A fee in the account's currency; 0 where it has no rate: it stands beside the result."""
    return Decimal(0) if rate is None else to_stored(commission * rate)


@dataclass(frozen=True, slots=True)
class FeeRates:
    """By what the fees of a batch are converted. quotes: fresh ones, by source and pair."""

    quotes: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, row: Any, fill: Execution) -> FeeRate:
        """Return the rate for an execution of an order. Pure."""
        if not is_foreign(row, fill):
            return SAME
        base, _, quote = row.pair.rpartition("/")
        if row.account_currency is None:  # the account was never read
            return UNKNOWN
        if fill.commission_currency == base:
            return _times(fill.price, self._between(row, quote), fill.time)
        return _times(Decimal(1), self._between(row, fill.commission_currency), None)

    def _between(self, row: Any, currency: str) -> tuple[Conversion, datetime | None] | None:
        quotes = self.quotes.get(row.data_connection_id, {})
        found = conversion(quotes, currency, row.account_currency)
        if found is None:
            return None
        return found, min((quotes[pair].time for pair in found.pairs), default=None)


def is_foreign(row: Any, fill: Execution) -> bool:
    """Whether there is a fee, in a currency that is not the account's."""
    currency = fill.commission_currency
    return bool(fill.commission and currency and currency != row.account_currency)


def load(executions: Iterable[tuple[Any, Execution]]) -> FeeRates:
    """Load the quotes that the fees of these executions (each with its order's row) need."""
    sources, pairs = set(), set[str]()
    for row, fill in executions:
        if is_foreign(row, fill) and row.account_currency is not None:
            sources.add(row.data_connection_id)
            quote = row.pair.rpartition("/")[2]
            for currency in (fill.commission_currency, quote):
                pairs.update(pairs_between(currency, row.account_currency))
    if not pairs:
        return FeeRates()
    quotes: dict[int, dict[str, Any]] = {}
    for one in rows(QUOTES, (array(sources - {None}), array(pairs), MAX_AGE_SECONDS)):
        quotes.setdefault(one.data_connection_id, {})[one.symbol] = one
    return FeeRates(quotes)


def update_unconverted_fees(order_ids: Sequence[int]) -> None:
    """Work out anew which fees of these orders and their positions stand beside the result.

    Must run in the transaction that wrote their fills, whose orders and positions it has locked.
    """
    if order_ids:
        run(UNCONVERTED, {"ids": list(order_ids)})
        run(UNCONVERTED_OF_POSITIONS, {"ids": list(order_ids)})


def withheld(row: Any, fill: Execution) -> Decimal:
    """How much of what an entry's execution bought its fee has taken, in base units."""
    return fill.fee_in_base if row.position_id is None else Decimal(0)


def _times(
    price: Decimal, found: tuple[Conversion, datetime | None] | None, at: datetime | None
) -> FeeRate:
    if found is None:
        return UNKNOWN
    rate, quoted_at = found
    return FeeRate(to_stored(price * rate.rate), quoted_at or at)
