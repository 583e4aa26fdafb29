"""An exit that executed more than is open: the broker closed more than we hold.

It cannot be written as it is, for no position is ever closed below nothing. As much as is open is
closed; what is beyond is kept as a difference of its own, because it may be another's share or have
turned the account round. That is for a person, after the next comparison has shown what is there.

First it is given time: while the entry may still fill, its fills may only be told later than ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction

from brokers.types import Execution, OrderReport, ReportKind
from common.money import plain
from common.reason_codes import Code
from common.sql import array, rows
from execution.base.drift_items import DriftRecord, upsert_items
from execution.exits.reservations import lock_positions
from execution.ids import all_attempts
from execution.reports.apply import apply_reports
from execution.reports.broker_exits import MAY_FILL, lock_in_order
from execution.reports.inferred_closes import IS_INFERRED_CLOSE, is_inferred_close

ZERO = Decimal(0)
RESERVED_CONSTRAINT = "reserved_within_quantity"

# The order of the report's own number, before a position: as everywhere.
LOCK = """
SELECT id FROM execution_order WHERE client_order_id = ANY(%s::text[])
ORDER BY id FOR NO KEY UPDATE
"""

# What has been concluded is given back to what is told.
EXIT = f"""
SELECT o.id, coalesce(o.quantity, 0) AS quantity, coalesce(o.filled_quantity, 0) AS filled,
  coalesce(o.inferred_quantity, 0) AS inferred, p.id AS position_id, p.symbol,
  p.quantity + coalesce((SELECT sum(filled_quantity) FROM execution_order
    WHERE position_id = p.id AND {IS_INFERRED_CLOSE}), 0) AS room
FROM execution_order r
JOIN positions_executionposition p ON p.id = coalesce(r.position_id, (
  SELECT id FROM positions_executionposition
  WHERE connection_id = r.connection_id AND signal_id = r.signal_id))
LEFT JOIN execution_order o ON o.position_id = p.id AND CASE WHEN r.position_id IS NOT NULL
  THEN o.id = r.id ELSE o.broker_order_id = nullif(%(number)s, '') END
WHERE r.client_order_id = ANY(%(ids)s::text[]) AND r.connection_id = %(connection)s::uuid
"""

WAITS = f"""
SELECT x.id FROM execution_order x JOIN positions_executionposition p ON p.id = x.position_id
JOIN execution_order e ON e.connection_id = p.connection_id AND e.signal_id = p.signal_id
  AND e.leg = 'entry' AND e.leg LIKE 'entry%%'
WHERE x.client_order_id = ANY(%s::text[]) AND x.connection_id = %s::uuid AND {MAY_FILL}
"""

COUNTED = """
SELECT broker_fill_id, quantity FROM execution_fill
WHERE connection_id = %s::uuid AND broker_fill_id = ANY(%s::text[])
"""

PREVIOUS = f"""
SELECT evidence->'theirs'->>'closed' AS closed, evidence->'fills' AS fills FROM execution_driftitem
WHERE connection_id = %s::uuid AND kind = '{Code.EXIT_OVERFILLED.value}' AND key = left(%s, 120)
  AND state <> 'RESOLVED'
"""


def is_overfill(fault: Exception) -> bool:
    """Whether a report could not be written because it closes more than is open."""
    diagnostics = getattr(fault.__cause__, "diag", None)
    return isinstance(fault, IntegrityError) and (
        getattr(diagnostics, "constraint_name", "") == RESERVED_CONSTRAINT
    )


def may_precede_entry_fill(report: OrderReport) -> bool:
    """Whether fills of its entry that nobody told yet may make room for this exit's executions."""
    ids = array(all_attempts(report.client_order_id))
    return report.close_cause is None and bool(rows(WAITS, (ids, report.connection_id)))


@dataclass(frozen=True, slots=True)
class FillSplit:
    """What of an exit's executions fits in what is open. told and counted: of the exit in all."""

    fills: tuple[Execution, ...]
    reported: Decimal
    counted: Decimal


@dataclass(frozen=True, slots=True)
class PreviousOverfill:
    """What has been told of an exit before, as its difference keeps it. closed: in all.

    fills: executions by id, as large as they were told.
    """

    closed: Decimal = ZERO
    fills: Mapping[str, Decimal] = field(default_factory=dict)


