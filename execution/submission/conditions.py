"""Entries that wait for a condition of their signal: a time, or the state of another signal.

The order stays PENDING. The claim judges its condition; once it holds, the order is an ordinary
entry for good. `monitoring/condition_watch.py` makes those due whose other signal has settled, so
that none waits for its next look (docs/adr/0029).
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from common.clocks import machine_seconds_until, market_now
from common.db.sql import Query, array, columns, rows, run
from common.failpoints import failpoint
from common.reason_codes import Code
from execution.base.statements import insert_log_sql, is_partly_known_sql, log_rows_sql
from execution.models import may_move_sql
from execution.submission.order_loading import load_orders
from execution.submission.outcomes import Awaited
from execution.submission.rows import OrderRow
from positions.close_reasons import AT_A_TARGET, STOPS, CloseReason
from positions.joins import entry_position_join_sql
from signals.joins import signal_join_sql
from signals.models import AfterState

LOOK_AGAIN_SECONDS = 60.0
_LIVE = "('PENDING', 'SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')"
_CLOSED_AT = {
    AfterState.CLOSED_AT_STOP: STOPS,
    AfterState.CLOSED_AT_TARGET: AT_A_TARGET,
}


class ConditionRow(NamedTuple):
    """What an entry waits for, and what its account did with the other signal.

    number: of the other signal's row. orders: its entries on this account, without those that were
    skipped. is_live, is_filled, is_open: whether one may still be sent or filled, or is still
    looked up; has filled; has an open position. close_reason: of its last position; empty: none has
    closed.
    """

    order_id: int
    not_before: datetime | None
    after_signal_id: int | None
    after_state: str
    orders: int
    is_live: bool
    is_filled: bool
    is_open: bool
    close_reason: str


class Verdict(StrEnum):
    """What becomes of a condition."""

    HOLDS = "HOLDS"
    WAITS = "WAITS"
    NEVER = "NEVER"


def seconds_until_judged(awaited: Awaited, valid_until: datetime | None) -> float:
    """Return after how many seconds of the machine an entry is looked at again.

    valid_until: market time. What becomes of another signal is noticed earlier.
    """
    known = [moment for moment in (awaited.not_before, valid_until) if moment is not None]
    until = [machine_seconds_until(moment) + 0.05 for moment in known]
    return max(0.2, min([LOOK_AGAIN_SECONDS, *until]))


def of_account_sql(signal_id: str, order: str = "o") -> str:
    """Return SQL of what the account of an order did with another signal, as a LATERAL subquery.

    Of a routed entry its subscriber's account counts: there is one row that was not moved.
    """
    subscriber = f"coalesce({order}.routed_from_id, {order}.connection_id)"
    return f"""(
  SELECT count(*) FILTER (WHERE e.status <> 'SKIPPED')::int AS orders,
    coalesce(bool_or(e.status IN {_LIVE} OR {may_move_sql("e")} OR {is_partly_known_sql("e")}),
      false) AS is_live,
    coalesce(bool_or(e.filled_quantity > 0), false) AS is_filled,
    coalesce(bool_or(p.quantity > 0), false) AS is_open,
    coalesce((array_agg(p.close_reason ORDER BY p.closed_at DESC NULLS LAST))[1], '')
      AS close_reason
  FROM (
    SELECT x.signal_id, x.connection_id, x.position_leg, x.status, x.filled_quantity, x.route_state,
      x.lookup_after, x.done_at
    FROM execution_order x WHERE x.signal_id = {signal_id} AND x.connection_id = {subscriber}
      AND x.leg LIKE 'entry%%' AND x.routed_from_id IS NULL
    UNION ALL
    SELECT x.signal_id, x.connection_id, x.position_leg, x.status, x.filled_quantity, x.route_state,
      x.lookup_after, x.done_at
    FROM execution_order x WHERE x.signal_id = {signal_id} AND x.routed_from_id = {subscriber}
      AND x.leg LIKE 'entry%%' AND x.route_state IN ('OPEN', 'HERE', 'LAST')
    UNION ALL  -- those in the archive ended without a fill
    SELECT a.signal_id, a.connection_id, 'entry', a.status, 0, '', NULL, NULL
    FROM execution_archivedorder a WHERE a.signal_id = {signal_id} AND a.route_state <> 'MOVED'
      AND coalesce(a.routed_from_id, a.connection_id) = {subscriber}
  ) e
  LEFT {entry_position_join_sql("e")})"""


LOAD = Query(
    ConditionRow,
    f"""
SELECT o.id AS order_id, s.not_before, s.after_signal_id, s.after_state, a.orders, a.is_live,
  a.is_filled, a.is_open, a.close_reason
