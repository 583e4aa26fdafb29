"""Exits made at the broker: by its stop or target, or manually by the account's owner.

Such a report names the entry and the cause of the close. The exit's order row is written when the
broker first reports it, because until then we have nothing to send (docs/adr/0002).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from brokers.types import CloseCause, OrderReport
from common.db.sql import array, columns, rows, run
from execution.exits.orders import next_leg
from execution.ids import all_attempts, base_of
from execution.reports.broker_exits_sql import (
    ENTRIES,
    GROW,
    INSERT,
    KNOWN,
    LOAD,
    LOCK_ORDERS,
    ClosedPosition,
    EntryRow,
)
from execution.reports.exit_rates import exit_rates
from execution.reports.voided_fills import VoidedFillRow, store_voided
from positions.close_reasons import CLOSES, CloseReason
from positions.row_locks import lock_positions

BY_BROKER = {
    CloseCause.DUST: CLOSES[CloseReason.DUST].leg,
    CloseCause.STOP_OUT: CLOSES[CloseReason.STOP_OUT].leg,
    CloseCause.EXPIRY: CLOSES[CloseReason.EXPIRY].leg,
}
"""How the legs of exits begin that no order, level or person made."""


@dataclass(slots=True)
class FillAccumulator:
    """What a broker's exit has executed so far: max(cumulative quantity, Σ fills with ids)."""

    executed: Decimal = Decimal(0)
    with_ids: Decimal = Decimal(0)

    def add(self, new: Decimal, cumulative: Decimal) -> Decimal:
        """Add what a report states; return by how much the executed quantity grows."""
        self.with_ids += new
        before, self.executed = self.executed, max(self.executed, self.with_ids, cumulative)
        return self.executed - before

    def correct(self, by: Decimal) -> None:
        """Add what the broker corrected of executions that it had reported."""
        self.with_ids, self.executed = self.with_ids + by, self.executed + by


@dataclass(slots=True)
class ExitRow:
    """An exit's order row, stored or to be inserted. growth: what this batch adds to its quantity.

    id: None until it is inserted.
    """

    leg: str
    broker_order_id: str
    id: int | None = None
    filled: Decimal = Decimal(0)
    inferred: Decimal = Decimal(0)
    is_inferred_close: bool = False
    expected_price: Decimal | None = None
    growth: Decimal = Decimal(0)


@dataclass(slots=True)
class Closing:
    """A position that a batch closes, with its exits. row: the position before the batch."""

    row: ClosedPosition
    exits: list[ExitRow]
    closed: Decimal = Decimal(0)  # by executions of this batch
    # Known executions of its account by id: their highest revision and its quantity.
    known: dict[str, tuple[int, Decimal]] = field(default_factory=dict)
    # By the broker's order id.
    accumulators: dict[str, FillAccumulator] = field(default_factory=dict)


