"""Change an entry that has not filled, and the levels of its position: what a person requests.

An order that its broker does not have yet (held by the engine, or waiting) is changed here, in one
transaction. For one that works at its broker a row is written (`EntryChange`), and
`monitoring/entry_changes.py` makes the call. There is never a second order (docs/adr/0028).

Stop and target of the coming position are ours until it opens, and we enforce the order's end, so
these are always changed here.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction

from common.db.sql import database_now, run
from common.errors import ConflictError, FillcastError, InvalidInputError
from common.money import plain
from common.reason_codes import Code
from execution.base.change_events import changed_event_sql
from execution.base.statements import insert_events_sql
from execution.changes.changeable_orders import obstacle, refusal_of, unfit_terms
from execution.changes.order_ends import seconds_until_end
from execution.changes.position_levels import modify_position
from execution.changes.waiting_stops import has_waiting_stop, write_waiting_stop
from execution.models import (
    ChangeState,
    EntryChange,
    Order,
    OrderTrigger,
    Status,
)
from execution.permissions import require_on_accounts
from execution.submission.change_terms import AllowedChange, WantedTerms
from execution.submission.changes import evaluate_change, lock_before_order
from execution.submission.signal_limits import SignalTotals
from execution.submission.sizing import Denial
from signals.models import OrderType
from users.models import User
from users.tenancy import for_all_tenants

_NOTHING = {"quantity": "by the preset"}
# Only prices from now on count for the new level: a hit of the old one does not fire any more.
MOVE_TRIGGER = """
UPDATE execution_ordertrigger SET level = %(level)s, active_since = clock_timestamp()
WHERE order_id = %(id)s AND is_armed AND kind <> 'TRAILING'
"""
CHANGE_UNSENT = f"""
WITH moved AS (
  UPDATE execution_order SET limit_price = %(limit)s, stop_price = %(stop)s,
    requested_quantity = %(quantity)s, detail = coalesce(%(held)s, detail),
    own_stop_loss = %(stop_loss)s, own_take_profit = %(take_profit)s,
    own_valid_until = coalesce(%(valid_until)s, own_valid_until),
    due_at = least(due_at, clock_timestamp() + make_interval(secs => %(seconds)s))
  WHERE id = %(id)s AND status = 'PENDING'
  RETURNING id, signal_id, connection_id, status
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, detail)
SELECT id, signal_id, connection_id, '{Code.ORDER_CHANGED.value}', status, %(detail)s FROM moved
"""
# Of an order that its broker has: its levels are ours until the position opens, and so is its end.
CHANGE_OURS = f"""
WITH moved AS (
  UPDATE execution_order SET own_stop_loss = %(stop_loss)s, own_take_profit = %(take_profit)s,
    own_valid_until = coalesce(%(valid_until)s, own_valid_until),
    margin = %(margin)s, risk = %(risk)s
  WHERE id = %(id)s
  RETURNING id, signal_id, connection_id, status, %(change_id)s::bigint AS change_id
), notified AS (
  {insert_events_sql(changed_event_sql("moved m"))}
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, detail)
SELECT id, signal_id, connection_id, '{Code.ORDER_CHANGED.value}', status, %(detail)s FROM moved
"""
# Until the change is done or refused, the order counts with the larger of both.
REQUEST = f"""
WITH moved AS (
  UPDATE execution_order SET quantity = greatest(quantity, %(quantity)s),
    margin = greatest(margin, %(margin)s), risk = greatest(risk, %(risk)s)
  WHERE id = %(id)s
  RETURNING id, signal_id, connection_id, status
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, detail)
SELECT id, signal_id, connection_id, '{Code.CHANGE_REQUESTED.value}', status, %(detail)s FROM moved
"""


def change_order(order_id: int, wanted: WantedTerms, *, by: User | None = None) -> EntryChange:
    """Change an entry that has not filled; return the change, which is DONE or requested.

    Raises InvalidInputError with a field for a value that the order cannot have; ConflictError if
    its state, its broker or a limit does not allow the change. Enqueue pending actions on commit.
    """
    with transaction.atomic():
        order = Order.objects.select_related("signal").get(pk=order_id)
        require_on_accounts([order.connection_id], by)
        with for_all_tenants():
            # In the order of the claim, which this change and its limits must not overtake.
            totals = lock_before_order(order)
            locked = Order.objects.select_for_update(no_key=True, of=("self",))
            order = locked.select_related("signal").get(pk=order_id)
            if error := obstacle(order):
                raise error
            if has_waiting_stop(order_id):
                raise ConflictError(Code.CHANGE_OPEN)
            change = request_change(order, wanted, totals, by=by)
            if has_waiting_stop(order_id):
                wanted = replace(wanted, stop_loss=None)
            move_position_of(order, wanted, by)
            return change


def move_position_of(order: Order, wanted: WantedTerms, by: User | None) -> None:
    """Give the position that a part of the entry has opened the wanted levels, if there are any."""
    position = order.opened_position if order.filled_quantity else None
    if wanted.has_levels and position is not None and position.is_open:
        modify_position(
            position.pk,
            stop_loss=wanted.stop_loss or position.sl,
            take_profit=wanted.take_profit or position.tp,
            by=by,
        )


def request_change(
    order: Order,
    wanted: WantedTerms,
    totals: SignalTotals,
    *,
    by: User | None = None,
    change: EntryChange | None = None,
) -> EntryChange:
    """Decide and store the change of a locked order without an obstacle.

    change: one that waits and becomes this change. Raises as `change_order` does. Levels of an
    order at its broker must fit its present price as well: its change may be refused.
    """
    if error := unfit_terms(order, wanted):
        raise _with_further(error, order, wanted, totals)
    ours, terms = wanted.ours, wanted.terms
    if order.status != Status.PENDING and WantedTerms() not in (ours, terms):
        if (together := _in_turn(order, wanted, totals)) is not None:
            return _request_in_turn(order, wanted, together, totals, by)
        try:
            request_change(order, ours, totals, by=by)
        except InvalidInputError as error:
            raise _with_further(error, order, terms, totals) from error
        order.refresh_from_db(fields=["margin", "risk"])
        wanted = terms
    allowed = evaluate_change(order, wanted, totals)
    if isinstance(allowed, Denial):
        raise _with_further(refusal_of(order, allowed, wanted), order, wanted, totals)
    return _stored(order, allowed, by, change or EntryChange(order=order))


def _in_turn(order: Order, wanted: WantedTerms, totals: SignalTotals) -> AllowedChange | None:
    """Return the change as a whole if its stop may count only once its quantity has fallen.

    None: its levels may count at once, or are not valid. Raises as `change_order` does if a limit
    denies both together.
    """
    if wanted.stop_loss is None or wanted.quantity is None:
        return None
    if order.quantity is None or wanted.quantity >= order.quantity:
        return None
    alone = evaluate_change(order, wanted.ours, totals)
    if not isinstance(alone, Denial) or alone.code == Code.NOTHING_TO_CHANGE:
        return None
    if isinstance(refusal_of(order, alone, wanted.ours), InvalidInputError):
        return None
    together = evaluate_change(order, wanted, totals)
    if isinstance(together, Denial):
        raise _with_further(refusal_of(order, together, wanted), order, wanted, totals)
    return together


def _request_in_turn(
    order: Order,
    wanted: WantedTerms,
    together: AllowedChange,
    totals: SignalTotals,
    by: User | None,
) -> EntryChange:
    """Store the terms of a change for the broker, and its stop to wait for them.

    Until then the order counts with the risk of both, so that no other entry takes its place.
    """
    rest = replace(wanted.ours, stop_loss=None)
    if rest != WantedTerms():
        request_change(order, rest, totals, by=by)
        order.refresh_from_db(fields=["margin", "risk"])
    terms = evaluate_change(order, wanted.terms, totals)
    if isinstance(terms, Denial):
        raise _with_further(refusal_of(order, terms, wanted.terms), order, wanted.terms, totals)
    then = write_waiting_stop(order, together, by)
    counted = replace(
        terms, margin=together.margin, risk=together.risk, raises_risk=together.raises_risk
    )
    return _stored(order, counted, by, EntryChange(order=order, detail=then))


def _with_further(
    error: FillcastError, order: Order, wanted: WantedTerms, totals: SignalTotals
) -> FillcastError:
    """Return the error of a change together with those of its other values.

    They are evaluated without the refused ones. Levels are only if the entry's prices are right.
    """
    if not isinstance(error, InvalidInputError):
        return error
    found = [error, *error.others]
    while (left := _without(wanted, {one.field for one in found})) != WantedTerms():
        denial = evaluate_change(order, left, totals)
        further = refusal_of(order, denial, left) if isinstance(denial, Denial) else None
        if not isinstance(further, InvalidInputError) or getattr(left, further.field, None) is None:
            break
        found.append(further)
    error.others = tuple(found[1:])
    return error


def _without(wanted: WantedTerms, refused: Collection[str]) -> WantedTerms:
    """Return what remains to be judged beside refused values."""
    names = {name for name in refused if hasattr(wanted, name)}
    if names & {"limit_price", "stop_price"}:
        names |= {"stop_loss", "take_profit"}
    return replace(wanted, **dict.fromkeys(names))


def _stored(
    order: Order, allowed: AllowedChange, by: User | None, change: EntryChange
) -> EntryChange:
    """Write the change, and what of it takes effect now: all, or levels, or nothing yet."""
    is_sent = order.status != Status.PENDING
    is_limit = order.order_type == OrderType.LIMIT  # held as the leg of an OCO pair
    level = allowed.limit_price if is_limit else allowed.stop_price
    _fill_in(change, order, allowed, by)
    detail = describe(change)
    if change.requested_name:
        detail = f"{detail}; by {change.requested_name}"
    # Of an order at its broker a change is about its terms or about what is ours, never about both.
    if not is_sent or allowed.is_ours:
        change.state, change.done_at = ChangeState.DONE, database_now()
    change.save()
    values: dict[str, Any] = {
        "id": order.pk,
        "change_id": change.pk,
        "quantity": allowed.quantity,
        "limit": allowed.limit_price,
        "stop": allowed.stop_price,
        "margin": allowed.margin,
        "risk": allowed.risk,
        "stop_loss": allowed.stop_loss,
        "take_profit": allowed.take_profit,
        "valid_until": allowed.valid_until,
        "seconds": seconds_until_end(allowed.valid_until),
        "level": level,
        "detail": detail[:300],
        "held": None,
    }
    if is_sent:
        run(CHANGE_OURS if allowed.is_ours else REQUEST, values)
    else:
        if level != (order.limit_price if is_limit else order.stop_price):
            values["held"] = _move_trigger(values)
        run(CHANGE_UNSENT, values)
    return change


def _fill_in(change: EntryChange, order: Order, allowed: AllowedChange, by: User | None) -> None:
    """Set the columns of a change: what it asks for, what the order had, and by whom."""
    is_sent = order.status != Status.PENDING
    values: dict[str, Any] = {
        "state": ChangeState.REQUESTED,
        "connection_id": order.connection_id,
        "quantity": allowed.quantity,
        "limit_price": allowed.limit_price,
        "stop_price": allowed.stop_price,
        "margin": allowed.margin,
        "risk": allowed.risk,
        "raises_risk": allowed.raises_risk,
        "old_quantity": order.quantity if is_sent else order.requested_quantity,
        "old_limit_price": order.limit_price,
        "old_stop_price": order.stop_price,
        "old_margin": order.margin,
        "old_risk": order.risk,
        "requested_by": by,
        "requested_name": by.get_username() if by else change.requested_name,
    }
    for name in ("stop_loss", "take_profit"):
        new, old = getattr(allowed, name), getattr(allowed, f"old_{name}")
        is_moved = new not in (None, old)
        values |= {name: new if is_moved else None, f"old_{name}": old if is_moved else None}
    if allowed.valid_until is not None:
        values["valid_until"] = allowed.valid_until
        values["old_valid_until"] = allowed.old_valid_until
    for name, value in values.items():
        setattr(change, name, value)
    if change.pk is not None:  # what a signal has wanted counts from now
        change.requested_at = change.due_at = database_now()


def _move_trigger(values: dict[str, Any]) -> str | None:
    """Move the level of the order's armed trigger; return what the order then waits for."""
    run(MOVE_TRIGGER, values)
    trigger = OrderTrigger.objects.filter(order=values["id"], is_armed=True).first()
    return f"Emulated: {trigger.condition}" if trigger is not None else None


def describe(change: EntryChange) -> str:
    """Return what a change changes, from what to what: `price 1.1 to 1.09`."""
    terms = (
        ("quantity", change.old_quantity, change.quantity),
        ("limit price", change.old_limit_price, change.limit_price),
        ("stop price", change.old_stop_price, change.stop_price),
        ("stop loss", change.old_stop_loss, change.stop_loss),
        ("take profit", change.old_take_profit, change.take_profit),
    )
    words = [
        f"{name} {plain(old) or _NOTHING.get(name, 'none')} to {plain(new)}"
        for name, old, new in terms
        if old != new
    ]
    if change.valid_until is not None:
        words.append(f"end {_moment(change.old_valid_until)} to {_moment(change.valid_until)}")
    return ", ".join(words)


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "none"
