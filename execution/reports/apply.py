"""apply_reports: the single entry point for execution reports and for our decisions about calls.

Set-based, in one transaction, idempotent, and independent of the order of arrival. Facts
(acceptance, fills, rejections) are never fenced: they are true whichever process brings them.
Decisions (NotSent, unknown) always are: only the process with the order's current fencing token may
decide.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

import structlog
from django.db import transaction

from brokers.types import Execution, OrderReport, ReportKind
from common.db.sql import array, columns, kept_plans, rows
from common.errors import CONTENT_ERRORS
from common.failpoints import failpoint
from execution.exits.reservations import lock_positions_of, recompute_reserved_locked
from execution.ids import all_attempts, base_of
from execution.models import Status
from execution.reports import fees, sql
from execution.reports.aggregate_ends import settle_ended
from execution.reports.aggregates import (
    AggregatesFoundError,
    concerns_all,
    dissolve,
    expand,
)
from execution.reports.broker_exits import (
    ResolvedReports,
    awaiting_position,
    create_exit_orders,
    create_inferred_closes,
    lock_in_order,
)
from execution.reports.commissions import (
    StatedCommission,
    book_commissions,
    split_commissions,
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
from execution.reports.persistence import end_answered_look_ups, write
from execution.reports.position_rebuild import rebuild_positions
from execution.reports.swaps import store_swaps, update_position_swaps
from execution.reports.terms import write_terms
from execution.reports.unknown_orders import record_unknown
from positions.broker_reads import set_broker_position_ids

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Applied:
    """How many orders changed, and which reports must be applied again later.

    grown: the accounts of entries with a position that were reported to have filled (more).
    """

    written: int
    deferred: list[OrderReport]
    grown: frozenset[str] = frozenset()


def apply_reports(reports: Sequence[OrderReport], *, defer_overfills: bool = True) -> Applied:
    """Write what the reports state to orders, fills, positions, log and events.

    What states only a commission is booked after the commit, in a transaction of its own: it is on
    no path that an exit waits for, and one that cannot be booked takes nothing back.

    defer_overfills: exits made by a broker that exceed the open quantity wait for fills of their
    entries and are returned as deferred.

    Raises Django's database errors: `report_writer.apply_with_bisection` retries, waits, or
    quarantines the report that causes them.
    """
    split = split_commissions(reports)
    applied = _apply_until_complete(split.reports, defer_overfills=defer_overfills)
    if split.commissions:
        transaction.on_commit(partial(_book, split.commissions))
    return replace(applied, deferred=split.as_they_came(applied.deferred))


def _book(commissions: Sequence[StatedCommission]) -> None:
    """Book commissions. What cannot be booked for its content must not set its report aside, whose
    fills are stored. Raises Django's database errors: the reports are applied again."""
    try:
        book_commissions(commissions)
    except CONTENT_ERRORS:
        log.exception("commissions not booked", commissions=commissions)


def _apply_until_complete(reports: Sequence[OrderReport], *, defer_overfills: bool) -> Applied:
    """Apply reports; again, if they are found to be about orders that were sent as one."""
    leaders: frozenset[int] = frozenset()
    while True:
        try:
            return _apply_all(reports, leaders, defer_overfills=defer_overfills)
        except AggregatesFoundError as found:  # rolled back: once more, with all members locked
            leaders |= found.leaders


def _apply_all(
    reports: Sequence[OrderReport], leaders: frozenset[int], *, defer_overfills: bool
) -> Applied:
    """Apply reports in one transaction. leaders: aggregates that they are about.

    Raises AggregatesFoundError if they are about others too; nothing is written then.
    """
    with transaction.atomic(), kept_plans():
        if leaders:
            reports = expand(reports, leaders)
        early = awaiting_position(reports)
        if early:
            waiting = {id(report) for report in early}
            reports = [report for report in reports if id(report) not in waiting]
        lock_in_order(reports)
        write_terms(reports)
        inferred = [report for report in reports if is_inferred_close(report)]
        other_reports = [r for r in reports if not is_inferred_close(r)] if inferred else reports
        resolved = create_exit_orders(other_reports, defer_overfills=defer_overfills)
        changes, deferred = _apply(resolved, leaders), resolved.deferred
        if inferred:  # afterwards: reported exits take precedence
            closes = create_inferred_closes(inferred, defer_overfills=defer_overfills)
            changes, deferred = changes + _apply(closes), deferred + closes.deferred
        settle_ended(leaders)
        write_levels(level_statements(reports))
        failpoint("reports.written")
    failpoint("reports.committed")
    written = sum(change.transition is not None for change in changes)
    return Applied(written, early + deferred, _grown(changes))


