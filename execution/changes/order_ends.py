"""The end of an entry that has not filled: when it is changed, and what a broker leaves of it.

We enforce an order's end on every broker, by a cancel if it works there. A broker that was given
an expiry (GTD) ends its order then all the same, and cannot change it: such an order is not
prolonged, also if its end was changed while it was being sent.
"""

from datetime import datetime
from typing import Any

from common.clocks import machine_seconds_until, market_now
from common.db.sql import IdRow, Query, periodic_rows, run
from common.errors import ConflictError, FillcastError, InvalidInputError
from common.reason_codes import Code
from execution.base.statements import AT_BROKER_SQL, insert_log_sql, log_rows_sql
from execution.models import Order, Status, may_move_sql
from signals.entry_ends import close_time
from signals.joins import signal_join_sql
from signals.models import Signal
from signals.reading.validation import entry_end_errors


def end_errors(order: Order, valid_until: datetime) -> list[InvalidInputError]:
    """Return why an entry cannot end at this market time."""
    signal = order.signal
    assert signal is not None  # the constraint `entry_has_signal_exit_position`
    details = entry_end_errors(
        valid_until,
        now=market_now(),
        closes_at=close_time(signal),
        begins=signal.not_before if order.awaits_condition else None,
    )
    return [InvalidInputError(Code.FIELD_INVALID, text, field="valid_until") for text in details]


def broker_end_error(order: Order, valid_until: datetime | None) -> FillcastError | None:
    """Return why the broker ends an order before this time; None: it does not."""
    is_sent = order.status != Status.PENDING
    if valid_until is None or not is_sent or order.expires_at is None:
        return None
    if valid_until <= order.expires_at:
        return None
    return ConflictError(Code.CHANGE_UNSUPPORTED, _broker_ends_at(order.expires_at))


def _broker_ends_at(at: datetime) -> str:
    return f"Its broker ends it at {at:%Y-%m-%d %H:%M:%S} UTC and cannot change that."


def seconds_until_end(valid_until: datetime | None) -> float | None:
    """Return after how many seconds of the machine a waiting entry with this end is due."""
    return None if valid_until is None else max(0.2, machine_seconds_until(valid_until) + 0.1)


# ---- by a signal ---------------------------------------------------------------------------------
_MOMENT = "to_char(m.{} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'"
_FROM_TO = (
    f"'end ' || coalesce({_MOMENT.format('old_end')}, 'none')"
    f" || ' to ' || {_MOMENT.format('new_end')} || '; by ' || %(name)s"
)
# Slices end with their entry. The orders are locked. What is being sent gets its end as well: only
# a broker's own expiry counts before it, and that is settled by `refuse_prolonged`. An entry that
# is being cancelled keeps its end, and states that the signal's one was refused.
MOVE_ENDS = f"""
WITH wanted AS (
  SELECT o.id, o.leg, o.quantity, o.requested_quantity, o.limit_price, o.stop_price,
    coalesce(o.own_valid_until, s.valid_until) AS old_end,
    coalesce(%(valid_until)s::timestamptz,
      least(coalesce(o.own_valid_until, s.valid_until), %(close_at)s::timestamptz)) AS new_end,
    o.pending_action <> '' OR o.status = 'CANCEL_REQUESTED' AS is_ending
  FROM execution_order o {signal_join_sql("o.signal_id")}
  WHERE o.signal_id = %(refers_to)s AND o.leg LIKE 'entry%%'
    AND (o.done_at IS NULL OR {may_move_sql("o")})
), moved AS (
  UPDATE execution_order o SET own_valid_until = w.new_end,
    due_at = CASE o.status WHEN 'PENDING' THEN least(o.due_at, clock_timestamp()
      + make_interval(secs => %(seconds)s)) ELSE o.due_at END
  FROM wanted w WHERE o.id = w.id AND w.new_end IS DISTINCT FROM w.old_end AND NOT w.is_ending
  RETURNING o.id, o.signal_id, o.connection_id, o.status, w.leg, w.old_end, w.new_end,
    coalesce(w.quantity, w.requested_quantity) AS quantity, w.limit_price, w.stop_price
), changes AS (
  INSERT INTO execution_entrychange (order_id, connection_id, signal_id, quantity, old_quantity,
    limit_price, old_limit_price, stop_price, old_stop_price, valid_until, old_valid_until, state,
    requested_name, done_at)
  SELECT id, connection_id, %(signal_id)s, quantity, quantity, limit_price, limit_price, stop_price,
    stop_price, new_end, old_end, 'DONE', %(name)s, clock_timestamp() FROM moved
  WHERE leg = 'entry'
), refused AS (
  SELECT o.id, o.signal_id, o.connection_id, o.status, w.leg, w.old_end, w.new_end,
    coalesce(w.quantity, w.requested_quantity) AS quantity, w.limit_price, w.stop_price
  FROM wanted w JOIN execution_order o ON o.id = w.id
  WHERE w.is_ending AND o.done_at IS NULL AND w.new_end IS DISTINCT FROM w.old_end
    AND %(valid_until)s::timestamptz IS NOT NULL
), refusals AS (
  INSERT INTO execution_entrychange (order_id, connection_id, signal_id, quantity, old_quantity,
    limit_price, old_limit_price, stop_price, old_stop_price, valid_until, old_valid_until, state,
    code, requested_name, done_at)
  SELECT id, connection_id, %(signal_id)s, quantity, quantity, limit_price, limit_price, stop_price,
    stop_price, new_end, old_end, 'REFUSED', '{Code.ORDER_BEING_CANCELLED.value}', %(name)s,
    clock_timestamp() FROM refused
  WHERE leg = 'entry'
)
{
    insert_log_sql(
        log_rows_sql(
            "moved m",
            code=f"'{Code.ORDER_CHANGED.value}'",
            detail=_FROM_TO,
        ),
        log_rows_sql(
            "refused m",
            code=f"'{Code.ORDER_BEING_CANCELLED.value}'",
            detail=_FROM_TO,
        ),
    )
}
"""


