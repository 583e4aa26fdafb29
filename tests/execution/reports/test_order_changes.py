"""What a batch of reports changes of one order: status, average, slippage, attempt."""

from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import Rejected
from brokers.types import CloseCause, Execution, OrderReport, ReportKind
from common.clocks import market_now
from common.reason_codes import Code
from common.units import Unit
from connections.models import ExecutionConnection
from execution.models import DriftItem, Order, Status
from execution.reports.cumulative_fills import FillDelta, QuantityCorrectedError
from execution.reports.order_changes import (
    OrderChange,
    apply_reports_to_order,
    last_reported,
    state_of,
)
from execution.reports.sql import NewFill, OrderRow
from execution.reports.transitions import IllegalTransitionError, State, Transition
from execution.services import retry_order
from signals.models import Feed
from tests.execution import factories

S, K = Status, ReportKind
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
FIRST, SECOND = "abc000000000000000", "abc000000000000001"  # client order ids of two attempts


def row(status: Status = S.SUBMITTING, **fields: Any) -> OrderRow:
    """Return a market buy of 100 EUR/USD, expected at 1.1."""
    usual: dict[str, Any] = dict.fromkeys(OrderRow._fields)
    usual |= {
        "id": 1, "client_order_id": FIRST, "fence": 3, "signal_id": 7, "connection_id": "c",
        "leg": "entry", "pair": "EUR/USD", "side": "BUY", "attempt": 0, "send_retries": 0,
        "quantity": D(100), "filled_quantity": D(0), "inferred_quantity": D(0),
        "unacknowledged": True, "avg_fill_price": D(0), "expected_price": D("1.1"),
        "pip": D("0.0001"), "order_type": "MARKET", "age": 1.0, "slippage_unit": "",
        "has_unconverted_fees": False, "pending_action": "", "passed_detail": "",
    }  # fmt: skip
    return OrderRow(**{**usual, "status": status.value, **fields})


def new_fill(quantity: D | int, price: str = "1.1", fill_id: str = "f1") -> NewFill:
    return NewFill(1, fill_id, D(quantity), D(price), D(0), None, D(0), NOON)


def report(kind: ReportKind, client_order_id: str = FIRST, **fields: Any) -> OrderReport:
    return OrderReport(kind, "c", client_order_id, **fields)


def fill_report(client_order_id: str = FIRST, **fields: Any) -> OrderReport:
    execution = Execution("f1", D(100), D("1.1"), NOON)
    return report(K.FILLED, client_order_id, fills=(execution,), **fields)


def changed(
    before: OrderRow, *reports: OrderReport, fills: tuple[NewFill, ...] = (), **fields: Any
) -> OrderChange:
    """Return the order's change after its reports are applied."""
    change = OrderChange(before, state_of(before), reports=[*reports], fills=[*fills], **fields)
    apply_reports_to_order(change)
    return change


# ---- the state before the batch ----
def test_state_before_the_batch_is_that_of_the_row() -> None:
    before = row(S.UNKNOWN, filled_quantity=D(40), attempt=1, send_retries=2)
    assert state_of(before) == State(
        S.UNKNOWN, D(100), D(40), attempt=1, send_retries=2, fence=3, is_exit=False,
        unacknowledged=True,
    )  # fmt: skip
    exit_ = row(position_id=5, quantity=None, unacknowledged=False)
    assert state_of(exit_) == State(
        S.SUBMITTING, D(0), D(0), attempt=0, send_retries=0, fence=3, is_exit=True
    )


# ---- fills ----
def test_first_fill_sets_average_and_slippage() -> None:
    change = changed(row(), fill_report(), fills=(new_fill(100, "1.1003"),))
    assert (change.state.status, change.state.filled) == (S.FILLED, D(100))
    assert (change.average, change.slippage, change.unit) == (D("1.1003"), D(3), Unit.PIPS)
    assert change.transition == Transition(S.FILLED)


def test_later_fill_changes_the_average_of_all_fills() -> None:
    before = row(S.PARTIALLY_FILLED, filled_quantity=D(60), avg_fill_price=D("1.1"))
    change = changed(before, fill_report(), fills=(new_fill(20, "1.2"),))
    assert (change.state.status, change.state.filled) == (S.PARTIALLY_FILLED, D(80))
    assert change.average == D("1.125")
    assert change.transition == Transition(S.PARTIALLY_FILLED)


def test_fill_below_one_unit_counts() -> None:
    before = row(S.SUBMITTED, quantity=D("0.5"))
    change = changed(before, fill_report(), fills=(new_fill(D("0.5")),))
    assert (change.state.status, change.state.filled) == (S.FILLED, D("0.5"))


def test_report_without_new_fills_keeps_the_average() -> None:
    before = row(S.SUBMITTED, filled_quantity=D(60), avg_fill_price=D("1.1"))
    change = changed(before, fill_report())
    assert (change.average, change.slippage, change.transition) == (D("1.1"), None, None)


def test_slippage_of_a_sell_is_worse_below_the_expected_price() -> None:
    change = changed(row(side="SELL"), fill_report(), fills=(new_fill(100, "1.0998"),))
    assert change.slippage == D(2)


