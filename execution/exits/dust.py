"""Dust: a quantity too small to sell. It is closed in our books and stays in the account.

Spot exchanges take fees in the asset that was bought, so a position may end between two steps, or
below the market's minimum (`close_min`, `close_worth_min` of the instrument; both 0 if there is no
minimum). An exit takes whole steps; the rest gets an inferred close at the latest price
(`reports.inferred_closes`) with its own leg and close reason. Exits reported later replace it.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

import structlog
from django.db import DatabaseError

from brokers.types import CloseCause, Execution, OrderReport, ReportKind
from common.clocks import market_now
from common.db.errors import is_database_trouble
from common.db.sql import Query, rows, run
from common.reason_codes import Code
from connections.selectors import LISTED_INSTRUMENTS_SQL, has_old_facts_sql
from execution.base.market_facts import doubt_facts
from execution.base.statements import (
    event_rows_sql,
    insert_events_sql,
    opening_entry_join_sql,
    opens_position_sql,
)
from positions.broker_reads import request_reads_sql
from positions.exit_minimums import dust_sql, unsellable_sql
from positions.selectors import CLOSING_PRICE_SQL
from prices.selectors import quote_join_sql

log = structlog.get_logger(__name__)


RENEW_SECONDS = 600  # an exchange's list may have tens of megabytes


class ConnectionRow(NamedTuple):
    connection_id: UUID


class DustPosition(NamedTuple):
    """A position that is dust. price: its closing price now, None without a quote."""

    id: int
    connection_id: str
    opened_quantity: Decimal
    entry_price: Decimal
    client_order_id: str  # of its entry
    price: Decimal | None


_WHOLE = "trunc(p.quantity / i.quantity_step) * i.quantity_step"
_IS_BELOW_MINIMUM = f"""({_WHOLE} < i.close_min
    OR {_WHOLE} * coalesce({CLOSING_PRICE_SQL}, p.entry_price) < i.close_worth_min)"""

# Dust below the smallest quantity or value, without a live order. A larger position stays open
# (EXIT_BELOW_MINIMUM): the exchange may have raised its minimum, or the price may recover. It
# starts from the few instruments that have a minimum and never scans all positions.
FIND_DUST = Query(
    DustPosition,
    f"""
SELECT p.id, p.connection_id::text, p.opened_quantity, p.entry_price, e.client_order_id,
  {CLOSING_PRICE_SQL} AS price
FROM {LISTED_INSTRUMENTS_SQL}
JOIN positions_executionposition p ON p.connection_id = c.id AND p.symbol = i.symbol
{opening_entry_join_sql("p")}
LEFT {quote_join_sql("p.price_source_id", "p.pair")}
WHERE i.close_min > 0 AND p.quantity > 0 AND e.client_order_id IS NOT NULL
  AND {dust_sql()} AND {_IS_BELOW_MINIMUM}
  AND NOT EXISTS (SELECT FROM execution_order x WHERE x.position_id = p.id AND x.done_at IS NULL)
  AND (SELECT true FROM execution_order x WHERE {opens_position_sql("x", "p")}
    AND x.done_at IS NULL LIMIT 1) IS NULL  -- LIMIT 1: as in `opening_entry_sql`
