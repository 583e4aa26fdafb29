"""Change the entry price of a signal on all accounts, by a MODIFY signal.

In the transaction that publishes it, what is not on its way yet gets the new price. For each other
entry a change is written that waits until the order can be changed: while it is being sent, or an
earlier change is open, it cannot. `begin_waiting_changes` then requests it as a person would.
"""

from collections.abc import Sequence

from django.db import transaction

from common.db.sql import IdRow, Query, array, periodic_rows, rows, run
from common.errors import ConflictError, FillcastError
from common.failpoints import failpoint
from common.reason_codes import Code
from execution.base.statements import insert_log_sql, log_rows_sql
from execution.changes.changeable_orders import WITH_LIMIT, WITH_STOP, obstacle
from execution.changes.order_changes import move_position_of, request_change
from execution.changes.order_ends import refuse_prolonged
from execution.changes.passed_entries import cancel_passed_entries
from execution.changes.waiting_stops import refusal_of_stop
from execution.models import (
    ChangeState,
    EntryChange,
    Order,
    OrderTrigger,
    may_move_sql,
)
from execution.submission import claim_sql
from execution.submission.change_terms import WantedTerms
from execution.submission.changes import lock_before_order
from signals.models import Signal
from users.tenancy import for_all_tenants

_LIMITED = ", ".join(f"'{one}'" for one in sorted(WITH_LIMIT))
_TRIGGERED = ", ".join(f"'{one}'" for one in sorted(WITH_STOP))
_SOON = (Code.ORDER_IN_FLIGHT, Code.CHANGE_OPEN)

# The orders whose prices the signal changes, with what they shall have. Locked before. One that has
# failed may still move to the next account of its route, with the price that waits here. A change
# of one that is being cancelled waits too, so that its refusal is stated like any other, and so
# does a price that the entry's own levels have passed.
_WANTED = f"""
  SELECT *, may_be_ours AND NOT coalesce(CASE side
    WHEN 'BUY' THEN least(new_limit, new_stop) <= own_stop_loss
      OR coalesce(new_limit, new_stop) >= own_take_profit
    ELSE greatest(new_limit, new_stop) >= own_stop_loss
      OR coalesce(new_limit, new_stop) <= own_take_profit END, false) AS is_ours
  FROM (SELECT id, signal_id, connection_id, status, order_type,
    status = 'PENDING' AND pending_action = '' AND connection_id = ANY(%(locked)s::uuid[])
      AS may_be_ours, side, own_stop_loss, own_take_profit,
    requested_quantity, quantity,
    limit_price AS old_limit, stop_price AS old_stop,
    CASE WHEN order_type IN ({_LIMITED}) THEN coalesce(%(limit)s::numeric, limit_price)
      ELSE limit_price END AS new_limit,
    CASE WHEN order_type IN ({_TRIGGERED}) THEN coalesce(%(stop)s::numeric, stop_price)
      ELSE stop_price END AS new_stop
  FROM execution_order
  WHERE signal_id = %(refers_to)s AND leg = 'entry' AND leg LIKE 'entry%%'
    AND (done_at IS NULL OR {may_move_sql("execution_order")})) entries"""
_CHANGED = "(old_limit, old_stop) IS DISTINCT FROM (new_limit, new_stop)"
_FROM_TO = (
    "concat_ws(', ', "
    + ", ".join(
        f"CASE WHEN m.old_{name} IS DISTINCT FROM m.new_{name} THEN '{name} price '"
        f" || coalesce(trim_scale(m.old_{name})::text, 'none')"
        f" || ' to ' || trim_scale(m.new_{name})::text END"
        for name in ("limit", "stop")
    )
    + ") || '; by ' || %(name)s"
)

CHANGE_UNSENT = f"""
WITH wanted AS ({_WANTED}
), moved AS (
  UPDATE execution_order o SET limit_price = w.new_limit, stop_price = w.new_stop
  FROM wanted w WHERE o.id = w.id AND w.is_ours AND {_CHANGED}
  RETURNING o.id, o.signal_id, o.connection_id, o.status, w.requested_quantity, w.old_limit,
    w.old_stop, w.new_limit, w.new_stop, w.order_type
), triggers AS (
  UPDATE execution_ordertrigger t SET active_since = clock_timestamp(),
    level = CASE m.order_type WHEN 'LIMIT' THEN m.new_limit ELSE m.new_stop END
  FROM moved m WHERE t.order_id = m.id AND t.is_armed AND t.kind <> 'TRAILING'
    AND CASE m.order_type WHEN 'LIMIT' THEN m.new_limit ELSE m.new_stop END IS NOT NULL
), changes AS (
  INSERT INTO execution_entrychange (order_id, connection_id, signal_id, quantity, old_quantity,
    limit_price, old_limit_price, stop_price, old_stop_price, state, requested_name, done_at)
  SELECT id, connection_id, %(signal_id)s, requested_quantity, requested_quantity, new_limit,
    old_limit, new_stop, old_stop, 'DONE', %(name)s, clock_timestamp() FROM moved
)
{insert_log_sql(log_rows_sql("moved m", code=f"'{Code.ORDER_CHANGED.value}'", detail=_FROM_TO))}
"""