@pytest.mark.parametrize(
    ("fields", "slippage", "unit"),
    [
        ({"slippage_unit": "TICKS", "tick": D("0.00005")}, D(6), Unit.TICKS),
        ({"slippage_unit": "TICKS"}, D(3), Unit.TICKS),  # without a tick, the pip counts
        ({"pair": "BTC/USD"}, D("2.727272727272727273"), Unit.BASIS_POINTS),
        ({"pair": "BTC/USD", "expected_price": D(0)}, None, Unit.BASIS_POINTS),
        ({"expected_price": None}, None, Unit.PIPS),
        ({"pip": None}, None, Unit.PIPS),
    ],
)
def test_slippage_is_in_the_unit_of_its_preset_or_pair(
    fields: dict[str, Any], slippage: D | None, unit: Unit
) -> None:
    change = changed(row(**fields), fill_report(), fills=(new_fill(100, "1.1003"),))
    assert (change.slippage, change.unit) == (slippage, unit)


# ---- corrections and cumulative quantities ----
def filled(**fields: Any) -> OrderRow:
    return row(S.FILLED, filled_quantity=D(100), avg_fill_price=D("1.1"), **fields)


def test_correction_keeps_the_status_and_has_a_code() -> None:
    delta = FillDelta(quantity=D(-10), value=D(-11), corrected=1)
    change = changed(filled(), delta=delta)
    assert change.transition == Transition(S.FILLED, Code.FILL_CORRECTED)
    assert (change.state.filled, change.average) == (D(90), D("1.1"))


def test_executions_that_replace_a_cumulative_quantity_have_a_code() -> None:
    change = changed(filled(), delta=FillDelta(value=D(1), replaced=D(100)))
    assert change.transition == Transition(S.FILLED, Code.INFERRED_REPLACED)
    assert (change.state.filled, change.average) == (D(100), D("1.11"))


def test_reconciled_delta_is_not_counted_from_the_fills_again() -> None:
    delta = FillDelta(quantity=D(40), value=D(44))
    change = changed(row(), fill_report(), fills=(new_fill(100),), delta=delta)
    assert (change.state.filled, change.delta) == (D(40), delta)


@pytest.mark.parametrize("quantity", [-100, -101])
def test_correction_that_leaves_nothing_is_refused(quantity: int) -> None:
    delta = FillDelta(quantity=D(quantity), corrected=1)
    with pytest.raises(QuantityCorrectedError, match=r"^corrections leave nothing of 100$"):
        changed(filled(), delta=delta)


# ---- the order of reports, and what they lead through ----
def test_facts_count_before_decisions() -> None:
    change = changed(row(), report(K.UNKNOWN, fence=3), report(K.ACCEPTED))
    assert (change.state.status, change.passed) == (S.SUBMITTED, [])


def test_passed_statuses_are_kept_without_the_first_and_the_last() -> None:
    change = changed(
        row(), report(K.ACCEPTED), report(K.CANCELLED, code=Code.NO_MONEY, detail="text")
    )
    assert (change.state.status, change.passed) == (S.CANCELLED, [S.SUBMITTED])
    assert change.transition == Transition(S.CANCELLED, Code.NO_MONEY, "text")


def test_transition_outside_the_table_is_refused() -> None:
    with pytest.raises(IllegalTransitionError, match=r"^DENIED → SUBMITTED$"):
        changed(row(S.DENIED), report(K.ACCEPTED))


@pytest.mark.parametrize(("kind", "unacknowledged"), [(K.ACCEPTED, False), (K.NOT_SENT, True)])
def test_only_a_fact_acknowledges_the_order(kind: ReportKind, unacknowledged: bool) -> None:
    change = changed(row(), report(kind, fence=3, code=Code.NOT_CONNECTED))
    assert change.state.unacknowledged is unacknowledged


# ---- attempts ----
@pytest.mark.parametrize("kind", [K.REJECTED, K.CANCELLED, K.EXPIRED, K.ACCEPTED])
def test_fact_about_another_attempt_changes_nothing(kind: ReportKind) -> None:
    change = changed(row(), report(kind, SECOND))
    assert (change.transition, change.state.status) == (None, S.SUBMITTING)


def test_refused_cancel_of_another_attempt_changes_nothing() -> None:
    change = changed(row(S.CANCEL_REQUESTED), report(K.CANCEL_REFUSED, SECOND))
    assert change.transition is None


def test_fact_about_the_current_attempt_counts_though_the_row_has_the_id_of_the_last() -> None:
    change = changed(row(attempt=1), report(K.REJECTED, SECOND))
    assert change.state.status == S.REJECTED


@pytest.mark.parametrize(
    "before_and_report",
    [
        (row(client_order_id=None), report(K.CANCELLED, SECOND)),
        (row(), report(K.CANCELLED, SECOND, close_cause=CloseCause.EXTERNAL)),
    ],
    ids=["no id of ours", "exit made by the broker"],
)
def test_report_about_an_exit_of_the_broker_has_no_attempt(
    before_and_report: tuple[OrderRow, OrderReport],
) -> None:
    change = changed(*before_and_report)
    assert change.state.status == S.CANCELLED


