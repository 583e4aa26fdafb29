"""The complete transition table, and the effect of each report in each state. No I/O."""

from decimal import Decimal as D
from itertools import product

import pytest

from brokers.types import OrderReport, OrderType, ReportKind
from common.reason_codes import Code
from execution.models import AT_BROKER, IN_FLIGHT, LIVE, TERMINAL, UNSENT, Status
from execution.reports.transitions import (
    ALLOWED,
    DEFERRED,
    LOGIN_REFUSED,
    MAX_TRIES,
    NOT_REACHED,
    IllegalTransitionError,
    State,
    Transition,
    after_fill,
    after_report,
    deferral_seconds,
    not_reached_seconds,
    previous_attempt_live,
    require,
)

S, K = Status, ReportKind
TABLE = """
PENDING: SUBMITTING DENIED CANCELLED EXPIRED FAILED SUBMITTED PARTIALLY_FILLED FILLED REJECTED
PENDING: UNKNOWN
SUBMITTING: SUBMITTED PARTIALLY_FILLED FILLED REJECTED CANCELLED EXPIRED PENDING FAILED UNKNOWN
UNKNOWN: SUBMITTED PARTIALLY_FILLED FILLED REJECTED CANCELLED EXPIRED PENDING FAILED
SUBMITTED: PARTIALLY_FILLED FILLED CANCEL_REQUESTED CANCELLED EXPIRED REJECTED UNKNOWN
PARTIALLY_FILLED: FILLED CANCEL_REQUESTED CANCELLED EXPIRED UNKNOWN
CANCEL_REQUESTED: CANCELLED EXPIRED PARTIALLY_FILLED FILLED SUBMITTED REJECTED UNKNOWN
CANCELLED: FILLED SUBMITTED
EXPIRED: FILLED SUBMITTED
REJECTED: FILLED PARTIALLY_FILLED
FAILED: FILLED PARTIALLY_FILLED PENDING SUBMITTED REJECTED CANCELLED EXPIRED
FILLED:
SKIPPED:
DENIED:
"""
ARROWS = {
    (S(line.partition(":")[0]), S(to))
    for line in TABLE.split("\n")
    if line
    for to in line.partition(":")[2].split()
}


def state(status: Status, **fields: object) -> State:
    usual = {"quantity": D(100), "filled": D(0), "attempt": 0, "send_retries": 0, "fence": 3}
    return State(status, **{**usual, "is_exit": False, **fields})  # type: ignore[arg-type]


def report_of(
    kind: ReportKind, code: Code | None = None, fence: int = 0, detail: str = ""
) -> OrderReport:
    return OrderReport(kind, "c", "x0", code=code, fence=fence, detail=detail)


def test_transition_table_is_complete_and_each_transition_has_a_reason() -> None:
    assert set(ALLOWED) == ARROWS
    assert all(ALLOWED.values())


@pytest.mark.parametrize(("before", "after"), list(product(S, S)))
def test_moves_outside_the_table_raise(before: Status, after: Status) -> None:
    if (before, after) in ARROWS:
        require(before, after)
    else:
        with pytest.raises(IllegalTransitionError, match=f"^{before} → {after}$"):
            require(before, after)


def test_every_status_is_in_its_groups() -> None:
    assert set(S) == {*TERMINAL, S.PENDING, *LIVE}
    assert not set(TERMINAL) & {S.PENDING, *LIVE}
    assert {*IN_FLIGHT, *AT_BROKER, *UNSENT, S.FILLED, S.REJECTED} == set(S)


@pytest.mark.parametrize("status", [s for s in S if s not in (S.SKIPPED, S.DENIED)])
def test_full_fill_wins_over_every_status(status: Status) -> None:
    step = after_fill(state(status), D(100))
    assert step.status == S.FILLED
    if status != S.FILLED:
        require(status, step.status)
    late = status in (S.CANCELLED, S.EXPIRED, S.REJECTED, S.FAILED)
    assert step.code == (Code.LATE_FILL if late else None)


