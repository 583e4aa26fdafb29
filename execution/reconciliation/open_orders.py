"""Resting orders, both sides: what works for us and what waits at the broker.

An order on one side only is looked up: its broker says what became of it. What is left after that
is drift; nothing is guessed.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from brokers.types import CancelRequest
from common.reason_codes import Code
from common.sql import rows
from execution.base.drift_items import DriftRecord
from execution.reconciliation.compare import OrderDifferences, order_record, orders_of
from execution.runtime import broker_queries

OPEN = """
SELECT id, connection_id FROM positions_executionposition
WHERE connection_id = ANY(%s) AND quantity > 0
"""

# Ids that the broker gives only to what it makes by itself are nobody's to compare.
WORKING = """
SELECT o.id, o.connection_id, o.client_order_id, o.broker_order_id, o.status, o.symbol, o.side,
  o.order_type, o.quantity, o.filled_quantity, o.limit_price, o.stop_price, o.stop_loss,
  o.take_profit
FROM execution_order o
WHERE o.connection_id = ANY(%s) AND o.status IN ('SUBMITTED', 'PARTIALLY_FILLED',
  'CANCEL_REQUESTED') AND o.client_order_id IS NOT NULL
ORDER BY o.id
"""

DECIDED = """
SELECT connection_id::text, key FROM execution_driftitem
WHERE connection_id = ANY(%s) AND kind = %s AND state = 'OPEN' AND decision = 'CLOSE'
"""


@dataclass(frozen=True, slots=True)
class ReconciliationRun:
    """One comparison: which accounts, when it began, and what was open and working then.

    The broker may show what has ended since, and not yet what has begun since.
    """

    accounts: dict[UUID, Any]
    began: datetime
    positions: dict[UUID, list[int]]
    orders: set[int]


def start_run(accounts: dict[UUID, Any]) -> ReconciliationRun:
    """Note what is open and working now, before the brokers are read."""
    began = rows("SELECT clock_timestamp() AS now")[0].now
    ids = list(accounts)
    positions: dict[UUID, list[int]] = {}
    for row in rows(OPEN, (ids,)):
        positions.setdefault(row.connection_id, []).append(row.id)
    return ReconciliationRun(accounts, began, positions, {row.id for row in rows(WORKING, (ids,))})


@dataclass(frozen=True, slots=True)
class Compared:
    """Differences of orders. unseen: (connection, kind, key) of those that nobody could answer."""

    records: list[DriftRecord]
    not_compared: set[tuple[UUID, Code, str]]


def settle_orders(run: ReconciliationRun, theirs: dict[UUID, list[Any]]) -> Compared:
    """Compare orders, and have the broker say of each that differs what became of it.

    Returns the differences that its answers have not settled.
    """
    named = [order.client_order_id for orders in theirs.values() for order in orders]
    known = broker_queries.orders_by_client_id(named, run.began)
    working = [row for row in rows(WORKING, (list(theirs),)) if row.id in run.orders]
    found: dict[UUID, OrderDifferences] = {}
    for key, orders in theirs.items():
        mine = [row for row in working if row.connection_id == key]
        of_account = {base: row for base, row in known.items() if row.connection_id == key}
        tag = settings.FILLCAST_INSTALLATION_TAG
        found[key] = orders_of(str(key), mine, of_account, orders, tag)
    queries = [
        (run.accounts[key], row.client_order_id, row.symbol)
        for key, one in found.items()
        for row in (*one.missing, *(ended for ended, _ in one.ended))
    ]
    answers = broker_queries.query_orders(queries)
    return Compared(_unsettled(run, found, answers), _unanswered(found, answers))


def _unanswered(
    found: dict[UUID, OrderDifferences], answers: dict[tuple[UUID, str], bool]
) -> set[tuple[UUID, Code, str]]:
    unseen = set()
    for key, one in found.items():
        about = [(Code.ORDER_MISSING, row) for row in one.missing]
        about += [(Code.ORDER_STILL_WORKING, row) for row, _ in one.ended]
        for kind, row in about:
            if (key, row.client_order_id) not in answers:
                unseen.add((key, kind, row.client_order_id))
    return unseen


def _unsettled(
    run: ReconciliationRun,
    found: dict[UUID, OrderDifferences],
    answers: dict[tuple[UUID, str], bool],
) -> list[DriftRecord]:
    """What is still different after the answers: an order of ours that the broker says it does not
    have, and one that rests there though it has ended here. Nothing is guessed of either."""
    still = {row.id for row in rows(WORKING, (list(found),))}
    records = [record for one in found.values() for record in one.records]
    for key, one in found.items():
        records += [
            order_record(Code.ORDER_MISSING, str(key), row, None)
            for row in one.missing
            if answers.get((key, row.client_order_id)) is False and row.id in still
        ]
        records += [
            order_record(Code.ORDER_STILL_WORKING, str(key), row, order)
            for row, order in one.ended
            if (key, row.client_order_id) in answers and row.id not in still
        ]
    return records


def without_cancelled(run: ReconciliationRun, records: list[DriftRecord]) -> list[DriftRecord]:
    """Ask to cancel what rests though it has ended here, where somebody decided so."""
    if not any(record.kind is Code.ORDER_STILL_WORKING for record in records):
        return records
    found = rows(DECIDED, (list(run.accounts), Code.ORDER_STILL_WORKING.value))
    decided = {(row.connection_id, row.key) for row in found}
    requests = [
        (run.accounts[UUID(record.connection_id)], _cancel_request(record))
        for record in records
        if record.kind is Code.ORDER_STILL_WORKING and (record.connection_id, record.key) in decided
    ]
    done = broker_queries.cancel(requests)
    return [
        record
        for record in records
        if record.kind is not Code.ORDER_STILL_WORKING
        or (UUID(record.connection_id), record.evidence["client_order_id"]) not in done
    ]


def _cancel_request(record: DriftRecord) -> CancelRequest:
    told = record.evidence
    return CancelRequest(told["client_order_id"], told["broker_order_id"], told["symbol"])
