"""What a batch of reports changes of one order: executions, then other facts, then decisions."""

from dataclasses import dataclass, field, replace
from decimal import Decimal

from brokers.types import DECISIONS, Execution, OrderReport, OrderType, ReportKind, Side
from common.db.sql import rows
from common.money import divide, plain
from common.reason_codes import Code
from common.units import Unit, size_of
from execution.base.drift_items import write_drift
from execution.ids import at_attempt, attempt_of
from execution.models import Status
from execution.reports.cumulative_fills import (
    NO_CHANGE,
    FillDelta,
    QuantityCorrectedError,
    count_new,
)
from execution.reports.sql import RETRIED_BY_OPERATOR, NewFill, OrderRow
from execution.reports.transitions import (
    State,
    Transition,
    after_fill,
    after_report,
    previous_attempt_live,
    require,
)
from signals.symbols import slippage_unit

ZERO = Decimal(0)
STATUS = {status.value: status for status in Status}  # faster than Status(value)
SIGN = {side.value: side.sign for side in Side}
UNFILLED = frozenset({Status.CANCELLED, Status.EXPIRED})
# Facts about one attempt to send the order; a fill counts whichever attempt it belongs to.
FACTS_OF_ONE_ATTEMPT = frozenset(
    {
        ReportKind.ACCEPTED,
        ReportKind.REJECTED,
        ReportKind.CANCELLED,
        ReportKind.EXPIRED,
        ReportKind.CANCEL_REFUSED,
        ReportKind.CHANGED,
    }
)


@dataclass(slots=True)
class OrderChange:
    """What a batch of reports changes of one order. row: the order before the batch."""

    row: OrderRow
    state: State
    transition: Transition | None = None
    reports: list[OrderReport] = field(default_factory=list)
    fills: list[NewFill] = field(default_factory=list)
    corrections: list[Execution] = field(default_factory=list)  # and cumulative quantities
    delta: FillDelta = field(default_factory=lambda: NO_CHANGE)
    passed: list[Status] = field(default_factory=list)  # between the first and the last status
    average: Decimal = ZERO  # price of all fills, old and new
    slippage: Decimal | None = None  # + is worse; None without a new fill
    unit: Unit = Unit.PIPS  # of the slippage


def state_of(row: OrderRow) -> State:
    """Return the state of an order before the batch."""
    return State(
        status=STATUS[row.status],
        quantity=row.quantity or ZERO,
        filled=row.filled_quantity,
        attempt=row.attempt,
        send_retries=row.send_retries,
        fence=row.fence,
        is_exit=row.position_id is not None,
        unacknowledged=row.unacknowledged,
        pending_action=row.pending_action,
        passed_detail=row.passed_detail,
    )


def apply_reports_to_order(change: OrderChange) -> None:
    """Apply new executions, then the other facts in their order, then decisions."""
    change.average = change.row.avg_fill_price
    if change.fills and change.delta is NO_CHANGE:
        change.delta = count_new(change.fills)
    if change.delta.changes_anything:
        if _is_of_the_attempt_before(change):
            change.state.attempt -= 1  # the retry is never sent: reports about this attempt count
        _add_fills(change)
    if len(change.reports) > 1:
        change.reports.sort(key=lambda report: report.kind in DECISIONS)
    for report in change.reports:
        if report.kind in FACTS_OF_ONE_ATTEMPT and not _same_attempt(change, report):
            transition = _of_another_attempt(change, report)
        else:
            transition = after_report(change.state, report)
        if transition is not None:
            _move(change, _with_bound(change, report, transition))
        if report.kind not in DECISIONS:
            change.state.unacknowledged = False


