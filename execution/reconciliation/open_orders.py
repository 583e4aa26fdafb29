"""Comparison of working orders, ours and the broker's.

An order that only one side has is looked up at the broker. What the answers do not explain becomes
drift; nothing is inferred.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import transaction

from brokers.types import BrokerOrder, CancelRequest, HeldLevels
from common.db.sql import Query, database_now, periodic_rows, rows
from common.reason_codes import Code
from connections.selectors import AccountRow, LaneAccount
from execution.base.drift_items import DriftRecord
from execution.base.statements import sent_as_sql
from execution.reconciliation.compare_orders import (
    OrderDifferences,
    compare_orders,
    order_record,
)
from execution.reconciliation.late_changes import take_over_late_changes
from execution.reports.levels import LevelStatement, write_levels
from execution.runtime import broker_queries
from execution.runtime.broker_queries import OurOrder

Account = TypeVar("Account", bound=AccountRow, covariant=True)


class OpenPosition(NamedTuple):
    """A position that was open when a comparison began."""

    id: int
    connection_id: UUID


class DecidedItem(NamedTuple):
    """An order that a person has decided to cancel."""

    connection_id: str
    key: str


OPEN = Query(
    OpenPosition,
    """
SELECT id, connection_id FROM positions_executionposition
WHERE connection_id = ANY(%s) AND quantity > 0
""",
)

# Orders without a client order id were created by the broker and cannot be compared. Orders that
# were sent as one are one at the broker, for as long as any of them works.
WORKING = Query(
    OurOrder,
    f"""
SELECT DISTINCT ON (coalesce(o.aggregate_id, o.id)) o.id, o.connection_id,
  {sent_as_sql("o")} AS client_order_id, o.broker_order_id, o.status, o.symbol, o.side,
  o.order_type, o.quantity, o.filled_quantity, o.limit_price, o.stop_price, o.stop_loss,
  o.take_profit, o.trail_distance, false AS has_ended
FROM execution_order o
WHERE o.connection_id = ANY(%s) AND o.status IN ('SUBMITTED', 'PARTIALLY_FILLED',
  'CANCEL_REQUESTED') AND o.client_order_id IS NOT NULL
ORDER BY coalesce(o.aggregate_id, o.id), o.id
""",
)

DECIDED_CANCELS = Query(
    DecidedItem,
    """
