"""Exits that the broker made by itself: its stop or target, or the owner's own hand.

Such a report names the entry and why the position was closed; the exit's order row is written when
the broker first tells of it, because until then there is nothing of ours to send (docs/adr/0002).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from brokers.types import CloseCause, OrderReport
from common.sql import array, columns, rows, run
from execution.exits.orders import next_leg
from execution.exits.reservations import lock_positions
from execution.ids import all_attempts, base_of
from execution.reports.inferred_closes import IS_INFERRED_CLOSE

# So long after its end an order's fills may still come in; then nobody waits for them any more.
FILL_AFTER_END_SECONDS = 60


@dataclass(slots=True)
class FillAccumulator:
    """What a broker-made exit has executed by this batch: max(what was told in sum, Σ named)."""

    effect: Decimal = Decimal(0)
    named: Decimal = Decimal(0)

    def grow(self, new: Decimal, stated: Decimal) -> Decimal:
        """Count what a report adds; return by how much the effect grows."""
        self.named += new
        before, self.effect = self.effect, max(self.effect, self.named, stated)
        return self.effect - before

    def shift(self, by: Decimal) -> None:
        """Count what the broker corrected of executions that it had told."""
        self.named, self.effect = self.named + by, self.effect + by


@dataclass(slots=True)
class ExitRow:
    """An exit's order row, as it is or as it is to be written. growth: what this batch adds to its
    quantity."""

    leg: str
    broker_order_id: str
    id: int | None = None
    filled: Decimal = Decimal(0)
    inferred: Decimal = Decimal(0)
    is_conclusion: bool = False
    expected_price: Decimal | None = None
    growth: Decimal = Decimal(0)


@dataclass(slots=True)
class Closing:
    """A position that a batch closes, with its exits. row: as it is in the database."""

    row: Any
    exits: list[ExitRow]
    taken: Decimal = Decimal(0)  # by executions of this batch
    # Executions that are known of its account: their highest revision and its quantity.
    known: dict[str, tuple[int, Decimal]] = field(default_factory=dict)
    ledgers: dict[str, FillAccumulator] = field(default_factory=dict)  # by ticket


@dataclass(slots=True)
class ResolvedReports:
    """Reports with the order row each is about; None: look it up by client order id."""

    reports: list[tuple[OrderReport, int | None]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    deferred: list[OrderReport] = field(default_factory=list)
    exits: list[tuple[OrderReport, Closing, ExitRow]] = field(default_factory=list)  # to be written
    conclusions: bool = False
    patient: bool = True  # what is more than is open waits for fills of its entry


# Of an entry `e`: whether executions of it may still be told.
MAY_FILL = f"""e.quantity > e.filled_quantity
  AND coalesce(e.done_at > clock_timestamp() - interval '{FILL_AFTER_END_SECONDS} s', true)"""

ENTRIES = f"""
SELECT e.client_order_id, e.connection_id, p.id, {MAY_FILL} AS may_fill
FROM execution_order e
LEFT JOIN positions_executionposition p ON p.connection_id = e.connection_id
  AND p.signal_id = e.signal_id
WHERE e.client_order_id = ANY(%s)
"""

# Every order that the reports speak of, and the exits that they may add to, before any position.
LOCK_ORDERS = """
SELECT id FROM execution_order WHERE id IN (
  SELECT id FROM execution_order WHERE client_order_id = ANY(%(ids)s::text[])
  UNION
  SELECT x.id FROM execution_order e
  JOIN positions_executionposition p
    ON p.connection_id = e.connection_id AND p.signal_id = e.signal_id
  JOIN execution_order x ON x.position_id = p.id
  WHERE e.client_order_id = ANY(%(ids)s::text[]) AND e.position_id IS NULL
    AND x.broker_order_id = ANY(%(broker_ids)s::text[]))
