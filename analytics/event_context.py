"""Facts about the orders, positions and accounts of events, for notifications."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from common.db.sql import Query, columns, kept_plans, rows
from common.money import plain
from common.web.formatting import number
from connections.selectors import is_twin_account
from events.context import EventContext
from events.models import EventKind
from positions.close_reasons import close_of
from positions.joins import opened_position_id_sql, position_join_sql
from signals.joins import FEED_JOIN_SQL


class ContextRow(NamedTuple):
    """What an event is about. quantity: of the order's fills, else of the order or position.

    position_id: of the position that it is about, or that its order opened. is_open: whether
    what the order has filled is open now, or some of its position.
    """

    event_id: int
    account_name: str | None
    account: str | None
    broker_type: str | None
    currency: str | None
    signal_id: int | None
    pair: str | None
    side: str | None
    quantity: Decimal | None
    price: Decimal | None
    leg: str | None
    reason: str | None
    detail: str | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    worst_price: Decimal | None
    expected_price: Decimal | None
    slippage: Decimal | None
    slippage_unit: str | None
    trade_plan_id: str | None
    broker_order_id: str | None
    feed: str | None
    position_id: int | None
    is_open: bool | None


POSITION_ID = f"coalesce(e.position_id, o.position_id, ({opened_position_id_sql('o')}))"
EVENT_CONTEXT_SQL = Query(
    ContextRow,
    f"""
SELECT e.event_id, c.name AS account_name, c.account, c.type AS broker_type,
  snapshot.currency,
  e.signal_id, coalesce(o.pair, p.pair, s.currency_pair) AS pair,
  coalesce(o.side, p.side, s.direction) AS side,
  coalesce(nullif(o.filled_quantity, 0), o.quantity, p.opened_quantity) AS quantity,
  o.avg_fill_price AS price, o.leg, o.reason, o.detail, o.limit_price, o.stop_price,
  o.worst_price, o.expected_price, o.slippage_pips AS slippage, o.slippage_unit,
  s.trade_plan_id, o.broker_order_id, f.slug AS feed, p.id AS position_id,
  p.quantity > 0 AND o.filled_quantity > 0 AS is_open
FROM unnest(%s::bigint[], %s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[])
  AS e(event_id, connection_id, signal_id, order_id, position_id)
LEFT JOIN execution_order o ON o.id = e.order_id
LEFT {position_join_sql(POSITION_ID)}
LEFT JOIN signals_signal s ON s.id = coalesce(e.signal_id, p.signal_id)
LEFT {FEED_JOIN_SQL}
LEFT JOIN connections_executionconnection c ON c.id = e.connection_id
LEFT JOIN connections_accountsnapshot snapshot ON snapshot.connection_id = c.id
""",
)


def event_context(events: Sequence[EventContext]) -> dict[int, dict[str, str]]:
    """Return the facts by event id, in one query for all events."""
    keys = [
        (event.id, event.connection_id, event.signal_id, event.order_id, _position(event))
        for event in events
    ]
    if not keys:
        return {}
    with kept_plans():  # else the planner reads whole tables for a few thousand events
        found = rows(EVENT_CONTEXT_SQL, columns(keys, 5), planned_once=True)
    closed = {event.id: _closed_by(event) for event in events}
    return {row.event_id: _facts(row) | closed[row.event_id] for row in found}


def _closed_by(event: EventContext) -> dict[str, str]:
    """Return what closed the position that an event is about, as its table has it."""
    close = close_of(str(event.payload.get("reason") or ""))
    if event.kind != EventKind.POSITION_CLOSED or close is None:
        return {}
    return {"closed_by": close.sentence, "closing_leg": close.leg}


def _facts(row: ContextRow) -> dict[str, str]:
    facts = {
        "account": f"{row.account_name}\u00a0·\u00a0{row.account}" if row.account else "",
        "twin": _twin(row),
        "currency": row.currency or "",
        "signal": f"S-{row.signal_id}" if row.signal_id else "",
        "pair": row.pair or "",
        "trade": _trade(row.side, row.quantity, row.pair),
        "price": plain(row.price),
        "leg": row.leg or "",
        "code": row.reason or "",
        "detail": row.detail or "",
        "limit_price": plain(row.limit_price),
        "stop_price": plain(row.stop_price),
        "worst_price": plain(row.worst_price),
        "expected_price": plain(row.expected_price),
        "slippage": plain(row.slippage),
        "slippage_unit": row.slippage_unit or "" if row.slippage is not None else "",
        "trade_plan_id": row.trade_plan_id or "",
        "broker_order_id": row.broker_order_id or "",
        "feed": row.feed or "",
        "symbol": row.pair or "",
        "side": row.side or "",
        "quantity": plain(row.quantity),
        "position": str(row.position_id or ""),
        "is_open": "1" if row.is_open and (row.leg or "").startswith("entry") else "",
    }
    return {name: text for name, text in facts.items() if text}


def _twin(row: ContextRow) -> str:
    """Return "1" for the account of a paper twin."""
    return "1" if is_twin_account(row.broker_type or "", row.account or "") else ""


def _trade(side: str | None, quantity: Decimal | None, pair: str | None) -> str:
    """Return `Buy 10,000 EUR/USD`, without the parts that are unknown."""
    if not side or not pair:
        return ""
    return " ".join(filter(None, (side.capitalize(), number(quantity), pair)))


def _position(event: EventContext) -> int | None:
    position_id = event.payload.get("position")
    return (
        position_id if isinstance(position_id, int) and not isinstance(position_id, bool) else None
    )
