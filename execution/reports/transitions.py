"""The status transitions of an order, and which report causes which. Pure."""

from dataclasses import dataclass
from decimal import Decimal

from brokers.types import OrderReport, OrderType, ReportKind
from common.reason_codes import Code
from execution.models import AT_BROKER, IN_FLIGHT, PendingAction, Status

S = Status

# The database refuses every other move: execution/migrations/sql/order_status.sql.
ALLOWED: dict[tuple[Status, Status], str] = {
    (S.PENDING, S.SUBMITTING): "the intent is committed",
    (S.PENDING, S.DENIED): "our rules; never sent",
    (S.PENDING, S.CANCELLED): "closed, cancelled or halted before it was sent",
    (S.PENDING, S.EXPIRED): "valid_until passed before it was sent",
    (S.PENDING, S.FAILED): "quarantined before it was sent",
    (S.PENDING, S.SUBMITTED): "an earlier send, assumed not to have happened, did arrive",
    (S.PENDING, S.PARTIALLY_FILLED): "an earlier send, assumed not to have happened, did arrive",
    (S.PENDING, S.FILLED): "an earlier send, assumed not to have happened, did arrive",
    (S.PENDING, S.UNKNOWN): "the database was restored: it may have been sent since",
    (S.PENDING, S.REJECTED): "an earlier send, assumed not to have happened, did arrive",
    (S.SUBMITTING, S.SUBMITTED): "accepted by the broker",
    (S.SUBMITTING, S.PARTIALLY_FILLED): "filled in part in the reply",
    (S.SUBMITTING, S.FILLED): "market orders may skip SUBMITTED; the log gets the implied step",
    (S.SUBMITTING, S.REJECTED): "reported by the broker",
    (S.SUBMITTING, S.CANCELLED): "reported by the broker",
    (S.SUBMITTING, S.EXPIRED): "IOC or FOK without a price",
    (S.SUBMITTING, S.PENDING): "NotSent, or a retryable rejection of the first attempt",
    (S.SUBMITTING, S.FAILED): "NotSent, and the retries are exhausted or the login is refused",
    (S.SUBMITTING, S.UNKNOWN): "the reply or the process was lost",
    (S.UNKNOWN, S.SUBMITTED): "found at the broker",
    (S.UNKNOWN, S.PARTIALLY_FILLED): "found at the broker",
    (S.UNKNOWN, S.FILLED): "found at the broker",
    (S.UNKNOWN, S.REJECTED): "found at the broker",
    (S.UNKNOWN, S.CANCELLED): "found at the broker",
    (S.UNKNOWN, S.EXPIRED): "found at the broker",
    (S.UNKNOWN, S.PENDING): "absence confirmed twice: an exit is sent again with the same id",
    (S.UNKNOWN, S.FAILED): "absence confirmed twice: NEVER_ARRIVED",
    (S.SUBMITTED, S.PARTIALLY_FILLED): "reported by the broker",
    (S.SUBMITTED, S.FILLED): "reported by the broker",
    (S.SUBMITTED, S.CANCEL_REQUESTED): "our cancel request",
    (S.SUBMITTED, S.CANCELLED): "reported by the broker",
    (S.SUBMITTED, S.EXPIRED): "reported by the broker",
    (S.SUBMITTED, S.REJECTED): "the broker revoked its acceptance",
    (S.SUBMITTED, S.UNKNOWN): "the session was lost with it",
    (S.PARTIALLY_FILLED, S.FILLED): "reported by the broker",
    (S.PARTIALLY_FILLED, S.CANCEL_REQUESTED): "our cancel request",
    (S.PARTIALLY_FILLED, S.CANCELLED): "reported by the broker, or it refused the rest",
    (S.PARTIALLY_FILLED, S.EXPIRED): "reported by the broker",
    (S.PARTIALLY_FILLED, S.UNKNOWN): "the database was restored: queried again",
    (S.CANCEL_REQUESTED, S.UNKNOWN): "the database was restored: queried again",
    (S.CANCEL_REQUESTED, S.CANCELLED): "reported by the broker",
    (S.CANCEL_REQUESTED, S.EXPIRED): "its time in force ended first",
    (S.CANCEL_REQUESTED, S.PARTIALLY_FILLED): "a fill overtook our cancel",
    (S.CANCEL_REQUESTED, S.FILLED): "a fill overtook our cancel",
    (S.CANCEL_REQUESTED, S.SUBMITTED): "the cancel was refused",
    (S.CANCEL_REQUESTED, S.REJECTED): "the broker revoked its acceptance",
    (S.CANCELLED, S.FILLED): "a late fill wins",
    (S.CANCELLED, S.SUBMITTED): "withdrawn as never sent, but live at the broker",
    (S.EXPIRED, S.FILLED): "a late fill wins",
    (S.EXPIRED, S.SUBMITTED): "withdrawn as never sent, but live at the broker",
    (S.REJECTED, S.FILLED): "a late fill wins",
    (S.REJECTED, S.PARTIALLY_FILLED): "a late fill wins",
    (S.FAILED, S.FILLED): "a late fill wins",
    (S.FAILED, S.PARTIALLY_FILLED): "a late fill wins",
    (S.FAILED, S.SUBMITTED): "confirmed absent, but live at the broker",
    (S.FAILED, S.REJECTED): "confirmed absent, but rejected by the broker",
    (S.FAILED, S.CANCELLED): "confirmed absent, but ended at the broker",
    (S.FAILED, S.EXPIRED): "confirmed absent, but ended at the broker",
    (S.FAILED, S.PENDING): "retried by an operator; or an exit that a restore had held back",
}

