"""What a flush of reports makes of one order: executions, then other facts, then decisions."""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from brokers.messages import DECISIONS, Execution, OrderReport, ReportKind, Side
from common.codes import Code
from common.money import divide, plain
from common.sql import rows
from common.units import Unit, size_of
from execution.drift.notes import write_drift
from execution.ids import at_attempt, attempt_of
from execution.models import Status
from execution.reports import sql
from execution.reports.inferred import NOTHING, QuantityCorrectedError, Sums, count_new
from execution.reports.transitions import (
    State,
    Step,
    after_fill,
    after_report,
    require,
    risen_before_retry,
)
from signals.symbols import slippage_unit

ZERO = Decimal(0)
STATUS = {status.value: status for status in Status}  # cheaper than the enum's own conversion
SIGN = {side.value: side.sign for side in Side}
UNFILLED = frozenset({Status.CANCELLED, Status.EXPIRED})
FACTS_OF_ONE_ATTEMPT = frozenset(
    {
        ReportKind.ACCEPTED,
        ReportKind.REJECTED,
        ReportKind.CANCELLED,
        ReportKind.EXPIRED,
        ReportKind.CANCEL_REFUSED,
    }
)


@dataclass(slots=True)
class Change:
    """What a flush of reports makes of one order."""

    row: Any
    state: State
    step: Step | None = None
    reports: list[OrderReport] = field(default_factory=list)
    fills: list[Any] = field(default_factory=list)  # new ones only
    unusual: list[Execution] = field(default_factory=list)  # sums and corrections
    sums: Sums = field(default_factory=lambda: NOTHING)
    passed: list[Status] = field(default_factory=list)  # states between the first and the last
    average: Decimal = ZERO  # price of all fills, old and new
    slippage: Decimal | None = None  # + is worse; None without a new fill
    unit: Unit = Unit.PIPS  # of the slippage


def state_of(row: Any) -> State:
    return State(
        status=STATUS[row.status],
        quantity=row.quantity or ZERO,
        filled=row.filled_quantity,
        attempt=row.attempt,
        tries=row.tries,
        fence=row.fence,
        is_exit=row.position_id is not None,
        unheard=row.unheard,
    )


def fold(change: Change) -> None:
    """Apply new executions, then the other facts in their order, then decisions."""
    change.average = change.row.avg_fill_price
    if change.fills and change.sums is NOTHING:
        change.sums = count_new(change.fills)
    if change.sums.changes_anything:
        if _is_of_the_attempt_before(change):
            change.state.attempt -= 1  # its retry never leaves: what is told of this one counts
        _add_fills(change)
    if len(change.reports) > 1:
        change.reports.sort(key=lambda report: report.kind in DECISIONS)
    for report in change.reports:
        if report.kind in FACTS_OF_ONE_ATTEMPT and not _same_attempt(change, report):
            step = _of_another_attempt(change, report)
        else:
            step = after_report(change.state, report)
        if step is not None:
            _move(change, _with_bound(change, report, step))
        if report.kind not in DECISIONS:
            change.state.unheard = False


def _with_bound(change: Change, report: OrderReport, step: Step) -> Step:
    """What had a worst price and ended at the broker by itself was not to be had within it."""
    ended_by_itself = report.kind in (ReportKind.CANCELLED, ReportKind.EXPIRED)
    if change.row.worst_price is None or not ended_by_itself or step.status not in UNFILLED:
        return step
    detail = f"worst price {plain(change.row.worst_price)}. {step.detail}".strip()
    return replace(step, code=Code.SLIPPAGE_LIMIT, detail=detail)


def _add_fills(change: Change) -> None:
    row, state, sums = change.row, change.state, change.sums
    total = state.filled + sums.quantity
    if total <= 0:
        raise QuantityCorrectedError(f"nothing is left of {state.filled}")
    change.average = divide(state.filled * row.avg_fill_price + sums.value, total)
    if row.expected_price is not None and row.pip:
        moved = (change.average - row.expected_price) * SIGN[row.side]
        change.unit = slippage_unit(row.pair, row.slippage_unit)
        size = size_of(change.unit, price=row.expected_price, pip=row.pip, tick=row.tick or row.pip)
        change.slippage = divide(moved, size) if size else None
    if sums.quantity > 0:
        _move(change, after_fill(state, total))
    else:
        code = Code.INFERRED_REPLACED if sums.replaced else Code.FILL_CORRECTED
        _move(change, Step(state.status, code))
    change.state.filled = total


def _is_of_the_attempt_before(change: Change) -> bool:
    """Whether what has filled is an attempt whose retry still waits to be sent."""
    before = change.state.attempt - 1
    return change.state.status == Status.PENDING and any(
        report.fills and attempt_of(report.client_order_id) == before for report in change.reports
    )


def _same_attempt(change: Change, report: OrderReport) -> bool:
    """A row that waits for its next attempt still has the id of the last one."""
    if report.close_cause is not None:
        return True
    current = at_attempt(change.row.client_order_id, change.state.attempt)
    return bool(report.client_order_id == current)


def _of_another_attempt(change: Change, report: OrderReport) -> Step | None:
    """An old attempt that turns out to be live: in place of the one that waits, or beside it."""
    if report.kind is not ReportKind.ACCEPTED:
        return None
    row, attempt = change.row, attempt_of(report.client_order_id)
    # By the log: the row's reason is another as soon as the retry has waited or was not sent.
    if attempt >= row.attempt or not rows(sql.RETRIED, ([row.id],)):
        return None
    step = risen_before_retry(change.state, attempt)
    if step is None:
        write_drift(Code.RISEN, report)  # two may be live: people must look
    return step


def _move(change: Change, step: Step) -> None:
    if step.status != change.state.status:
        require(change.state.status, step.status)
        if change.state.status != change.row.status:
            change.passed.append(change.state.status)
    change.step = step
    change.state.status = step.status


def last_told(change: Change, name: str) -> str:
    for report in reversed(change.reports):
        if value := getattr(report, name):
            return str(value)
    return ""
