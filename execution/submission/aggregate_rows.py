"""Entries that wait to be sent as one order: load those beside a bundle, and write who was joined.

The claim calls these in its transaction, with the connections locked, so no other process joins
entries of the same account meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from common.db.sql import IdRow, Query, array, columns, rows, run
from common.money import plain
from common.reason_codes import Code
from execution.base.statements import insert_log_sql, log_rows_sql
from execution.reports.member_shares import closing_minimum
from execution.submission.aggregation import Bounds, may_join
from execution.submission.eligibility import find_instrument
from execution.submission.order_loading import load_orders
from execution.submission.outcomes import EvaluationContext, Intent
from execution.submission.outgoing import Outgoing
from execution.submission.rows import OrderRow

# By the index `order_waiting`.
WAITING = Query(
    IdRow,
    f"""
SELECT id FROM execution_order
WHERE connection_id = ANY(%s::uuid[]) AND status = 'PENDING' AND reason <> ''
  AND reason = '{Code.AGGREGATION_AWAITED.value}' AND pending_action = ''
  AND id <> ALL(%s::bigint[])
""",
)

_LOGGED = log_rows_sql("moved m", code=f"'{Code.AGGREGATED.value}'", detail="m.detail")
JOIN_ORDERS = f"""
WITH d AS (
  SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS t(id, leader, detail)
), moved AS (
  UPDATE execution_order o SET aggregate_id = d.leader FROM d WHERE o.id = d.id
  RETURNING o.id, o.signal_id, o.connection_id, o.status, d.detail
)
{insert_log_sql(_LOGGED)}
"""


def load_guests(pending: Sequence[OrderRow]) -> list[OrderRow]:
    """Return the entries that wait to be joined beside those of a bundle.

    Nothing is read unless an entry of the bundle may be joined. The connections are locked.
    """
    accounts = {row.connection_id for row in pending if may_join(row)}
    if not accounts:
        return []
    waiting = rows(WAITING, (array(accounts), [row.id for row in pending]))
    if not waiting:
        return []
    loaded = load_orders(row.id for row in waiting)
    return [row for row in loaded if row.reason == Code.AGGREGATION_AWAITED]


def bounds_of(context: EvaluationContext, row: OrderRow, intent: Intent) -> Bounds | None:
    """Return what an entry's broker takes as one order; None if it lists no instrument."""
    instrument = find_instrument(row, context)
    if instrument is None:
        return None
    step = instrument.quantity_step
    minimum = closing_minimum(
        quantity_min=instrument.quantity_min, close_min=instrument.close_min,
        worth_min=instrument.close_worth_min, price=intent.expected_price, step=step,
    )  # fmt: skip
    return Bounds(instrument.quantity_max, minimum, step)


def write_groups(
    groups: Sequence[Sequence[int]], sent: Sequence[tuple[OrderRow, Intent]]
) -> dict[int, list[int]]:
    """Store which orders are sent as one; return the members of each, by the first one's id.

    sent: the orders whose intents were written. What is left alone is an order like any other.
    """
    quantities = {row.id: intent.quantity for row, intent in sent}
    joined: dict[int, list[int]] = {}
    for group in groups:
        members = sorted(order_id for order_id in group if order_id in quantities)
        if len(members) > 1:
            joined[members[0]] = members
    records = [
        (order_id, leader, _described(order_id, members, quantities))
        for leader, members in joined.items()
        for order_id in members
    ]
    if records:
        run(JOIN_ORDERS, columns(records, 3))
    return joined


def _described(order_id: int, members: Sequence[int], quantities: Mapping[int, Decimal]) -> str:
    whole = sum((quantities[one] for one in members), Decimal(0))
    others = ", ".join(f"O-{one}" for one in members if one != order_id)
    return f"{plain(whole)} in one order with {others}"


def as_one(bundle: Sequence[Outgoing], joined: Mapping[int, Sequence[int]]) -> list[Outgoing]:
    """Return what is sent of a bundle: for the members of each aggregate one order of their sum.

    It has the first member's client order id, ends with the first of their deadlines, and is halted
    by whatever halts any of them.
    """
    if not joined:
        return list(bundle)
    by_id = {outgoing.request.order_id: outgoing for outgoing in bundle}
    members = {order_id for group in joined.values() for order_id in group}
    sent = []
    for order_id, outgoing in by_id.items():
        if order_id in joined:
            sent.append(_sum_of([by_id[one] for one in joined[order_id]]))
        elif order_id not in members:
            sent.append(outgoing)
    return sent


def _sum_of(members: Sequence[Outgoing]) -> Outgoing:
    first = members[0]
    request = replace(
        first.request,
        quantity=sum((one.request.quantity for one in members), Decimal(0)),
        send_by=min(one.request.send_by for one in members),
    )
    return replace(
        first,
        request=request,
        pairs=tuple(dict.fromkeys(pair for one in members for pair in one.pairs)),
        other_feeds=tuple({one.feed_id for one in members} - {first.feed_id}),
    )
