"""Cancel orders: at once what was not sent, else by a request to the broker.

Many orders are cancelled by a few statements for each batch. What stands for several orders, an
entry in slices or the legs of an OCO pair, is cancelled as one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from django.db import transaction

from common.db.sql import Query, array, rows, run
from common.errors import ConflictError
from common.reason_codes import Code
from execution.exits.reservations import recompute_reserved
from execution.models import Order, Status
from execution.permissions import require_on_accounts
from execution.submission.route_writes import end_routes
from users.models import User

BATCH = 500
"""How many orders are cancelled in one transaction, if the caller has none."""


class _Member(NamedTuple):
    order_id: int
    id: int


# Which orders an order stands for: of an entry that its route has moved that on the account which
# has it now, all slices of its entry, and the legs of its pair.
MEMBERS = Query(
    _Member,
    """
WITH moved AS (
  SELECT o.id AS order_id, e.id, e.signal_id, e.connection_id
  FROM execution_order o
  JOIN execution_order e ON e.signal_id = o.signal_id AND e.routed_from_id = o.routed_from_id
    AND e.leg = o.leg AND e.route_state IN ('OPEN', 'HERE', 'LAST')  -- as `one_routed_entry` has it
  WHERE o.id = ANY(%(ids)s::bigint[]) AND o.route_state = 'MOVED'
), present AS (
  SELECT id AS order_id, signal_id, connection_id FROM execution_order
  WHERE id = ANY(%(ids)s::bigint[]) AND leg LIKE 'entry%%'
  UNION ALL
  SELECT order_id, signal_id, connection_id FROM moved
)
SELECT order_id, id FROM moved
UNION
SELECT o.order_id, e.id FROM present o
JOIN execution_order e ON e.signal_id = o.signal_id AND e.connection_id = o.connection_id
  AND e.leg LIKE 'entry%%'
WHERE EXISTS (
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
    unsent is not sent to another account any more, and one that has moved is cancelled there.

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
    accounts = {order.connection_id for order in orders}
    require_on_accounts(list(accounts), by)
    together, found = _lock_together([order.pk for order in orders])
    if elsewhere := {one.connection_id for one in found.values()} - accounts:
        require_on_accounts(list(elsewhere), by)
    live = {
        order_id: [
            found[pk]
            for pk in _without_other_leg(order_id, sorted(group), found)
            if found[pk].done_at is None
            or found[pk].may_move
            or (then_close and found[pk].is_partly_known)
        ]
        for order_id, group in together.items()
    }
    chosen = {one.pk: one for group in live.values() for one in group}
    waiting = sorted(pk for pk, one in chosen.items() if one.status == Status.PENDING)
    if waiting:
        run(CANCEL_PENDING, {"ids": array(waiting), "detail": detail})
        recompute_reserved(waiting)
    if failed := {pk for pk, one in chosen.items() if one.may_move}:
        end_routes(failed, detail=detail)
    if sent := sorted(chosen.keys() - failed - set(waiting)):
        run(REQUEST_CANCEL, {"then_close": then_close, "ids": array(sent)})
    return live


def _lock_together(order_ids: Sequence[int]) -> tuple[dict[int, set[int]], dict[int, Order]]:
    """Lock orders with all that they stand for: return the ids of each, and all by id.

    While a lock is awaited, a claim may write slices, or a route may move the entry on. So they are
    read again until no other ones are found: what is locked and has not moved does not move.
    """
    found: dict[int, Order] = {}
    members: Sequence[_Member] = []
    wanted = {*order_ids, *(one.id for one in rows(MEMBERS, {"ids": array(order_ids)}))}
    while missing := wanted - found.keys():
        found |= _locked(missing)
        members = rows(MEMBERS, {"ids": array(order_ids)})
        wanted = {one.id for one in members}
    together = {order_id: {order_id} for order_id in order_ids}
    for one in members:
        together[one.order_id].add(one.id)
    return together, found


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
