"""apply_reports: the single door for everything that a broker says, and for what we decide about
a call. Set-based, one transaction, idempotent and independent of the order of arrival.

Facts (acceptance, fills, refusals) are never fenced: they are true whoever brings them. Decisions
(NotSent, unknown) always are: only the process that holds the order's present fence may decide.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import structlog
from django.db import transaction

from brokers.types import Execution, OrderReport, ReportKind
from common.failpoints import failpoint
from common.reason_codes import Code
from common.sql import array, columns, rows, run
from execution.base.drift_items import write_drift
from execution.base.dropped_messages import record_dropped
from execution.exits.reservations import lock_positions_of, recompute_reserved_locked
from execution.ids import all_attempts, base_of
from execution.models import DroppedMessageCount
from execution.reports import fees, sql
from execution.reports.broker_exits import (
    ResolvedReports,
    awaiting_position,
    create_exit_orders,
    create_inferred_closes,
    lock_in_order,
)
from execution.reports.cumulative_fills import FillCorrections, reconcile_fills
from execution.reports.inferred_closes import is_inferred_close, reverse_inferred_close
from execution.reports.levels import LevelStatement, level_statements, write_levels
from execution.reports.order_changes import (
    ZERO,
    OrderChange,
    apply_reports_to_order,
    last_reported,
    state_of,
)
from execution.reports.persistence import write
from execution.reports.position_rebuild import rebuild_positions

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Applied:
    """How many orders changed, and which reports must be told again later."""

    written: int
    deferred: list[OrderReport]


def apply_reports(reports: Sequence[OrderReport], *, patient: bool = True) -> Applied:
    """Write down what the reports say.

    patient: brokers' own exits beyond what is open wait for fills of their entries (deferred).

    Raises Django's database errors: `report_writer.apply_with_bisection` retries, waits or sets the
    poisoned report aside.
    """
    with transaction.atomic():
        early = awaiting_position(reports)
        if early:
            waiting = {id(report) for report in early}
            reports = [report for report in reports if id(report) not in waiting]
        lock_in_order(reports)
        concluded = [report for report in reports if is_inferred_close(report)]
        other_reports = [r for r in reports if not is_inferred_close(r)] if concluded else reports
        resolved = create_exit_orders(other_reports, patient=patient)
        written, deferred = _apply(resolved), resolved.deferred
        if concluded:  # afterwards: what is told counts more
            closes = create_inferred_closes(concluded)
            written, deferred = written + _apply(closes), deferred + closes.deferred
        write_levels(level_statements(reports))
        failpoint("outcome.written")
    failpoint("outcome.committed")
    return Applied(written, early + deferred)


def _apply(resolved: ResolvedReports) -> int:
    found = _load((r for r, order_id in resolved.reports if order_id is None), resolved.ids)
    changes = _sort(resolved.reports, found)
    _insert_fills(changes)
    for change in changes.values():
        apply_reports_to_order(change)
    moved = [change for change in changes.values() if change.transition is not None]
    # A first fill opens a position: there is none yet to lock, and it has no exits.
    touched = [c.row.id for c in moved if c.state.is_exit or c.row.filled_quantity > 0]
    positions = lock_positions_of(touched)
    replaced = _reverse_inferred_closes(moved, resolved.conclusions)
    # Apart, because a statement can change a position's row only once.
    written = write([change for change in moved if not change.state.is_exit])
    # The entries' positions are there, and what is told of a closed one has all of its fees.
    fees.update_unconverted_fees([c.row.id for c in moved if _has_unconverted_fees(c)])
    written += write([change for change in moved if change.state.is_exit])
    rebuild_positions(replaced)
    recompute_reserved_locked(positions)
    _store_broker_position_ids(changes.values())
    write_levels(_first_level_statements(changes.values()))
    return written


def _load(reports: Iterable[OrderReport], ids: list[int]) -> dict[Any, Any]:
    """Lock and load the orders that reports speak of; keyed by id base and by primary key."""
    client_order_ids = {r.client_order_id for r in reports if r.client_order_id}
    loaded = rows(sql.LOAD, {"ids": ids, "client_order_ids": array(client_order_ids)})
    missing = client_order_ids - {row.client_order_id for row in loaded}
    if missing:  # another attempt of the same order, or not ours at all
        others = [other for one in missing for other in all_attempts(one)]
        loaded += rows(sql.LOAD, {"ids": [], "client_order_ids": array(others)})
    found: dict[Any, Any] = {row.id: row for row in loaded}
    found.update({base_of(row.client_order_id): row for row in loaded if row.client_order_id})
    return found


def _sort(
    reports: list[tuple[OrderReport, int | None]], found: dict[Any, Any]
) -> dict[int, OrderChange]:
    """Bring reports to their orders; one without an order becomes drift."""
    changes: dict[int, OrderChange] = {}
    for report, order_id in reports:
        if report.kind is ReportKind.LEVELS:
            continue
        row = found.get(order_id if order_id is not None else base_of(report.client_order_id))
        if row is None or row.connection_id != report.connection_id:
            if not write_drift(Code.UNKNOWN_ORDER, report):
                record_dropped(DroppedMessageCount.Name.UNKNOWN_CONNECTION, repr(report))
            continue
        if (change := changes.get(row.id)) is None:
            change = changes[row.id] = OrderChange(row, state_of(row))
        change.reports.append(report)
    return dict(sorted(changes.items()))


def _insert_fills(changes: dict[int, OrderChange]) -> None:
    """Insert the executions; those that were there already count no second time."""
    rates = fees.load(
        (change.row, fill)
        for change in changes.values()
        for report in change.reports
        for fill in report.fills
    )
    records: dict[tuple[str, str], tuple[Any, ...]] = {}
    for change in changes.values():
        for report in change.reports:
            for fill in report.fills:
                if fill.inferred or fill.revision:
                    change.corrections.append(fill)
                    continue
                key = (change.row.connection_id, fill.broker_fill_id)
                if key not in records:
                    records[key] = _fill_record(change.row, fill, rates)
    if records:
        ordered = [records[key] for key in sorted(records)]
        for new in rows(sql.FILLS, columns(ordered, 13)):
            changes[new.order_id].fills.append(new)
    unusual = [
        FillCorrections(c.row, c.fills, c.corrections)
        for c in changes.values()
        if c.corrections or (c.fills and c.row.inferred_quantity > 0)
    ]
    if unusual:
        for order_id, sums in reconcile_fills(unusual, rates).items():
            changes[order_id].delta = sums


def _fill_record(row: Any, fill: Execution, rates: fees.FeeRates) -> tuple[Any, ...]:
    return (
        row.connection_id, fill.broker_fill_id, row.id, row.side, fill.quantity, fill.price,
        fill.commission, fill.commission_currency, *rates.of(row, fill), fees.withheld(row, fill),
        fill.time, fill.inferred,
    )  # fmt: skip


def _reverse_inferred_closes(moved: Sequence[OrderChange], conclusions: bool) -> list[int]:
    """Take what exits are told to have executed out of what was concluded about their positions.

    Returns the orders whose positions are to be worked out anew.
    """
    reported: dict[int, Decimal] = {}
    for change in moved if not conclusions else ():
        if change.state.is_exit and change.delta.quantity > 0:
            position_id = change.row.position_id
            reported[position_id] = reported.get(position_id, ZERO) + change.delta.quantity
    reduced = reverse_inferred_close(reported)
    return [
        change.row.id
        for change in moved
        if change.delta.is_restated or change.row.position_id in reduced
    ]


def _has_unconverted_fees(change: OrderChange) -> bool:
    """Whether a fee without a rate has come, or what had one may have changed."""
    return change.delta.is_unconverted or change.row.has_unconverted_fees


def _first_level_statements(changes: Iterable[OrderChange]) -> list[LevelStatement]:
    """What comes with executions of entries whose position was there already: it may have been
    opened by somebody who did not say which levels it has."""
    return [
        LevelStatement(c.row.client_order_id, r.levels, is_first=True)
        for c in changes
        if c.row.filled_quantity > 0 and not c.state.is_exit
        for r in c.reports
        if r.levels is not None and r.fills
    ]


def _store_broker_position_ids(changes: Iterable[OrderChange]) -> None:
    """Take over a position's number at the broker from a report that came after its fill."""
    reported = {
        (c.row.connection_id, c.row.signal_id, number)
        for c in changes
        if not (c.delta.quantity or c.state.is_exit) and c.state.filled > 0
        and (number := last_reported(c, "broker_position_id"))
    }  # fmt: skip
    if reported:
        run(sql.NAME_POSITIONS, columns(sorted(reported), 3))
