"""Cancel orders: at once what was not sent, else by a request to the broker.

Many orders are cancelled by a few statements for each batch. What stands for several orders, an
entry in slices or the legs of an OCO pair, is cancelled as one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from django.db import transaction

from common.errors import ConflictError
from common.reason_codes import Code
from common.sql import Query, array, rows, run
from execution.exits.reservations import recompute_reserved
from execution.models import Order, RouteState, Status
from execution.permissions import require_on_accounts
from execution.submission.route_writes import end_routes
from users.models import User

BATCH = 500
"""How many orders are cancelled in one transaction, if the caller has none."""


class _Member(NamedTuple):
    order_id: int
    id: int


# Which orders an order stands for: all slices of its entry, and the legs of its pair.
MEMBERS = Query(
    _Member,
    """
SELECT o.id AS order_id, e.id FROM execution_order o
JOIN execution_order e ON e.signal_id = o.signal_id AND e.connection_id = o.connection_id
  AND e.leg LIKE 'entry%%'
WHERE o.id = ANY(%(ids)s::bigint[]) AND o.leg LIKE 'entry%%' AND EXISTS (
  SELECT FROM execution_sliceplan s JOIN execution_order f ON f.id = s.order_id
  WHERE f.signal_id = o.signal_id AND f.connection_id = o.connection_id
    AND f.leg = 'entry' AND f.leg LIKE 'entry%%')  -- as the index `one_entry` has it
UNION ALL
SELECT o.id AS order_id, e.id FROM execution_order o
JOIN execution_order e ON e.oco_group = o.oco_group AND e.connection_id = o.connection_id
WHERE o.id = ANY(%(ids)s::bigint[]) AND o.oco_group IS NOT NULL
""",
)

CANCEL_PENDING = f"""
WITH moved AS (
  UPDATE execution_order SET status = 'CANCELLED', reason = '{Code.OWNER_CANCELLED.value}',
    detail = %(detail)s, done_at = clock_timestamp(), fence = fence + 1
  WHERE id = ANY(%(ids)s::bigint[]) AND status = 'PENDING'
  RETURNING id, signal_id, connection_id
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, detail)
SELECT id, signal_id, connection_id, '{Code.OWNER_CANCELLED.value}', 'CANCELLED', %(detail)s
FROM moved ORDER BY id
"""

# A pending CLOSE stays: it includes the cancellation. A cancel that becomes one keeps the time of
# its next request: a call may be under way.
REQUEST_CANCEL = """
UPDATE execution_order SET pending_action = CASE WHEN pending_action = 'CLOSE'
    OR %(then_close)s AND leg LIKE 'entry%%' THEN 'CLOSE' ELSE 'CANCEL' END,
  due_at = CASE WHEN %(then_close)s AND pending_action <> ''
    THEN coalesce(due_at, clock_timestamp()) ELSE clock_timestamp() END
WHERE id = ANY(%(ids)s::bigint[])
"""


def cancel_order(order_id: int, *, by: User | None = None) -> str:
    """Cancel an order that is not sent, or request the cancellation of one that is.

    An order of an entry in slices stands for all of them: those that have not ended are cancelled
    too. So is the other leg of an OCO pair of which none has fired. A routed entry that has failed
    unsent is not sent to another account any more.

    Returns its status: of an order that has ended before, that of its next slice. Raises
    ConflictError if the order and all its slices have ended. Enqueue pending actions on commit.
    """
    with transaction.atomic():
        order = Order.objects.get(pk=order_id)
        [live] = _cancel([order], by, then_close=False).values()
        if not live:
            order.refresh_from_db(fields=["status"])
            raise ConflictError(Code.STATE_CONFLICT, f"The order is {order.status} already.")
        sent = [one for one in live if one.status != Status.PENDING and one.done_at is None]
        return sent[0].status if sent else str(Status.CANCELLED)


def cancel_orders(
    order_ids: Iterable[int], *, by: User | None = None, then_close: bool = False
) -> list[int]:
    """Cancel orders as `cancel_order` does; return the ids of those that had not ended.

    In batches, each in a transaction of its own if the caller has none. then_close: close what an
    entry that was sent still fills before the broker cancels it.
    """
    cancelled: list[int] = []
    ids = list(order_ids)
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        with transaction.atomic():
            orders = list(Order.objects.filter(pk__in=batch))
            live = _cancel(orders, by, then_close)
            cancelled += [order_id for order_id in batch if live.get(order_id)]
    return cancelled


def _cancel(orders: Sequence[Order], by: User | None, then_close: bool) -> dict[int, list[Order]]:
    """Cancel orders with the other slices of their entry, or the other leg of their pair.

    Returns for each of them which orders, with itself, had not ended. Raises NotAllowedError.
    """
    detail = f"by {by.get_username()}" if by else ""
    require_on_accounts(list({order.connection_id for order in orders}), by)
    ids = [order.pk for order in orders]
    found = _locked({*ids, *(one.id for one in rows(MEMBERS, {"ids": array(ids)}))})
    members = rows(MEMBERS, {"ids": array(ids)})  # with slices that a claim was writing meanwhile
    found |= _locked({one.id for one in members} - found.keys())
    together = {order_id: {order_id} for order_id in ids}
    for one in members:
        together[one.order_id].add(one.id)
    live = {
        order_id: [
            found[pk]
            for pk in _without_other_leg(order_id, sorted(group), found)
            if found[pk].done_at is None or _may_move(found[pk])
        ]
        for order_id, group in together.items()
    }
    chosen = {one.pk: one for group in live.values() for one in group}
    waiting = sorted(pk for pk, one in chosen.items() if one.status == Status.PENDING)
    if waiting:
        run(CANCEL_PENDING, {"ids": array(waiting), "detail": detail})
        recompute_reserved(waiting)
    if failed := {pk for pk, one in chosen.items() if _may_move(one)}:
        end_routes(failed, detail=detail)
    if sent := sorted(chosen.keys() - failed - set(waiting)):
        run(REQUEST_CANCEL, {"then_close": then_close, "ids": array(sent)})
    return live


def _may_move(order: Order) -> bool:
    """Return whether a failed entry would be sent to the next account of its route."""
    return order.status == Status.FAILED and order.route_state == RouteState.HERE


def _locked(order_ids: Collection[int]) -> dict[int, Order]:
    """Lock orders in the order of their ids, and return them by id."""
    if not order_ids:
        return {}
    locked = Order.objects.select_for_update(no_key=True).filter(pk__in=order_ids)
    return {one.pk: one for one in locked.order_by("pk")}


def _without_other_leg(
    order_id: int, group: Sequence[int], found: Mapping[int, Order]
) -> Sequence[int]:
    """Return a group without the other leg of a pair, unless the engine holds both."""
    legs = [found[pk] for pk in group if found[pk].oco_group is not None]
    if all(one.status == Status.PENDING and not one.oco_fired for one in legs):
        return group
    return [order_id]