def _with_bound(change: OrderChange, report: OrderReport, transition: Transition) -> Transition:
    """Return the transition with SLIPPAGE_LIMIT if the broker ended an order with a worst price:
    there was no price within the limit."""
    ended_by_broker = report.kind in (ReportKind.CANCELLED, ReportKind.EXPIRED)
    if change.row.worst_price is None or not ended_by_broker or transition.status not in UNFILLED:
        return transition
    detail = f"worst price {plain(change.row.worst_price)}. {transition.detail}".strip()
    return replace(transition, code=Code.SLIPPAGE_LIMIT, detail=detail)


def _add_fills(change: OrderChange) -> None:
    state, delta = change.state, change.delta
    total = _restate(change)
    if delta.quantity > 0:
        _move(change, after_fill(state, total))
    else:
        code = Code.INFERRED_REPLACED if delta.replaced else Code.FILL_CORRECTED
        _move(change, Transition(state.status, code))
    change.state.filled = total


def move_share(change: OrderChange, detail: str) -> None:
    """Apply a part of an execution that has moved from one member of an aggregate to another.

    change.delta: what that changes of the order's fills.
    """
    total = _restate(change)
    moved = Transition(change.state.status)
    if change.delta.quantity > 0:
        moved = after_fill(change.state, total)
    _move(change, replace(moved, code=Code.SHARE_MOVED, detail=detail))
    change.state.filled = total


def _restate(change: OrderChange) -> Decimal:
    """Set an order's average price and slippage by its delta; return what it has filled then."""
    row, state, delta = change.row, change.state, change.delta
    total = state.filled + delta.quantity
    if total <= 0:
        raise QuantityCorrectedError(f"corrections leave nothing of {state.filled}")
    change.average = divide(state.filled * row.avg_fill_price + delta.value, total)
    # A trailing stop's price has moved since it was expected; where to is not known.
    if row.expected_price is not None and row.pip and row.order_type != OrderType.TRAILING_STOP:
        moved = (change.average - row.expected_price) * SIGN[row.side]
        change.unit = slippage_unit(row.pair, row.slippage_unit)
        size = size_of(change.unit, price=row.expected_price, pip=row.pip, tick=row.tick or row.pip)
        change.slippage = divide(moved, size) if size else None
    return total


def _is_of_the_attempt_before(change: OrderChange) -> bool:
    """Return whether the fills are of an attempt whose retry is still waiting to be sent."""
    before = change.state.attempt - 1
    return change.state.status == Status.PENDING and any(
        report.fills and attempt_of(report.client_order_id) == before for report in change.reports
    )


def _same_attempt(change: OrderChange, report: OrderReport) -> bool:
    """Return whether a report is about the current attempt. A row that waits for its next attempt
    still has the id of the last one."""
    if report.close_cause is not None or change.row.client_order_id is None:
        return True
    current = at_attempt(change.row.client_order_id, change.state.attempt)
    return bool(report.client_order_id == current)


def _of_another_attempt(change: OrderChange, report: OrderReport) -> Transition | None:
    """Return the transition for an old attempt that is live: instead of the waiting one, or beside
    it."""
    if report.kind is not ReportKind.ACCEPTED:
        return None
    row, attempt = change.row, attempt_of(report.client_order_id)
    # From the log: the row's reason changes as soon as the retry has waited or was not sent.
    if attempt >= row.attempt or not rows(RETRIED_BY_OPERATOR, ([row.id],)):
        return None
    transition = previous_attempt_live(change.state, attempt)
    if transition is None:
        write_drift(Code.UNEXPECTEDLY_LIVE, report)  # two may be live: an operator must decide
    return transition


def _move(change: OrderChange, transition: Transition) -> None:
    if transition.status != change.state.status:
        require(change.state.status, transition.status)
        if change.state.status != change.row.status:
            change.passed.append(change.state.status)
    change.transition = transition
    change.state.status = transition.status


def last_reported(change: OrderChange, name: str) -> str:
    """Return the last non-empty value of a field in the order's reports; '' if there is none."""
    for report in reversed(change.reports):
        if value := getattr(report, name):
            return str(value)
    return ""
