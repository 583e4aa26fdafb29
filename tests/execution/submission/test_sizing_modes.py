"""Sizing modes and the allowed minimum through the claim; what rounding left out."""

from decimal import Decimal as D
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from analytics.orders.rounding_debt import RoundingDebt, rounding_debts
from brokers.base import Rejected
from common.db.sql import rows
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.models import Order
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db


def claimed(feed: Feed, **signal: Any) -> Order:
    """Publish a signal and claim its order."""
    factories.signal(feed, **signal)
    factories.claim_all()
    return Order.objects.latest("id")


def outcome(order: Order) -> tuple[str, str]:
    return order.status, order.reason


# Equity and balance are 10,000 USD, a unit costs 1.10 and loses 0.01 at the stop; the step is 10.
@pytest.mark.parametrize(
    ("preset", "signal", "quantity", "unrounded"),
    [
        # 1 % of 10,000 at 1.10 = 90.9090…
        ({"sizing_mode": "PERCENT_EQUITY", "percent_of_equity": D(1)}, {},
         "90", "90.909090909090909091"),
        ({"sizing_mode": "RISK_AMOUNT", "risk_amount": D("1.05")}, {}, "100", "105"),
        ({"sizing_mode": "RISK_CATEGORY"}, {"risk_category": "small"}, "10000", "10000"),
        ({"sizing_mode": "RISK_CATEGORY"}, {"risk_category": "normal"}, "20000", "20000"),
        ({"sizing_mode": "RISK_CATEGORY"}, {"risk_category": "large"}, "30000", "30000"),
        ({"sizing_mode": "RISK_CATEGORY", "small_risk_percent": D("0.25")},
         {"risk_category": "small"}, "2500", "2500"),
        # 15 for each 900 of 10,000
        ({"sizing_mode": "PER_BALANCE", "fixed_quantity": D(15), "per_balance": D(900)}, {},
         "160", "166.666666666666666667"),
        ({"sizing_mode": "PROVIDER_MULTIPLE", "multiplier": D("0.5")},
         {"provider_quantity": D(250)}, "120", "125"),
        ({"sizing_mode": "EQUITY_RATIO"},
         {"provider_quantity": D(1000), "provider_equity": D(50_000), "provider_currency": "USD"},
         "200", "200"),
        # 50,000 EUR are 54,997.50 USD at the middle of 1.09990 and 1.10000
        ({"sizing_mode": "EQUITY_RATIO"},
         {"provider_quantity": D(1000), "provider_equity": D(50_000), "provider_currency": "EUR"},
         "180", "181.826446656666212101"),
    ],
)  # fmt: skip
def test_mode_sizes_the_order_and_stores_the_unrounded_quantity(
    feed: Feed, broker: FakeBroker, preset: Any, signal: Any, quantity: str, unrounded: str
) -> None:
    fields = {f"preset_{name}": value for name, value in preset.items()}
    factories.account(feed, snapshot_balance=D(10_000), **fields)
    order = claimed(feed, **signal)
    assert outcome(order) == ("SUBMITTING", "")
    assert (order.quantity, order.unrounded_quantity) == (D(quantity), D(unrounded))


RATIO = {"provider_quantity": D(1), "provider_equity": D(1), "provider_currency": "USD"}


@pytest.mark.parametrize(
    ("mode", "without", "detail"),
    [
        ("PROVIDER_MULTIPLE", ["provider_quantity"], "provider_quantity"),
        ("EQUITY_RATIO", ["provider_equity"], "provider_equity"),
        ("EQUITY_RATIO", ["provider_currency"], "provider_currency"),
        ("EQUITY_RATIO", list(RATIO), "provider_quantity, provider_equity, provider_currency"),
    ],
)
def test_entry_without_the_providers_figures_is_denied(
    feed: Feed, broker: FakeBroker, mode: str, without: list[str], detail: str
) -> None:
    factories.account(feed, preset_sizing_mode=mode)
    order = claimed(feed, **{name: v for name, v in RATIO.items() if name not in without})
    assert outcome(order) == ("DENIED", "PROVIDER_SIZE_MISSING")
    assert (order.detail, order.unrounded_quantity) == (detail, None)


@pytest.mark.parametrize(
    ("currency", "code", "detail"),
    [("CHF", "NO_CONVERSION_RATE", "CHF USD"),
     ("JPY", "CONVERSION_RATE_STALE", "JPY USD by USD/JPY")],
)  # fmt: skip
def test_providers_equity_without_a_fresh_rate_is_denied(
    feed: Feed, broker: FakeBroker, currency: str, code: str, detail: str
) -> None:
    account = factories.account(feed, preset_sizing_mode="EQUITY_RATIO")
    factories.quote(account, "125", pair="USD/JPY")
    rows("UPDATE prices_latestquote SET received_at = received_at - interval '61 s'"
         " WHERE symbol = 'USD/JPY' RETURNING id")  # fmt: skip
    order = claimed(feed, **{**RATIO, "provider_currency": currency})
    assert (*outcome(order), order.detail) == ("DENIED", code, detail)


# The minimum of 10 risks 0.10 USD of 10,000 at its stop: 0.001 %.
@pytest.mark.parametrize(
    ("limit", "expected"),
    [("0.001", ("SUBMITTING", "")), ("0.0009", ("DENIED", "QUANTITY_BELOW_MINIMUM"))],
)
def test_minimum_is_traded_if_its_risk_is_within_the_limit(
    feed: Feed, broker: FakeBroker, limit: str, expected: tuple[str, str]
) -> None:
    factories.account(
        feed, preset_fixed_quantity=D(3), preset_allow_minimum_quantity=True,
        preset_max_trade_risk_percent=D(limit),
    )  # fmt: skip
    order = claimed(feed)
    assert outcome(order) == expected
    assert order.unrounded_quantity == 3
    if expected[0] == "SUBMITTING":
        assert order.quantity == 10
        assert order.detail == "10 at 1.1, the minimum; 3 was calculated"
    else:
        assert order.quantity is None
        assert "would risk 0.001 % of equity; the preset allows 0.0009 %" in order.detail


