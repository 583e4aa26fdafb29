"""Closing by a symbol without a currency: positions that are still open decide the pair."""

from decimal import Decimal as D
from typing import Any

import pytest

from common.clocks import market_now
from connections.models import ExecutionConnection, Subscription
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.api.factories import World
from tests.api.symbol_alerts import DAX, DOLLAR, accepted, open_and_close, opened
from tests.api.test_alert_sequence import at
from tests.api.test_problems import problem
from tests.api.test_symbols import alert, follower


@pytest.fixture
def feed(world: World) -> Feed:
    """Return Paula's feed, which has no followers yet."""
    Subscription.objects.all().delete()
    return world.public


@pytest.fixture
def holder(feed: Feed) -> ExecutionConnection:
    """Return a follower who can trade both pairs, among others who list DAX/USD only."""
    row = follower(feed, DAX, DOLLAR)
    for _ in range(10):
        follower(feed, DOLLAR)
    return row


def held(world: World, signal: Signal, row: ExecutionConnection) -> ExecutionPosition:
    """Fill a signal's entry in one account only."""
    Order.objects.filter(signal=signal).delete()
    return ExecutionPosition.objects.create(
        connection=row, signal=signal, pair=signal.currency_pair, symbol="ANY",
        side=signal.direction, quantity=D(1000), opened_quantity=D(1000), entry_price=D(18000),
        price_source=world.prices, pip=D(1), conversion_rate=D(1), opened_at=market_now(),
    )  # fmt: skip


def close_unfilled(world: World, feed: Feed, pair: str, row: ExecutionConnection) -> Signal:
    """Open and close a trade in the feed; this account does not fill its exit."""
    entry = opened(world, feed, pair)
    held(world, entry, row)
    response = alert(world, feed, ticker=pair, action="CLOSE")
    assert response.json()["summary"] == f"Closed {entry.number}."
    return entry


def as_strategy() -> dict[str, Any]:
    """Return the fields that end a strategy's long trade, in place of a CLOSE."""
    return {
        "action": "sell", "prev_market_position": "long", "market_position": "flat",
        "direction": None, "timenow": at(0),
    }  # fmt: skip


@pytest.mark.parametrize("is_strategy", [False, True], ids=["close", "strategy"])
def test_close_of_a_word_means_the_pair_that_an_account_still_holds(
    world: World, feed: Feed, holder: ExecutionConnection, is_strategy: bool
) -> None:
    entry = close_unfilled(world, feed, "DAX/EUR", holder)
    open_and_close(world, feed, "DAX/USD")
    fields = as_strategy() if is_strategy else {"action": "CLOSE"}
    assert accepted(world, feed, **fields).refers_to == entry


def test_ambiguous_close_names_the_pairs_that_accounts_still_hold(
    world: World, feed: Feed, holder: ExecutionConnection
) -> None:
    first, _ = (close_unfilled(world, feed, pair, holder) for pair in ("DAX/EUR", "DAX/USD"))
    refused = problem(alert(world, feed, ticker="DAX", action="CLOSE"), 400, "SYMBOL_UNKNOWN")
    assert "'DAX' may be DAX/EUR or DAX/USD: accounts still hold trades in" in refused["detail"]
    response = alert(world, feed, ticker="DAX/EUR", action="CLOSE", note="again")
    assert response.json()["summary"] == f"Closed {first.number}."


def test_closed_side_decides_between_open_pairs(
    world: World, feed: Feed, holder: ExecutionConnection
) -> None:
    long = opened(world, feed, "DAX/EUR")
    response = alert(world, feed, ticker="DAX/USD", direction="SELL")
    short = Signal.objects.get(pk=response.json()["id"])
    for direction, signal in (("BUY", long), ("SELL", short)):
        assert accepted(world, feed, action="CLOSE", direction=direction).refers_to == signal


def test_open_position_does_not_decide_the_pair_of_a_new_trade(
    world: World, feed: Feed, holder: ExecutionConnection
) -> None:
    close_unfilled(world, feed, "DAX/EUR", holder)
    open_and_close(world, feed, "DAX/USD")
    assert accepted(world, feed, note="next").currency_pair == "DAX/USD"


def test_trade_held_by_one_account_only_is_ended_by_a_close_of_its_pair(
    world: World, feed: Feed, holder: ExecutionConnection
) -> None:
    """Stops closed it in all accounts but one; the feed has not closed it."""
    remaining, current = (opened(world, feed, pair) for pair in ("DAX/USD", "DAX/EUR"))
    for signal in (remaining, current):
        held(world, signal, holder)
    refused = problem(alert(world, feed, ticker="DAX", action="CLOSE"), 400, "SYMBOL_UNKNOWN")
    assert (
        "To end the trades in one of them, even if only one account still holds it"
        in (refused["detail"])
    )
    assert "send CLOSE with that pair as the symbol" in refused["detail"]
    response = alert(world, feed, ticker="DAX/USD", action="CLOSE")
    assert response.json()["summary"] == f"Closed {remaining.number}."
    assert accepted(world, feed, action="CLOSE").refers_to == current
