"""Overfills: exits that executed more than is open, so the broker closed more than we hold.

Such a report cannot be applied as it is, because a position is never closed below zero. The open
quantity is closed and the excess is stored as a drift item: it may be part of another position, or
may have reversed the account. An operator decides after the next reconciliation, unless a later
fill of the entry explains it (`explained_overfills.py`).

First the report waits: while the entry may still fill, its fills may only be reported later.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

import structlog
from django.db import IntegrityError, transaction

from brokers.types import Execution, OrderReport, ReportKind
from common.db.sql import IdRow, Query, array, rows
from common.money import plain
from common.reason_codes import Code
from execution.base.drift_items import DriftRecord, upsert_items
from execution.ids import all_attempts
from execution.reports.apply import apply_reports
from execution.reports.broker_exits import lock_in_order
from execution.reports.broker_exits_sql import may_grow_sql
from execution.reports.inferred_closes import IS_INFERRED_CLOSE, is_inferred_close
from positions.joins import position_join_sql
from positions.row_locks import lock_positions

log = structlog.get_logger(__name__)
ZERO = Decimal(0)
RESERVED_CONSTRAINT = "reserved_within_quantity"


class ExitRow(NamedTuple):
    """An exit with its position; id and quantities are None and 0 if it has no row yet.

    open_quantity: of the position, with what inferred closes have closed of it. Base units.
    """

    id: int | None
    quantity: Decimal
    filled: Decimal
    inferred: Decimal
    position_id: int
    symbol: str
    open_quantity: Decimal


class CountedFill(NamedTuple):
    """A fill that is stored already. quantity: as much of it as was applied."""

    broker_fill_id: str
    quantity: Decimal
    revision: int
    commission: Decimal
    commission_currency: str


class StoredOverfill(NamedTuple):
    """An open drift item about the same exit."""

    closed: str | None
    fills: list[dict[str, Any]] | None


# The order with the report's own id, before its position, as everywhere.
LOCK = Query(
    IdRow,
    """
SELECT id FROM execution_order WHERE client_order_id = ANY(%s::text[])
ORDER BY id FOR NO KEY UPDATE
""",
)

# Reported exits replace inferred closes, so what those have closed counts as open.
EXIT = Query(
    ExitRow,
    f"""
SELECT o.id, coalesce(o.quantity, 0) AS quantity, coalesce(o.filled_quantity, 0) AS filled,
  coalesce(o.inferred_quantity, 0) AS inferred, p.id AS position_id, p.symbol,
  p.quantity + coalesce((SELECT sum(filled_quantity) FROM execution_order
    WHERE position_id = p.id AND {IS_INFERRED_CLOSE}), 0) AS open_quantity
FROM execution_order r
JOIN positions_executionposition p ON p.id = coalesce(r.position_id, (
  SELECT id FROM positions_executionposition
  WHERE connection_id = r.connection_id AND signal_id = r.signal_id
    AND entry_leg = r.position_leg))
LEFT JOIN execution_order o ON o.position_id = p.id AND CASE WHEN r.position_id IS NOT NULL
  THEN o.id = r.id ELSE o.broker_order_id = nullif(%(broker_order_id)s, '') END
WHERE r.client_order_id = ANY(%(ids)s::text[]) AND r.connection_id = %(connection)s::uuid
""",
)

WAITS = Query(
    IdRow,
    f"""
SELECT x.id FROM execution_order x {position_join_sql("x.position_id")}
WHERE x.client_order_id = ANY(%s::text[]) AND x.connection_id = %s::uuid AND {may_grow_sql("p")}
""",
)

COUNTED = Query(
    CountedFill,
    """
SELECT broker_fill_id, quantity, revision, commission, commission_currency FROM execution_fill
WHERE connection_id = %s::uuid AND broker_fill_id = ANY(%s::text[])
""",
)

PREVIOUS = Query(
    StoredOverfill,
    f"""
SELECT evidence->'theirs'->>'closed' AS closed, evidence->'fills' AS fills FROM execution_driftitem
WHERE connection_id = %s::uuid AND kind = '{Code.EXIT_OVERFILLED.value}' AND key = left(%s, 120)
  AND state <> 'RESOLVED'
