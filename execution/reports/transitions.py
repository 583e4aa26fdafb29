"""The states of an order, and what each report does to them. Pure: no database, no clock."""

from dataclasses import dataclass
from decimal import Decimal

from brokers.types import OrderReport, OrderType, ReportKind
from common.reason_codes import Code
from execution.models import AT_BROKER, IN_FLIGHT, Status

S = Status

# The database refuses every other move: execution/migrations/sql/order_status.sql.
ALLOWED: dict[tuple[Status, Status], str] = {
    (S.PENDING, S.SUBMITTING): "the intent is on disk",
    (S.PENDING, S.DENIED): "our rules; no broker heard of it",
    (S.PENDING, S.CANCELLED): "closed, cancelled or halted before it was sent",
    (S.PENDING, S.EXPIRED): "valid_until passed before it was sent",
    (S.PENDING, S.FAILED): "poisoned before the dispatcher",
    (S.PENDING, S.SUBMITTED): "an earlier send, thought not to have happened, did arrive",
    (S.PENDING, S.PARTIALLY_FILLED): "an earlier send, thought not to have happened, did arrive",
    (S.PENDING, S.FILLED): "an earlier send, thought not to have happened, did arrive",
    (S.PENDING, S.UNKNOWN): "the database was restored: it may have been sent since",
    (S.PENDING, S.REJECTED): "an earlier send, thought not to have happened, did arrive",
    (S.SUBMITTING, S.SUBMITTED): "the broker has it",
    (S.SUBMITTING, S.PARTIALLY_FILLED): "filled in part in the reply",
    (S.SUBMITTING, S.FILLED): "market orders may skip SUBMITTED; the log gets the implied step",
    (S.SUBMITTING, S.REJECTED): "the broker's word",
    (S.SUBMITTING, S.CANCELLED): "the broker's word",
    (S.SUBMITTING, S.EXPIRED): "IOC or FOK without a price",
    (S.SUBMITTING, S.PENDING): "NotSent, or a retryable refusal at the first attempt",
    (S.SUBMITTING, S.FAILED): "NotSent, send_retries spent or login refused",
    (S.SUBMITTING, S.UNKNOWN): "reply lost, or its process gone",
    (S.UNKNOWN, S.SUBMITTED): "found at the broker",
    (S.UNKNOWN, S.PARTIALLY_FILLED): "found at the broker",
    (S.UNKNOWN, S.FILLED): "found at the broker",
    (S.UNKNOWN, S.REJECTED): "found at the broker",
    (S.UNKNOWN, S.CANCELLED): "found at the broker",
    (S.UNKNOWN, S.EXPIRED): "found at the broker",
    (S.UNKNOWN, S.PENDING): "absence proven twice: an exit is sent again under the same id",
    (S.UNKNOWN, S.FAILED): "absence proven twice: NEVER_ARRIVED",
    (S.SUBMITTED, S.PARTIALLY_FILLED): "the broker's word",
    (S.SUBMITTED, S.FILLED): "the broker's word",
    (S.SUBMITTED, S.CANCEL_REQUESTED): "we asked",
    (S.SUBMITTED, S.CANCELLED): "the broker's word",
    (S.SUBMITTED, S.EXPIRED): "the broker's word",
    (S.SUBMITTED, S.REJECTED): "the broker took its acceptance back",
    (S.SUBMITTED, S.UNKNOWN): "the session was lost with it",
    (S.PARTIALLY_FILLED, S.FILLED): "the broker's word",
    (S.PARTIALLY_FILLED, S.CANCEL_REQUESTED): "we asked",
    (S.PARTIALLY_FILLED, S.CANCELLED): "the broker's word",
    (S.PARTIALLY_FILLED, S.EXPIRED): "the broker's word",
    (S.PARTIALLY_FILLED, S.UNKNOWN): "the database was restored: asked anew",
    (S.CANCEL_REQUESTED, S.UNKNOWN): "the database was restored: asked anew",
    (S.CANCEL_REQUESTED, S.CANCELLED): "the broker's word",
    (S.CANCEL_REQUESTED, S.EXPIRED): "its time in force ended first",
    (S.CANCEL_REQUESTED, S.PARTIALLY_FILLED): "a fill overtook our cancel",
    (S.CANCEL_REQUESTED, S.FILLED): "a fill overtook our cancel",
    (S.CANCEL_REQUESTED, S.SUBMITTED): "the cancel was refused",
    (S.CANCEL_REQUESTED, S.REJECTED): "the broker took its acceptance back",
    (S.CANCELLED, S.FILLED): "a late fill wins",
    (S.CANCELLED, S.SUBMITTED): "withdrawn as never sent, and the broker has it",
    (S.EXPIRED, S.FILLED): "a late fill wins",
    (S.EXPIRED, S.SUBMITTED): "withdrawn as never sent, and the broker has it",
    (S.REJECTED, S.FILLED): "a late fill wins",
    (S.REJECTED, S.PARTIALLY_FILLED): "a late fill wins",
    (S.FAILED, S.FILLED): "a late fill wins",
    (S.FAILED, S.PARTIALLY_FILLED): "a late fill wins",
    (S.FAILED, S.SUBMITTED): "called absent, and the broker has it",
    (S.FAILED, S.REJECTED): "called absent, and the broker refused it",
    (S.FAILED, S.CANCELLED): "called absent, and the broker had it",
    (S.FAILED, S.EXPIRED): "called absent, and the broker had it",
    (S.FAILED, S.PENDING): "an operator's retry; an exit that a restore held back",
}