MAX_TRIES = 5
# An entry that ends each process that sends it takes no more with it. What was in hand with it is
# executed apart (`recovery/isolation.py`), so that it does not fail as well.
MAX_LOST_WORKERS = 3
RETRYABLE = frozenset({Code.REQUOTE, Code.PRICE_INVALID})
# An exit's size is computed again, by what the broker lists now.
RETRYABLE_EXITS = RETRYABLE | {Code.VOLUME_INVALID}
# Only the owner can fix these, and a broker locks an account after too many failed logins.
LOGIN_REFUSED = frozenset(
    {Code.CREDENTIALS_REFUSED, Code.ACCOUNT_MISMATCH, Code.UNKNOWN_ACCOUNT, Code.NO_CREDENTIALS}
)
# The broker is unreachable, or does not let the account trade now: usually temporary.
NOT_REACHED = frozenset({
    Code.NOT_CONNECTED, Code.BROKER_UNREACHABLE, Code.CLIENT_ID_IN_USE, Code.TRADING_DISABLED,
})  # fmt: skip
# The call itself was valid, but there was no time, token, permission, connection or open market for
# it. It does not count as a try; validity and age end the order.
DEFERRED = NOT_REACHED | {
    Code.SEND_DEADLINE, Code.RATE_LIMITED, Code.KILL_SWITCH, Code.SESSION_MOVED, Code.MARKET_CLOSED,
}  # fmt: skip
DEFERRED_SECONDS, MAX_DEFERRED_SECONDS = 1.0, 10.0
NOT_REACHED_SECONDS, MAX_NOT_REACHED_SECONDS = 0.5, 4.0  # the maximum is for market orders
NEVER_FILLED = frozenset({S.SKIPPED, S.DENIED})
ENDINGS = frozenset({ReportKind.CANCELLED, ReportKind.EXPIRED, ReportKind.REJECTED})
LATE = frozenset({S.CANCELLED, S.EXPIRED, S.REJECTED, S.FAILED})

# The broker knows our cancel, not its cause: by the pending action.
_CANCELLED_FOR: dict[str, Code] = {
    PendingAction.EXPIRE: Code.VALID_UNTIL_ENDED, PendingAction.PASSED: Code.LEVEL_PAST_ENTRY,
}  # fmt: skip


class IllegalTransitionError(Exception):
    """Our own code attempted a transition that is not in the table."""


def require(current: Status, to: Status) -> None:
    """Raise IllegalTransitionError unless the table allows the transition."""
    if (current, to) not in ALLOWED:
        raise IllegalTransitionError(f"{current} → {to}")


