"""Choose the accounts of routed entries, and move the entries there (docs/adr/0026).

An entry moves by a new order row on the other account, written by the statement that marks the old
row MOVED. The database allows one row of a subscription at a time that is not MOVED, and no MOVED
row that could be sent.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import orjson

from common.clocks import market_now
from common.db.sql import IdRow, Query, array, columns, rows, run
from common.reason_codes import Code
from connections import eligibility
from connections.selectors import (
    ENTRY_SUBSCRIPTION_JOIN_SQL,
    connection_join_sql,
)
from execution.base.high_water_mark import HighWaterMark, refuse_server_behind
from execution.base.statements import (
    event_rows_sql,
    insert_events_sql,
    insert_log_sql,
    log_rows_sql,
)
from execution.models import may_move_sql
from execution.reports.transitions import LOGIN_REFUSED, NOT_REACHED
from execution.submission.route_choices import CANDIDATES, RoutedRow, choices_of
from execution.submission.routing import (
    Choice,
    NoAccount,
)
from execution.submission.rows import OrderRow
from execution.submission.sizing import Denial
from signals.joins import signal_join_sql

NOT_SENT = frozenset(
    code.value for code in (*NOT_REACHED, *eligibility.TEMPORARY_REASONS, Code.BROKER_HOST_DOWN)
)
"""Reasons of a PENDING entry whose account is not reached: by its last call, or at all."""
PROVEN_UNSENT = frozenset(
    {Code.NEVER_ARRIVED.value, Code.SEND_RETRIES_EXHAUSTED.value}
    | {code.value for code in LOGIN_REFUSED}
)
"""Reasons of a FAILED entry that was certainly not executed."""


ROUTED = Query(
    RoutedRow,
    f"""
SELECT o.id, o.connection_id::text, b.route_policy AS policy, o.side, o.signal_id, s.feed_id,
  s.currency_pair AS signal_pair
FROM execution_order o {signal_join_sql("o.signal_id")}
{connection_join_sql("o.connection_id")}
{ENTRY_SUBSCRIPTION_JOIN_SQL}
WHERE o.id = ANY(%s::bigint[]) AND b.archived_at IS NULL AND b.route_policy <> ''
""",
)

_LOGGED = log_rows_sql(
    "stayed m", code=f"'{Code.ROUTED.value}'", detail="m.detail", numbers="m.numbers"
)
STAY = f"""
WITH decided AS (
  SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[])
  AS t(id, pair, detail, numbers)
), stayed AS (
  UPDATE execution_order o SET route_state = 'HERE', pair = coalesce(nullif(d.pair, ''), o.pair)
  FROM decided d
  WHERE o.id = d.id AND o.route_state = 'OPEN' AND o.status = 'PENDING'
  RETURNING o.id, o.signal_id, o.connection_id, o.status, d.detail, d.numbers
)
{insert_log_sql(_LOGGED)}
"""

# Only a row that still has the state it was chosen with is moved: PENDING and not sent, or FAILED
# as proven unsent. The plan of an entry in slices belongs to its first account. So does a trigger:
# one that has fired must not be armed again by another row.
_MOVED = log_rows_sql(
    "moved m", code=f"'{Code.ROUTED.value}'", detail="m.route_detail", numbers="m.numbers"
)
_WRITTEN = log_rows_sql(
    "written w JOIN moved o ON o.signal_id = w.signal_id AND o.target = w.connection_id"
    " CROSS JOIN LATERAL (SELECT w.id, w.signal_id, w.connection_id, w.status) m",
    code=f"'{Code.ROUTED.value}'",
    detail="o.route_detail",
    numbers="o.numbers",
)
# The claim has rounded the prices to the ticks of the account that is left. What a person or a
# MODIFY signal has changed counts on each account after it: also what still waited to be changed.
_PRICE = """CASE WHEN m.{own} IS NULL THEN NULL WHEN c.id IS NULL THEN s.{of_signal}
    ELSE c.{own} END"""
_LAST_CHANGE = """LEFT JOIN LATERAL (
    SELECT e.id, e.limit_price, e.stop_price FROM execution_order x
    JOIN execution_entrychange e ON e.order_id = x.id
    WHERE x.signal_id = m.signal_id AND x.leg = m.leg AND x.leg LIKE 'entry%%'
      AND x.routed_from_id = m.routed_from_id AND e.state <> 'REFUSED'
    ORDER BY e.state = 'WAITING' DESC, e.id DESC LIMIT 1) c ON true"""
_CHANGED = log_rows_sql(
    "carried m", code=f"'{Code.ORDER_CHANGED.value}'", detail="'by ' || m.requested_name"
)
MOVE = Query(
    IdRow,
    f"""