@pytest.mark.parametrize(
    ("status", "after"),
    [
        (S.SUBMITTING, S.PARTIALLY_FILLED),
        (S.UNKNOWN, S.PARTIALLY_FILLED),
        (S.SUBMITTED, S.PARTIALLY_FILLED),
        (S.PARTIALLY_FILLED, S.PARTIALLY_FILLED),
        (S.CANCEL_REQUESTED, S.CANCEL_REQUESTED),
        (S.CANCELLED, S.CANCELLED),
        (S.EXPIRED, S.EXPIRED),
        (S.REJECTED, S.PARTIALLY_FILLED),
        (S.FAILED, S.PARTIALLY_FILLED),
        (S.PENDING, S.PARTIALLY_FILLED),
    ],
)
def test_partial_fill_ends_nothing_and_revives_only_wrong_ends(
    status: Status, after: Status
) -> None:
    late = status in (S.CANCELLED, S.EXPIRED, S.REJECTED, S.FAILED)
    expected = Transition(after, Code.LATE_FILL if late else None)
    assert after_fill(state(status), D(99)) == expected


def test_filled_order_stays_filled_when_its_quantity_was_corrected() -> None:
    assert after_fill(state(S.FILLED), D(99)) == Transition(S.FILLED)


# Every cell of state × report: where the order goes. `·` nothing changes, `=` it stays and what
# was reported is kept, `!` a contradiction that becomes drift. CANCELLED and EXPIRED twice: the
# broker reported it, or (`-ours`) we withdrew an order taken as never sent.
CELLS = """
                   ACCEPTED   REJECTED  CANCELLED  EXPIRED  CANCEL_REFUSED  NOT_SENT  UNKNOWN
PENDING            SUBMITTED  REJECTED  CANCELLED  EXPIRED  ·               ·         ·
SUBMITTING         SUBMITTED  REJECTED  CANCELLED  EXPIRED  ·               PENDING   UNKNOWN
UNKNOWN            SUBMITTED  REJECTED  CANCELLED  EXPIRED  ·               ·         ·
SUBMITTED          ·          REJECTED  CANCELLED  EXPIRED  ·               ·         ·
PARTIALLY_FILLED   ·          CANCELLED CANCELLED  EXPIRED  ·               ·         ·
CANCEL_REQUESTED   ·          REJECTED  CANCELLED  EXPIRED  SUBMITTED       ·         ·
FILLED             ·          ·         ·          ·        ·               ·         ·
SKIPPED            !          ·         ·          ·        ·               ·         ·
DENIED             !          ·         ·          ·        ·               ·         ·
REJECTED           ·          ·         ·          ·        ·               ·         ·
FAILED             SUBMITTED  REJECTED  CANCELLED  EXPIRED  ·               ·         ·
CANCELLED          ·          ·         ·          ·        ·               ·         ·
CANCELLED-ours     SUBMITTED  =         =          =        ·               ·         ·
EXPIRED            ·          ·         ·          ·        ·               ·         ·
EXPIRED-ours       SUBMITTED  =         =          =        ·               ·         ·
"""


def cells() -> list[tuple[str, ReportKind, str]]:
    head, *lines = [line.split() for line in CELLS.splitlines() if line]
    named = ((name, zip(head, tos, strict=True)) for name, *tos in lines)
    return [(name, K(kind), to) for name, row in named for kind, to in row]


def test_every_status_and_report_is_covered() -> None:
    # They do not change the state: see after_fill, and terms.py.
    quiet = {K.FILLED, K.LEVELS, K.CHANGED}
    named = {(name.partition("-")[0], kind) for name, kind, _ in cells()}
    assert named == {(status.value, kind) for status, kind in product(S, set(K) - quiet)}
    for kind, status in product(quiet, S):
        assert after_report(state(status, unacknowledged=True), report_of(kind)) is None


@pytest.mark.parametrize(("name", "kind", "to"), cells())
def test_each_report_in_each_status_has_its_effect(name: str, kind: ReportKind, to: str) -> None:
    status, _, ours = name.partition("-")
    before = state(S(status), unacknowledged=bool(ours), filled=D(5 if "PARTIALLY" in name else 0))
    step = after_report(before, report_of(kind, fence=3))
    if to == "·":
        assert step is None
    elif to == "!":
        with pytest.raises(IllegalTransitionError):
            require(before.status, step.status if step else before.status)
    else:
        assert step is not None
        assert step.status == (before.status if to == "=" else S(to))
        if to != "=":
            require(before.status, step.status)


@pytest.mark.parametrize(
    ("before", "kind", "after"),
    [
        (state(S.CANCELLED, unacknowledged=True), K.CANCELLED, S.CANCELLED),
        (state(S.SUBMITTED), K.CANCELLED, S.CANCELLED),
        (state(S.SUBMITTED), K.EXPIRED, S.EXPIRED),
        (state(S.SUBMITTED), K.REJECTED, S.REJECTED),
        (state(S.CANCEL_REQUESTED), K.CANCEL_REFUSED, S.SUBMITTED),
        (state(S.SUBMITTING), K.UNKNOWN, S.UNKNOWN),
    ],
)
def test_code_and_detail_of_a_report_are_kept(
    before: State, kind: ReportKind, after: Status
) -> None:
    report = report_of(kind, Code.NO_MONEY, fence=3, detail="margin 12")
    assert after_report(before, report) == Transition(after, Code.NO_MONEY, "margin 12")