MAX_TRIES = 5
RETRYABLE = frozenset({Code.REQUOTE, Code.PRICE_INVALID})
# Nothing but an owner mends these, and a broker locks accounts that are tried too often.
LOGIN_REFUSED = frozenset(
    {Code.CREDENTIALS_REFUSED, Code.ACCOUNT_MISMATCH, Code.UNKNOWN_ACCOUNT, Code.NO_CREDENTIALS}
)
# The broker could not be reached, or lets the account not trade now: it passes without anybody.
NOT_REACHED = frozenset({
    Code.NOT_CONNECTED, Code.BROKER_UNREACHABLE, Code.CLIENT_ID_IN_USE, Code.TRADING_DISABLED,
})  # fmt: skip
# Nothing was wrong with the call: it had no time, no token, no leave to go, no broker, or its
# symbol no price yet. No try is counted; validity and age end it.
DEFERRED = NOT_REACHED | {
    Code.SEND_DEADLINE, Code.RATE_LIMITED, Code.KILL_SWITCH, Code.SESSION_MOVED, Code.MARKET_CLOSED,
}  # fmt: skip
DEFERRED_SECONDS, MAX_DEFERRED_SECONDS = 1.0, 10.0
NOT_REACHED_SECONDS, MAX_NOT_REACHED_SECONDS = 0.5, 4.0  # the latter of a market order's
NEVER_FILLED = frozenset({S.SKIPPED, S.DENIED})
ENDINGS = frozenset({ReportKind.CANCELLED, ReportKind.EXPIRED, ReportKind.REJECTED})
LATE = frozenset({S.CANCELLED, S.EXPIRED, S.REJECTED, S.FAILED})


class IllegalTransitionError(Exception):
    """Our own program wanted a move that the table does not know."""


def require(current: Status, to: Status) -> None:
    """Raise IllegalTransitionError unless the table allows the move."""
    if (current, to) not in ALLOWED:
        raise IllegalTransitionError(f"{current} → {to}")


@dataclass(slots=True)
class State:
    """What a report is judged against; moved on from one report of a flush to the next.

    quantity and filled: base units. unacknowledged: the broker has said nothing of it yet, so its
    end was our own decision.
    """

    status: Status
    quantity: Decimal
    filled: Decimal
    attempt: int
    send_retries: int
    fence: int
    is_exit: bool
    unacknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Transition:
    """Where an order goes, and why."""

    status: Status
    code: Code | None = None
    detail: str = ""
    next_attempt: int = 0  # 1: the next send has another attempt digit; -1: the last one lives
    next_try: bool = False
    is_deferred: bool = False  # it only waits: no try is counted


def deferral_seconds(order_type: str, waited: float | None) -> float:
    """Return after how long a deferred entry is tried again. Pure.

    waited: seconds since it began to wait, if it did. One at market cannot wait; any other is asked
    about the less often the longer it waits.
    """
    if order_type == OrderType.MARKET or waited is None:
        return DEFERRED_SECONDS
    return min(max(waited / 4, DEFERRED_SECONDS), MAX_DEFERRED_SECONDS)


def not_reached_seconds(order_type: str, age: float) -> float:
    """Return after how long an entry is sent again whose broker could not be reached. Pure.

    age: the order's, in seconds. The pause is as long as that, so each is twice the one before; of
    an order at market it stays so short that the entry leaves soon after the broker is back.
    """
    at_market = order_type == OrderType.MARKET
    longest = MAX_NOT_REACHED_SECONDS if at_market else MAX_DEFERRED_SECONDS
    return min(max(age, NOT_REACHED_SECONDS), longest)


