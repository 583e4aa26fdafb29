"""Positions, or parts of them, that the broker no longer holds: closed here as closed outside.

The broker's own executions come first (`broker_queries.sync_fills`). If they do not explain it, a
close is inferred at the latest price, after two reads without the position or by a decision.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from brokers.types import CloseCause, Execution, OrderReport, ReportKind
from common.clocks import market_now
from common.db.sql import Query, rows
from common.reason_codes import Code
from execution.base.drift_items import DriftRecord, upsert_items
from execution.base.reconciliation_requests import request_reconciliation
from execution.base.statements import opening_entry_join_sql
from execution.dispatch.report_writer import apply_with_bisection
from execution.reconciliation.compare_positions import OurPosition, held_by_us, key_of
from positions.broker_reads import mark_missing, unmark_missing
from positions.selectors import CLOSING_PRICE_SQL
from prices.selectors import quote_join_sql

SEEN_AGAIN_AFTER = timedelta(seconds=5)


class PricedPosition(NamedTuple):
    """An open position with the latest price of its closing side; None: no quote."""

    id: int
    client_order_id: str
    quantity: Decimal
    opened_quantity: Decimal
    connection_id: UUID
    price: Decimal | None
    entry_price: Decimal


PRICES = Query(
    PricedPosition,
    f"""
SELECT p.id, e.client_order_id, p.quantity, p.opened_quantity, p.connection_id,
  {CLOSING_PRICE_SQL} AS price, p.entry_price
FROM positions_executionposition p
{opening_entry_join_sql("p")}
LEFT {quote_join_sql("p.price_source_id", "p.pair")}
WHERE p.id = ANY(%s) AND p.quantity > 0
""",
)


def settle_missing(
    missing: Sequence[OurPosition], connections: Sequence[UUID], began: datetime
) -> None:
    """Close positions missing for the second time, mark new ones, unmark the others.

    began: when the comparison began. Accounts with a position marked and not yet closed are
    compared again soon.
    """
    unmark_missing(connections, [p.id for p in missing])
    if not missing:
        return
    upsert_items([_drift_record(p) for p in missing])
    mark_missing([p.id for p in missing], began)
    closed = [
        p.id
        for p in missing
        if p.missing_since is not None
        and p.missing_since > p.last_activity_at  # marked after its last activity
        and began - p.missing_since >= SEEN_AGAIN_AFTER
    ]
    blocked = apply_with_bisection(external_close_report(dict.fromkeys(closed))).reports
    unsettled = {p.connection_id for p in missing if p.id not in closed}
    if unsettled := unsettled | {UUID(report.connection_id) for report in blocked}:
        # A close needs two reads, and the next scheduled comparison is minutes away.
        request_reconciliation(sorted(unsettled), in_seconds=SEEN_AGAIN_AFTER.total_seconds())


def external_close_report(quantities: Mapping[int, Decimal | None]) -> list[OrderReport]:
    """Return the reports of closes outside Fillcast, inferred at the latest price.

    quantities: by position id, how much was closed; None: all that is open.
    """
    if not quantities:
        return []
    priced = rows(PRICES, (list(quantities),))
    return [_external_close(row, quantities[row.id] or row.quantity) for row in priced]


def _drift_record(position: OurPosition) -> DriftRecord:
    evidence = {
        "symbol": position.symbol,
        "ours": held_by_us([position], position.side),
        "theirs": None,
        "broker_position_id": position.broker_position_id,
        "differs": "",
    }
    return DriftRecord(
        Code.POSITION_MISSING, str(position.connection_id), key_of(position), evidence, position.id
    )


def _external_close(row: PricedPosition, quantity: Decimal) -> OrderReport:
    """Return an inferred close with the cumulative closed quantity; later reports replace it."""
    fill = Execution(
        broker_fill_id="",
        quantity=row.opened_quantity - row.quantity + quantity,
        price=row.price if row.price is not None else row.entry_price,
        time=market_now(),
        inferred=True,
    )
    return OrderReport(
        kind=ReportKind.FILLED,
        connection_id=str(row.connection_id),
        client_order_id=row.client_order_id,
        close_cause=CloseCause.EXTERNAL,
        fills=(fill,),
    )
