"""What the claim makes of a provider's answer: wait, deny, scale. Exits never wait for one."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from common.db.sql import database_now
from connections.entry_limits import EntryLimits
from connections.models import DecisionProvider
from execution.changes.order_changes import change_order
from execution.models import EntryDecision, ExecutionLog, Order
from execution.submission.change_terms import WantedTerms
from execution.submission.claim import claim
from execution.submission.outcomes import Deferred
from execution.submission.provider_answers import Answer, scale_of
from execution.submission.risk import AccountFunds, Entry, PortfolioExposure, check
from execution.submission.sizing import Account, Denial, QuantityLimits, Sizing, size
from signals.models import Feed
from tests.decisions import answered, provider_of
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.submission.test_denials import seen


@pytest.fixture
def rules(db: None) -> DecisionProvider:
    return provider_of()


def published(feed: Feed, rules: DecisionProvider, **preset: Any) -> Order:
    fields = {f"preset_{name}": value for name, value in preset.items()}
    factories.account(feed, preset_decision_provider=rules, **fields)
    factories.signal(feed)
    return Order.objects.get()


def claimed(order: Order) -> Order:
    claim([order.pk], worker_id="process-1")
    order.refresh_from_db()
    return order


@pytest.fixture
def order(feed: Feed, rules: DecisionProvider) -> Order:
    return published(feed, rules)


def test_entry_without_an_answer_waits_for_one(broker: FakeBroker, order: Order) -> None:
    before = database_now()
    claimed = claim([order.pk], worker_id="process-1")
    after = database_now()
    assert seen() == ("PENDING", "DECISION_AWAITED")
    assert claimed.undecided == [order.pk]
    order.refresh_from_db()
    assert order.due_at is not None
    assert order.waiting_since is not None
    assert before <= order.waiting_since <= after
    assert before <= order.due_at - timedelta(seconds=8) <= after


@pytest.mark.parametrize(
    ("factor", "quantity"),
    [("1", 100), ("0.5", 50), ("0.59", 50), ("3", 300), ("0.1", 10), ("2.999", 290)],
)
def test_factor_scales_before_the_quantity_is_rounded_down(
    broker: FakeBroker, rules: DecisionProvider, factor: str, quantity: int, order: Order
) -> None:
    answered(order, rules, factor)
    order = claimed(order)
    assert (order.status, order.quantity) == ("SUBMITTING", D(quantity))
    assert order.unrounded_quantity == D(factor) * 100


NOT_RAISED = "; not scaled by {}, because its quantity was set by hand"


@pytest.mark.parametrize(
    ("factor", "quantity", "note"),
    [
        ("0.5", 30, "; scaled by 0.5"),
        ("0.99", 50, "; scaled by 0.99"),
        ("1", 60, ""),
        ("1.01", 60, NOT_RAISED.format("1.01")),
        ("3", 60, NOT_RAISED.format("3")),
    ],
)
def test_factor_lowers_a_quantity_set_by_hand_and_never_raises_it(
    broker: FakeBroker, rules: DecisionProvider, factor: str, quantity: int, note: str, order: Order
) -> None:
    change_order(order.pk, WantedTerms(quantity=D(60)))
    answered(order, rules, factor)
    order = claimed(order)
    assert (order.status, order.quantity) == ("SUBMITTING", D(quantity))
    assert order.unrounded_quantity == min(D(factor), D(1)) * 60
    [line] = ExecutionLog.objects.filter(code="INTENT").values_list("detail", flat=True)
    assert line == f"{quantity} at 1.1{note}"


def test_scaled_quantity_set_by_hand_below_the_brokers_minimum_is_denied(
    feed: Feed, broker: FakeBroker, rules: DecisionProvider
) -> None:
    order = published(feed, rules, allow_minimum_quantity=True, max_trade_risk_percent=D(100))
    change_order(order.pk, WantedTerms(quantity=D(60)))
    answered(order, rules, "0.1")
    claimed(order)
    assert seen() == ("DENIED", "QUANTITY_BELOW_MINIMUM")


def test_scaled_quantity_below_the_brokers_minimum_is_denied(
    broker: FakeBroker, rules: DecisionProvider, order: Order
) -> None:
    answered(order, rules, "0.09")
    claimed(order)
    assert seen() == ("DENIED", "QUANTITY_BELOW_MINIMUM")


@pytest.mark.parametrize(("factor", "denied"), [("1.5", False), ("1.6", True)])
def test_scaled_quantity_obeys_the_presets_maximum(
    feed: Feed, broker: FakeBroker, rules: DecisionProvider, factor: str, denied: bool
) -> None:
    order = published(feed, rules, max_quantity=D(150))
    answered(order, rules, factor)
    claimed(order)
    assert seen() == (("DENIED", "MAX_QUANTITY") if denied else ("SUBMITTING", ""))


def test_factor_below_one_brings_an_entry_within_a_limit(
    feed: Feed, broker: FakeBroker, rules: DecisionProvider
) -> None:
    order = published(feed, rules, max_quantity=D(50))
    answered(order, rules, "0.5")
    claimed(order)
    assert seen() == ("SUBMITTING", "")


def test_factor_zero_rejects_with_the_providers_reason(
    broker: FakeBroker, rules: DecisionProvider, order: Order
) -> None:
    answered(order, rules, "0", reason="news at 13:30")
    order = claimed(order)
    assert seen() == ("DENIED", "DECISION_REJECTED")
    assert order.detail == "Rules: news at 13:30"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("CLOSED", ("DENIED", "DECISION_UNAVAILABLE")), ("OPEN", ("SUBMITTING", ""))],
)
def test_fail_rule_decides_without_a_valid_answer(
    feed: Feed, broker: FakeBroker, rules: DecisionProvider, rule: str, expected: tuple[str, str]
) -> None:
    DecisionProvider.objects.update(on_failure=rule)
    order = published(feed, rules)
    answered(order, rules, None, detail="No answer within 2 s.")
    order = claimed(order)
    assert seen() == expected
    if rule == "CLOSED":
        assert order.detail == "Rules: TIMEOUT No answer within 2 s."
    else:
        assert order.quantity == 100


@pytest.mark.parametrize(("age", "expected"), [(9, "SUBMITTING"), (10.1, "PENDING")])
@pytest.mark.usefixtures("stopped_clock")
def test_answer_that_is_too_old_is_asked_for_again(
    broker: FakeBroker, rules: DecisionProvider, age: float, expected: str, order: Order
) -> None:
    answered(order, rules, age=age)
    assert claimed(order).status == expected


@pytest.mark.parametrize("wrong", ["attempt", "provider"])
def test_answer_about_something_else_does_not_count(
    broker: FakeBroker, rules: DecisionProvider, wrong: str, order: Order
) -> None:
    if wrong == "attempt":
        answered(order, rules, attempt=1)
    else:
        answered(order, provider_of(name="Other"))
    claimed(order)
    assert seen() == ("PENDING", "DECISION_AWAITED")


def test_exit_never_waits_for_a_decision(
    broker: FakeBroker, rules: DecisionProvider, order: Order
) -> None:
    answered(order, rules)
    assert order.signal is not None
    factories.filled(order.signal)
    EntryDecision.objects.all().delete()
    factories.close_signal(order.signal)
    factories.claim_all()
    leg = Order.objects.exclude(leg="entry").get()
    assert (leg.status, leg.reason) == ("SUBMITTING", "")


def test_claim_without_a_provider_needs_no_further_query(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed)
    factories.signal(feed)
    with CaptureQueriesContext(connection) as captured:
        factories.claim_all()
    assert seen() == ("SUBMITTING", "")
    assert not [q for q in captured if "decisionprovider" in q["sql"]]


@pytest.mark.parametrize(
    "fields",
    [{"factor": D("3.01")}, {"factor": D("-0.1")}, {"factor": D(1), "failure": "X"},
     {"factor": None, "failure": ""}],
)  # fmt: skip
def test_database_refuses_an_impossible_answer(
    broker: FakeBroker, rules: DecisionProvider, fields: dict[str, Any], order: Order
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        answered(order, rules, **({"factor": None} | fields))


def amounts(most: str) -> st.SearchStrategy[D]:
    return st.decimals("0.000001", D(most), places=6, allow_nan=False, allow_infinity=False)


@given(
    factor=st.decimals("0.000001", 3, places=6),
    quantity=amounts("100000"),
    step=st.sampled_from([D("0.01"), D(1), D(10)]),
    caps=st.tuples(amounts("100000"), amounts("100000"), amounts("30")),
)
def test_scaled_entry_is_never_above_any_cap(
    factor: D, quantity: D, step: D, caps: tuple[D, D, D]
) -> None:
    maximum_at_broker, maximum, leverage = caps
    scale = scale_of(Answer("p", "CLOSED", 0, 10, factor))
    assert isinstance(scale, D)
    sized = size(
        sizing=Sizing("FIXED", scale, fixed_quantity=quantity), account=Account(D(1000), D(1000)),
        unit_value=D(1), stop_loss_per_unit=None,
        limits=QuantityLimits(step, step, maximum_at_broker),
    )  # fmt: skip
    if isinstance(sized, Denial):
        return
    assert sized.quantity <= min(quantity * factor, maximum_at_broker)
    assert sized.quantity % step == 0
    entry = Entry(sized.quantity, sized.quantity, D(0), D(0), "EUR/USD")
    limits = EntryLimits(
        max_quantity=maximum, max_open_positions=5, max_leverage=leverage,
        max_portfolio_risk_percent=D(100),
    )  # fmt: skip
    if check(entry, PortfolioExposure(), limits, AccountFunds(D(1000), D(1000), D(30))) is None:
        assert sized.quantity <= maximum
        assert sized.quantity / 1000 <= leverage


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_no_other_factor_is_ever_used(factor: D) -> None:
    scale = scale_of(Answer("p", "OPEN", 0, 10, factor))
    assert isinstance(scale, Denial) if not 0 < factor <= 3 else scale == factor
    assert isinstance(scale_of(Answer("p", "OPEN", 10.001, 10, factor)), Deferred)
