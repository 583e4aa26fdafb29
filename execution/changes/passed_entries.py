"""Cancel entries whose stop or target was moved past their price before they had filled.

A provider may move the stop of a signal past the price of its entry, to protect a profit of those
who are in. Elsewhere the entry still waits; filled now, its position would be closed as it opens.
Such an entry is cancelled wherever it is; what has filled of it keeps its position. Entries without
a price of their own (at market, slices, a trailing stop that the engine follows) are judged by the
market when they are sent.

A level of an open position may pass the price of what is left of its entry in other ways, too: such
a rest is cancelled by `cancel_passed_rests`.
"""

import json
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import NamedTuple

from django.db import transaction

from common.db.sql import IdRow, Query, array, columns, periodic_rows, rows, run
from common.figure_names import Bound
from common.limit_figures import Figures
from common.money import plain
from common.reason_codes import Code
from execution.base.statements import (
    event_rows_sql,
    insert_events_sql,
    insert_log_sql,
    log_rows_sql,
    refusal_payload_sql,
)
from execution.models import may_move_sql
from execution.reports.sql import EFFECTIVE_LEVELS
from execution.submission.outcomes import SIDES
from execution.submission.route_writes import end_routes
from positions.joins import entry_position_join_sql
from signals.models import OrderType


class _Unfilled(NamedTuple):
    """An entry that may fill. limit_price, stop_price: those that it is to have."""

    id: int
    signal_id: int
    status: str
    side: str
    order_type: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    own_stop_loss: Decimal | None
    own_take_profit: Decimal | None


# A price that is requested or waits counts in place of the order's: if it is refused, the order is
# judged again.
_LIMIT_PRICE = "CASE WHEN h.id IS NULL THEN o.limit_price ELSE h.limit_price END"
_STOP_PRICE = "CASE WHEN h.id IS NULL THEN o.stop_price ELSE h.stop_price END"
_WANTED_PRICE = """LEFT JOIN LATERAL (
  SELECT c.id, c.limit_price, c.stop_price FROM execution_entrychange c
  WHERE c.order_id = o.id AND c.done_at IS NULL
    AND (c.state <> 'WAITING' OR c.signal_id IS NOT NULL)  -- else a stop waits, and no price
  ORDER BY c.state = 'WAITING' DESC LIMIT 1
) h ON true"""

# Locked before.
_UNFILLED = Query(
    _Unfilled,
    f"""
SELECT o.id, o.signal_id, o.status, o.side, o.order_type, {_LIMIT_PRICE} AS limit_price,
  {_STOP_PRICE} AS stop_price, o.own_stop_loss, o.own_take_profit
FROM execution_order o {_WANTED_PRICE}
WHERE o.id = ANY(%s::bigint[]) AND o.leg LIKE 'entry%%' AND o.pending_action = ''
  AND (o.limit_price IS NOT NULL OR o.stop_price IS NOT NULL)
  AND (o.done_at IS NULL OR {may_move_sql("o")})
ORDER BY o.id
""",
)

# The levels of a position that a part of the entry has opened, moved by hand or by a rule. Orders
# are locked before positions, so what moves the levels of a position cannot lock them.
_RESTS = f"""
SELECT o.id, o.signal_id, o.status, o.side, o.order_type, w.limit_price, w.stop_price,
  p.sl AS own_stop_loss, p.tp AS own_take_profit
FROM execution_order o {entry_position_join_sql("o")} {_WANTED_PRICE}
CROSS JOIN LATERAL (SELECT {_LIMIT_PRICE} AS limit_price, {_STOP_PRICE} AS stop_price) w
WHERE o.status = 'PARTIALLY_FILLED' AND o.leg LIKE 'entry%%' AND o.pending_action = ''
  AND o.order_type <> 'TRAILING_STOP'  -- its broker has moved its price, and it has been triggered
  AND p.quantity > 0 AND CASE o.side
    WHEN 'BUY' THEN p.sl >= least(w.limit_price, w.stop_price)
      OR p.tp <= coalesce(w.limit_price, w.stop_price)
    ELSE p.sl <= greatest(w.limit_price, w.stop_price)
      OR p.tp >= coalesce(w.limit_price, w.stop_price) END"""
PASSED_RESTS = Query(_Unfilled, f"{_RESTS} LIMIT 200")
_LOCKED_RESTS = Query(_Unfilled, f"{_RESTS} AND o.id = ANY(%s::bigint[]) ORDER BY o.id")
_LOCK_FREE = Query(
    IdRow,
    "SELECT id FROM execution_order WHERE id = ANY(%s::bigint[]) ORDER BY id"
    " FOR NO KEY UPDATE SKIP LOCKED",
)