FROM execution_order o {signal_join_sql("o.signal_id")}
CROSS JOIN LATERAL {of_account_sql("s.after_signal_id")} a
WHERE o.id = ANY(%s::bigint[])
""",
)

_MET = log_rows_sql("met m", code=f"'{Code.CONDITION_MET.value}'", detail="m.detail")
MEET = f"""
WITH held AS (
  SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[]) AS t(id, aged_from, text)
), met AS (
  UPDATE execution_order o SET awaits_condition = false, retried_at = h.aged_from,
    reason = '{Code.CONDITION_MET.value}', detail = left(h.text, 300), waiting_since = NULL
  FROM held h WHERE o.id = h.id AND o.status = 'PENDING' AND o.awaits_condition
  RETURNING o.id, o.signal_id, o.connection_id, o.status, o.detail
)
{insert_log_sql(_MET)}
"""


def settle_conditions(
    pending: Sequence[OrderRow], now: datetime | None = None
) -> tuple[list[OrderRow], dict[int, Awaited]]:
    """Judge the conditions of due entries; return the rows, and what does not hold by order id.

    Call it in the claim's transaction. An entry whose condition holds is an ordinary one from then
    on: its age counts from that moment, or from the time that it waited for. Its row is read again:
    what stops it depends on that, too. Without conditions nothing is read.
    """
    waiting = [row.id for row in pending if row.awaits_condition]
    if not waiting:
        return list(pending), {}
    now = now or market_now()
    judged = {row.order_id: (row, verdict_of(row, now)) for row in rows(LOAD, (array(waiting),))}
    met = {
        order_id: (_aged_from(row, now), text_of(row))
        for order_id, (row, verdict) in judged.items()
        if verdict is Verdict.HOLDS
    }
    if met:
        run(MEET, columns([(order_id, *what) for order_id, what in met.items()], 3))
        failpoint("conditions.met")
    released = {row.id: row for row in load_orders(met)} if met else {}
    return [released.get(row.id, row) for row in pending], {
        order_id: _awaited(row, verdict, now)
        for order_id, (row, verdict) in judged.items()
        if verdict is not Verdict.HOLDS
    }


# ---- pure ----------------------------------------------------------------------------------------
def verdict_of(row: ConditionRow, now: datetime) -> Verdict:
    """Return whether a condition holds at market time `now`, may still hold, or never will."""
    of_signal = Verdict.HOLDS if row.after_signal_id is None else verdict_of_signal(row)
    if of_signal is Verdict.HOLDS and row.not_before is not None and now < row.not_before:
        return Verdict.WAITS
    return of_signal


def verdict_of_signal(row: ConditionRow) -> Verdict:
    """Judge the state of the other signal on the account.

    It is settled once no entry can fill any more, and for CLOSED once nothing is open.
    """
    if row.orders == 0:  # none on this account, or skipped
        return Verdict.NEVER
    if row.after_state == AfterState.NOT_FILLED:
        if row.is_filled:
            return Verdict.NEVER
        return Verdict.WAITS if row.is_live else Verdict.HOLDS
    if row.is_live:
        return Verdict.WAITS
    if not row.is_filled:
        return Verdict.NEVER
    if row.after_state == AfterState.FILLED:
        return Verdict.HOLDS
    if row.is_open:
        return Verdict.WAITS
    expected = _CLOSED_AT.get(AfterState(row.after_state))
    is_expected = expected is None or row.close_reason in expected
    return Verdict.HOLDS if is_expected else Verdict.NEVER


def _aged_from(row: ConditionRow, now: datetime) -> datetime:
    """Return from when the entry's age counts: a time is known, so an entry that is late is old."""
    return row.not_before if row.after_signal_id is None and row.not_before else now


def _awaited(row: ConditionRow, verdict: Verdict, now: datetime) -> Awaited:
    is_early = row.not_before is not None and now < row.not_before
    is_over = verdict is Verdict.NEVER
    text = f"{text_of(row)}; {_state_text(row)}" if is_over else text_of(row)
    return Awaited(is_over, row.not_before if is_early else None, text)


def text_of(row: ConditionRow) -> str:
    """Return what an entry waits for, for its owner."""
    parts = []
    if row.not_before is not None:
        parts.append(f"not before {row.not_before:%Y-%m-%d %H:%M:%S} UTC")
    if row.after_signal_id is not None:
        parts.append(f"after S-{row.after_signal_id}: {AfterState(row.after_state).label.lower()}")
    return ", ".join(parts)


def _state_text(row: ConditionRow) -> str:
    """Return what became of the other signal instead."""
    if row.orders == 0:
        return "this account has no order of it"
    if not row.is_filled:
        return "it ended without a fill"
    if row.is_open or row.after_state == AfterState.NOT_FILLED:
        return "it was filled"
    return f"it was closed otherwise ({CloseReason(row.close_reason).label.lower()})"