def _apply(resolved: ResolvedReports, leaders: frozenset[int] = frozenset()) -> list[OrderChange]:
    """Apply reports whose order rows are known or can be looked up; return what they change.

    leaders: aggregates whose members have their reports. Raises AggregatesFoundError for others.
    """
    orders = _load((r for r, order_id in resolved.reports if order_id is None), resolved.ids)
    changes = _group_by_order(resolved.reports, orders)
    if found := _aggregates_among(changes.values()) - leaders:
        raise AggregatesFoundError(found)
    _insert_fills(changes)
    with_swap = store_swaps(changes.values())
    for change in changes.values():
        apply_reports_to_order(change)
    changed = [change for change in changes.values() if change.transition is not None]
    # A first fill opens a position: there is none to lock yet, and it has no exits.
    # A member of an aggregate may get a part of another one's fills when both have ended.
    with_position = [
        c.row.id
        for c in changes.values()
        if (c.transition is not None and c.state.is_exit)
        or (c.row.filled_quantity > 0 and (c.transition is not None or c.row.aggregate_id))
    ]
    with_position += with_swap.difference(with_position)
    positions = lock_positions_of(with_position)
    restated = _reverse_inferred_closes(changed, resolved.are_inferred)
    # Separately, because a statement can change a position's row only once.
    to_rebuild = write([change for change in changed if not change.state.is_exit])
    # After the entries have their positions, and before the event of a closed one states its fees.
    fees.update_unconverted_fees([c.row.id for c in changed if _has_unconverted_fees(c)])
    update_position_swaps([*with_swap, *(c.row.id for c in changed if c.delta.corrected)])
    to_rebuild += write([change for change in changed if change.state.is_exit])
    end_answered_look_ups(changes.values())
    rebuild_positions(restated, to_rebuild)
    recompute_reserved_locked(positions)
    _store_broker_position_ids(changes.values())
    dissolve(
        change.row.aggregate_id
        for change in changed
        if change.row.aggregate_id is not None and change.state.status == Status.PENDING
    )
    write_levels(_first_level_statements(changes.values()))
    return list(changes.values())


def _grown(changes: Iterable[OrderChange]) -> frozenset[str]:
    """Return the accounts of entries that had a position before and are reported to have filled.

    Also if nothing of it is new: a worker may have died after it had been stored.
    """
    return frozenset(
        change.row.connection_id
        for change in changes
        if not change.state.is_exit
        and (change.row.filled_quantity > 0 or change.row.leg != "entry")
        and any(report.fills for report in change.reports)
    )


@dataclass(frozen=True, slots=True)
class _Orders:
    """Orders that are locked, by primary key and by client order id without the attempt digit."""

    by_id: dict[int, sql.OrderRow]
    by_base: dict[str, sql.OrderRow]

    def of(self, report: OrderReport, order_id: int | None) -> sql.OrderRow | None:
        """Return a report's order, None if there is none on the report's connection."""
        row = (
            self.by_id.get(order_id)
            if order_id is not None
            else self.by_base.get(base_of(report.client_order_id))
        )
        return row if row is not None and row.connection_id == report.connection_id else None


def _load(reports: Iterable[OrderReport], ids: list[int]) -> _Orders:
    """Lock and load the orders of reports, and those with these ids."""
    client_order_ids = {r.client_order_id for r in reports if r.client_order_id}
    wanted = {"ids": array(ids), "client_order_ids": array(client_order_ids)}
    loaded = rows(sql.LOAD, wanted, planned_once=True)
    missing = client_order_ids - {row.client_order_id for row in loaded}
    if missing:  # another attempt of the same order, or not our order
        attempts = [cid for missing_id in missing for cid in all_attempts(missing_id)]
        loaded += rows(sql.LOAD, {"ids": "{}", "client_order_ids": array(attempts)})
    return _Orders(
        {row.id: row for row in loaded},
        {base_of(row.client_order_id): row for row in loaded if row.client_order_id},
    )


def _group_by_order(
    reports: list[tuple[OrderReport, int | None]], orders: _Orders
) -> dict[int, OrderChange]:
    """Group reports by order, in id order; a report without an order becomes drift."""
    changes: dict[int, OrderChange] = {}
    unknown: list[OrderReport] = []
    for report, order_id in reports:
        if report.kind is ReportKind.LEVELS:
            continue
        row = orders.of(report, order_id)
        if row is None:
            unknown.append(report)
            continue
        if (change := changes.get(row.id)) is None:
            change = changes[row.id] = OrderChange(row, state_of(row))
        change.reports.append(report)
    record_unknown(unknown)
    return dict(sorted(changes.items()))