def test_requote_keeps_its_detail() -> None:
    report = report_of(K.REJECTED, Code.REQUOTE, detail="1.1002")
    assert after_report(state(S.SUBMITTING), report) == Transition(
        S.PENDING, Code.REQUOTE, "1.1002", next_attempt=1
    )


def test_lost_reply_has_a_code_of_its_own() -> None:
    step = after_report(state(S.SUBMITTING), report_of(K.UNKNOWN, fence=3))
    assert step == Transition(S.UNKNOWN, Code.REPLY_LOST)


@pytest.mark.parametrize("status", [s for s in S if s not in IN_FLIGHT])
def test_repeated_fill_of_a_known_order_changes_nothing(status: Status) -> None:
    assert after_report(state(status, filled=D(50)), report_of(K.FILLED)) is None


@pytest.mark.parametrize("name", ["PENDING", "FAILED", "CANCELLED", "EXPIRED"])
def test_unexpectedly_live_order_is_reported(name: str) -> None:
    assert after_report(state(S(name), unacknowledged=True), report_of(K.ACCEPTED)) == Transition(
        S.SUBMITTED, Code.UNEXPECTEDLY_LIVE
    )


@pytest.mark.parametrize("status", [*IN_FLIGHT, *AT_BROKER])
@pytest.mark.parametrize("code", [None, Code.REQUOTE])
def test_rejected_rest_of_a_partly_filled_order_ends_it(status: Status, code: Code | None) -> None:
    step = after_report(state(status, filled=D(5)), report_of(K.REJECTED, code, detail="halted"))
    assert step == Transition(S.CANCELLED, code or Code.REJECTED_BY_BROKER, "halted")
    require(status, step.status)


@pytest.mark.parametrize(
    ("status", "attempt", "after"),
    [
        (S.PENDING, 1, Transition(S.SUBMITTED, Code.UNEXPECTEDLY_LIVE, next_attempt=-1)),
        (S.PENDING, 0, None),
        (S.SUBMITTING, 1, None),
    ],
)
def test_live_previous_attempt_replaces_an_operators_retry(
    status: Status, attempt: int, after: Transition | None
) -> None:
    assert previous_attempt_live(state(status, attempt=2), attempt) == after


@pytest.mark.parametrize(
    ("kind", "filled", "after"),
    [
        (K.ACCEPTED, 50, S.PARTIALLY_FILLED),
        (K.FILLED, 50, S.PARTIALLY_FILLED),
        (K.FILLED, 100, S.FILLED),
    ],
)
def test_partly_filled_unknown_order_is_known_again(
    kind: ReportKind, filled: int, after: Status
) -> None:
    """A restore makes a partly filled order UNKNOWN; the broker then reports nothing new."""
    step = after_report(state(S.UNKNOWN, filled=D(filled)), report_of(kind))
    assert step is not None
    assert step.status == after


@pytest.mark.parametrize("kind", [K.NOT_SENT, K.UNKNOWN])
@pytest.mark.parametrize("fence", [0, 2, 4])
def test_decision_with_another_fence_is_ignored(kind: ReportKind, fence: int) -> None:
    assert after_report(state(S.SUBMITTING), report_of(kind, fence=fence)) is None


@pytest.mark.parametrize("kind", [K.ACCEPTED, K.REJECTED, K.CANCELLED, K.EXPIRED])
def test_facts_are_not_fenced(kind: ReportKind) -> None:
    assert after_report(state(S.SUBMITTING), report_of(kind, fence=99)) is not None


@pytest.mark.parametrize(
    ("status", "attempt", "code", "after"),
    [
        (S.SUBMITTING, 0, Code.REQUOTE, Transition(S.PENDING, Code.REQUOTE, next_attempt=1)),
        (S.SUBMITTING, 0, Code.PRICE_INVALID,
         Transition(S.PENDING, Code.PRICE_INVALID, next_attempt=1)),
        (S.PENDING, 0, Code.REQUOTE, Transition(S.PENDING, Code.REQUOTE, next_attempt=1)),
        (S.SUBMITTING, 1, Code.REQUOTE, Transition(S.REJECTED, Code.REQUOTE)),
        (S.UNKNOWN, 0, Code.REQUOTE, Transition(S.REJECTED, Code.REQUOTE)),
        (S.SUBMITTING, 0, Code.NO_MONEY, Transition(S.REJECTED, Code.NO_MONEY)),
        (S.SUBMITTING, 0, None, Transition(S.REJECTED, Code.REJECTED_BY_BROKER)),
    ],
)  # fmt: skip
def test_retryable_rejection_is_retried_once(
    status: Status, attempt: int, code: Code | None, after: Transition
) -> None:
    assert after_report(state(status, attempt=attempt), report_of(K.REJECTED, code)) == after


