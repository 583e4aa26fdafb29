"""Fees in the account's currency: the rate is stored with the fill, or there is none.

A fee is converted at the quotes of the moment when its execution is reported. A fee in the pair's
base currency is valued at the execution's price. If no fresh quote connects the two currencies, the
fee is part of no total: it is listed in its own currency (`unconverted_fees`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

from brokers.types import Execution
from common.db.sql import Query, array, rows, run
from common.money import to_stored
from execution.base.statements import opens_position_sql
from execution.reports.sql import OrderRow
from positions.joins import entry_position_join_sql
from positions.quantities import store_unconverted_fees_sql
from prices.selectors import Conversion, conversion, pairs_between

MAX_AGE_SECONDS = 60  # of a quote that converts a fee, as for entries


class QuoteRow(NamedTuple):
    """The latest quote of a pair at a price source."""

    data_connection_id: int
    symbol: str
    bid: Decimal
    ask: Decimal
    time: datetime


QUOTES = Query(
    QuoteRow,
    """
SELECT data_connection_id, symbol, bid, ask, time FROM prices_latestquote
WHERE data_connection_id = ANY(%s::bigint[]) AND symbol = ANY(%s::text[])
  AND received_at > clock_timestamp() - make_interval(secs => %s)
""",
)

# Run only for orders that have, or had, a fee without a rate; few orders ever do.
UPDATE_OF_ORDERS = """
WITH changed AS (SELECT unnest(%(ids)s::bigint[]) AS id), unconverted AS (
  SELECT m.id, coalesce((SELECT jsonb_object_agg(currency, trim_scale(fee)::text) FROM (
    SELECT f.commission_currency AS currency, sum(f.commission) AS fee FROM execution_fill f
    WHERE f.order_id = m.id AND f.commission_rate IS NULL
    GROUP BY 1 HAVING sum(f.commission) <> 0) x), '{}') AS fees
  FROM changed m
)
UPDATE execution_order o SET unconverted_fees = u.fees FROM unconverted u
WHERE o.id = u.id AND o.unconverted_fees <> u.fees
"""
UPDATE_OF_POSITIONS = f"""
WITH changed AS (
  SELECT position_id AS id FROM execution_order
  WHERE id = ANY(%(ids)s) AND position_id IS NOT NULL
  UNION
  SELECT p.id FROM execution_order o {entry_position_join_sql("o")}
  WHERE o.id = ANY(%(ids)s) AND o.position_id IS NULL
), unconverted AS (
  SELECT m.id, coalesce((SELECT jsonb_object_agg(currency, trim_scale(fee)::text) FROM (
    SELECT e.key AS currency, sum(e.value::numeric) AS fee
    FROM (
      SELECT x.unconverted_fees FROM execution_order x WHERE x.position_id = p.id
      UNION ALL
      SELECT n.unconverted_fees FROM execution_order n
      WHERE {opens_position_sql("n", "p")}
    ) o CROSS JOIN jsonb_each_text(o.unconverted_fees) e
    GROUP BY 1 HAVING sum(e.value::numeric) <> 0) x), '{{}}') AS fees
  FROM changed m JOIN positions_executionposition p USING (id)
)
{store_unconverted_fees_sql("unconverted")}
"""


class FeeRate(NamedTuple):
    """Account currency for one unit of the fee's currency, and the time of its price.

    rate: None if no fresh quote connects the two. at: the time of the oldest quote that was used,
    or of the execution if only its price was used; None if neither was.
    """

    rate: Decimal | None
    at: datetime | None = None


class ChargedFill(Protocol):
    """A stored fill with its fee and the fee's rate."""

    @property
    def commission(self) -> Decimal: ...
    @property
    def commission_currency(self) -> str: ...
    @property
    def commission_rate(self) -> Decimal | None: ...
    @property
    def commission_rate_at(self) -> datetime | None: ...


SAME_CURRENCY = FeeRate(Decimal(1))
NO_RATE = FeeRate(None)


def converted(commission: Decimal, rate: Decimal | None) -> Decimal:
    """Return a fee in the account's currency; 0 without a rate, since it is part of no total."""
    return Decimal(0) if rate is None else to_stored(commission * rate)