ORDER BY id FOR NO KEY UPDATE
"""

# concluded: closed, but by nothing that was told, so that what is told now may have done it.
LOAD = f"""
SELECT p.id, p.connection_id, p.quantity, p.opened_quantity, p.sl, p.tp, p.tp_number,
  coalesce(x.concluded, 0) AS concluded, x.exits
FROM positions_executionposition p LEFT JOIN LATERAL (
  SELECT jsonb_agg(jsonb_build_object('id', o.id, 'leg', o.leg,
      'broker_order_id', o.broker_order_id, 'filled', o.filled_quantity::text,
      'inferred', o.inferred_quantity::text, 'is_conclusion', {IS_INFERRED_CLOSE})) AS exits,
    sum(o.filled_quantity) FILTER (WHERE {IS_INFERRED_CLOSE}) AS concluded
  FROM execution_order o WHERE o.position_id = p.id) x ON true
WHERE p.id = ANY(%s)
"""

KNOWN = """
SELECT f.connection_id::text, f.broker_fill_id, f.revision, f.quantity
FROM unnest(%s::uuid[], %s::text[]) AS told(connection_id, broker_fill_id)
JOIN execution_fill f USING (connection_id, broker_fill_id)
"""

# Reservations are balanced when the reports have been applied.
INSERT = """
INSERT INTO execution_order (signal_id, connection_id, position_id, leg, priority, pair, symbol,
  side, order_type, time_in_force, quantity, expected_price, pip, conversion_rate, status,
  broker_order_id, submitted_at)
SELECT p.signal_id, p.connection_id, p.id, w.leg, 1, p.pair, p.symbol,
  CASE p.side WHEN 'BUY' THEN 'SELL' ELSE 'BUY' END,
  CASE WHEN w.leg LIKE 'sl%%' THEN 'STOP' WHEN w.leg LIKE 'tp%%' THEN 'LIMIT' ELSE 'MARKET' END,
  'GTC', w.quantity, w.expected_price, p.pip, p.conversion_rate, 'SUBMITTED', w.broker_order_id,
  clock_timestamp()
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::numeric[], %s::numeric[])
  AS w(position_id, leg, broker_order_id, quantity, expected_price)