def test_fill_of_the_previous_attempt_withdraws_the_waiting_retry() -> None:
    change = changed(
        row(S.PENDING, attempt=1), fill_report(FIRST), report(K.CANCELLED, FIRST),
        fills=(new_fill(40),),
    )  # fmt: skip
    assert (change.state.attempt, change.state.status) == (0, S.CANCELLED)


@pytest.mark.parametrize(
    ("before", "reports"),
    [
        (row(S.SUBMITTING, attempt=1), [fill_report(FIRST)]),
        (row(S.PENDING, attempt=1), [fill_report(SECOND)]),
        (row(S.PENDING, attempt=2), [fill_report(FIRST)]),
        (row(S.PENDING, attempt=1), [fill_report(SECOND), report(K.ACCEPTED, SECOND)]),
    ],
    ids=["sent already", "of the retry itself", "of an older attempt", "another kind of report"],
)
def test_other_fills_keep_the_attempt(before: OrderRow, reports: list[OrderReport]) -> None:
    change = changed(before, *reports, fills=(new_fill(40),))
    assert change.state.attempt == before.attempt


def test_acceptance_of_a_withdrawn_retry_changes_nothing() -> None:
    """The fill of the first attempt has withdrawn it, so nothing needs to be looked up."""
    reports = [fill_report(FIRST), report(K.ACCEPTED, SECOND)]
    change = changed(row(S.PENDING, attempt=1), *reports, fills=(new_fill(40),))
    assert change.state.status == S.PARTIALLY_FILLED


@pytest.fixture
def retried(alice: ExecutionConnection, feed: Feed) -> Order:
    """An entry whose second attempt, requested by an operator, has not been sent."""
    factories.signal(feed)
    factories.claim_all()
    Order.objects.update(status="FAILED", reason="NEVER_ARRIVED", done_at=market_now())
    retry_order(Order.objects.get().pk)
    return Order.objects.get()


@pytest.mark.django_db
def test_live_first_attempt_replaces_the_waiting_retry(retried: Order) -> None:
    factories.apply(factories.report(retried, K.ACCEPTED))
    retried.refresh_from_db()
    assert (retried.status, retried.reason, retried.attempt) == (
        "SUBMITTED", "UNEXPECTEDLY_LIVE", 0,
    )  # fmt: skip
    assert factories.drift_items() == []


@pytest.mark.django_db
def test_live_first_attempt_beside_the_sent_retry_becomes_drift(retried: Order) -> None:
    factories.claim_all()
    factories.apply(factories.report(retried, K.ACCEPTED))
    assert Order.objects.get().status == "SUBMITTING"
    item = DriftItem.objects.get()
    assert (item.kind, item.key) == ("UNEXPECTEDLY_LIVE", retried.client_order_id)
    assert item.evidence["kind"] == "ACCEPTED"


@pytest.mark.django_db
def test_old_acceptance_of_a_requoted_order_changes_nothing(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    first = Order.objects.get()
    factories.answer(outgoing, Rejected(Code.REQUOTE))
    factories.apply(factories.report(first, K.ACCEPTED))
    assert Order.objects.get().status == "PENDING"
    assert factories.drift_items() == []


# ---- worst price ----
@pytest.mark.parametrize("kind", [K.CANCELLED, K.EXPIRED])
@pytest.mark.parametrize(
    ("detail", "expected"),
    [("no price", "worst price 1.1003. no price"), ("", "worst price 1.1003.")],
)
def test_order_that_the_broker_ended_states_its_worst_price(
    kind: ReportKind, detail: str, expected: str
) -> None:
    change = changed(row(worst_price=D("1.10030")), report(kind, detail=detail))
    assert change.transition == Transition(S[kind.value], Code.SLIPPAGE_LIMIT, expected)


def test_rejected_order_does_not_state_its_worst_price() -> None:
    change = changed(row(worst_price=D("1.1003")), report(K.REJECTED, code=Code.NO_MONEY))
    assert change.transition == Transition(S.REJECTED, Code.NO_MONEY)


def test_withdrawn_order_that_the_broker_rejected_does_not_state_its_worst_price() -> None:
    before = row(S.CANCELLED, worst_price=D("1.1003"))
    change = changed(before, report(K.REJECTED, code=Code.NO_MONEY))
    assert change.transition == Transition(S.CANCELLED, Code.NO_MONEY)


def test_order_without_a_worst_price_keeps_the_brokers_reason() -> None:
    change = changed(row(), report(K.CANCELLED, code=Code.NO_MONEY, detail="text"))
    assert change.transition == Transition(S.CANCELLED, Code.NO_MONEY, "text")


# ---- the last value of a field ----
def test_last_reported_value_counts_and_empty_ones_do_not() -> None:
    ids = ("b1", "b2", "")
    reports = [report(K.ACCEPTED, broker_order_id=broker_order_id) for broker_order_id in ids]
    change = OrderChange(row(), state_of(row()), reports=reports)
    assert last_reported(change, "broker_order_id") == "b2"
    assert last_reported(change, "broker_position_id") == ""
