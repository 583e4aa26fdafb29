"""Texts that are sent to a feed, and what they publish or why they are refused."""

import pytest
from django.core.cache import cache

from alerts.carry_out import trades as alert_trades
from common.errors import FillcastError
from signals import open_signals
from signals.feeds import services as feeds
from signals.feeds.rate import forget_failures
from signals.models import Feed, Signal
from tests.alert_inbox import deliver

ENTRY = "BUY EURUSD @ 1.3850 SL 1.3800 TP 1.3900"


@pytest.fixture(autouse=True)
def fresh_counters() -> None:
    forget_failures()
    cache.clear()


@pytest.fixture(autouse=True)
def all_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each published signal counts as open: there is no account in these tests."""
    monkeypatch.setattr(open_signals, "_sources", ["true"])
    monkeypatch.setattr(alert_trades, "_filled_sources", [])


@pytest.fixture
def secret(feed: Feed) -> str:
    return feeds.create_feed_token(feed)[1]


def send(feed: Feed, secret: str, text: str) -> list[Signal]:
    return list(deliver(feed, secret, text.encode()).signals)


def refusal(feed: Feed, secret: str, text: str) -> FillcastError:
    before = Signal.objects.count()
    with pytest.raises(FillcastError) as caught:
        send(feed, secret, text)
    assert Signal.objects.count() == before
    return caught.value