def split_fills(
    fills: Sequence[Execution], exit_: Any, known: Mapping[str, Decimal], previous: PreviousOverfill
) -> FillSplit:
    """Cut executions to what is open. Pure.

    exit_: `filled` and `inferred` of it so far, `room`: open. known: what is counted already of
    executions, by id. What is told again, whole or in part, leaves `reported` as it is.
    """
    named = exit_.filled - exit_.inferred
    maximum = exit_.filled + exit_.room
    reported, counted = max(previous.closed, exit_.filled), exit_.filled
    whole = {**previous.fills, **{f.broker_fill_id: f.quantity for f in fills if not f.inferred}}
    reported_by_id = named + sum(q - known.get(name, ZERO) for name, q in whole.items())
    kept = []
    for fill in fills:
        if fill.inferred:
            fits = min(fill.quantity, maximum)
            reported, counted = max(reported, fill.quantity), max(counted, fits)
        elif fill.broker_fill_id in known:
            fits = fill.quantity
        else:
            fits = min(fill.quantity, maximum - named)
            named += fits
        if fits > 0:
            kept.append(replace(fill, quantity=fits))
    return FillSplit(tuple(kept), max(reported, reported_by_id), max(counted, named))


def apply_capped(report: OrderReport) -> bool:
    """Apply an exit's report as far as its position is open, and keep the rest as a difference.

    Returns False for what closes no more than is open after all, and for corrections: whoever
    called sets it aside. Raises what `apply_reports` raises.
    """
    if is_inferred_close(report) or any(fill.revision for fill in report.fills):
        return False
    ids = all_attempts(report.client_order_id)
    reported = {
        "ids": array(ids), "number": report.broker_order_id, "connection": report.connection_id,
    }  # fmt: skip
    with transaction.atomic():
        lock_in_order([report])
        rows(LOCK, (array(ids),))
        found = rows(EXIT, reported)
        if len(found) != 1:
            return False
        lock_positions([found[0].position_id])
        (exit_,) = rows(EXIT, reported)  # again: what the lock's last holder has left
        previous = _previous_overfill(report)
        named = array([*previous.fills, *(fill.broker_fill_id for fill in report.fills)])
        counted = rows(COUNTED, (report.connection_id, named))
        known = {row.broker_fill_id: row.quantity for row in counted}
        split = split_fills(report.fills, exit_, known, previous)
        if split.reported <= split.counted:
            return False
        upsert_items([_difference(report, exit_, split)])
        apply_reports([replace(report, fills=split.fills), *_end(report, exit_, split)])
    return True


def _previous_overfill(report: OrderReport) -> PreviousOverfill:
    found = rows(PREVIOUS, (report.connection_id, _key(report)))
    if not found:
        return PreviousOverfill()
    fills = [one for one in found[0].fills if not one["inferred"]]
    return PreviousOverfill(
        Decimal(found[0].closed),
        {one["broker_fill_id"]: Decimal(one["quantity"]) for one in fills},
    )


def _key(report: OrderReport) -> str:
    """What its difference is about: an exit that the broker made names the entry, which may have
    several."""
    return (report.close_cause is not None and report.broker_order_id) or report.client_order_id


def _end(report: OrderReport, exit_: Any, split: FillSplit) -> list[OrderReport]:
    """End an exit of ours that is done at the broker, and never will be here."""
    if report.close_cause is not None or split.reported < exit_.quantity:
        return []
    said = f"The broker executed {plain(split.reported)}, and {plain(split.counted)} was open."
    code = Code.EXIT_OVERFILLED
    return [replace(report, kind=ReportKind.CANCELLED, fills=(), code=code, detail=said)]


def _difference(report: OrderReport, exit_: Any, split: FillSplit) -> DriftRecord:
    ours, theirs = plain(split.counted), plain(split.reported)
    evidence = {
        **asdict(report),
        "symbol": exit_.symbol,
        "ours": {"closed": ours},
        "theirs": {"closed": theirs},
        "differs": f"{ours} {theirs}",
    }
    key, about = _key(report), (exit_.position_id, exit_.id)
    return DriftRecord(Code.EXIT_OVERFILLED, report.connection_id, key, evidence, *about)