@dataclass(slots=True)
class State:
    """The state of an order between two reports of a batch; each report updates it.

    quantity and filled: base units. unacknowledged: the broker has not reported on it yet, so if it
    has ended, that was our own decision. pending_action: why we cancel it. passed_detail: which
    level has passed its price, if that is why.
    """

    status: Status
    quantity: Decimal
    filled: Decimal
    attempt: int
    send_retries: int
    fence: int
    is_exit: bool
    unacknowledged: bool = False
    pending_action: str = ""
    passed_detail: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """The next status of an order, and the reason."""

    status: Status
    code: Code | None = None
    detail: str = ""
    next_attempt: int = 0  # 1: send with another attempt digit; -1: the previous attempt is live
    next_try: bool = False
    is_deferred: bool = False  # it waits; this does not count as a try


def deferral_seconds(order_type: str, waited: float | None) -> float:
    """Return after how many seconds a deferred entry is tried again. Pure.

    waited: seconds since it began to wait, None if it has not. A market order is tried again soon;
    others less often the longer they wait.
    """
    if order_type == OrderType.MARKET or waited is None:
        return DEFERRED_SECONDS
    return min(max(waited / 4, DEFERRED_SECONDS), MAX_DEFERRED_SECONDS)


def not_reached_seconds(order_type: str, age: float) -> float:
    """Return after how many seconds an entry is sent again if its broker was unreachable. Pure.

    age: the order's, in seconds. The pause equals the age, so each pause is twice the one before.
    It stays short for a market order, which is then sent soon after the broker is back.
    """
    is_market = order_type == OrderType.MARKET
    maximum = MAX_NOT_REACHED_SECONDS if is_market else MAX_DEFERRED_SECONDS
    return min(max(age, NOT_REACHED_SECONDS), maximum)


def after_fill(state: State, filled: Decimal) -> Transition:
    """Return the transition for new executions. filled: the total with them. A fill always wins.

    An order that the broker cancelled or expired stays so if only a part of it filled: the rows are
    the same whichever report arrived first. A rejection or a confirmed absence was wrong, so the
    status changes.
    """
    late = Code.LATE_FILL if state.status in LATE else None
    if filled >= state.quantity or state.status == S.FILLED:  # it was full and has been corrected
        return Transition(S.FILLED, late)
    if state.status in (S.CANCEL_REQUESTED, S.CANCELLED, S.EXPIRED):
        return Transition(state.status, late)
    return Transition(S.PARTIALLY_FILLED, late)


def after_report(state: State, report: OrderReport) -> Transition | None:
    """Return the transition for a report without new executions; None: it changes nothing."""
    if _was_withdrawn(state) and report.kind in ENDINGS:  # confirmed by the broker
        return Transition(state.status, report.code, report.detail)
    match report.kind:
        case ReportKind.ACCEPTED:
            return _after_acceptance(state)
        case ReportKind.CHANGED:  # `terms.py` has written the quantity
            is_full = state.status in AT_BROKER and state.filled >= state.quantity
            return Transition(S.FILLED, Code.ORDER_CHANGED) if is_full else None
        case ReportKind.FILLED:  # no new fill: it had filled before it was UNKNOWN
            if state.status not in IN_FLIGHT or not state.filled:
                return None
            return Transition(S.FILLED if state.filled >= state.quantity else S.PARTIALLY_FILLED)
        case ReportKind.REJECTED:
            return _after_rejection(state, report)
        case ReportKind.CANCELLED | ReportKind.EXPIRED:
            if state.status not in (*IN_FLIGHT, *AT_BROKER, S.PENDING, S.FAILED):
                return None
            ended = S.CANCELLED if report.kind == ReportKind.CANCELLED else S.EXPIRED
            code = _ending_code(state, report)
            of_level = state.passed_detail if code is Code.LEVEL_PAST_ENTRY else ""
            return Transition(ended, code, report.detail or of_level)
        case ReportKind.CANCEL_REFUSED:
            if state.status != S.CANCEL_REQUESTED:
                return None
            back = S.PARTIALLY_FILLED if state.filled else S.SUBMITTED
            return Transition(back, report.code, report.detail)
        case ReportKind.NOT_SENT | ReportKind.UNKNOWN:
            return _after_decision(state, report)
        case _:
            return None


