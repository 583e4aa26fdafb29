"""A symbol that has no price in the terminal yet: its entry waits, and the account says why."""

from typing import Any

import pytest
from django.utils import timezone

from connections.models import ConnectionHealth, ExecutionConnection
from execution.models import Order
from positions.models import ExecutionPosition
from prices.models import LatestQuote
from signals.models import Feed
from tests.execution import factories
from tests.execution.trading_process import until
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.test_live_prices import alice, engine, feed

__all__ = ["alice", "engine", "feed"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
REASON = "MARKET_CLOSED"
WORDS = "the terminal has no price of EURUSD"


def price_goes(feed: Feed, venue: FakeTerminal) -> None:
    """The symbol has been quoted until now; an entry in it is published and waits."""
    until(lambda: LatestQuote.objects.filter(symbol="EUR/USD").exists())
    venue.configure(ticking=False)
    venue.configure_symbol("EURUSD", bid=0.0, ask=0.0)
    factories.signal(feed)
    until(lambda: Order.objects.filter(status="PENDING", reason=REASON).exists())


def attempts() -> int:
    """How often the entry has been claimed. What waits is due now."""
    Order.objects.filter(status="PENDING").update(due_at=timezone.now())
    return int(Order.objects.get().fence)


def health_of(account: ExecutionConnection) -> Any:
    return ConnectionHealth.objects.get(pk=account.pk)


def test_entry_waits_for_a_price_and_is_filled_when_it_comes(
    alice: ExecutionConnection, feed: Feed, venue: FakeTerminal
) -> None:
    price_goes(feed, venue)
    until(lambda: attempts() > 7)
    until(lambda: WORDS in health_of(alice).last_error)
    assert health_of(alice).status == "ACTIVE"
    assert venue.accepted() == []
    until(lambda: Order.objects.filter(status="PENDING", reason=REASON).exists())
    order = Order.objects.get()
    assert (order.detail, order.send_retries) == (WORDS, 0)
    assert order.waiting_since is not None

    venue.configure_symbol("EURUSD", bid=1.1, ask=1.1001)
    until(lambda: ExecutionPosition.objects.exists())
    assert Order.objects.get().status == "FILLED"
    until(lambda: health_of(alice).last_error == "")


def test_entry_that_waits_too_long_for_a_price_ends_with_that_code(
    alice: ExecutionConnection, feed: Feed, venue: FakeTerminal
) -> None:
    price_goes(feed, venue)
    factories.pass_time(60)
    until(lambda: Order.objects.filter(done_at__isnull=False).exists())
    order = Order.objects.get()
    assert (order.status, order.reason) == ("DENIED", REASON)
    assert "became older than 60 s" in order.detail
    assert venue.accepted() == []
