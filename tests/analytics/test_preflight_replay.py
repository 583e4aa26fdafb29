"""A replay decides as the engine does: the same account and state give the same orders."""

import random
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from analytics.preflight.loading import load
from analytics.preflight.outcome import Outcome
from analytics.preflight.replay import Replay
from analytics.preflight.replay_rows import Terms
from common.clocks import market_now
from connections.models import AccountSnapshot, ExecutionConnection
from execution.models import Order
from execution.submission.outcomes import Intent
from positions.models import ExecutionPosition
from prices.models import PriceBar
from prices.selectors import minute_of
from signals.models import Feed, RiskCategory, Signal
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.sampling import often

pytestmark = pytest.mark.django_db
D = Decimal
factories.register()


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    factories.fake_broker().reset()
    yield factories.fake_broker()
    factories.fake_broker().reset()


@pytest.fixture
def feed(broker: FakeBroker) -> Feed:
    factories.instrument()
    factories.instrument("GBP/USD")
    return make.feed()


def bar(of: ExecutionConnection, bid: Decimal, ask: Decimal, pair: str, back: int = 1) -> None:
    """The minute's prices of an account's source, `back` minutes ago."""
    minute = minute_of(market_now()) - back * timedelta(minutes=1)
    PriceBar.objects.create(
        data_connection_id=of.data_connection_id or 0, symbol=pair, minute=minute,
        **{f"bid_{name}": bid for name in ("open", "high", "low", "close")},
        **{f"ask_{name}": ask for name in ("open", "high", "low", "close")},
        spread_sum=ask - bid, quote_count=1, first_at=minute, last_at=minute,
    )  # fmt: skip


def replayed(
    account: ExecutionConnection, feed: Feed, terms: Terms | None = None, wanted: int = 100
) -> Replay:
    cases, setting = load(account, feed.pk, terms or Terms(), wanted)
    replay = Replay(cases, setting)
    assert list(replay.run()) == list(range(1, len(cases) + 1))
    return replay


def decided(outcome: Outcome) -> tuple[str, Any]:
    if isinstance(outcome.decision, Intent):
        return "", outcome.decision.quantity
    return (str(outcome.denial.code) if outcome.denial else outcome.note), None


def claimed(order: Order) -> tuple[str, Any]:
    if order.status in ("SUBMITTING", "SUBMITTED", "FILLED"):
        return "", order.quantity
    return order.reason, None


def random_preset(rng: random.Random) -> dict[str, Any]:
    """A preset of any sizing mode, with some limits set."""
    mode = rng.choice(
        ["FIXED", "PER_BALANCE", "PERCENT_BALANCE", "PERCENT_EQUITY", "FIXED_AMOUNT",
         "RISK_PERCENT", "RISK_AMOUNT", "RISK_CATEGORY"]
    )  # fmt: skip
    sized: dict[str, Any] = {
        "sizing_mode": mode,
        "fixed_quantity": D(rng.choice([5, 95, 1_004])),
        "per_balance": D(5_000),
        "percent_of_balance": D(7),
        "percent_of_equity": D("8.8"),
        "fixed_amount": D(900),
        "risk_percent": D(rng.choice(["0.001", "0.5", "1.1", "2"])),
        "risk_amount": D(21),
    }
    limits: dict[str, list[Any]] = {
        "max_quantity": [None, None, D(4_000)],
        "max_open_positions": [1, 2, 10],
        "max_leverage": [D("1.1"), D(3), D(30)],
        "max_portfolio_risk_percent": [D("0.5"), D(3), D(10)],
        "max_symbol_exposure_percent": [None, D(90)],
        "max_currency_exposure_percent": [None, D(60)],
        "max_orders_per_minute": [None, 1, 2],
        "max_daily_notional": [None, D(20_000)],
        "max_daily_volume": [None, D(1_500)],
        "same_trade_window_seconds": [None, 120],
        "max_spread": [None, D("1.5"), D(3)],
        "multiplier": [D(1), D("1.7")],
        "allow_minimum_quantity": [False, True],
    }
    chosen = {name: rng.choice(values) for name, values in limits.items()}
    if chosen["allow_minimum_quantity"]:
        chosen["max_trade_risk_percent"] = D(2)
    return {f"preset_{name}": value for name, value in {**sized, **chosen}.items()}


