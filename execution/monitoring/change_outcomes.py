"""What follows from the call of a change: pure decisions, without the database.

A change whose answer is lost is not sent again before the order was read at its broker: what that
shows is the truth. A second change to the same values has no other effect, so it may follow the
read.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from brokers.base import BrokerError, NotSent, Rejected
from brokers.types import OrderField, OrderTerms, ReportKind
from common.reason_codes import Code
from execution.base.changed_orders import listed_order
from execution.base.kill_switch import Halts, denial_code
from execution.dispatch.background_calls import CallResult
from execution.dispatch.call_results import reports_in
from execution.models import ChangeState
from execution.monitoring.change_rows import ChangeOutcome, ChangeRow

MAX_SENDS = 3
"""How often a change is sent that the broker does not take over, before it is given up."""
GIVE_UP_SECONDS = 60
"""How long a change that could not leave is tried. Later the price may be another one."""
READ_MAX_SECONDS = 60.0
"""The longest time between two reads of an order whose reads fail."""
ABSENT_READS = 2
"""In how many reads a full order must be missing before it counts as executed."""


def stopped_by(row: ChangeRow, halts: Halts) -> Code | None:
    """Return why a requested change is not sent any more.

    After a minute the price may be another one, and its limits were checked too long ago. One that
    lowers the risk and waited for the market to move away is sent whenever it has.
    """
    if row.was != ChangeState.REQUESTED:
        return None
    if row.is_cancelled:
        return Code.ORDER_BEING_CANCELLED
    if row.age > GIVE_UP_SECONDS and not (row.was_frozen and not row.raises_risk):
        return Code.CHANGE_TOO_OLD
    if not row.raises_risk:
        return None
    halt = halts.mode(
        owner_id=row.owner_id,
        feed_id=row.feed_id,
        connection_id=row.connection_id,
        broker_type=row.type,
        pairs={row.pair, row.signal_pair or row.pair},
    )
    return None if halt is None else denial_code(halt)


def outcome_of_call(result: CallResult, now: datetime) -> ChangeOutcome:
    """Return what follows from the result of a call. now: database time. Pure."""
    row: ChangeRow = result.about
    if not result.had_slot:
        state = ChangeState(row.was)
        unsent = state is ChangeState.REQUESTED
        return ChangeOutcome(row, state, seconds=1.0, absences=row.absences, unsent=unsent)
    if row.was == ChangeState.REQUESTED:
        return _after_change(row, result)
    return _after_read(row, result, now)


def _after_change(row: ChangeRow, result: CallResult) -> ChangeOutcome:
    answer = result.answer
    if isinstance(answer, NotSent):
        if row.age > GIVE_UP_SECONDS:
            return not_made(row, answer.code, answer.detail)
        return ChangeOutcome(row, ChangeState.REQUESTED, seconds=2.0, unsent=True)
    if isinstance(answer, Rejected) and answer.code is Code.LEVELS_FROZEN and row.sends == 1:
        return ChangeOutcome(
            row, ChangeState.REQUESTED, answer.code, answer.detail, seconds=2.0, unsent=True
        )
    if isinstance(answer, Rejected) and row.sends == 1:
        return not_made(row, answer.code, answer.detail)
    if result.failed:  # also a refusal of a repeated change: the first one may have arrived since
        code = Code.CHANGE_UNANSWERED
        return ChangeOutcome(row, ChangeState.UNKNOWN, code, _failure(answer), seconds=1.0)
    reports = tuple(r for r in reports_in([result]) if r.kind is not ReportKind.CHANGED)
    stated = [r.terms for r in reports_in([result]) if r.terms is not None]
    if stated and is_as_requested(row, stated[-1]):
        return ChangeOutcome(row, ChangeState.DONE, shown=stated[-1], reports=reports)
    detail = "the broker's answer has other values"
    return ChangeOutcome(
        row, ChangeState.UNKNOWN, Code.CHANGE_UNANSWERED, detail, 1.0, reports=reports
    )


def _failure(answer: Any) -> str:
    return str(answer) if isinstance(answer, BrokerError) else type(answer).__name__


def _after_read(row: ChangeRow, result: CallResult, now: datetime) -> ChangeOutcome:
    """Return what follows from a read. Once the change is settled, the order is looked up, too: the
    lost answer to the change may have had executions."""
    if result.failed:
        seconds = min(READ_MAX_SECONDS, max(5.0, row.age / 4))
        detail = f"The order could not be read: {_failure(result.answer)}"
        return ChangeOutcome(
            row, ChangeState.UNKNOWN, detail=detail, seconds=seconds, absences=row.absences
        )
    shown = listed_order(row.client_order_id, row.broker_order_id, result.answer)
    left = (row.answer_by - now).total_seconds() if row.answer_by else 0.0
    if shown is None:
        return _absent(row, left)
    if is_as_requested(row, shown.terms):
        return ChangeOutcome(row, ChangeState.DONE, shown=shown.terms, look_up=True)
    if left > 0:  # the change may still arrive
        return ChangeOutcome(row, ChangeState.UNKNOWN, seconds=left + 0.1)
    if row.sends < MAX_SENDS and row.age <= GIVE_UP_SECONDS and not row.is_cancelled:
        return ChangeOutcome(row, ChangeState.REQUESTED, shown=None)
    return ChangeOutcome(
        row, ChangeState.REFUSED, Code.CHANGE_NOT_KEPT, shown=shown.terms, look_up=True
    )


def _absent(row: ChangeRow, left: float) -> ChangeOutcome:
    """Return the outcome for an order that its broker does not list: it has ended.

    How it ended comes from its look-up. One that has filled what it had, or what it should have,
    was executed with that quantity.
    """
    absences = row.absences + 1
    if absences > ABSENT_READS and left <= 0:
        for state, terms in (
            (ChangeState.DONE, row.terms), (ChangeState.REFUSED, row.old_terms),
        ):  # fmt: skip
            if row.filled_quantity == terms.quantity:
                code = None if state is ChangeState.DONE else Code.ORDER_ENDED
                return ChangeOutcome(row, state, code, shown=terms, absences=absences)
    seconds = min(30.0, 2.0 * absences)
    return ChangeOutcome(row, ChangeState.UNKNOWN, seconds=seconds, absences=absences, look_up=True)


def is_as_requested(row: ChangeRow, shown: OrderTerms) -> bool:
    """Return whether an order has what the change requested. What it left alone does not count."""
    fields = row.request.fields
    if OrderField.QUANTITY in fields and shown.quantity != row.quantity:
        return False
    if OrderField.PRICE not in fields:
        return True
    changed = [
        (new, current)
        for old, new, current in (
            (row.old_limit_price, row.limit_price, shown.limit_price),
            (row.old_stop_price, row.stop_price, shown.stop_price),
        )
        if old != new
    ]
    return all(new == current for new, current in changed)


def not_made(row: ChangeRow, code: Code, detail: str = "") -> ChangeOutcome:
    """Return the outcome of a change that the broker certainly has not made."""
    return ChangeOutcome(row, ChangeState.REFUSED, code, detail, shown=row.old_terms)


def stored_terms(row: ChangeRow, shown: OrderTerms) -> OrderTerms:
    """Return the terms to store. A quantity counts only if the change was about it.

    Some brokers list what is left of an order.
    """
    if OrderField.QUANTITY in row.request.fields:
        return shown
    return replace(shown, quantity=row.old_quantity)
