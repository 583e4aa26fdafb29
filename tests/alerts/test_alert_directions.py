"""Levels on the wrong side: of the market, of the words that move them, of what a preview shows."""

from decimal import Decimal as D

import pytest
from django.core.cache import cache

from alerts.carry_out import trades as alert_trades
from alerts.preview import preview_alert
from common.clocks import market_now
from common.errors import FillcastError
from common.reason_codes import Code
from signals import open_signals
from signals.checks import price_guard
from signals.checks.price_guard import Reference
from signals.feeds import services as feeds
from signals.feeds.rate import forget_failures
from signals.models import Feed, Signal
from tests.alert_inbox import deliver
from users.tenancy import on_behalf_of


@pytest.fixture(autouse=True)
def fresh_counters() -> None:
    forget_failures()
    cache.clear()


@pytest.fixture
def secret(feed: Feed) -> str:
    return feeds.create_feed_token(feed)[1]


def quote(monkeypatch: pytest.MonkeyPatch, price: str) -> None:
    found = Reference(bid=D(price), ask=D(price), time=market_now(), source="test")
    monkeypatch.setattr(price_guard, "_source", lambda *_args, **_kwargs: found)


PASSED = [
    ("BUY EURUSD NOW SL 1.0900 TP 1.0950", Code.STOP_WRONG_SIDE),
    ("EURUSD BUY SL 1.0900", Code.STOP_WRONG_SIDE),
    ("SELL EURUSD NOW SL 1.0800 TP 1.0750", Code.STOP_WRONG_SIDE),
    ("BUY EURUSD NOW TP 1.0800", Code.TARGET_WRONG_SIDE),
    ("e=x s=EURUSD b=long t=market sl=@1.09 tp=@1.10", Code.STOP_WRONG_SIDE),
    ("60123456789,short,EURUSD,sl_price=1.0800", Code.STOP_WRONG_SIDE),
    ('{"action":"OPEN","direction":"BUY","symbol":"EURUSD","sl":"1.0900"}', Code.STOP_WRONG_SIDE),
    ("BUY LIMIT EURUSD @ 1.0950 SL 1.0900", Code.STOP_WRONG_SIDE),
    ("EURUSD SELL STOP @ 1.0900 TP 1.0800", Code.PRICE_WRONG_SIDE),
    ("BUY STOP EURUSD 1.0800 TP 1.0900", Code.PRICE_WRONG_SIDE),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code"), PASSED)
def test_level_that_the_market_has_passed_is_refused_at_the_endpoint_and_in_the_preview(
    feed: Feed, secret: str, monkeypatch: pytest.MonkeyPatch, text: str, code: Code
) -> None:
    quote(monkeypatch, "1.0850")
    with on_behalf_of(feed.owner):
        assert preview_alert(feed, text.encode()).errors[0].code == code
    with pytest.raises(FillcastError) as caught:
        deliver(feed, secret, text.encode())
    assert caught.value.code == code
    assert not Signal.objects.exists()


@pytest.mark.parametrize("text", [
    "BUY EURUSD NOW SL 1.0800 TP 1.0900", "BUY EURUSD @ 1.0860 SL 1.0800 TP 1.0900",
    "BUY LIMIT EURUSD @ 1.0800 SL 1.0750 TP 1.0820", "BUY STOP EURUSD @ 1.0900 SL 1.0860",
    "SELL STOP EURUSD @ 1.0800 TP 1.0700",
])  # fmt: skip
def test_entry_on_the_right_side_of_the_market_is_published_once(
    feed: Feed, secret: str, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    quote(monkeypatch, "1.0850")
    (signal,) = deliver(feed, secret, text.encode()).signals
    quote(monkeypatch, "1.0700" if "BUY" in text else "1.1000")  # its levels have been passed
    assert deliver(feed, secret, text.encode()).signals == (signal,)


@pytest.mark.parametrize(("entry", "words", "is_read"), [
    ("BUY EURUSD @ 1.0850 SL 1.0800", "raise SL to 1.0820", True),
    ("BUY EURUSD @ 1.0850 SL 1.0800", "raise SL to 1.0780", False),
    ("BUY EURUSD @ 1.0850 SL 1.0800", "tighten SL to 1.0780", False),
    ("SELL EURUSD @ 1.0850 SL 1.0900", "tighten SL to 1.0880", True),
    ("SELL EURUSD @ 1.0850 SL 1.0900", "lower SL to 1.0920", False),
    ("BUY EURUSD @ 1.0850 TP 1.0900", "raise TP to 1.0880", False),
    ("BUY EURUSD @ 1.0850 TP 1.0900", "move TP to 1.0880", True),
])  # fmt: skip
def test_level_moves_to_the_side_that_its_verb_says(
    feed: Feed, secret: str, monkeypatch: pytest.MonkeyPatch, entry: str, words: str, is_read: bool
) -> None:
    monkeypatch.setattr(open_signals, "_sources", ["true"])
    monkeypatch.setattr(alert_trades, "_filled_sources", [])
    deliver(feed, secret, entry.encode())
    if is_read:
        (moved,) = deliver(feed, secret, words.encode()).signals
        assert moved.action == "MODIFY"
        return
    with on_behalf_of(feed.owner):
        assert preview_alert(feed, words.encode()).errors[0].code == Code.ALERT_CONTRADICTORY
    with pytest.raises(FillcastError) as caught:
        deliver(feed, secret, words.encode())
    assert caught.value.code == Code.ALERT_CONTRADICTORY


def test_preview_shows_the_rules_that_are_carried_out(feed: Feed) -> None:
    text = (
        b"60123456789,buy,EURUSD,sl_price=1.0800,betrigger=15,beoffset=1,trailtrig=20,traildist=10,"
        b"spread=2"
    )
    with on_behalf_of(feed.owner):
        shown = dict(preview_alert(feed, text).fields)
    assert shown["break_even_profit"] == "15 pips"
    assert shown["break_even_offset"] == "1 pips"
    assert shown["trailing_distance"] == "10 pips"
    assert shown["trailing_activation"] == "20 pips"
    assert shown["max_spread"] == "2 pips"
    own = b'{"action": "OPEN", "direction": "BUY", "symbol": "EURUSD", "valid_for": 60}'
    with on_behalf_of(feed.owner):
        assert dict(preview_alert(feed, own).fields)["valid_for"] == "60"