@pytest.mark.parametrize("seed", often(range(30), every=5))
def test_replay_decides_as_the_claim_does_in_the_same_state(
    feed: Feed, broker: FakeBroker, seed: int
) -> None:
    rng = random.Random(seed)
    mode = rng.choice(["HEDGING", "NETTING"])
    account = factories.account(feed, snapshot_position_mode=mode, **random_preset(rng))
    markets = {"EUR/USD": (D("1.0999"), D("1.1000")), "GBP/USD": (D("1.2999"), D("1.3001"))}
    for pair, (bid, ask) in markets.items():
        factories.quote(account, bid, ask, pair)
        bar(account, bid, ask, pair)
    orders: list[tuple[str, Any]] = []
    for _ in range(4):
        pair, side = rng.choice(list(markets)), rng.choice(["BUY", "SELL"])
        bid, ask = markets[pair]
        away = D(rng.choice(["0.0005", "0.0031", "0.02"]))
        stop = bid - away if side == "BUY" else ask + away
        one = factories.feed_signal(
            feed, currency_pair=pair, direction=side, sl=stop,
            risk_category=rng.choice(RiskCategory.values),
        )  # fmt: skip
        factories.fill_all()
        orders.append(claimed(Order.objects.get(signal=one, leg="entry")))
        _read_account(account, markets)
    assert [decided(one) for one in replayed(account_at_first(account), feed).outcomes] == orders


def _read_account(account: ExecutionConnection, markets: dict[str, tuple[D, D]]) -> None:
    """Read the account, as its broker would after what it has filled."""
    equity, margin = D(10_000), D(0)
    for held in ExecutionPosition.objects.filter(connection=account, quantity__gt=0):
        bid, ask = markets[held.pair]
        sign = 1 if held.side == "BUY" else -1
        equity += ((bid if sign > 0 else ask) - held.entry_price) * sign * held.quantity
        margin += held.entry_price * held.quantity / 30
    AccountSnapshot.objects.filter(connection=account).update(
        equity=equity, margin_used=margin, free_margin=equity - margin
    )


def account_at_first(account: ExecutionConnection) -> ExecutionConnection:
    """The account as it was before the first signal."""
    AccountSnapshot.objects.filter(connection=account).update(
        balance=D(10_000), equity=D(10_000), margin_used=D(0), free_margin=D(10_000)
    )
    return account


def own(feed: Feed, account: ExecutionConnection) -> None:
    """Let the account's owner see what the feed has just published."""
    Feed.objects.filter(pk=feed.pk).update(owner=account.user)


def test_terms_of_the_wanted_subscription_count(feed: Feed) -> None:
    account = factories.account()
    bar(account, D("1.0999"), D("1.1000"), "EUR/USD")
    signal = factories.signal(feed)
    own(feed, account)
    [once] = replayed(account, feed).outcomes
    [twice] = replayed(account, feed, Terms(multiplier=D("2.56"))).outcomes
    [sells] = replayed(account, feed, Terms(directions="SELL")).outcomes
    assert decided(once) == ("", D(100))
    assert decided(twice) == ("", D(250))
    assert decided(sells) == ("DIRECTION_EXCLUDED", None)
    assert not Order.objects.filter(signal=signal).exists()  # nothing is sent or stored


def test_signal_without_any_price_is_not_replayed(feed: Feed) -> None:
    account = factories.account()
    Signal.objects.filter(pk=factories.signal(feed).pk).update(market_bid=None, market_at=None)
    own(feed, account)
    replay = replayed(account, feed)
    assert decided(replay.outcomes[0])[0].startswith("No price of then is kept")


def test_signals_of_the_last_day_are_withheld_from_others(feed: Feed) -> None:
    """Else a replay every minute would be a subscription that the provider does not see."""
    account = factories.account()
    bar(account, D("1.0999"), D("1.1000"), "EUR/USD")
    factories.signal(feed)
    withheld = replayed(account, feed)
    assert (withheld.outcomes, withheld.setting.withheld) == ([], 1)
    own(feed, account)
    shown = replayed(account, feed)
    assert (len(shown.outcomes), shown.setting.withheld) == (1, 0)