@dataclass(slots=True)
class ResolvedReports:
    """Reports, each with its order's id; None: the order is looked up by client order id."""

    reports: list[tuple[OrderReport, int | None]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    deferred: list[OrderReport] = field(default_factory=list)
    exits: list[tuple[OrderReport, Closing, ExitRow]] = field(default_factory=list)  # to be written
    are_inferred: bool = False  # the reports are inferred closes
    defer_overfills: bool = True  # an exit that exceeds what is open waits for fills of its entry


def awaiting_position(reports: Sequence[OrderReport]) -> list[OrderReport]:
    """Return the reports of exits whose position does not exist yet: they arrived before the fills
    of their entries and must wait for them.

    Called before anything is locked: brokers repeat such reports every second, and the sessions
    that bring the fills need the locks.
    """
    broker_exits = [report for report in reports if report.close_cause is not None]
    if not broker_exits:
        return []
    candidates = [cid for report in broker_exits for cid in all_attempts(report.client_order_id)]
    early = {
        (base_of(row.client_order_id), row.connection_id)
        for row in rows(ENTRIES, (candidates,))
        if row.position_id is None
    }
    return [r for r in broker_exits if (base_of(r.client_order_id), r.connection_id) in early]


def lock_in_order(reports: Sequence[OrderReport]) -> None:
    """Lock, in id order, the orders of a batch that contains exits made by a broker.

    Their positions are locked before the other orders are loaded. Without this lock, two such
    batches could deadlock.
    """
    broker_exits = [report for report in reports if report.close_cause is not None]
    if not broker_exits:
        return
    ids = {cid for r in broker_exits for cid in all_attempts(r.client_order_id)}
    ids |= {cid for r in reports if r.client_order_id for cid in all_attempts(r.client_order_id)}
    broker_ids = {report.broker_order_id for report in broker_exits if report.broker_order_id}
    rows(LOCK_ORDERS, {"ids": array(ids), "broker_ids": array(broker_ids)})


def create_exit_orders(
    reports: Sequence[OrderReport], *, defer_overfills: bool = True
) -> ResolvedReports:
    """Create an order row for every exit that a broker made.

    Must run in the transaction that applies the reports. A report whose executions are all known
    was delivered twice and gets no second row. A report that arrived before the fills of its entry
    is deferred: it is not acknowledged, so the broker repeats it. Once the entry has ended and no
    fill of it can follow, an exit that exceeds the open quantity becomes drift.
    """
    resolved = ResolvedReports(
        [(r, None) for r in reports if r.close_cause is None], defer_overfills=defer_overfills
    )
    broker_exits = [r for r in reports if r.close_cause is not None]
    if broker_exits:
        _resolve(resolved, broker_exits, _resolve_exit)
    return resolved


def create_inferred_closes(
    reports: Sequence[OrderReport], *, defer_overfills: bool = True
) -> ResolvedReports:
    """Create order rows for inferred closes: only what exceeds all reported exits is written."""
    resolved = ResolvedReports(are_inferred=True, defer_overfills=defer_overfills)
    largest: dict[tuple[str, str], OrderReport] = {}
    for report in sorted(reports, key=_inferred_quantity):
        largest[report.connection_id, base_of(report.client_order_id)] = report
    _resolve(resolved, list(largest.values()), _resolve_inferred_close)
    return resolved


def _resolve(
    resolved: ResolvedReports,
    broker_exits: Sequence[OrderReport],
    resolve_one: Callable[[ResolvedReports, OrderReport, EntryRow, Closing], None],
) -> None:
    """Lock the positions that the reports close, and resolve each report whose entry is known.

    Set-based: one statement for each position would hold the locks for seconds.
    """
    candidates = [cid for r in broker_exits for cid in all_attempts(r.client_order_id)]
    entries = {base_of(row.client_order_id): row for row in rows(ENTRIES, (candidates,))}
    position_ids = [e.position_id for e in entries.values() if e.position_id is not None]
    lock_positions(position_ids)
    closings = _load(position_ids, broker_exits)
    for report in broker_exits:
        entry = entries.get(base_of(report.client_order_id))
        if entry is None or entry.connection_id != report.connection_id:
            resolved.reports.append((report, None))  # not ours: it becomes drift
        elif entry.position_id is None:
            resolved.deferred.append(report)
        else:
            resolve_one(resolved, report, entry, closings[entry.position_id])
    _write(resolved)


def _load(position_ids: Sequence[int], broker_exits: Sequence[OrderReport]) -> dict[int, Closing]:
    """Load positions with their exits, and those of the reported fills that are stored already."""
    fill_ids = sorted({
        (report.connection_id, fill.broker_fill_id)
        for report in broker_exits
        for fill in report.fills
        if not fill.inferred
    })  # fmt: skip
    known: dict[str, dict[str, tuple[int, Decimal]]] = {}
    for fill in rows(KNOWN, columns(fill_ids, 2)) if fill_ids else ():
        of_account = known.setdefault(fill.connection_id, {})
        of_account[fill.broker_fill_id] = fill.revision, fill.quantity
    return {
        position.id: Closing(
            position, _exits_of(position), known=known.setdefault(position.connection_id, {})
        )
        for position in rows(LOAD, (list(position_ids),))
    }


def _exits_of(position: ClosedPosition) -> list[ExitRow]:
    return [
        ExitRow(
            exit_["leg"], exit_["broker_order_id"], exit_["id"], Decimal(exit_["filled"]),
            Decimal(exit_["inferred"]), exit_["is_inferred_close"],
        )
        for exit_ in position.exits or ()
    ]  # fmt: skip


def _resolve_exit(
    resolved: ResolvedReports, report: OrderReport, entry: EntryRow, closing: Closing
) -> None:
    """Find or create the exit's order row, unless the report contains nothing new."""
    position = closing.row
    new, corrected, fills_now = _new_executions(report, closing)
    cumulative = max((fill.quantity for fill in report.fills if fill.inferred), default=Decimal(0))
    accumulator = _accumulator(report, closing)
    growth = replace(accumulator).add(new, cumulative)
    closed = closing.closed + growth + corrected
    exceeds_open = closed > position.quantity + position.inferred_quantity
    if exceeds_open and entry.may_fill and resolved.defer_overfills:
        resolved.deferred.append(report)
        return
    row = _row_of(report, closing)
    if row is None and growth <= 0:
        _store_voided(report)  # there is no order whose fills it could correct
        return
    is_restated = any(fill.revision or fill.swap for fill in report.fills)
    if not (new or growth > 0 or is_restated):
        return
    accumulator.add(new, cumulative)
    accumulator.correct(corrected)
    closing.known.update(fills_now)
    closing.closed = closed
    if row is None:
        row = _new_row(report, closing)
        row.growth = growth
    else:
        row.growth += growth + corrected
    resolved.exits.append((report, closing, row))


def _store_voided(report: OrderReport) -> None:
    """Store which executions the report corrects to nothing."""
    store_voided(
        VoidedFillRow(report.connection_id, fill.broker_fill_id, fill.revision)
        for fill in report.fills
        if fill.revision and not fill.quantity
    )


def _accumulator(report: OrderReport, closing: Closing) -> FillAccumulator:
    """Return the exit's accumulator: its state before this batch and what the batch has added."""
    if not report.broker_order_id:
        return FillAccumulator()  # only the ids of its fills show that it was delivered twice
    if (accumulator := closing.accumulators.get(report.broker_order_id)) is None:
        row = _row_of(report, closing)
        accumulator = (
            FillAccumulator(row.filled, row.filled - row.inferred) if row else FillAccumulator()
        )
        closing.accumulators[report.broker_order_id] = accumulator
    return accumulator


def _resolve_inferred_close(
    resolved: ResolvedReports, report: OrderReport, entry: EntryRow, closing: Closing
) -> None:
    """Find or create the row for what must have been closed beyond all reported exits."""
    position = closing.row
    exceeds_opened = _inferred_quantity(report) > position.opened_quantity
    if exceeds_opened and entry.may_fill and resolved.defer_overfills:
        resolved.deferred.append(report)
        return
    closed = position.opened_quantity - position.quantity
    growth = min(_inferred_quantity(report), position.opened_quantity) - closed
    if growth <= 0:
        return
    row = next((row for row in closing.exits if row.is_inferred_close), None)
    row = row or _new_row(report, closing)
    row.growth += growth
    cumulative = replace(report.fills[0], quantity=row.filled + growth)
    resolved.exits.append((replace(report, fills=(cumulative,)), closing, row))


def _inferred_quantity(report: OrderReport) -> Decimal:
    return max(fill.quantity for fill in report.fills)


def _row_of(report: OrderReport, closing: Closing) -> ExitRow | None:
    if not report.broker_order_id:
        return None
    return next((x for x in closing.exits if x.broker_order_id == report.broker_order_id), None)


def _new_row(report: OrderReport, closing: Closing) -> ExitRow:
    leg, level = _leg_of(report, closing.row, [row.leg for row in closing.exits])
    row = ExitRow(leg, report.broker_order_id, expected_price=level)
    closing.exits.append(row)
    return row


def _write(resolved: ResolvedReports) -> None:
    """Insert new rows, increase the quantity of the others, and assign the reports to them."""
    changed = {id(row): (closing, row) for _, closing, row in resolved.exits}.values()
    reports = {id(row): report for report, _, row in reversed(resolved.exits)}
    new = [(closing, row) for closing, row in changed if row.id is None]
    rates = exit_rates([(closing.row, reports[id(row)]) for closing, row in new])
    records = [
        (closing.row.id, row.leg, row.broker_order_id, row.growth, row.expected_price, rate)
        for (closing, row), rate in zip(new, rates, strict=True)
    ]
    grown = [(row.id, row.growth) for _, row in changed if row.id is not None and row.growth]
    if grown:
        run(GROW, columns(grown, 2))
    inserted = rows(INSERT, columns(records, 6)) if records else []
    written = {(row.position_id, row.leg): row.id for row in inserted}
    for report, closing, row in resolved.exits:
        order_id = row.id if row.id is not None else written[closing.row.id, row.leg]
        resolved.reports.append((report, order_id))
        resolved.ids.append(order_id)


def _new_executions(
    report: OrderReport, closing: Closing
) -> tuple[Decimal, Decimal, dict[str, tuple[int, Decimal]]]:
    """Return the quantity of executions that are new, the sum of corrections to known ones, and
    the revision and quantity that those fills have now, by id."""
    new, corrected, changed = Decimal(0), Decimal(0), dict[str, tuple[int, Decimal]]()
    for fill in report.fills:
        if fill.inferred:
            continue
        before = changed.get(fill.broker_fill_id) or closing.known.get(fill.broker_fill_id)
        if before is None:
            new += fill.quantity
        elif before[0] < fill.revision:
            corrected += fill.quantity - before[1]
        else:
            continue
        changed[fill.broker_fill_id] = fill.revision, fill.quantity
    return new, corrected, changed


def _leg_of(
    report: OrderReport, position: ClosedPosition, taken: Sequence[str]
) -> tuple[str, Decimal | None]:
    """Return the leg's name, and its expected price if it has one."""
    match report.close_cause:
        case CloseCause.STOP_LOSS:
            return next_leg("sl", taken), position.sl
        case CloseCause.TAKE_PROFIT:
            return next_leg(f"tp-{position.tp_number}", taken), position.tp
        case cause:
            name = BY_BROKER.get(cause, "external") if cause else "external"
            number = sum(1 for leg in taken if leg.startswith(name)) + 1
            return f"{name}-{number}", None
