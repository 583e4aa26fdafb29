"""Closing by a symbol without a currency: what accounts still hold decides which pair is meant."""

from decimal import Decimal as D
from typing import Any

import pytest

from common.clocks import market_now
from connections.models import ExecutionConnection, Subscription
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.api.factories import World
from tests.api.test_alert_sequence import at
from tests.api.test_alert_words import DAX, DOLLAR, opened, taken, traded
from tests.api.test_problems import problem
from tests.api.test_symbols import alert, follower


@pytest.fixture
def feed(world: World) -> Feed:
    """Paula's; nobody follows it yet."""
    Subscription.objects.all().delete()
    return world.public


@pytest.fixture
def holder(feed: Feed) -> ExecutionConnection:
    """A follower who can trade both pairs, among others who list DAX/USD only."""
    row = follower(feed, DAX, DOLLAR)
    for _ in range(10):
        follower(feed, DOLLAR)
    return row


def held(world: World, signal: Signal, row: ExecutionConnection) -> ExecutionPosition:
    """Fill a signal's entry in one account; no other account has anything of it."""
    Order.objects.filter(signal=signal).delete()
    return ExecutionPosition.objects.create(
        connection=row, signal=signal, pair=signal.currency_pair, symbol="ANY",
        side=signal.direction, quantity=D(1000), opened_quantity=D(1000), entry_price=D(18000),
        price_source=world.prices, pip=D(1), conversion_rate=D(1), opened_at=market_now(),
    )  # fmt: skip


def close_unfilled(world: World, feed: Feed, pair: str, row: ExecutionConnection) -> Signal:
    """A trade that the feed has closed, and whose exit this account has not filled."""
    entry = opened(world, feed, pair)
    held(world, entry, row)
    answer = alert(world, feed, ticker=pair, action="CLOSE")
    assert answer.json()["summary"] == f"Closed {entry.number}."
    return entry


def as_strategy() -> dict[str, Any]:
    """What ends a strategy's long trade, in place of a CLOSE."""
    return {
        "action": "sell", "prev_market_position": "long", "market_position": "flat",
        "direction": None, "timenow": at(0),
    }  # fmt: skip


@pytest.mark.parametrize("is_strategy", [False, True], ids=["close", "strategy"])
def test_word_is_closed_again_in_the_pair_that_an_account_still_holds(
    world: World, feed: Feed, holder: ExecutionConnection, is_strategy: bool
) -> None:
    entry = close_unfilled(world, feed, "DAX/EUR", holder)
    traded(world, feed, "DAX/USD")
    said = as_strategy() if is_strategy else {"action": "CLOSE"}
    assert taken(world, feed, **said).refers_to == entry


def test_several_pairs_that_accounts_still_hold_are_named(
    world: World, feed: Feed, holder: ExecutionConnection
) -> None:
    first, _ = (close_unfilled(world, feed, pair, holder) for pair in ("DAX/EUR", "DAX/USD"))
    refused = problem(alert(world, feed, ticker="DAX", action="CLOSE"), 400, "SYMBOL_UNKNOWN")
    assert "'DAX' may be DAX/EUR or DAX/USD: accounts still hold trades in" in refused["detail"]
    answer = alert(world, feed, ticker="DAX/EUR", action="CLOSE", note="again")
    assert answer.json()["summary"] == f"Closed {first.number}."


def test_side_that_is_closed_decides_between_open_pairs(
    world: World, feed: Feed, holder: ExecutionConnection
) -> None:
    long = opened(world, feed, "DAX/EUR")
    answer = alert(world, feed, ticker="DAX/USD", direction="SELL")
    short = Signal.objects.get(pk=answer.json()["id"])
    for direction, signal in (("BUY", long), ("SELL", short)):
        assert taken(world, feed, action="CLOSE", direction=direction).refers_to == signal


def test_what_an_account_still_holds_does_not_decide_what_is_opened(
    world: World, feed: Feed, holder: ExecutionConnection
) -> None:
    close_unfilled(world, feed, "DAX/EUR", holder)
    traded(world, feed, "DAX/USD")
    assert taken(world, feed, note="next").currency_pair == "DAX/USD"


def test_trade_that_stops_ended_elsewhere_is_ended_by_a_close_of_its_pair(
    world: World, feed: Feed, holder: ExecutionConnection
) -> None:
    """Stops closed it in all accounts but one; the feed itself has not."""
    left, current = (opened(world, feed, pair) for pair in ("DAX/USD", "DAX/EUR"))
    for signal in (left, current):
        held(world, signal, holder)
    refused = problem(alert(world, feed, ticker="DAX", action="CLOSE"), 400, "SYMBOL_UNKNOWN")
    assert (
        "To end the trades in one of them, even if only one account still holds it"
        in (refused["detail"])
    )
    assert "send CLOSE with that pair as the symbol" in refused["detail"]
    answer = alert(world, feed, ticker="DAX/USD", action="CLOSE")
    assert answer.json()["summary"] == f"Closed {left.number}."
    assert taken(world, feed, action="CLOSE").refers_to == current