def _aggregates_among(changes: Iterable[OrderChange]) -> set[int]:
    """Return the aggregates that reports are about as a whole or that a member's own may end."""
    return {
        change.row.aggregate_id
        for change in changes
        if change.row.aggregate_id is not None
        and any(
            report.client_order_id == change.row.client_order_id and concerns_all(report)
            for report in change.reports
        )
    }


def _insert_fills(changes: dict[int, OrderChange]) -> None:
    """Insert the executions and set what they change; a known execution is not counted again."""
    rates = fees.load_fee_rates(
        (change.row, fill)
        for change in changes.values()
        for report in change.reports
        for fill in report.fills
    )
    voided = {
        (change.row.connection_id, fill.broker_fill_id)
        for change in changes.values()
        for report in change.reports
        for fill in report.fills
        if fill.revision and not fill.quantity
    }
    records: dict[tuple[str, str], tuple[Any, ...]] = {}
    for change in changes.values():
        for report in change.reports:
            for fill in report.fills:
                if fill.inferred or fill.revision:
                    change.corrections.append(fill)
                    continue
                key = (change.row.connection_id, fill.broker_fill_id)
                if key not in records and key not in voided and fill.quantity != 0:
                    records[key] = _fill_record(change.row, fill, rates)
    if records:
        ordered = [records[key] for key in sorted(records)]
        for fill_row in rows(sql.INSERT_FILLS, columns(ordered, 13), planned_once=True):
            changes[fill_row.order_id].fills.append(fill_row)
    to_reconcile = [
        FillCorrections(c.row, c.fills, c.corrections)
        for c in changes.values()
        if c.corrections or (c.fills and c.row.inferred_quantity > 0)
    ]
    if to_reconcile:
        for order_id, delta in reconcile_fills(to_reconcile, rates).items():
            changes[order_id].delta = delta


def _fill_record(row: sql.OrderRow, fill: Execution, rates: fees.FeeRates) -> tuple[Any, ...]:
    return (
        row.connection_id, fill.broker_fill_id, row.id, row.side, fill.quantity, fill.price,
        fill.commission, fill.commission_currency, *rates.of(row, fill),
        fees.withheld_fee(row, fill), fill.time, fill.inferred,
    )  # fmt: skip


def _reverse_inferred_closes(changed: Sequence[OrderChange], are_inferred: bool) -> list[int]:
    """Deduct what exits are reported to have executed from the inferred closes of their positions.

    are_inferred: the changes are inferred closes themselves. Returns the orders whose positions
    must be rebuilt.
    """
    reported: dict[int, Decimal] = {}
    for change in changed if not are_inferred else ():
        position_id = change.row.position_id
        if position_id is not None and change.delta.quantity > 0:
            reported[position_id] = reported.get(position_id, ZERO) + change.delta.quantity
    reduced = reverse_inferred_close(reported)
    return [
        change.row.id
        for change in changed
        if change.delta.is_restated or change.row.position_id in reduced
    ]


def _has_unconverted_fees(change: OrderChange) -> bool:
    """Return whether a fee without a rate was reported, or may have changed."""
    return change.delta.is_unconverted or change.row.has_unconverted_fees


def _first_level_statements(changes: Iterable[OrderChange]) -> list[LevelStatement]:
    """Return the levels reported with executions of entries whose position exists already.

    The report that opened the position may not have stated its levels.
    """
    return [
        LevelStatement(c.row.client_order_id, r.levels, is_first=True)
        for c in changes
        if c.row.filled_quantity > 0 and not c.state.is_exit and c.row.client_order_id is not None
        for r in c.reports
        if r.levels is not None and r.fills
    ]


def _store_broker_position_ids(changes: Iterable[OrderChange]) -> None:
    """Store the broker's id of a position from a report that came after its fill."""
    reported = {
        (c.row.connection_id, c.row.signal_id, c.row.position_leg, broker_position_id)
        for c in changes
        if not (c.delta.quantity or c.state.is_exit)
        and c.state.filled > 0
        and c.row.signal_id is not None
        and (broker_position_id := last_reported(c, "broker_position_id"))
    }
    if reported:
        set_broker_position_ids(reported)