@dataclass(frozen=True, slots=True)
class FeeRates:
    """The rates that convert the fees of a batch. quotes: fresh ones, by price source and pair."""

    quotes: Mapping[int | None, Mapping[str, QuoteRow]] = field(default_factory=dict)

    def of(self, row: OrderRow, fill: Execution) -> FeeRate:
        """Return the rate for the fee of an order's execution. Pure."""
        if not is_foreign(row, fill):
            return SAME_CURRENCY
        base, _, quote = row.pair.rpartition("/")
        if row.account_currency is None:  # the account has not been read yet
            return NO_RATE
        if fill.commission_currency == base:
            return _times(fill.price, self._between(row, quote), fill.time)
        return _times(Decimal(1), self._between(row, fill.commission_currency), None)

    def replacing(self, row: OrderRow, known: ChargedFill, fill: Execution) -> FeeRate:
        """Return the rate for a fee that replaces a stored one: without a quote the stored rate of
        the same currency is kept. Pure."""
        rate = self.of(row, fill)
        has_rate = bool(known.commission) and known.commission_currency == fill.commission_currency
        if rate.rate is None and has_rate:
            return FeeRate(known.commission_rate, known.commission_rate_at)
        return rate

    def _between(self, row: OrderRow, currency: str) -> tuple[Conversion, datetime | None] | None:
        """Return the conversion to the account's currency and the time of its oldest quote."""
        if row.account_currency is None:
            return None
        quotes = self.quotes.get(row.data_connection_id, {})
        to_account = conversion(quotes, currency, row.account_currency)
        if to_account is None:
            return None
        return to_account, min((quotes[pair].time for pair in to_account.pairs), default=None)


def is_foreign(row: OrderRow, fill: Execution) -> bool:
    """Return whether there is a fee in a currency other than the account's."""
    currency = fill.commission_currency
    return bool(fill.commission and currency and currency != row.account_currency)


def load_fee_rates(executions: Iterable[tuple[OrderRow, Execution]]) -> FeeRates:
    """Load the quotes that convert the fees of these executions, each with its order."""
    sources, pairs = set[int | None](), set[str]()
    for row, fill in executions:
        if is_foreign(row, fill) and row.account_currency is not None:
            sources.add(row.data_connection_id)
            quote_currency = row.pair.rpartition("/")[2]
            for currency in (fill.commission_currency, quote_currency):
                pairs.update(pairs_between(currency, row.account_currency))
    return FeeRates(fresh_quotes(sources, pairs))


def fresh_quotes(
    sources: Collection[int | None], pairs: Collection[str]
) -> dict[int | None, dict[str, QuoteRow]]:
    """Return the latest quotes that may convert money, by price source and pair."""
    quotes: dict[int | None, dict[str, QuoteRow]] = {}
    known = [source for source in sources if source is not None]
    if known and pairs:
        for quote in rows(QUOTES, (array(known), array(pairs), MAX_AGE_SECONDS)):
            quotes.setdefault(quote.data_connection_id, {})[quote.symbol] = quote
    return quotes


def update_unconverted_fees(order_ids: Sequence[int]) -> None:
    """Recompute the unconverted fees of these orders and their positions.

    Must run in the transaction that wrote their fills and has locked the orders and positions.
    """
    if order_ids:
        run(UPDATE_OF_ORDERS, {"ids": list(order_ids)})
        run(UPDATE_OF_POSITIONS, {"ids": list(order_ids)})


def withheld_fee(row: OrderRow, fill: Execution) -> Decimal:
    """Return how much an entry's fee has taken of what the execution bought, in base units."""
    return fill.fee_in_base if row.position_id is None else Decimal(0)


def _times(
    price: Decimal, converted_at: tuple[Conversion, datetime | None] | None, at: datetime | None
) -> FeeRate:
    """Return the rate of a price and a conversion. at: used if the conversion needed no quote."""
    if converted_at is None:
        return NO_RATE
    to_account, quoted_at = converted_at
    return FeeRate(to_stored(price * to_account.rate), quoted_at or at)
