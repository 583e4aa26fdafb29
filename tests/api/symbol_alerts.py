"""Alerts whose symbol names no currency, at a feed without followers."""

from datetime import timedelta
from typing import Any

import pytest

from common.clocks import market_now
from connections.models import Subscription
from signals.models import Feed, Signal
from tests.api.factories import World
from tests.api.test_symbols import alert, follower, listed

DAX, DOLLAR = listed("DAX", "DAX/EUR"), listed("DAXUSD", "DAX/USD")
POUND = listed("GBPUSD", "GBP/USD")


@pytest.fixture
def feed(world: World) -> Feed:
    """Return Paula's feed, which has no followers yet."""
    Subscription.objects.all().delete()
    return world.public


def unrelated_follower(feed: Feed, mapped: dict[str, str], *instruments: Any) -> None:
    row = follower(feed, *instruments)
    Subscription.objects.filter(connection=row).update(symbol_map=mapped)


def accepted(world: World, feed: Feed, **fields: Any) -> Signal:
    """Send an alert that must not be refused; return its signal."""
    response = alert(world, feed, ticker="DAX", **fields)
    assert response.status_code == 201, response.content
    return Signal.objects.latest("id")


def opened(world: World, feed: Feed, pair: str) -> Signal:
    response = alert(world, feed, ticker=pair)
    assert response.status_code == 201, response.content
    return Signal.objects.latest("id")


def open_and_close(world: World, feed: Feed, pair: str) -> None:
    """Open a trade in this pair and close it."""
    entry = opened(world, feed, pair)
    Signal.objects.filter(pk=entry.pk).update(created_at=market_now() - timedelta(days=1))
    assert alert(world, feed, ticker=pair, action="CLOSE").status_code == 201
