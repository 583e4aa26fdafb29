"""The current value of positions, and who executes their stop. Values are never stored."""

from typing import Any
from uuid import UUID

from django.db.models import CharField, DateTimeField, Field, Q, QuerySet
from django.db.models.expressions import RawSQL

from common.fields import AmountField
from connections.selectors import account_join_sql
from positions.exit_minimums import exit_blocker_sql
from positions.models import STOP_NOT_HELD, ExecutionPosition
from prices.selectors import quote_join_sql

UNPROTECTED = STOP_NOT_HELD | Q(quantity__gt=0, unprotected_since__isnull=False)
"""Open positions that should have a stop and have none, or one that is not monitored now."""


CLOSING_PRICE_SQL = "CASE p.side WHEN 'BUY' THEN q.bid ELSE q.ask END"
# An account in the pair's base currency is paid at the price itself: the entry's rate is old.
PROFIT_SQL = f"""(CASE p.side WHEN 'BUY' THEN q.bid - p.entry_price ELSE p.entry_price - q.ask END
    * p.quantity * CASE WHEN a.currency = split_part(p.pair, '/', 1)
      THEN 1::numeric(38, 18) / nullif({CLOSING_PRICE_SQL}, 0) ELSE p.conversion_rate END)"""


def with_prices(positions: QuerySet[ExecutionPosition]) -> QuerySet[ExecutionPosition]:
    """Annotate `current_price` (where it could be closed: bid for BUY, ask for SELL), `price_time`
    (market clock) and `unrealized_pnl` (account currency, gross). Without a quote all are NULL.
    `exit_blocker`: why no exit can be sent now (a code); '' if one can.

    For a list on a page: it makes index look-ups for each row.
    """
    return positions.annotate(
        current_price=_at_quote(CLOSING_PRICE_SQL, AmountField()),
        price_time=_at_quote("q.time", DateTimeField()),
        unrealized_pnl=_at_quote(
            f"{PROFIT_SQL}::numeric(38, 18)", AmountField(), account_join_sql("p.connection_id")
        ),
        exit_blocker=_at_quote(exit_blocker_sql(CLOSING_PRICE_SQL), CharField()),
    )


def open_position_ids(connection_id: UUID, *, feed_id: int | None = None) -> list[int]:
    """Return the ids of a connection's open positions. feed_id: of this feed only."""
    held = ExecutionPosition.objects.open().filter(connection=connection_id)
    if feed_id is not None:
        held = held.filter(signal__feed=feed_id)
    return list(held.order_by("pk").values_list("pk", flat=True))


def protection(position: ExecutionPosition) -> tuple[str, str]:
    """Return who holds the stop, as a badge's shape and text."""
    if not position.is_open:
        return "filled", "Closed"
    if position.sl is None:
        return "validated", "No stop"
    if position.unprotected_since is not None:
        return "unprotected", "Unprotected"
    if position.stop_guardian == "BROKER":
        return "safe", "Stop at the broker"
    if not position.is_unconfirmed and position.stop_guardian == "ENGINE":
        return "attention", "Stop monitored by us"
    return "unprotected", "Unprotected"


def _at_quote(expression: str, field: "Field[Any, Any]", joined: str = "") -> RawSQL:
    """Return SQL of the queryset's position p and its latest quote q as an annotation. Without a
    quote the columns of q are NULL. It names the table, so the queryset must give it no alias.
    joined: what else the expression reads."""
    table = ExecutionPosition._meta.db_table
    sql = f"""SELECT {expression} FROM (SELECT {table}.*) p
LEFT {quote_join_sql("p.price_source_id", "p.pair")} {joined}"""
    return RawSQL(sql, [], output_field=field)
