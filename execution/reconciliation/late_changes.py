"""Changes of working orders that reached their broker after they were given up.

A change is given up when the order was read with its old values and the change could no longer
arrive. Should it arrive all the same, the next comparison shows its values, and takes them over:
also if a later change was made before it arrived.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from brokers.types import BrokerOrder, OrderReport, OrderTerms
from common.db.sql import Query, periodic_rows, run
from common.reason_codes import Code
from execution.base.change_events import changed_event_sql
from execution.base.changed_orders import listed_order, terms_report
from execution.base.statements import AT_BROKER_SQL, insert_events_sql
from execution.changes.passed_entries import cancel_passed_entries
from execution.models import Order
from execution.reports.apply import apply_reports


class GivenUpChange(NamedTuple):
    """A change of a working order that was sent and not done. None of its changes is open.

    now_*: what the order's row has.
    """

    id: int
    order_id: int
    connection_id: UUID
    client_order_id: str
    broker_order_id: str
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    old_quantity: Decimal
    old_limit_price: Decimal | None
    old_stop_price: Decimal | None
    now_quantity: Decimal
    now_limit_price: Decimal | None
    now_stop_price: Decimal | None


GIVEN_UP = Query(
    GivenUpChange,
    f"""
SELECT h.id, h.order_id, o.connection_id, o.client_order_id, o.broker_order_id, h.quantity,
  h.limit_price, h.stop_price, h.old_quantity, h.old_limit_price, h.old_stop_price,
  o.quantity AS now_quantity, o.limit_price AS now_limit_price, o.stop_price AS now_stop_price
FROM execution_order o JOIN LATERAL (
  SELECT id, done_at FROM execution_entrychange c WHERE c.order_id = o.id
  ORDER BY c.id DESC LIMIT 1) newest ON newest.done_at < %(began)s
JOIN execution_entrychange h ON h.order_id = o.id AND h.state = 'REFUSED' AND h.sends > 0
WHERE o.connection_id = ANY(%(connections)s)
  AND o.status = ANY({AT_BROKER_SQL}) AND o.client_order_id IS NOT NULL
ORDER BY o.id, h.id DESC
""",
)

DONE_AFTER_ALL = f"""
WITH done AS (
  UPDATE execution_entrychange SET state = 'DONE', code = '',
    detail = 'The broker made it later than expected.'
  WHERE id = ANY(%s) AND state = 'REFUSED'
  RETURNING id, order_id, margin, risk, connection_id, detail
), overtaken AS (
  UPDATE execution_entrychange h SET code = '{Code.CHANGE_OVERTAKEN.value}'
  FROM done d WHERE h.order_id = d.order_id AND h.id > d.id AND h.state = 'DONE'
    AND (h.quantity, h.limit_price, h.stop_price)  -- it was not about its levels alone
      IS DISTINCT FROM (h.old_quantity, h.old_limit_price, h.old_stop_price)
  RETURNING h.order_id
), counted AS (
  UPDATE execution_order o SET margin = coalesce(d.margin, o.margin),
    risk = coalesce(d.risk, o.risk)
  FROM done d WHERE o.id = d.order_id
  RETURNING o.id, o.signal_id, o.connection_id, o.status, d.detail, d.id AS change_id
), notified AS (
  {insert_events_sql(changed_event_sql("counted m"))}
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, detail)
SELECT id, signal_id, connection_id, CASE WHEN id IN (SELECT order_id FROM overtaken)
  THEN '{Code.CHANGE_OVERTAKEN.value}' ELSE '{Code.ORDER_CHANGED.value}' END, status, detail
FROM counted
"""


def take_over_late_changes(began: datetime, theirs: Mapping[UUID, Sequence[BrokerOrder]]) -> None:
    """Give orders the terms of given-up changes that their broker lists now.

    began: database time before the brokers were read. theirs: their working orders.
    """
    if not (found := _made(began, theirs)):
        return
    with transaction.atomic():
        ids = [change.order_id for change, _ in found]
        list(Order.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk"))
        # Again: a newer change may have been requested meanwhile.
        made = [one for one in _made(began, theirs) if one[0].order_id in ids]
        apply_reports([_report(change, listed.terms) for change, listed in made])
        run(DONE_AFTER_ALL, ([change.id for change, _ in made],))
        cancel_passed_entries(
            [change.order_id for change, _ in made], by="a change that was late at its broker"
        )


def _made(
    began: datetime, theirs: Mapping[UUID, Sequence[BrokerOrder]]
) -> list[tuple[GivenUpChange, BrokerOrder]]:
    """Return the given-up changes whose values the broker lists: of an order the newest one."""
    made: dict[int, tuple[GivenUpChange, BrokerOrder]] = {}
    for change in periodic_rows(GIVEN_UP, {"connections": list(theirs), "began": began}):
        orders = theirs.get(change.connection_id, ())
        listed = listed_order(change.client_order_id, change.broker_order_id, orders)
        if listed is not None and _is_made(change, listed.terms):
            made.setdefault(change.order_id, (change, listed))
    return list(made.values())


def _is_made(change: GivenUpChange, shown: OrderTerms) -> bool:
    """Return whether what the change requested is there, and our row does not have it."""
    fields = (
        (change.old_quantity, change.quantity, shown.quantity, change.now_quantity),
        (change.old_limit_price, change.limit_price, shown.limit_price, change.now_limit_price),
        (change.old_stop_price, change.stop_price, shown.stop_price, change.now_stop_price),
    )
    changed = [(new, there, ours) for old, new, there, ours in fields if old != new]
    return all(new == there for new, there, _ in changed) and any(
        new != ours for new, _, ours in changed
    )


def _report(change: GivenUpChange, terms: OrderTerms) -> OrderReport:
    if change.quantity == change.old_quantity:  # some brokers list what is left of an order
        terms = replace(terms, quantity=change.now_quantity)
    return terms_report(
        connection_id=change.connection_id,
        client_order_id=change.client_order_id,
        broker_order_id=change.broker_order_id,
        terms=terms,
    )