JOIN positions_executionposition p ON p.id = w.position_id
ORDER BY p.id, w.leg
RETURNING id, position_id, leg
"""

# Never below what it has filled so far: `position_rebuild.SHRINK` does that when the fills are
# corrected.
GROW = """
UPDATE execution_order o SET quantity = greatest(o.quantity + w.growth, o.filled_quantity)
FROM unnest(%s::bigint[], %s::numeric[]) AS w(id, growth) WHERE o.id = w.id
"""


def awaiting_position(reports: Sequence[OrderReport]) -> list[OrderReport]:
    """Return the reports that tell of exits of positions that are not there yet: they overtook the
    fills of their entries, and wait for them.

    Looked for before anything is locked: brokers tell them again every second, and those who bring
    the fills need the locks.
    """
    made = [report for report in reports if report.close_cause is not None]
    if not made:
        return []
    candidates = [cid for report in made for cid in all_attempts(report.client_order_id)]
    early = {
        (base_of(row.client_order_id), str(row.connection_id))
        for row in rows(ENTRIES, (candidates,))
        if row.id is None
    }
    return [r for r in made if (base_of(r.client_order_id), r.connection_id) in early]


def lock_in_order(reports: Sequence[OrderReport]) -> None:
    """Lock the orders of a batch in which a broker tells of exits of its own, in id order.

    Their positions are locked before the other orders are loaded; without this two such batches
    could wait for each other.
    """
    made = [report for report in reports if report.close_cause is not None]
    if not made:
        return
    ids = {cid for r in made for cid in all_attempts(r.client_order_id)}
    ids |= {cid for r in reports if r.client_order_id for cid in all_attempts(r.client_order_id)}
    broker_ids = {report.broker_order_id for report in made if report.broker_order_id}
    rows(LOCK_ORDERS, {"ids": array(ids), "broker_ids": array(broker_ids)})


def create_exit_orders(reports: Sequence[OrderReport], *, patient: bool = True) -> ResolvedReports:
    """Give every broker-made exit an order row.

    Must run in the transaction that applies the reports. A report whose executions are all known
    already gets no second row: it was delivered again. One that overtook its entry's own fills is
    deferred: it is not acknowledged, so the broker tells it again. When the entry has ended, and
    its fills have had their time, what is more than is open cannot be written: it becomes drift.
    """
    resolved = ResolvedReports(
        [(r, None) for r in reports if r.close_cause is None], patient=patient
    )
    made = [r for r in reports if r.close_cause is not None]
    if made:
        _resolve(resolved, made, _take)
    return resolved


def create_inferred_closes(reports: Sequence[OrderReport]) -> ResolvedReports:
    """The same for conclusions (`inferred_closes.py`): only what exceeds all that was told is
    written."""
    resolved = ResolvedReports(conclusions=True)
    largest: dict[tuple[str, str], OrderReport] = {}
    for report in sorted(reports, key=_inferred_quantity):
        largest[report.connection_id, base_of(report.client_order_id)] = report
    _resolve(resolved, list(largest.values()), _resolve_inferred_close)
    return resolved


def _resolve(
    resolved: ResolvedReports,
    made: Sequence[OrderReport],
    take: Callable[[ResolvedReports, OrderReport, Any, Closing], None],
) -> None:
    """Lock the positions that the reports close, and take those whose entry is known.

    However many there are: a statement for each would hold their locks for seconds.
    """
    candidates = [cid for r in made for cid in all_attempts(r.client_order_id)]
    entries = {base_of(row.client_order_id): row for row in rows(ENTRIES, (candidates,))}
    lock_positions([entry.id for entry in entries.values() if entry.id])
    closings = _load([entry.id for entry in entries.values() if entry.id], made)
    for report in made:
        entry = entries.get(base_of(report.client_order_id))
        if entry is None or str(entry.connection_id) != report.connection_id:
            resolved.reports.append((report, None))  # not ours: it becomes drift
        elif entry.id is None:
            resolved.deferred.append(report)
        else:
            take(resolved, report, entry, closings[entry.id])
    _write(resolved)


def _load(ids: Sequence[int], made: Sequence[OrderReport]) -> dict[int, Closing]:
    """Load positions, their exits, and what is known of the executions that are told."""
    named = sorted({
        (report.connection_id, fill.broker_fill_id)
        for report in made
        for fill in report.fills
        if not fill.inferred
    })  # fmt: skip
    known: dict[str, dict[str, tuple[int, Decimal]]] = {}
    for row in rows(KNOWN, columns(named, 2)) if named else ():
        known.setdefault(row.connection_id, {})[row.broker_fill_id] = row.revision, row.quantity
    return {
        row.id: Closing(row, _exits_of(row), known=known.setdefault(str(row.connection_id), {}))
        for row in rows(LOAD, (list(ids),))
    }


def _exits_of(position: Any) -> list[ExitRow]:
    return [
        ExitRow(
            one["leg"], one["broker_order_id"], one["id"], Decimal(one["filled"]),
            Decimal(one["inferred"]), one["is_conclusion"],
        )
        for one in position.exits or ()
    ]  # fmt: skip


def _take(resolved: ResolvedReports, report: OrderReport, entry: Any, closing: Closing) -> None:
    """Find or add the exit's order row, unless there is nothing new in the report."""
    position = closing.row
    new, shift, seen = _new_executions(report, closing)
    stated = max((fill.quantity for fill in report.fills if fill.inferred), default=Decimal(0))
    accumulator = _accumulator(report, closing)
    growth = replace(accumulator).grow(new, stated)
    taken = closing.taken + growth + shift
    beyond = taken > position.quantity + position.concluded
    if beyond and entry.may_fill and resolved.patient:
        resolved.deferred.append(report)
        return
    row = _row_of(report, closing)
    if row is None and growth <= 0:
        return
    if not (new or growth > 0 or any(fill.revision for fill in report.fills)):
        return
    accumulator.grow(new, stated)
    accumulator.shift(shift)
    closing.known.update(seen)
    closing.taken = taken
    if row is None:
        row = _new_row(report, closing)
        row.growth = growth
    else:
        row.growth += growth + shift
    resolved.exits.append((report, closing, row))