# A newer signal replaces what an earlier one still waits for.
WAIT = f"""
WITH wanted AS ({_WANTED}
), waiting AS (
  INSERT INTO execution_entrychange AS h (order_id, connection_id, signal_id, quantity,
    old_quantity, limit_price, old_limit_price, stop_price, old_stop_price, state, requested_name)
  SELECT id, connection_id, %(signal_id)s, quantity, quantity, new_limit, old_limit, new_stop,
    old_stop, 'WAITING', %(name)s
  FROM wanted WHERE NOT is_ours AND {_CHANGED} ORDER BY id
  ON CONFLICT (order_id) WHERE state = 'WAITING' DO UPDATE SET signal_id = excluded.signal_id,
    limit_price = excluded.limit_price, stop_price = excluded.stop_price,
    old_limit_price = coalesce(h.old_limit_price, excluded.old_limit_price),
    old_stop_price = coalesce(h.old_stop_price, excluded.old_stop_price),
    requested_name = excluded.requested_name, due_at = clock_timestamp()
  RETURNING order_id
)
{
    insert_log_sql(
        log_rows_sql(
            "wanted m JOIN waiting ON order_id = m.id",
            code=f"'{Code.CHANGE_REQUESTED.value}'",
            detail=_FROM_TO,
        )
    )
}
"""

DUE = Query(
    IdRow,
    """
SELECT id FROM execution_entrychange WHERE state = 'WAITING' AND due_at <= statement_timestamp()
ORDER BY due_at LIMIT 200
""",
)
POSTPONE = """
UPDATE execution_entrychange SET due_at = clock_timestamp() + interval '1 second' WHERE id = %s
"""
REFUSE = f"""
WITH refused AS (
  UPDATE execution_entrychange h SET state = 'REFUSED', code = %(code)s,
    detail = left(%(detail)s, 300), done_at = clock_timestamp()
  WHERE id = %(id)s RETURNING h.order_id, h.detail
)
{
    insert_log_sql(
        log_rows_sql(
            "refused r JOIN execution_order m ON m.id = r.order_id",
            code="%(code)s",
            detail="r.detail",
        )
    )
}
"""


def lock_accounts_of(signal: Signal) -> list[str]:
    """Lock the accounts whose entries a MODIFY changes, before their orders; return their ids.

    So no claim sends an order at the old price that this one has changed. Accounts that are locked
    already are left out: a publication waits for none, and their entries may be on their way.
    """
    if not has_price(signal):
        return []
    entries = Order.objects.filter(signal=signal.refers_to_id, leg="entry", done_at=None)
    ids = array(entries.order_by().values_list("pk", flat=True))
    return [row.connection_id for row in rows(claim_sql.LOCK.format(skip="SKIP LOCKED"), (ids,))]


def has_price(signal: Signal) -> bool:
    """Return whether a MODIFY changes the entry's price."""
    return signal.open_price is not None or signal.stop_price is not None


def change_entries(signal: Signal, locked: Sequence[str]) -> None:
    """Give entries that have not filled the prices of a MODIFY, in its transaction.

    The orders are locked. locked: the accounts of `lock_accounts_of`.
    """
    if not has_price(signal):
        return
    parameters = {
        "limit": signal.open_price,
        "stop": signal.stop_price,
        "refers_to": signal.refers_to_id,
        "signal_id": signal.pk,
        "name": signal.number,
        "locked": array(locked),
    }
    run(WAIT, parameters)
    if run(CHANGE_UNSENT, parameters):
        _describe_triggers(signal)


def _describe_triggers(signal: Signal) -> None:
    """State at which price the held entries of the signal wait now."""
    by_text: dict[str, list[int]] = {}
    held = OrderTrigger.objects.filter(order__signal=signal.refers_to_id, is_armed=True)
    for trigger in held:
        by_text.setdefault(f"Emulated: {trigger.condition}", []).append(trigger.order_id)
    for text, ids in by_text.items():
        Order.objects.filter(pk__in=ids).update(detail=text)


def begin_waiting_changes() -> None:
    """Request the changes of signals whose orders can be changed now; settle changed ends."""
    refuse_prolonged()
    for due in periodic_rows(DUE):
        with transaction.atomic(), for_all_tenants():
            _begin(due.id)


def _begin(change_id: int) -> None:
    known = EntryChange.objects.select_related("order").get(pk=change_id)
    totals = lock_before_order(known.order)
    locked = Order.objects.select_for_update(no_key=True, of=("self",))
    order = locked.select_related("signal").get(pk=known.order_id)
    change = EntryChange.objects.select_for_update().get(pk=change_id)
    if change.state != ChangeState.WAITING:
        return
    wanted = WantedTerms(
        limit_price=change.limit_price if change.limit_price != order.limit_price else None,
        stop_price=change.stop_price if change.stop_price != order.stop_price else None,
        stop_loss=change.stop_loss,
    )
    error = obstacle(order) or refusal_of_stop(change, order)
    if error is None:
        try:
            with transaction.atomic():  # of a stop and a position's: both or neither
                request_change(order, wanted, totals, by=change.requested_by, change=change)
                move_position_of(order, wanted, change.requested_by)
            failpoint("changes.begun")
        except FillcastError as refusal:
            error = refusal
    if error is None:
        return
    if order.may_move or (isinstance(error, ConflictError) and error.code in _SOON):
        run(POSTPONE, (change_id,))
        return
    run(REFUSE, {"id": change_id, "code": str(error.code), "detail": str(error)})
    cancel_passed_entries([order.pk], by=change.requested_name)
