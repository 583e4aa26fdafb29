"""What trades cost, and the medians of a signal, as the daily job writes them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from analytics.models import SignalQuality, TradeCost
from analytics.services import compute_costs, compute_signal_quality
from common.clocks import market_now
from connections.models import ExecutionConnection
from positions.models import ExecutionPosition
from prices.models import PriceBar
from tests.analytics import factories
from tests.portal.factories import World, order

pytestmark = pytest.mark.django_db


def bar(world: World, at: datetime, spread: D) -> None:
    low = D("1.1")
    PriceBar.objects.create(
        data_connection=world.prices, symbol="EUR/USD",
        minute=at.replace(second=0, microsecond=0), bid_open=low, bid_high=low, bid_low=low,
        bid_close=low, ask_open=low + spread, ask_high=low + spread, ask_low=low + spread,
        ask_close=low + spread, spread_sum=spread * 4, quote_count=4, first_at=at, last_at=at,
    )  # fmt: skip


def test_spread_of_entry_and_exit_is_kept_when_its_minutes_are_gone() -> None:
    world, now = World(), market_now()
    (signal,) = factories.signals(world.alice, 1)
    closed = now - timedelta(hours=1)
    one = factories.trade(world.mt5, signal, closed_at=closed, pnl=D(5), lasted=timedelta(hours=1))
    one.price_source = world.prices
    one.save()
    bar(world, one.opened_at, D("0.0002"))
    compute_costs()
    cost = TradeCost.objects.get(position=one)
    assert (cost.entry_spread, cost.exit_spread, cost.slippage) == (D("0.1"), None, None)
    bar(world, closed, D("0.0004"))
    PriceBar.objects.filter(minute__lt=closed - timedelta(minutes=1)).delete()
    compute_costs()
    cost.refresh_from_db()
    assert (cost.entry_spread, cost.exit_spread) == (D("0.1"), D("0.2"))


def test_slippage_of_entry_and_exit_is_added_in_money() -> None:
    world = World()
    (signal,) = factories.signals(world.alice, 1)
    entry = order(world.mt5, signal, "FILLED", D(1000), D("1.1002"), slippage=D(2))
    entry.expected_price = D("1.1000")
    entry.save()
    one = factories.trade(world.mt5, signal, closed_at=market_now(), pnl=D(5))
    one.save()
    sold = order(world.mt5, signal, "FILLED", D(1000), D("1.1050"), slippage=D(1), leg="tp-1",
                 side="SELL", position=one, client_order_id="exit-1")  # fmt: skip
    sold.expected_price = D("1.1051")
    sold.save()
    compute_costs()
    assert TradeCost.objects.get(position=one).slippage == D("0.3")


def test_person_with_many_accounts_counts_once_in_the_median() -> None:
    world = World()

    def filled(account: ExecutionConnection, slippage: int) -> None:
        entry = order(account, world.gold, "FILLED", D(10), D("1286.1"), slippage=D(slippage),
                      client_order_id=f"{account.pk}"[:18])  # fmt: skip
        entry.expected_price = D(1286) - slippage
        entry.save()

    for n in range(7):
        filled(factories.connection(world.bob, kind="mt5"), 50 + n)
    for n in range(5):
        filled(factories.connection(factories.user(f"other-{n}"), kind="mt5"), n + 1)
    world.gold.__class__.objects.filter(pk=world.bobs_signal.pk).update(
        published_at=datetime(2020, 1, 1, tzinfo=UTC)
    )
    compute_signal_quality()
    quality = SignalQuality.objects.get(signal=world.gold)
    # Alice below 1, the others 1 to 5, Bob 53
    assert (quality.persons, quality.unit, quality.slippage) == (7, "PIPS", D(3))
    assert not SignalQuality.objects.filter(signal=world.bobs_signal).exists()
    assert ExecutionPosition.objects.exists()
