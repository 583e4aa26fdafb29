"""Overfills that a later fill of the entry explains: what was cut of an exit is applied after all.

An exit that executed more than is open waits a minute for fills of its entry, then it is applied up
to what is open (`overfills.py`). The entry's look-up may be answered long after that. What it finds
is closed at the broker already, so no exit must be sent for it.

A worker may die between the two: the look-up is not ended then, or the event not acknowledged, and
when the entry's fills are reported again, the rest is applied.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import structlog
from django.db import transaction

from brokers.types import CloseCause, Execution, OrderReport, ReportKind
from common.db.sql import Query, array, rows, run
from common.errors import CONTENT_ERRORS
from common.money import plain
from common.reason_codes import Code
from execution.base.statements import opens_position_sql
from execution.reports.apply import apply_reports
from execution.reports.overfills import CountedFill, load_counted, lock_exit
from positions.joins import position_join_sql

log = structlog.get_logger(__name__)
ZERO = Decimal(0)
APPLIED_AGAIN = "overfill"
"""The event id of a report that is applied again: it is no reply with all that the broker knows."""


class CutExit(NamedTuple):
    """An exit that was cut and whose position has something open again. evidence: its report."""

    id: int
    evidence: dict[str, Any]


class EnteredRow(NamedTuple):
    """What the entries of a position have filled after some time. Base units."""

    quantity: Decimal


CUT_EXITS = Query(
    CutExit,
    f"""
SELECT d.id, d.evidence FROM execution_driftitem d
{position_join_sql("d.position_id")} AND p.quantity > 0
WHERE d.connection_id = ANY(%s::uuid[]) AND d.kind = '{Code.EXIT_OVERFILLED.value}'
  AND d.state <> 'RESOLVED'
ORDER BY d.id
""",
)

# What the entry filled after the exit cannot be what the exit closed.
ENTERED_SINCE = Query(
    EnteredRow,
    f"""
SELECT coalesce(sum(f.quantity - f.fee_in_base), 0) AS quantity
FROM (VALUES (%s::bigint)) AS closed(id) {position_join_sql("closed.id")}
JOIN execution_order e ON {opens_position_sql("e", "p")}
JOIN execution_fill f ON f.order_id = e.id AND f.time > %s
""",
)

SETTLE = """
UPDATE execution_driftitem SET
  evidence = evidence || jsonb_build_object('ours', jsonb_build_object('closed', %(ours)s::text),
    'differs', %(differs)s::text),
  state = CASE WHEN %(is_explained)s THEN 'RESOLVED' ELSE state END,
  resolved_at = CASE WHEN %(is_explained)s THEN clock_timestamp() END,
  resolution = CASE WHEN %(is_explained)s
    THEN 'Fills of its entry that were reported later explain it.' ELSE resolution END
WHERE id = %(id)s
"""


def apply_cut_exits(accounts: Collection[str]) -> None:
    """Apply what was cut of the exits of these accounts, as far as it is open now.

    accounts: those with entries that were reported to have filled more. Raises what `apply_reports`
    raises.
    """
    for cut in rows(CUT_EXITS, (array(sorted(accounts)),)) if accounts else ():
        try:
            _apply_rest(cut)
        except CONTENT_ERRORS:  # the reports that explain it are stored
            log.exception("rest of an exit not applied", drift=cut.id)


def _apply_rest(cut: CutExit) -> None:
    report = _report_of(cut.evidence)
    with transaction.atomic():
        if (exit_ := lock_exit(report)) is None:
            return
        executed_at = max(fill.time for fill in report.fills)
        entered = rows(ENTERED_SINCE, (exit_.position_id, executed_at))
        room = exit_.open_quantity - entered[0].quantity
        counted = load_counted(report.connection_id, report.fills)
        rest = rest_of(report.fills, exit_.filled, room, counted)
        if not rest:
            return
        apply_reports([replace(report, fills=rest)], defer_overfills=False)
        if (exit_ := lock_exit(report)) is not None:
            _settle(cut, exit_.filled)


def rest_of(
    fills: Sequence[Execution], filled: Decimal, room: Decimal, counted: Mapping[str, CountedFill]
) -> tuple[Execution, ...]:
    """Return what is still to be applied of an exit's executions. Pure.

    filled: what is counted of it in all; room: what was open when it was executed, and still is.
    counted: what is stored of them, by id. One that was cut is replaced by a larger one, as if the
    broker had corrected it; its commission was booked as a whole.
    """
    maximum, rest = filled + room, []
    for fill in fills:
        if fill.inferred:
            continue
        stored = counted.get(fill.broker_fill_id)
        before = stored.quantity if stored else ZERO
        if (more := min(fill.quantity - before, room)) <= 0:
            continue
        room -= more
        fill = replace(fill, quantity=before + more)
        if stored:
            fill = replace(
                fill,
                revision=stored.revision + 1,
                commission=stored.commission,
                commission_currency=stored.commission_currency,
            )
        rest.append(fill)
    cumulative = [fill for fill in fills if fill.inferred]
    if largest := max(cumulative, key=lambda fill: fill.quantity, default=None):
        fits = min(largest.quantity, maximum)
        rest += [replace(largest, quantity=fits)] if fits > filled else []
    return tuple(rest)


def _settle(cut: CutExit, closed: Decimal) -> None:
    """Store how much of an exit is counted now; the difference is resolved if that is all."""
    reported = Decimal(cut.evidence["theirs"]["closed"])
    run(
        SETTLE,
        {
            "id": cut.id,
            "ours": plain(closed),
            "differs": f"{plain(closed)} {plain(reported)}",
            "is_explained": closed >= reported,
        },
    )


def _report_of(evidence: Mapping[str, Any]) -> OrderReport:
    """Return the executions that a drift item has stored, as a report of its exit."""
    cause = evidence["close_cause"]
    return OrderReport(
        kind=ReportKind.FILLED,
        connection_id=evidence["connection_id"],
        client_order_id=evidence["client_order_id"],
        broker_order_id=evidence["broker_order_id"],
        broker_position_id=evidence["broker_position_id"],
        fills=tuple(_execution_of(fill) for fill in evidence["fills"]),
        close_cause=CloseCause(cause) if cause else None,
        event_id=APPLIED_AGAIN,
    )


def _execution_of(fill: Mapping[str, Any]) -> Execution:
    return Execution(
        broker_fill_id=fill["broker_fill_id"],
        quantity=Decimal(fill["quantity"]),
        price=Decimal(fill["price"]),
        time=datetime.fromisoformat(fill["time"]),
        commission=Decimal(fill["commission"]),
        commission_currency=fill["commission_currency"],
        inferred=fill["inferred"],
        fee_in_base=Decimal(fill["fee_in_base"]),
        swap=Decimal(fill["swap"]),
    )
