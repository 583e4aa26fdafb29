"""What is too small to be sold: it is closed in the books, and stays in the account.

Exchanges on spot take fees in what was bought, so a position may end between two steps, or below
the least that its market takes (`close_min`, `close_worth_min` of the instrument; both 0 where any
rest can be closed). An exit takes whole steps; the rest is concluded as closed at the latest price
(`reports.concluded`), with a leg and a close reason of its own. Exits told later replace it.
"""

from decimal import Decimal
from typing import Any

from brokers.messages import CloseCause, Execution, OrderReport, ReportKind
from common.clocks import market_now
from common.codes import Code
from common.money import floor_to_step
from common.sql import rows

# Small rests below the least, and those whose exit was ended because it was worth too little;
# nothing is on its way of either. Small: below two steps or a hundredth of what was opened, as fees
# and our own exits leave it. A larger position below the least stays open: the exchange may have
# raised its least, or we have read it wrong. By the few instruments that know a least, never
# through all positions.
FIND = f"""
SELECT p.id, p.connection_id::text, p.opened_quantity, p.entry_price, e.client_order_id,
  CASE p.side WHEN 'BUY' THEN q.bid ELSE q.ask END AS price
FROM connections_instrument i
JOIN connections_executionconnection c ON c.instrument_book = i.book
JOIN positions_executionposition p ON p.connection_id = c.id AND p.symbol = i.symbol
JOIN execution_order e ON e.connection_id = p.connection_id AND e.signal_id = p.signal_id
  AND e.leg = 'entry' AND e.leg LIKE 'entry%%'
LEFT JOIN prices_latestquote q ON q.data_connection_id = p.price_source_id AND q.symbol = p.pair
WHERE i.close_min > 0 AND p.quantity > 0 AND e.client_order_id IS NOT NULL AND e.done_at IS NOT NULL
  AND (trunc(p.quantity / i.quantity_step) * i.quantity_step < i.close_min
    AND p.quantity < greatest(2 * i.quantity_step, p.opened_quantity / 100) OR EXISTS (
    SELECT FROM execution_order x WHERE x.position_id = p.id AND x.status = 'CANCELLED'
      AND x.reason = '{Code.DUST.value}' AND x.quantity >= p.quantity))
  AND NOT EXISTS (SELECT FROM execution_order x WHERE x.position_id = p.id AND x.done_at IS NULL)
"""


def sellable(quantity: Decimal, price: Decimal, instrument: Any | None) -> Decimal:
    """Return how much of a quantity can be sold; 0: it is dust. Pure.

    price: quote currency. Where the instrument knows no least, all of it.
    """
    if instrument is None or instrument.close_min <= 0:
        return quantity
    whole = floor_to_step(quantity, instrument.quantity_step)
    too_small = whole < instrument.close_min or whole * price < instrument.close_worth_min
    return Decimal(0) if too_small else whole


def reports_of_dust() -> list[OrderReport]:
    """What concludes the positions of which nothing can be sold any more."""
    return [_closed(row) for row in rows(FIND)]


def _closed(row: Any) -> OrderReport:
    fill = Execution(
        broker_fill_id="",
        quantity=row.opened_quantity,  # closed in all: this is the rest of it
        price=row.price if row.price is not None else row.entry_price,
        time=market_now(),
        inferred=True,
    )
    return OrderReport(
        kind=ReportKind.FILLED,
        connection_id=row.connection_id,
        client_order_id=row.client_order_id,
        close_cause=CloseCause.DUST,
        fills=(fill,),
    )