WITH decided AS (
  SELECT * FROM unnest(%(ids)s::bigint[], %(targets)s::uuid[], %(pairs)s::text[],
    %(details)s::text[], %(numbers)s::text[])
  AS t(id, target, target_pair, route_detail, numbers)
), locked AS (
  SELECT o.id FROM execution_order o JOIN decided d USING (id)
  ORDER BY o.id FOR NO KEY UPDATE OF o
), moved AS (
  UPDATE execution_order o SET route_state = 'MOVED',
    status = CASE o.status WHEN 'PENDING' THEN 'CANCELLED' ELSE o.status END,
    reason = CASE o.status WHEN 'PENDING' THEN '{Code.ROUTED.value}' ELSE o.reason END,
    detail = CASE o.status WHEN 'PENDING' THEN left(d.route_detail, 300) ELSE o.detail END,
    done_at = coalesce(o.done_at, clock_timestamp()), fence = o.fence + 1
  FROM decided d JOIN locked USING (id)
  WHERE o.id = d.id AND o.filled_quantity = 0 AND o.pending_action = '' AND (
      o.status = 'PENDING' AND (o.route_state = 'OPEN'
        OR o.route_state = 'HERE' AND o.reason = ANY(%(not_sent)s::text[]))
      OR o.status = 'FAILED' AND o.route_state = 'HERE'
        AND o.reason = ANY(%(proven_unsent)s::text[]))
    AND NOT EXISTS (SELECT FROM execution_sliceplan p WHERE p.order_id = o.id)
    AND NOT EXISTS (SELECT FROM execution_ordertrigger g WHERE g.order_id = o.id)
  RETURNING o.id, o.signal_id, o.connection_id, o.status, o.leg, o.priority, o.side, o.order_type,
    o.time_in_force, o.limit_price, o.stop_price, o.routed_from_id, o.retried_at,
    o.own_stop_loss, o.own_take_profit, o.own_valid_until, o.has_exit_condition,
    o.close_fraction, o.close_offset, d.target, d.target_pair, d.route_detail, d.numbers
), written AS (
  INSERT INTO execution_order (signal_id, connection_id, leg, priority, pair, side, order_type,
    time_in_force, limit_price, stop_price, status, due_at, enqueued_at, routed_from_id,
    route_state, retried_at, own_stop_loss, own_take_profit, own_valid_until, has_exit_condition,
    close_fraction, close_offset)
  SELECT m.signal_id, target, leg, priority, target_pair, side, m.order_type, m.time_in_force,
    {_PRICE.format(own="limit_price", of_signal="open_price")},
    {_PRICE.format(own="stop_price", of_signal="stop_price")},
    'PENDING', clock_timestamp(), clock_timestamp(), routed_from_id, 'HERE', retried_at,
    own_stop_loss, own_take_profit, own_valid_until, has_exit_condition, m.close_fraction,
    close_offset
  FROM moved m {signal_join_sql("m.signal_id")} {_LAST_CHANGE} ORDER BY target
  RETURNING id, signal_id, connection_id, status
), carried AS (
  UPDATE execution_entrychange e SET order_id = w.id, connection_id = w.connection_id,
    state = 'DONE', quantity = NULL, old_quantity = NULL, done_at = clock_timestamp()
  FROM moved m JOIN written w ON w.signal_id = m.signal_id AND w.connection_id = m.target
  WHERE e.order_id = m.id AND e.state = 'WAITING'
  RETURNING w.id, w.signal_id, w.connection_id, w.status, e.requested_name
), logged AS (
  {insert_log_sql(_MOVED, _WRITTEN, _CHANGED)}
)
SELECT id FROM written
""",
)

FAILED = Query(
    IdRow,
    f"""
SELECT id FROM execution_order WHERE {may_move_sql("execution_order")}
ORDER BY done_at LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED
""",
)
# A signal that is over is not sent to another account. Neither is an entry that a restore has made
# UNKNOWN: another account may have executed it in the time that was lost.
STILL_WANTED = Query(
    IdRow,
    f"""
SELECT o.id FROM execution_order o {signal_join_sql("o.signal_id")}
WHERE o.id = ANY(%(ids)s::bigint[]) AND o.reason = ANY(%(proven_unsent)s::text[])
  AND s.cancelled_at IS NULL
  AND coalesce(coalesce(o.own_valid_until, s.valid_until) > %(now)s, true)
  AND NOT EXISTS (SELECT FROM execution_executionlog l
    WHERE l.order_id = o.id AND l.code = 'RESTORED')