""",
)


def is_overfill(fault: Exception) -> bool:
    """Return whether a report could not be applied because it closes more than is open."""
    diagnostics = getattr(fault.__cause__, "diag", None)
    return isinstance(fault, IntegrityError) and (
        getattr(diagnostics, "constraint_name", "") == RESERVED_CONSTRAINT
    )


def may_precede_entry_fill(report: OrderReport) -> bool:
    """Return whether fills of the entry may still be reported, so that the exit is no overfill."""
    ids = array(all_attempts(report.client_order_id))
    return report.close_cause is None and bool(rows(WAITS, (ids, report.connection_id)))


@dataclass(frozen=True, slots=True)
class FillSplit:
    """The part of an exit's executions that is within the open quantity.

    reported and counted: of the exit in total.
    """

    fills: tuple[Execution, ...]
    reported: Decimal
    counted: Decimal


@dataclass(frozen=True, slots=True)
class PreviousOverfill:
    """What was reported of an exit before, from its drift item. closed: in total.

    fills: executions by id, with the quantity that was reported.
    """

    closed: Decimal = ZERO
    fills: Mapping[str, Decimal] = field(default_factory=dict)


class ExitProgress(Protocol):
    """What an exit has filled, and what is still open of its position. Base units."""

    @property
    def filled(self) -> Decimal: ...
    @property
    def inferred(self) -> Decimal: ...
    @property
    def open_quantity(self) -> Decimal: ...


def split_fills(
    fills: Sequence[Execution],
    exit_: ExitProgress,
    known: Mapping[str, Decimal],
    previous: PreviousOverfill,
) -> FillSplit:
    """Cut executions to the open quantity. Pure.

    known: what is counted already of executions, by id. An execution that is delivered again, whole
    or in part, does not change `reported`.
    """
    with_ids = exit_.filled - exit_.inferred
    maximum = exit_.filled + exit_.open_quantity
    reported, counted = max(previous.closed, exit_.filled), exit_.filled
    by_id = {**previous.fills, **{f.broker_fill_id: f.quantity for f in fills if not f.inferred}}
    reported_by_id = with_ids + sum(q - known.get(id_, ZERO) for id_, q in by_id.items())
    kept = []
    for fill in fills:
        if fill.inferred:
            fits = min(fill.quantity, maximum)
            reported, counted = max(reported, fill.quantity), max(counted, fits)
        elif fill.broker_fill_id in known:
            fits = fill.quantity
        else:
            fits = min(fill.quantity, maximum - with_ids)
            with_ids += fits
        if fits > 0:
            kept.append(replace(fill, quantity=fits))
    return FillSplit(tuple(kept), max(reported, reported_by_id), max(counted, with_ids))


def apply_capped(report: OrderReport) -> bool:
    """Apply an exit's report up to the open quantity, and store the excess as a drift item.

    Without an excess (a fill of its entry was stored since the report could not be applied) it is
    applied as it is. Returns False for a correction: the caller quarantines the report. Raises what
    `apply_reports` raises.
    """
    whole = report
    commissions = tuple(fill for fill in report.fills if fill.is_commission_only)
    report = replace(report, fills=tuple(f for f in report.fills if not f.is_commission_only))
    if is_inferred_close(report) or any(fill.revision for fill in report.fills):
        return False
    with transaction.atomic():
        if (exit_ := lock_exit(report)) is None:
            return False
        previous = _previous_overfill(report)
        counted = load_counted(report.connection_id, report.fills, previous.fills)
        known = {fill_id: fill.quantity for fill_id, fill in counted.items()}
        split = split_fills(report.fills, exit_, known, previous)
        if split.reported <= split.counted:
            apply_reports([whole], defer_overfills=False)
            return True
        upsert_items([_drift_record(report, exit_, split)])
        cut = replace(report, fills=(*split.fills, *commissions))
        apply_reports([cut, *_end(report, exit_, split)])
    log.error("exit executed more than is open", order=report.client_order_id)
    return True


def lock_exit(report: OrderReport) -> ExitRow | None:
    """Lock the exit that a report is about, and its position; None if that is not one exit."""
    ids = array(all_attempts(report.client_order_id))
    parameters = {
        "ids": ids,
        "broker_order_id": report.broker_order_id,
        "connection": report.connection_id,
    }
    lock_in_order([report])
    rows(LOCK, (ids,))
    exits = rows(EXIT, parameters)
    if len(exits) != 1:
        return None
    lock_positions([exits[0].position_id])
    (exit_,) = rows(EXIT, parameters)  # again: the previous holder of the lock may change it
    return exit_


def load_counted(
    connection_id: str, fills: Iterable[Execution], others: Iterable[str] = ()
) -> dict[str, CountedFill]:
    """Return what is stored of executions, by id. others: ids of more executions."""
    ids = array([*others, *(fill.broker_fill_id for fill in fills)])
    return {row.broker_fill_id: row for row in rows(COUNTED, (connection_id, ids))}


def _previous_overfill(report: OrderReport) -> PreviousOverfill:
    """Load what was reported of the exit before."""
    previous = rows(PREVIOUS, (report.connection_id, _key(report)))
    if not previous:
        return PreviousOverfill()
    fills = [fill for fill in previous[0].fills or () if not fill["inferred"]]
    return PreviousOverfill(
        Decimal(previous[0].closed or 0),
        {fill["broker_fill_id"]: Decimal(fill["quantity"]) for fill in fills},
    )


def _key(report: OrderReport) -> str:
    """Return the drift item's key. An exit made by the broker names only its entry, which may have
    several such exits, so its key is the broker's order id."""
    return (report.close_cause is not None and report.broker_order_id) or report.client_order_id


def _end(report: OrderReport, exit_: ExitRow, split: FillSplit) -> list[OrderReport]:
    """Return a report that ends an exit of ours, if it is filled at the broker: its cut fills
    would leave it open here for ever."""
    if report.close_cause is not None or split.reported < exit_.quantity:
        return []
    detail = f"The broker executed {plain(split.reported)}, and {plain(split.counted)} was open."
    code = Code.EXIT_OVERFILLED
    return [replace(report, kind=ReportKind.CANCELLED, fills=(), code=code, detail=detail)]


def _drift_record(report: OrderReport, exit_: ExitRow, split: FillSplit) -> DriftRecord:
    ours, theirs = plain(split.counted), plain(split.reported)
    evidence = {
        **asdict(report),
        "symbol": exit_.symbol,
        "ours": {"closed": ours},
        "theirs": {"closed": theirs},
        "differs": f"{ours} {theirs}",
    }
    return DriftRecord(
        Code.EXIT_OVERFILLED,
        report.connection_id,
        _key(report),
        evidence,
        exit_.position_id,
        exit_.id,
    )