def _ending_code(state: State, report: OrderReport) -> Code | None:
    """Return why an order was cancelled or expired: the broker knows our cancel, not its cause."""
    is_ours = report.kind == ReportKind.CANCELLED and report.code in (None, Code.OWNER_CANCELLED)
    return _CANCELLED_FOR.get(state.pending_action, report.code) if is_ours else report.code


def _after_acceptance(state: State) -> Transition | None:
    """Return the transition for an acceptance. It wins: an order that we had given up is live."""
    if state.status in IN_FLIGHT:
        return Transition(S.PARTIALLY_FILLED if state.filled else S.SUBMITTED)
    given_up = (
        S.PENDING,
        S.FAILED,
        *NEVER_FILLED,
    )  # the table allows none from NEVER_FILLED: drift
    if _was_withdrawn(state) or state.status in given_up:
        return Transition(S.SUBMITTED, Code.UNEXPECTEDLY_LIVE)
    return None


def _was_withdrawn(state: State) -> bool:
    """Return whether we ended the order ourselves, as never sent."""
    return state.unacknowledged and state.status in (S.CANCELLED, S.EXPIRED)


def previous_attempt_live(state: State, attempt: int) -> Transition | None:
    """Return the transition if a retry has not been sent yet and the previous attempt is live.

    attempt: the one that the broker has accepted. Sending the retry would duplicate the order.
    """
    if state.status == S.PENDING and attempt == state.attempt - 1:
        return Transition(S.SUBMITTED, Code.UNEXPECTEDLY_LIVE, next_attempt=-1)
    return None


def _after_rejection(state: State, report: OrderReport) -> Transition | None:
    """Return the transition for a rejection; a retryable one of the first attempt is sent again.

    Of an order that has executed in part it is a statement about the rest: that has ended.
    """
    code = report.code or Code.REJECTED_BY_BROKER
    if state.filled and state.status in (*IN_FLIGHT, *AT_BROKER):
        return Transition(S.CANCELLED, code, report.detail)
    if state.status not in (*IN_FLIGHT, S.SUBMITTED, S.CANCEL_REQUESTED, S.PENDING, S.FAILED):
        return None
    is_first_reply = state.status in (S.SUBMITTING, S.PENDING)
    retryable = RETRYABLE_EXITS if state.is_exit else RETRYABLE
    if is_first_reply and report.code in retryable and state.attempt == 0:
        return Transition(S.PENDING, report.code, report.detail, next_attempt=1)
    return Transition(S.REJECTED, code, report.detail)


def _after_decision(state: State, report: OrderReport) -> Transition | None:
    """Return the transition for our own decision about a call; None if the fencing token is stale.

    An exit is retried until its position is closed, because the position is still open however long
    the broker is unreachable. The kill switch and a lane that another process has taken do not
    count as a try: the exit is sent when the switch is released, or by the other process. An entry
    is not retried if the login is refused. What only defers it (DEFERRED) does not count as a try.
    """
    if state.status != S.SUBMITTING or state.fence != report.fence:
        return None
    if report.kind == ReportKind.UNKNOWN:
        return Transition(S.UNKNOWN, report.code or Code.REPLY_LOST, report.detail)
    if state.is_exit:
        counts = report.code not in (Code.KILL_SWITCH, Code.SESSION_MOVED)
        return Transition(S.PENDING, report.code, report.detail, next_try=counts)
    if report.code in LOGIN_REFUSED:
        return Transition(S.FAILED, report.code, report.detail)
    if report.code in DEFERRED:
        return Transition(S.PENDING, report.code, report.detail, is_deferred=True)
    tries = MAX_LOST_WORKERS if report.code is Code.WORKER_LOST_UNSENT else MAX_TRIES
    if state.send_retries + 1 >= tries:
        return Transition(
            S.FAILED, Code.SEND_RETRIES_EXHAUSTED, f"Last: {report.code} {report.detail}"
        )
    return Transition(S.PENDING, report.code, report.detail, next_try=True)
