"""What trades cost, and the medians of a signal, as the daily job writes them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from analytics.models import SignalQuality, TradeCost
from analytics.quality import signals as signal_quality
from analytics.services import compute_costs, compute_signal_quality
from common.clocks import market_now
from connections.models import ExecutionConnection
from positions.models import ExecutionPosition
from prices.models import PriceBar
from signals.models import Signal
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


def test_costs_of_a_trade_that_is_corrected_are_computed_again() -> None:
    world, now = World(), market_now()
    (signal,) = factories.signals(world.alice, 1)
    closed = now - timedelta(hours=1)
    one = factories.trade(world.mt5, signal, closed_at=closed, pnl=D(5), lasted=timedelta(hours=1))
    one.price_source = world.prices
    one.save()
    earlier = timedelta(minutes=9)
    for at, spread in ((one.opened_at, "0.0002"), (closed, "0.0004")):
        bar(world, at, D(spread))
        bar(world, at - earlier, D(spread) * 2)
    compute_costs()
    one.opened_at -= earlier
    one.closed_at = closed - earlier
    one.save()
    compute_costs()
    cost = TradeCost.objects.get(position=one)
    assert (cost.entry_spread, cost.exit_spread) == (D("0.2"), D("0.4"))


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


def filled(account: ExecutionConnection, signal: Signal, slippage: int) -> None:
    entry = order(account, signal, "FILLED", D(10), D("1286.1"), slippage=D(slippage),
                  client_order_id=f"{account.pk}"[:18])  # fmt: skip
    entry.expected_price = D(1286) - slippage
    entry.save()


def closed_long_ago(world: World) -> None:
    """Bob's only trade is over, and there are medians of other signals already."""
    at = datetime(2020, 1, 1, tzinfo=UTC)
    Signal.objects.filter(pk=world.bobs_signal.pk).update(published_at=at)
    ExecutionPosition.objects.filter(pk=world.bobs_position.pk).update(
        quantity=D(0), opened_at=at, closed_at=at
    )
    SignalQuality.objects.create(signal=world.euro, persons=1)


def test_person_with_many_accounts_counts_once_in_the_median() -> None:
    world = World()
    for n in range(7):
        filled(factories.connection(world.bob, kind="mt5"), world.gold, 50 + n)
    for n in range(5):
        other = factories.connection(factories.user(f"other-{n}"), kind="mt5")
        filled(other, world.gold, n + 1)
    closed_long_ago(world)
    compute_signal_quality()
    quality = SignalQuality.objects.get(signal=world.gold)
    # Alice below 1, the others 1 to 5, Bob 53
    assert (quality.persons, quality.unit, quality.slippage) == (7, "PIPS", D(3))
    assert not SignalQuality.objects.filter(signal=world.bobs_signal).exists()


def test_real_and_paper_money_have_medians_of_their_own() -> None:
    """Simulated fills would make everybody's real ones look bad."""
    world = World()
    for n in range(6):
        person = factories.user(f"other-{n}")
        filled(factories.connection(person, kind="mt5"), world.gold, 20 + n)
        filled(factories.connection(person, kind="paper"), world.gold, 0)
    compute_signal_quality()
    real = SignalQuality.objects.get(signal=world.gold, is_paper=False)
    paper = SignalQuality.objects.get(signal=world.gold, is_paper=True)
    assert (real.persons, real.slippage) == (7, D(22))  # Alice below 1
    assert (paper.persons, paper.slippage) == (6, D(0))


def test_entry_that_fills_after_weeks_gets_its_median() -> None:
    """A limit order may wait for long; its position shows that it filled."""
    world = World()
    closed_long_ago(world)
    now = market_now()
    compute_signal_quality()
    assert not SignalQuality.objects.filter(signal=world.bobs_signal).exists()
    position = ExecutionPosition.objects.filter(pk=world.bobs_position.pk)
    for state in ({"quantity": D(1000), "closed_at": None}, {"quantity": D(0), "closed_at": now}):
        position.update(opened_at=now, **state)
        compute_signal_quality()
        assert SignalQuality.objects.filter(signal=world.bobs_signal).delete()[0] == 1


def test_without_any_median_those_of_all_signals_are_computed() -> None:
    world = World()
    closed_long_ago(world)
    SignalQuality.objects.all().delete()
    compute_signal_quality()
    assert SignalQuality.objects.filter(signal=world.bobs_signal).count() == 1


def test_first_computation_that_breaks_off_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Medians of a part of the signals would pass for those of all."""
    world = World()
    closed_long_ago(world)
    SignalQuality.objects.all().delete()
    compute, computed = signal_quality._compute, list[int]()

    def fail_at_second(signals: list[int]) -> int:
        computed.extend(signals)
        if len(computed) > 1:
            raise RuntimeError("killed")
        return compute(signals)

    monkeypatch.setattr(signal_quality, "BATCH", 1)
    monkeypatch.setattr(signal_quality, "_compute", fail_at_second)
    with pytest.raises(RuntimeError):
        compute_signal_quality()
    monkeypatch.undo()
    compute_signal_quality()
    assert {*SignalQuality.objects.values_list("signal", flat=True)} >= {*computed}