def after_fill(state: State, filled: Decimal) -> Transition:
    """The step that new executions make; `filled` is the total with them. A fill always wins.

    An order whose end the broker told stays ended when only a part of it filled: the same rows
    whichever of the two reports came first. A rejection or an absence was wrong, so it moves.
    """
    late = Code.LATE_FILL if state.status in LATE else None
    if filled >= state.quantity or state.status == S.FILLED:  # full, and corrected since
        return Transition(S.FILLED, late)
    if state.status in (S.CANCEL_REQUESTED, S.CANCELLED, S.EXPIRED):
        return Transition(state.status, late)
    return Transition(S.PARTIALLY_FILLED, late)


def after_report(state: State, report: OrderReport) -> Transition | None:
    """The step that a report without new executions makes; None: it changes nothing."""
    if _was_withdrawn(state) and report.kind in ENDINGS:
        return Transition(
            state.status, report.code, report.detail
        )  # it stays ended, and is known to be
    match report.kind:
        case ReportKind.ACCEPTED:
            return _after_acceptance(state)
        case ReportKind.FILLED:  # nothing new: what had filled before it was UNKNOWN
            if state.status not in IN_FLIGHT or not state.filled:
                return None
            return Transition(S.FILLED if state.filled >= state.quantity else S.PARTIALLY_FILLED)
        case ReportKind.REJECTED:
            return _after_rejection(state, report)
        case ReportKind.CANCELLED | ReportKind.EXPIRED:
            if state.status not in (*IN_FLIGHT, *AT_BROKER, S.PENDING, S.FAILED):
                return None
            ended = S.CANCELLED if report.kind == ReportKind.CANCELLED else S.EXPIRED
            return Transition(ended, report.code, report.detail)
        case ReportKind.CANCEL_REFUSED:
            if state.status != S.CANCEL_REQUESTED:
                return None
            back = S.PARTIALLY_FILLED if state.filled else S.SUBMITTED
            return Transition(back, report.code, report.detail)
        case ReportKind.NOT_SENT | ReportKind.UNKNOWN:
            return _after_decision(state, report)
        case _:
            return None


def _after_acceptance(state: State) -> Transition | None:
    """A fact wins: what we had given up is live again, and people are told."""
    if state.status in IN_FLIGHT:
        return Transition(S.PARTIALLY_FILLED if state.filled else S.SUBMITTED)
    given_up = (S.PENDING, S.FAILED, *NEVER_FILLED)  # of the last no move is allowed: drift
    if _was_withdrawn(state) or state.status in given_up:
        return Transition(S.SUBMITTED, Code.UNEXPECTEDLY_LIVE)
    return None


def _was_withdrawn(state: State) -> bool:
    """Whether we ended it ourselves, as never sent."""
    return state.unacknowledged and state.status in (S.CANCELLED, S.EXPIRED)


def previous_attempt_live(state: State, attempt: int) -> Transition | None:
    """An operator had it tried again, and before that was sent the attempt before shows up alive.

    attempt: the one that the broker has accepted. Sent again it would be there twice.
    """
    if state.status == S.PENDING and attempt == state.attempt - 1:
        return Transition(S.SUBMITTED, Code.UNEXPECTEDLY_LIVE, next_attempt=-1)
    return None


def _after_rejection(state: State, report: OrderReport) -> Transition | None:
    if state.status == S.CANCEL_REQUESTED and state.filled:
        return None
    if state.status not in (*IN_FLIGHT, S.SUBMITTED, S.CANCEL_REQUESTED, S.PENDING, S.FAILED):
        return None
    waits = state.status in (S.SUBMITTING, S.PENDING)
    if waits and report.code in RETRYABLE and state.attempt == 0:
        return Transition(S.PENDING, report.code, report.detail, next_attempt=1)
    return Transition(S.REJECTED, report.code or Code.REJECTED_BY_BROKER, report.detail)


def _after_decision(state: State, report: OrderReport) -> Transition | None:
    """Ours only while the fence is: a stale process's decision bounces off.

    An exit is tried until its position is closed: a wish to close does not lapse because a broker
    cannot be reached. The kill switch costs it no try, nor does a lane that another process has
    taken; it goes out when the switch is released, or from there. An entry is not tried again where
    the login is what is refused, and what only kept it waiting (DEFERRED) costs it no try: an
    account can be read while its orders do not leave, so nothing else would have it wait.
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
    if state.send_retries + 1 >= MAX_TRIES:
        return Transition(
            S.FAILED, Code.SEND_RETRIES_EXHAUSTED, f"Last: {report.code} {report.detail}"
        )
    return Transition(S.PENDING, report.code, report.detail, next_try=True)