""",
)
_FAILED = event_rows_sql(
    "ended m", kind="'order.failed'", payload="jsonb_build_object('code', m.reason)"
)
_ENDED = f"""ended AS (
  UPDATE execution_order SET route_state = 'LAST'
  WHERE id = ANY(%(ids)s::bigint[]) AND {may_move_sql("execution_order")}
  RETURNING id, signal_id, connection_id, status, reason
)"""
END = f"""
WITH {_ENDED}
{insert_events_sql(_FAILED)}
"""
_CANCELLED = log_rows_sql("ended m", code="%(code)s", detail="left(%(detail)s, 300)")
END_BY_CANCEL = f"""
WITH {_ENDED}, logged AS (
  {insert_log_sql(_CANCELLED)}
)
{insert_events_sql(_FAILED)}
"""


@dataclass(slots=True)
class Routed:
    """What became of routed entries.

    left: those that another order has replaced. denied: those that no account may take. pairs: what
    those trade whose account was chosen and has them already.
    """

    left: set[int] = field(default_factory=set)
    denied: dict[int, Denial] = field(default_factory=dict)
    pairs: dict[int, str] = field(default_factory=dict)
    new_order_ids: list[int] = field(default_factory=list)


def needs_route(row: OrderRow) -> bool:
    """Return whether an account must be chosen for a due entry: for the first time, or again."""
    return row.route_state == "OPEN" or (row.route_state == "HERE" and row.reason in NOT_SENT)


def route_entries(pending: Iterable[OrderRow]) -> Routed:
    """Choose the accounts of the due entries of routes. Call it in the claim's transaction.

    Entries without a route cost nothing. Those that move are not claimed here any more.
    """
    ids = [row.id for row in pending if row.position_id is None and needs_route(row)]
    return _route(ids) if ids else Routed()


def route_failed(known_mark: HighWaterMark | None = None) -> list[int]:
    """Move entries that failed unsent to the next account of their route; return the new orders.

    Call it in a transaction. An entry for which there is no other account keeps its failure, and
    its owner is notified only now. Raises DataLossSuspectedError if there are such entries and this
    transaction's server lacks known_mark: what failed may have been sent since.
    """
    failed = [row.id for row in rows(FAILED)]
    if not failed:
        return []
    refuse_server_behind(known_mark)
    wanted = rows(
        STILL_WANTED, {"ids": failed, "proven_unsent": sorted(PROVEN_UNSENT), "now": market_now()}
    )
    routed = _route([row.id for row in wanted], have_failed=True)
    run(END, {"ids": array(set(failed) - routed.left)})
    return routed.new_order_ids


def end_routes(
    order_ids: Collection[int], *, detail: str, code: Code = Code.OWNER_CANCELLED
) -> None:
    """Cancel the move of entries that failed unsent to the next account; notify of the failure.

    The orders are locked. Others among them are left alone. code: why, for their log.
    """
    text = "not sent to another account of its route"
    parameters = {
        "ids": array(order_ids),
        "detail": f"{text}, {detail}" if detail else text,
        "code": code.value,
    }
    run(END_BY_CANCEL, parameters)


def _route(order_ids: Sequence[int], *, have_failed: bool = False) -> Routed:
    """Choose the accounts of entries, and move them. have_failed: none of them waits any more."""
    routed = Routed()
    entries = rows(ROUTED, (array(order_ids),))
    choices = choices_of(entries, CANDIDATES, may_wait=not have_failed)
    stays, moves = [], []
    for entry in entries:
        choice = choices.get(entry.id)
        if choice is None:
            stays.append((entry.id, "", "no account of the route may trade now", "{}"))
        elif isinstance(choice, NoAccount):
            routed.denied[entry.id] = Denial(choice.code, detail=choice.detail)
            stays.append((entry.id, "", choice.detail, _json(choice)))
        elif choice.connection_id == entry.connection_id:
            routed.pairs[entry.id] = choice.pair
            stays.append((entry.id, choice.pair, choice.detail, _json(choice)))
        else:
            moves.append(
                (entry.id, choice.connection_id, choice.pair, choice.detail, _json(choice))
            )
    # A route that was removed meanwhile leaves the entry where it is.
    stays += [
        (n, "", "the route was removed", "{}") for n in set(order_ids) - {e.id for e in entries}
    ]
    if stays:
        run(STAY, columns(stays, 4))
    if moves:
        _move(moves, routed)
    return routed


def _move(moves: Sequence[tuple[int, str, str, str, str]], routed: Routed) -> None:
    names = ("ids", "targets", "pairs", "details", "numbers")
    arrays = dict(zip(names, columns(moves, len(names)), strict=True))
    reasons = {"not_sent": sorted(NOT_SENT), "proven_unsent": sorted(PROVEN_UNSENT)}
    routed.new_order_ids += [row.id for row in rows(MOVE, {**arrays, **reasons})]
    left = rows(
        Query(IdRow, "SELECT id FROM execution_order WHERE id = ANY(%s) AND route_state = 'MOVED'"),
        ([move[0] for move in moves],),
    )
    routed.left |= {row.id for row in left}


def _json(choice: Choice | NoAccount) -> str:
    return orjson.dumps(choice.numbers).decode()