SELECT connection_id::text, key FROM execution_driftitem
WHERE connection_id = ANY(%s) AND kind = %s AND state = 'OPEN' AND decision = 'CLOSE'
""",
)


@dataclass(frozen=True, slots=True)
class ReconciliationRun(Generic[Account]):
    """One comparison: its accounts, and what was open and working when it began.

    began: database time. positions: ids by connection. orders: ids of working orders. Only these
    are compared, since the broker may not show yet what began later.
    """

    accounts: Mapping[UUID, Account]
    began: datetime
    positions: dict[UUID, list[int]]
    orders: set[int]


def start_run(accounts: Mapping[UUID, Account]) -> ReconciliationRun[Account]:
    """Record what is open and working now; call it before the brokers are read."""
    began = database_now()
    ids = list(accounts)
    positions: dict[UUID, list[int]] = {}
    for row in periodic_rows(OPEN, (ids,)):
        positions.setdefault(row.connection_id, []).append(row.id)
    return ReconciliationRun(
        accounts, began, positions, {row.id for row in periodic_rows(WORKING, (ids,))}
    )


@dataclass(frozen=True, slots=True)
class OrderComparison:
    """Differences of orders. not_compared: (connection, kind, key) whose look-up failed."""

    records: list[DriftRecord]
    not_compared: set[tuple[UUID, Code, str]]


def resolve_order_differences(
    run: ReconciliationRun[AccountRow], theirs: Mapping[UUID, list[BrokerOrder]]
) -> OrderComparison:
    """Compare orders and look up each that differs at its broker.

    Returns the differences that the answers do not explain.
    """
    take_over_late_changes(run.began, theirs)
    theirs_all = [order for orders in theirs.values() for order in orders]
    their_ids = [order.level_of or order.client_order_id for order in theirs_all]
    known = broker_queries.orders_by_client_id(their_ids, run.began)
    working = [row for row in periodic_rows(WORKING, (list(theirs),)) if row.id in run.orders]
    by_account: dict[UUID, OrderDifferences] = {}
    for key, orders in theirs.items():
        mine = [row for row in working if row.connection_id == key]
        of_account = {base: row for base, row in known.items() if row.connection_id == key}
        tag = settings.FILLCAST_INSTALLATION_TAG
        by_account[key] = compare_orders(str(key), mine, of_account, orders, tag)
    _remove_levels(run.began, by_account)
    queries = [
        (run.accounts[key], row.client_order_id, row.symbol)
        for key, differences in by_account.items()
        for row in (*differences.missing, *(row for row, _ in differences.ended))
    ]
    answers = broker_queries.query_orders(queries)
    return OrderComparison(_unexplained(run, by_account, answers), _unanswered(by_account, answers))


def _remove_levels(began: datetime, by_account: Mapping[UUID, OrderDifferences]) -> None:
    """Have levels removed that are left at the broker although their positions are closed."""
    statements = [
        LevelStatement(
            order.level_of, HeldLevels(order.stop_price, None, order.quantity), began=began
        )
        for differences in by_account.values()
        for order in differences.levels
    ]
    with transaction.atomic():
        write_levels(statements)


def _unanswered(
    by_account: dict[UUID, OrderDifferences], answers: dict[tuple[UUID, str], bool]
) -> set[tuple[UUID, Code, str]]:
    unanswered = set()
    for key, differences in by_account.items():
        queried = [(Code.ORDER_MISSING, row) for row in differences.missing]
        queried += [(Code.ORDER_STILL_WORKING, row) for row, _ in differences.ended]
        for kind, row in queried:
            if (key, row.client_order_id) not in answers:
                unanswered.add((key, kind, row.client_order_id))
    return unanswered


def _unexplained(
    run: ReconciliationRun[AccountRow],
    by_account: dict[UUID, OrderDifferences],
    answers: dict[tuple[UUID, str], bool],
) -> list[DriftRecord]:
    """Return what still differs after the answers.

    Besides unknown orders: ours that the broker does not have, and orders working at the broker
    that have ended here.
    """
    still_working = {row.id for row in periodic_rows(WORKING, (list(by_account),))}
    records = [record for differences in by_account.values() for record in differences.records]
    for key, differences in by_account.items():
        records += [
            order_record(Code.ORDER_MISSING, str(key), row, None)
            for row in differences.missing
            if answers.get((key, row.client_order_id)) is False and row.id in still_working
        ]
        records += [
            order_record(Code.ORDER_STILL_WORKING, str(key), row, order)
            for row, order in differences.ended
            if (key, row.client_order_id) in answers and row.id not in still_working
        ]
    return records


def without_cancelled(
    run: ReconciliationRun[LaneAccount], records: list[DriftRecord]
) -> list[DriftRecord]:
    """Cancel orders that have ended here but still work at the broker, if that was decided.

    Returns the records without the orders cancelled.
    """
    if not any(record.kind is Code.ORDER_STILL_WORKING for record in records):
        return records
    decisions = rows(DECIDED_CANCELS, (list(run.accounts), Code.ORDER_STILL_WORKING.value))
    decided = {(row.connection_id, row.key) for row in decisions}
    requests = [
        (run.accounts[UUID(record.connection_id)], _cancel_request(record))
        for record in records
        if record.kind is Code.ORDER_STILL_WORKING and (record.connection_id, record.key) in decided
    ]
    cancelled = broker_queries.cancel(requests)
    return [
        record
        for record in records
        if record.kind is not Code.ORDER_STILL_WORKING
        or (UUID(record.connection_id), record.evidence["client_order_id"]) not in cancelled
    ]


def _cancel_request(record: DriftRecord) -> CancelRequest:
    evidence = record.evidence
    return CancelRequest(
        evidence["client_order_id"], evidence["broker_order_id"], evidence["symbol"]
    )
