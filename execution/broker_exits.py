"""Exits that the broker made by itself: its stop or target, or the owner's own hand.

Such a report names the entry and why the position was closed; the exit's order row is written when
the broker first tells of it, because until then there is nothing of ours to send (docs/adr/0002).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from brokers.base import CloseCause, OrderReport
from common.sql import columns, rows, run
from execution.exits import next_leg
from execution.ids import all_attempts, base_of


@dataclass(slots=True)
class Told:
    """Reports with the order row each is about; None: look it up by client order id."""

    reports: list[tuple[OrderReport, int | None]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    deferred: list[OrderReport] = field(default_factory=list)


ENTRIES = """
SELECT e.client_order_id, p.id
FROM execution_order e
LEFT JOIN positions_executionposition p ON p.connection_id = e.connection_id
  AND p.signal_id = e.signal_id
WHERE e.client_order_id = ANY(%s)
"""

LOCK = "SELECT id FROM positions_executionposition WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"

LOAD = """
SELECT p.id, p.connection_id, p.quantity, p.sl, p.tp, p.tp_number,
  (SELECT jsonb_object_agg(o.leg, jsonb_build_array(o.id, o.broker_order_id))
   FROM execution_order o WHERE o.position_id = p.id) AS legs
FROM positions_executionposition p WHERE p.id = ANY(%s)
"""

KNOWN = """
SELECT broker_fill_id FROM execution_fill WHERE connection_id = %s AND broker_fill_id = ANY(%s)
"""

INSERT = """
WITH w AS (
  SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::numeric[], %s::numeric[])
    AS t(position_id, leg, broker_order_id, quantity, expected_price)
), r AS (
  UPDATE positions_executionposition p SET reserved = least(p.reserved + w.quantity, p.quantity)
  FROM w WHERE p.id = w.position_id RETURNING p.*, w.leg, w.broker_order_id, w.quantity AS wanted,
    w.expected_price
)
INSERT INTO execution_order (signal_id, connection_id, position_id, leg, priority, pair, symbol,
  side, order_type, time_in_force, quantity, expected_price, pip, conversion_rate, status,
  broker_order_id, submitted_at)
SELECT signal_id, connection_id, id, leg, 1, pair, symbol,
  CASE side WHEN 'BUY' THEN 'SELL' ELSE 'BUY' END,
  CASE WHEN leg LIKE 'sl%%' THEN 'STOP' WHEN leg LIKE 'tp%%' THEN 'LIMIT' ELSE 'MARKET' END,
  'GTC', wanted, expected_price, pip, conversion_rate, 'SUBMITTED', broker_order_id,
  clock_timestamp()
FROM r RETURNING id
"""

GROW = """
UPDATE execution_order SET quantity = quantity + %s WHERE id = %s
"""


def materialise(reports: Sequence[OrderReport]) -> Told:
    """Give every broker-made exit an order row.

    Must run in the transaction that applies the reports. A report whose executions are all known
    already gets no second row: it was delivered again. One that overtook its entry's own fill is
    deferred: it is not acknowledged, so the broker tells it again.
    """
    told = Told([(r, None) for r in reports if r.close_cause is None])
    made = [r for r in reports if r.close_cause is not None]
    if not made:
        return told
    candidates = [cid for r in made for cid in all_attempts(r.client_order_id)]
    positions = {base_of(row.client_order_id): row.id for row in rows(ENTRIES, (candidates,))}
    rows(LOCK, ([position for position in positions.values() if position],))
    seen: set[tuple[int, str]] = set()
    for report in made:
        base = base_of(report.client_order_id)
        if base not in positions:
            told.reports.append((report, None))  # not ours: it becomes drift
        elif (position_id := positions[base]) is None:
            told.deferred.append(report)
        elif (order_id := _exit_row(report, position_id, seen)) is not None:
            told.reports.append((report, order_id))
            told.ids.append(order_id)
    return told


def _exit_row(report: OrderReport, position_id: int, seen: set[tuple[int, str]]) -> int | None:
    """Find or write the exit's order row; None when there is nothing new in the report."""
    position = rows(LOAD, ([position_id],))[0]
    fresh = _new_quantity(report, position, seen)
    if fresh <= 0:
        return None
    legs: dict[str, list[Any]] = position.legs or {}
    for order_id, broker_order_id in legs.values():
        if broker_order_id and broker_order_id == report.broker_order_id:
            run(GROW, (fresh, order_id))
            return int(order_id)
    leg, level = _leg_of(report, position, list(legs))
    record = (position.id, leg, report.broker_order_id, fresh, level)
    return int(rows(INSERT, columns([record], 5))[0].id)


def _new_quantity(report: OrderReport, position: Any, seen: set[tuple[int, str]]) -> Decimal:
    """What the report executes that neither the database nor this batch has told before."""
    fill_ids = [fill.broker_fill_id for fill in report.fills]
    known = {row.broker_fill_id for row in rows(KNOWN, (position.connection_id, fill_ids))}
    total = Decimal(0)
    for fill in report.fills:
        key = (position.id, fill.broker_fill_id)
        if fill.broker_fill_id not in known and key not in seen:
            seen.add(key)
            total += fill.quantity
    return total


def _leg_of(report: OrderReport, position: Any, taken: Sequence[str]) -> tuple[str, Decimal | None]:
    """The leg's name and the price that was expected of it."""
    match report.close_cause:
        case CloseCause.STOP_LOSS:
            return next_leg("sl", taken), position.sl
        case CloseCause.TAKE_PROFIT:
            return next_leg(f"tp-{position.tp_number}", taken), position.tp
        case _:
            number = sum(1 for leg in taken if leg.startswith("external")) + 1
            return f"external-{number}", None