# Without a stop its margin of 10 x 1.10 / 30 = 0.3667 USD counts: 0.003667 %.
@pytest.mark.parametrize(
    ("limit", "expected"),
    [("0.0037", ("SUBMITTING", "")), ("0.0036", ("DENIED", "QUANTITY_BELOW_MINIMUM"))],
)
def test_minimum_without_a_stop_counts_with_its_margin(
    feed: Feed, broker: FakeBroker, limit: str, expected: tuple[str, str]
) -> None:
    factories.account(
        feed, preset_fixed_quantity=D(3), preset_allow_minimum_quantity=True,
        preset_max_trade_risk_percent=D(limit),
    )  # fmt: skip
    assert outcome(claimed(feed, sl=None)) == expected


def test_minimum_keeps_the_other_limits_with_their_own_codes(
    feed: Feed, broker: FakeBroker
) -> None:
    factories.account(
        feed, preset_fixed_quantity=D(3), preset_allow_minimum_quantity=True,
        preset_max_trade_risk_percent=D(1), preset_max_quantity=D(9),
    )  # fmt: skip
    assert outcome(claimed(feed)) == ("DENIED", "MAX_QUANTITY")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("0.01", ("SUBMITTING", "")), ("0.0099", ("DENIED", "TRADE_RISK"))],
)
def test_risk_of_a_single_entry_is_limited(
    feed: Feed, broker: FakeBroker, limit: str, expected: tuple[str, str]
) -> None:
    factories.account(feed, preset_max_trade_risk_percent=D(limit))  # 100 units lose 1 USD
    assert outcome(claimed(feed)) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"sizing_mode": "PER_BALANCE", "fixed_quantity": D(1)},
        {"sizing_mode": "PER_BALANCE", "per_balance": D(1)},
        {"sizing_mode": "PERCENT_EQUITY"},
        {"sizing_mode": "RISK_AMOUNT"},
        {"allow_minimum_quantity": True},
        {"per_balance": D(0)},
        {"risk_amount": D(0)},
        {"percent_of_equity": D(0)},
        {"percent_of_equity": D(10_001)},
        {"large_risk_percent": D(101)},
        {"small_risk_percent": D(0)},
        {"max_trade_risk_percent": D(0)},
        {"max_trade_risk_percent": D(101)},
    ],
    ids=str,
)
def test_database_refuses_a_preset_that_cannot_size(fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        make.preset(**fields)


@pytest.mark.parametrize("field", ["provider_quantity", "provider_equity"])
def test_database_refuses_a_provider_figure_of_zero(feed: Feed, field: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        make.signal(feed, **{field: D(0)})


def test_rounding_debt_sums_what_steps_and_minimums_left_out(
    feed: Feed, broker: FakeBroker
) -> None:
    account = factories.account(feed, preset_fixed_quantity=D(105))
    assert rounding_debts(account.pk) == {}
    claimed(feed)
    claimed(feed)
    assert rounding_debts(account.pk) == {feed.pk: [RoundingDebt("EUR/USD", D(10), 2)]}
    _resize(account, fixed_quantity=D(3))
    assert outcome(claimed(feed)) == ("DENIED", "QUANTITY_BELOW_MINIMUM")
    assert rounding_debts(account.pk) == {feed.pk: [RoundingDebt("EUR/USD", D(13), 3)]}
    _resize(account, allow_minimum_quantity=True, max_trade_risk_percent=D(1))
    assert claimed(feed).quantity == 10
    assert rounding_debts(account.pk) == {feed.pk: [RoundingDebt("EUR/USD", D(6), 4)]}
    _resize(account, fixed_quantity=D(5), max_quantity=D(9))
    assert outcome(claimed(feed)) == ("DENIED", "MAX_QUANTITY")  # a limit is no rounding
    assert rounding_debts(account.pk) == {feed.pk: [RoundingDebt("EUR/USD", D(6), 4)]}


def test_rounding_debt_counts_filled_and_no_refused_entries(feed: Feed, broker: FakeBroker) -> None:
    account = factories.account(feed, preset_fixed_quantity=D(105))
    factories.signal(feed)
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, Rejected(Code.NO_MONEY))
    assert outcome(Order.objects.get()) == ("REJECTED", "NO_MONEY")
    assert rounding_debts(account.pk) == {}
    other = make.feed()
    make.subscription(account, other)
    factories.signal(other)
    factories.fill_all()
    assert Order.objects.latest("id").status == "FILLED"
    assert rounding_debts(account.pk) == {other.pk: [RoundingDebt("EUR/USD", D(5), 1)]}


def test_entry_without_debt_is_left_out(alice: ExecutionConnection, feed: Feed) -> None:
    order = claimed(feed)
    assert order.quantity == order.unrounded_quantity == 100
    assert rounding_debts(alice.pk) == {}


def test_codes_state_what_to_do() -> None:
    assert "provider_currency" in Code.PROVIDER_SIZE_MISSING.hint
    assert Code.TRADE_RISK.hint


def _resize(account: ExecutionConnection, **fields: Any) -> None:
    preset = account.preset
    assert preset is not None
    type(preset).objects.filter(pk=preset.pk).update(**fields)