def move_ends(signal: Signal) -> None:
    """Give entries that have not filled the end of a MODIFY, in its transaction.

    Nothing is entered that would be closed at once, so an earlier closing time ends them as well.
    The orders are locked.
    """
    end, close_at = signal.valid_until, signal.close_at
    if end is None and close_at is None:
        return
    assert signal.refers_to is not None  # the constraint `follower_refers`
    closes_at = close_at or close_time(signal.refers_to)
    if end is not None and closes_at is not None:
        end = min(end, closes_at)
    parameters: dict[str, Any] = {
        "valid_until": end,
        "close_at": closes_at,
        "seconds": seconds_until_end(end or closes_at),
        "refers_to": signal.refers_to_id,
        "signal_id": signal.pk,
        "name": signal.number,
    }
    run(MOVE_ENDS, parameters)


# ---- brokers' own expiries -----------------------------------------------------------------------
# By the partial index `order_prolonged`, which is empty unless a GTD order was prolonged.
PROLONGED = Query(
    IdRow,
    f"""
SELECT id FROM execution_order WHERE own_valid_until > expires_at AND done_at IS NULL
  AND status = ANY({AT_BROKER_SQL})
LIMIT 200
""",
)
REFUSE_PROLONGED = f"""
WITH locked AS (
  SELECT id, own_valid_until, expires_at FROM execution_order
  WHERE id = ANY(%s::bigint[]) AND own_valid_until > expires_at AND done_at IS NULL
    AND status = ANY({AT_BROKER_SQL})
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
), moved AS (
  UPDATE execution_order o SET own_valid_until = l.expires_at FROM locked l WHERE o.id = l.id
  RETURNING o.id, o.signal_id, o.connection_id, o.status, l.own_valid_until AS wanted,
    'Its broker ends it at ' || to_char(l.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
      || ' UTC and cannot change that.' AS detail
), refused AS (
  UPDATE execution_entrychange h SET state = 'REFUSED', code = '{Code.CHANGE_UNSUPPORTED.value}',
    detail = m.detail
  FROM moved m WHERE h.id = (SELECT x.id FROM execution_entrychange x WHERE x.order_id = m.id
    AND x.valid_until = m.wanted AND x.state = 'DONE' ORDER BY x.id DESC LIMIT 1)
)
{
    insert_log_sql(
        log_rows_sql("moved m", code=f"'{Code.CHANGE_UNSUPPORTED.value}'", detail="m.detail")
    )
}
"""


def refuse_prolonged() -> None:
    """Refuse to prolong orders that their brokers end earlier, and state it on each of them."""
    if found := periodic_rows(PROLONGED):
        run(REFUSE_PROLONGED, ([row.id for row in found],))