_CODE = f"'{Code.LEVEL_PAST_ENTRY.value}'"
_CANCEL = f"""
WITH passed AS (
  SELECT * FROM unnest(%(ids)s::bigint[], %(details)s::text[], %(figures)s::text[])
    AS t(id, text, figures)
), moved AS (
  UPDATE execution_order o SET
    status = CASE o.status WHEN 'PENDING' THEN 'CANCELLED' ELSE o.status END,
    reason = CASE o.status WHEN 'PENDING' THEN {_CODE} ELSE o.reason END,
    detail = CASE o.status WHEN 'PENDING' THEN p.text ELSE o.detail END,
    done_at = CASE o.status WHEN 'PENDING' THEN clock_timestamp() END,
    fence = o.fence + (o.status = 'PENDING')::int,
    pending_action = CASE o.status WHEN 'PENDING' THEN '' ELSE 'PASSED' END,
    due_at = clock_timestamp()
  FROM passed p WHERE o.id = p.id AND o.done_at IS NULL
  RETURNING o.id, o.signal_id, o.connection_id, o.status, p.text, p.figures
), notified AS (
  {
    insert_events_sql(
        event_rows_sql(
            "moved m",
            kind="'order.cancelled'",
            payload=refusal_payload_sql(_CODE, "m.text", "m.figures"),
            where="m.status = 'CANCELLED'",
        )
    )
}
)
{insert_log_sql(log_rows_sql("moved m", code=_CODE, detail="m.text", numbers="m.figures"))}
"""


def cancel_passed_entries(order_ids: Collection[int], *, by: str) -> list[int]:
    """Cancel those of these entries that a level has passed; return which have a pending action.

    Call it in the transaction that moves the level, or ends the change of a price; the orders are
    locked. by: what has moved the level, for the log.
    """
    found = rows(_UNFILLED, (array(order_ids),)) if order_ids else []
    if not found:
        return []
    levels = {
        row.signal_id: (row.sl, row.targets or [])
        for row in rows(EFFECTIVE_LEVELS, (list({row.signal_id for row in found}),))
    }
    passed = [
        (entry, figures)
        for entry in found
        if (figures := _passed_by(entry, *levels[entry.signal_id])) is not None
    ]
    return _cancel(passed, by) if passed else []


def cancel_passed_rests() -> None:
    """Cancel what still works of entries whose position has got a level past their price.

    By hand, by a break-even or trailing rule, or taken over from the broker. Call it periodically:
    it reads the levels of positions, so whatever has moved them need not know of orders.
    """
    found = [row.id for row in periodic_rows(PASSED_RESTS)]
    if not found:
        return
    with transaction.atomic():
        free = [row.id for row in rows(_LOCK_FREE, (array(found),))]
        passed = []
        for entry in rows(_LOCKED_RESTS, (array(free),)):
            targets = [] if entry.own_take_profit is None else [entry.own_take_profit]
            if (figures := _passed_by(entry, entry.own_stop_loss, targets)) is not None:
                passed.append((entry, figures))
        if passed:
            _cancel(passed, "the levels of its position")


def _cancel(passed: Sequence[tuple[_Unfilled, Figures]], by: str) -> list[int]:
    """Cancel locked entries; return which have a pending action."""
    details = {entry.id: f"{figures.text}; by {by}"[:300] for entry, figures in passed}
    records = [
        (entry.id, details[entry.id], json.dumps(figures.as_json())) for entry, figures in passed
    ]
    names = ("ids", "details", "figures")
    run(_CANCEL, dict(zip(names, columns(records, len(names)), strict=True)))
    for entry, _ in passed:
        if entry.status == "FAILED":  # it would be sent to the next account of its route
            end_routes([entry.id], detail=details[entry.id], code=Code.LEVEL_PAST_ENTRY)
    return [entry.id for entry, _ in passed if entry.status not in ("PENDING", "FAILED")]


def _passed_by(entry: _Unfilled, sl: Decimal | None, targets: Sequence[Decimal]) -> Figures | None:
    """Return the price of an entry and the level that has passed it; None: none has."""
    stop = entry.own_stop_loss or sl
    if entry.own_take_profit is not None:
        targets = [entry.own_take_profit, *targets[1:]]
    # Its broker has moved its stop price since, away from the stop loss's side: a stop loss beyond
    # the first one is beyond each later one, a target need not be.
    if entry.order_type == OrderType.TRAILING_STOP:
        targets = ()
    return passed_level(SIDES[entry.side].sign, entry.limit_price, entry.stop_price, stop, targets)


def passed_level(
    sign: int,
    limit_price: Decimal | None,
    stop_price: Decimal | None,
    sl: Decimal | None,
    targets: Sequence[Decimal],
) -> Figures | None:
    """Return an entry's price and the level that lies at it or beyond it; None: none does. Pure.

    sign: 1 for a buy. Of a stop-limit order the stop loss must lie behind both prices; targets
    count from the price at which it fills.
    """
    for price in (limit_price, stop_price):
        if price is not None and sl is not None and (price - sl) * sign <= 0:
            return _figures(price, sl, "stop loss")
    filled_at = limit_price or stop_price
    for target in targets:
        if filled_at is not None and (target - filled_at) * sign <= 0:
            return _figures(filled_at, target, "target")
    return None


def _figures(price: Decimal, level: Decimal, name: str) -> Figures:
    return Figures("Entry price", plain(price), Bound.COMPARED_WITH, plain(level), word=name)
