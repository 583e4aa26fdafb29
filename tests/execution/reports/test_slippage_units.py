"""Slippage is stated in the instrument's unit: a coin has no pips."""

from decimal import Decimal as D
from typing import Any

import pytest

from connections.models import ExecutionConnection, TradingPreset
from events.messages import render
from execution.models import Order
from signals.models import Feed
from signals.reading.intake import read_signal
from tests.events.test_messages import event
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.operational import set_setting

pytestmark = pytest.mark.django_db


@pytest.fixture
def coin(feed: Feed, broker: FakeBroker) -> ExecutionConnection:
    """An account that trades BTC/USD at 50,000; its last digit is 0.01."""
    factories.instrument("BTC/USD", symbol="BTCUSD", digits=2, pip=D("0.01"),
                    quantity_min=D("0.001"),
                    quantity_step=D("0.001"))  # fmt: skip
    return factories.account(feed, preset_fixed_quantity=D("0.01"))


def entry(of: ExecutionConnection, feed: Feed, **fields: Any) -> Order:
    factories.quote(of, "49999.99", "50000", pair="BTC/USD")
    factories.signal(feed, currency_pair="BTC/USD", sl=D(49000), **fields)
    factories.claim_all()
    return Order.objects.latest("id")


@pytest.mark.parametrize(
    ("price", "basis_points", "alarms"),
    [("50000.06", "0.012", 0), ("50025", "5", 0), ("50025.01", "5.002", 1), ("49970", "-6", 1)],
)
def test_six_cents_of_a_coin_raise_no_alarm(
    coin: ExecutionConnection, feed: Feed, price: str, basis_points: str, alarms: int
) -> None:
    order = entry(coin, feed)
    factories.apply(factories.fill_report(order, "0.01", "f1", price=price))
    order.refresh_from_db()
    assert (order.slippage_pips, order.slippage_unit) == (D(basis_points), "BPS")
    events = factories.events("slippage.alert")
    assert len(events) == alarms
    for one in events:
        assert (D(one["slippage"]), one["slippage_unit"], one["slippage_pips"]) == (
            D(basis_points), "BPS", None,
        )  # fmt: skip


@pytest.mark.parametrize(("threshold", "alarms"), [(D(30), 0), (D(10), 1)])
def test_alarm_of_a_coin_without_a_preset_follows_its_setting(
    coin: ExecutionConnection, feed: Feed, threshold: D, alarms: int
) -> None:
    set_setting("fill_tracking.slippage_alert_threshold_pips", D(0))  # it is that of pairs
    set_setting("fill_tracking.slippage_alert_threshold_basis_points", threshold)
    order = entry(coin, feed)
    ExecutionConnection.objects.update(preset=None)
    factories.apply(factories.fill_report(order, "0.01", "f1", price="50100"))  # 20
    assert len(factories.events("slippage.alert")) == alarms


def test_alarm_message_names_the_unit(coin: ExecutionConnection, feed: Feed) -> None:
    factories.apply(factories.fill_report(entry(coin, feed), "0.01", "f1", price="50100"))
    (payload,) = factories.events("slippage.alert")
    assert render(event("slippage.alert", **payload)).title.startswith("Slippage +20 basis points")


@pytest.mark.parametrize(
    ("unit", "limit", "worst"),
    [
        ("", "4", "50020"),
        ("BPS", "4", "50020"),
        ("PERCENT", "0.5", "50250"),
        ("TICKS", "300", "50003"),
    ],
)
def test_slippage_limit_is_in_its_unit(
    coin: ExecutionConnection, feed: Feed, unit: str, limit: str, worst: str
) -> None:
    order = entry(coin, feed, max_slippage_pips=D(limit), max_slippage_unit=unit)
    assert order.worst_price == D(worst)


def test_presets_unit_applies_to_both_thresholds(feed: Feed, coin: ExecutionConnection) -> None:
    TradingPreset.objects.update(
        slippage_unit="PERCENT", max_slippage_pips=D(1), slippage_alert_threshold_pips=D("0.5")
    )
    order = entry(coin, feed)
    assert order.worst_price == D(50500)
    factories.apply(factories.fill_report(order, "0.01", "f1", price="50300"))
    order.refresh_from_db()
    assert (order.slippage_pips, order.slippage_unit) == (D("0.6"), "PERCENT")
    assert len(factories.events("slippage.alert")) == 1


def draft_of(**fields: Any) -> Any:
    return read_signal({"symbol": "EUR/USD", "direction": "BUY", **fields})


def test_pips_are_accepted_only_for_instruments_with_pips() -> None:
    draft = draft_of(max_slippage_pips=3)
    assert (draft.max_slippage_pips, draft.max_slippage_unit) == (3, "PIPS")
    draft = draft_of(symbol="BTC/USD", max_slippage="2.5")
    assert (draft.max_slippage_pips, draft.max_slippage_unit) == (D("2.5"), "")
    assert (
        draft_of(symbol="AAPL", max_slippage=1, max_slippage_unit="ticks").max_slippage_unit
        == "TICKS"
    )
    for wrong in (
        {"symbol": "BTC/USD", "max_slippage_pips": 3},
        {"symbol": "AAPL", "max_slippage": 3, "max_slippage_unit": "PIPS"},
        {"max_slippage_pips": 3, "max_slippage": 3},
        {"max_slippage_pips": 3, "max_slippage_unit": "BPS"},
    ):
        with pytest.raises(Exception, match=r"pips|same as"):
            draft_of(**wrong)