def _accumulator(report: OrderReport, closing: Closing) -> FillAccumulator:
    """The exit's, as it was before this batch and with what the batch has told of it."""
    if not report.broker_order_id:
        return FillAccumulator()  # it cannot be told again but by its executions' ids
    if (accumulator := closing.ledgers.get(report.broker_order_id)) is None:
        row = _row_of(report, closing)
        accumulator = (
            FillAccumulator(row.filled, row.filled - row.inferred) if row else FillAccumulator()
        )
        closing.ledgers[report.broker_order_id] = accumulator
    return accumulator


def _resolve_inferred_close(
    resolved: ResolvedReports, report: OrderReport, entry: Any, closing: Closing
) -> None:
    """Find or add the row of what must have been closed beyond all that was told."""
    position = closing.row
    if _inferred_quantity(report) > position.opened_quantity and entry.may_fill:
        resolved.deferred.append(report)
        return
    closed = position.opened_quantity - position.quantity
    growth = min(_inferred_quantity(report), position.opened_quantity) - closed
    if growth <= 0:
        return
    row = next((row for row in closing.exits if row.is_conclusion), None)
    row = row or _new_row(report, closing)
    row.growth += growth
    sum_of_row = replace(report.fills[0], quantity=row.filled + growth)
    resolved.exits.append((replace(report, fills=(sum_of_row,)), closing, row))


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
    """Insert the rows that are new, let the others grow, and bring the reports to them."""
    touched = {id(row): (closing, row) for _, closing, row in resolved.exits}.values()
    records = [
        (closing.row.id, row.leg, row.broker_order_id, row.growth, row.expected_price)
        for closing, row in touched
        if row.id is None
    ]
    grown = [(row.id, row.growth) for _, row in touched if row.id is not None and row.growth]
    if grown:
        run(GROW, columns(grown, 2))
    inserted = rows(INSERT, columns(records, 5)) if records else []
    written = {(row.position_id, row.leg): row.id for row in inserted}
    for report, closing, row in resolved.exits:
        order_id = row.id if row.id is not None else written[closing.row.id, row.leg]
        resolved.reports.append((report, order_id))
        resolved.ids.append(order_id)


def _new_executions(
    report: OrderReport, closing: Closing
) -> tuple[Decimal, Decimal, dict[str, tuple[int, Decimal]]]:
    """What the report executes that neither the database nor this batch has told before, what it
    corrects of the rest, and both as they are now."""
    new, shift, changed = Decimal(0), Decimal(0), dict[str, tuple[int, Decimal]]()
    for fill in report.fills:
        if fill.inferred:
            continue
        before = changed.get(fill.broker_fill_id) or closing.known.get(fill.broker_fill_id)
        if before is None:
            new += fill.quantity
        elif before[0] < fill.revision:
            shift += fill.quantity - before[1]
        else:
            continue
        changed[fill.broker_fill_id] = fill.revision, fill.quantity
    return new, shift, changed


def _leg_of(report: OrderReport, position: Any, taken: Sequence[str]) -> tuple[str, Decimal | None]:
    """The leg's name and the price that was expected of it."""
    match report.close_cause:
        case CloseCause.STOP_LOSS:
            return next_leg("sl", taken), position.sl
        case CloseCause.TAKE_PROFIT:
            return next_leg(f"tp-{position.tp_number}", taken), position.tp
        case cause:
            name = "dust" if cause is CloseCause.DUST else "external"
            number = sum(1 for leg in taken if leg.startswith(name)) + 1
            return f"{name}-{number}", None