def test_entry_not_sent_five_times_fails() -> None:
    report = report_of(K.NOT_SENT, Code.BROKER_CLOCK, fence=3, detail="9 s behind")
    step = after_report(state(S.SUBMITTING, send_retries=3), report)
    assert step == Transition(S.PENDING, Code.BROKER_CLOCK, "9 s behind", next_try=True)
    last = after_report(state(S.SUBMITTING, send_retries=4), report)
    assert last == Transition(
        S.FAILED, Code.SEND_RETRIES_EXHAUSTED, "Last: BROKER_CLOCK 9 s behind"
    )


@pytest.mark.parametrize("code", sorted(LOGIN_REFUSED))
def test_entry_with_a_refused_login_fails_at_once(code: Code) -> None:
    report = report_of(K.NOT_SENT, code, fence=3, detail="wrong password")
    step = after_report(state(S.SUBMITTING), report)
    assert step == Transition(S.FAILED, code, "wrong password")


@pytest.mark.parametrize("code", sorted(DEFERRED))
def test_deferred_entry_does_not_count_as_a_try(code: Code) -> None:
    report = report_of(K.NOT_SENT, code, fence=3, detail="later")
    step = after_report(state(S.SUBMITTING, send_retries=MAX_TRIES), report)
    assert step == Transition(S.PENDING, code, "later", is_deferred=True)


@pytest.mark.parametrize(
    ("code", "counts"),
    [
        (Code.KILL_SWITCH, False),
        (Code.SESSION_MOVED, False),
        (Code.RATE_LIMITED, True),
        (Code.CREDENTIALS_REFUSED, True),
    ],
)
def test_exit_is_always_retried(code: Code, counts: bool) -> None:
    report = report_of(K.NOT_SENT, code, fence=3, detail="later")
    step = after_report(state(S.SUBMITTING, send_retries=MAX_TRIES, is_exit=True), report)
    assert step == Transition(S.PENDING, code, "later", next_try=counts)


@pytest.mark.parametrize("code", sorted(NOT_REACHED))
def test_entry_of_an_unreachable_broker_never_fails(code: Code) -> None:
    report = report_of(K.NOT_SENT, code, fence=3)
    step = after_report(state(S.SUBMITTING, send_retries=MAX_TRIES), report)
    assert step == Transition(S.PENDING, code, is_deferred=True)
    exit_step = after_report(state(S.SUBMITTING, send_retries=MAX_TRIES, is_exit=True), report)
    assert exit_step == Transition(S.PENDING, code, next_try=True)


def test_retry_delay_of_an_entry_doubles_up_to_a_maximum() -> None:
    def pauses(order_type: OrderType) -> list[float]:
        found, age = [], 0.0
        for _ in range(8):
            found.append(not_reached_seconds(order_type, age))
            age += found[-1]
        return found

    assert pauses(OrderType.MARKET) == [0.5, 0.5, 1, 2, 4, 4, 4, 4]
    assert pauses(OrderType.LIMIT) == [0.5, 0.5, 1, 2, 4, 8, 10, 10]


@pytest.mark.parametrize(
    ("order_type", "waited", "seconds"),
    [
        (OrderType.MARKET, 100, 1),
        (OrderType.LIMIT, None, 1),
        (OrderType.LIMIT, 0, 1),
        (OrderType.LIMIT, 4, 1),
        (OrderType.LIMIT, 20, 5),
        (OrderType.LIMIT, 100, 10),
    ],
)
def test_deferred_entry_waits_a_quarter_of_the_time_it_has_waited(
    order_type: OrderType, waited: float | None, seconds: float
) -> None:
    assert deferral_seconds(order_type, waited) == seconds


def test_rejected_cancel_restores_the_previous_status() -> None:
    step = after_report(state(S.CANCEL_REQUESTED, filled=D(10)), report_of(K.CANCEL_REFUSED))
    assert step == Transition(S.PARTIALLY_FILLED)