""",
)

# For exits that have just ended as EXIT_BELOW_MINIMUM: only the first one of a position notifies.
NOTIFY_BELOW_MINIMUM = insert_events_sql(
    event_rows_sql(
        "execution_order m",
        kind="'exit.delayed'",
        payload="jsonb_build_object('code', m.reason, 'detail', m.detail)",
        where=f"""m.id = ANY(%s) AND NOT EXISTS (SELECT FROM execution_order x
  WHERE x.position_id = m.position_id AND x.id < m.id AND x.status = 'CANCELLED'
    AND x.reason = '{Code.EXIT_BELOW_MINIMUM.value}')""",
    )
)


def _is_unsellable(condition: str) -> str:
    return f"""EXISTS (
    SELECT FROM {LISTED_INSTRUMENTS_SQL}
    LEFT {quote_join_sql("p.price_source_id", "p.pair")}
    WHERE c.id = p.connection_id AND i.symbol = p.symbol
      AND {condition} AND {unsellable_sql(CLOSING_PRICE_SQL)})"""


# Of a position p: another exit would end without being sent. It is dust below the minimum, which no
# exit can close; or an exit was ended because the exchange accepts no such quantity, and it would
# still accept none. As soon as the price, the minimum, the quantity or the broker's quantity allow
# an exit, a new one is written; `close_dust` writes off what stays dust once its entry has ended.
# Or its symbol has left the broker's list, and an exit was refused for that.
HELD_BACK = f"""(EXISTS (
    SELECT FROM {LISTED_INSTRUMENTS_SQL}
    LEFT {quote_join_sql("p.price_source_id", "p.pair")}
    WHERE c.id = p.connection_id AND i.symbol = p.symbol AND i.close_min > 0
      AND {dust_sql()} AND {_IS_BELOW_MINIMUM})
  OR EXISTS (
  SELECT FROM execution_order x WHERE x.position_id = p.id AND x.status = 'CANCELLED'
    AND x.reason = '{Code.EXIT_BELOW_MINIMUM.value}')
  AND {_is_unsellable("true")}
  OR EXISTS (SELECT FROM execution_order x WHERE x.position_id = p.id AND x.status = 'REJECTED'
    AND x.reason = '{Code.UNKNOWN_SYMBOL_AT_BROKER.value}') AND EXISTS (
    SELECT FROM execution_driftitem d WHERE d.position_id = p.id AND d.state <> 'RESOLVED'
      AND d.kind = '{Code.POSITION_NOT_TRADABLE.value}'))"""

# Accounts with a position that is held back by a minimum which was read some time ago: it may have
# fallen since, and nothing else would show it. It starts from the few instruments that have one.
HELD_BACK_BY_OLD_FACTS = Query(
    ConnectionRow,
    f"""
SELECT DISTINCT p.connection_id FROM {LISTED_INSTRUMENTS_SQL}
JOIN positions_executionposition p ON p.connection_id = c.id AND p.symbol = i.symbol
LEFT {quote_join_sql("p.price_source_id", "p.pair")}
WHERE i.close_min > 0 AND p.quantity > 0 AND p.quantity > p.reserved
  AND {has_old_facts_sql("c.id", RENEW_SECONDS)} AND {unsellable_sql(CLOSING_PRICE_SQL)}
  AND EXISTS (SELECT FROM execution_order x WHERE x.position_id = p.id AND x.status = 'CANCELLED'
    AND x.reason = '{Code.EXIT_BELOW_MINIMUM.value}')
""",
)

# Positions of which the broker held less than our books at the last read. They are read again each
# minute, because this may hold back an exit.
REQUEST_READ = request_reads_sql(f"""
  SELECT p.id FROM {LISTED_INSTRUMENTS_SQL}
  JOIN positions_executionposition p ON p.connection_id = c.id AND p.symbol = i.symbol
  WHERE i.close_min > 0 AND p.quantity > 0 AND p.quantity > p.reserved
    AND p.broker_check_due_at IS NULL
    AND p.broker_quantity < p.quantity AND p.broker_checked_at > p.last_activity_at
    AND p.broker_checked_at < clock_timestamp() - interval '50 seconds'
  ORDER BY p.id FOR NO KEY UPDATE OF p SKIP LOCKED""")


def request_reads() -> None:
    """Request a read of the positions of which the broker holds too little for an exit, and of what
    brokers list where that holds an exit back.

    Must run outside the transaction that writes exits. If the database is unavailable, the next
    scan repeats the request.
    """
    try:
        run(REQUEST_READ)
        doubt_facts({row.connection_id for row in rows(HELD_BACK_BY_OLD_FACTS)})
    except DatabaseError as error:
        if not is_database_trouble(error):
            raise
        log.warning(
            "broker positions are not read again until the next scan", error=str(error).strip()
        )


def notify_below_minimum(order_ids: Sequence[int]) -> None:
    """Notify of exits that have just ended because the exchange accepts no such quantity.

    Must run in the transaction that ended them.
    """
    if order_ids:
        run(NOTIFY_BELOW_MINIMUM, (list(order_ids),))


def reports_of_dust() -> list[OrderReport]:
    """Return reports that close, in our books, the positions that are dust."""
    return [_closing_report(row) for row in rows(FIND_DUST, ())]


def _closing_report(row: DustPosition) -> OrderReport:
    fill = Execution(
        broker_fill_id="",
        quantity=row.opened_quantity,  # cumulative: all of it is closed now
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
