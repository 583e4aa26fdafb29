"""The test of a text agrees with what the endpoint and the worker do with it."""

import json
from itertools import product

import pytest
from django.core.cache import cache

from alerts.carry_out import trades as alert_trades
from alerts.models import IncomingAlert
from alerts.preview import preview_alert
from common.errors import FillcastError, InvalidInputError
from signals import open_signals
from signals.feeds import services as feeds
from signals.feeds.rate import forget_failures
from signals.models import Feed, Signal
from signals.reading.errors import field_errors
from tests.alert_inbox import deliver
from tests.matrix import WALK_TIME, Cell, Walk
from users.tenancy import on_behalf_of

TEXTS = [
    "BUY EURUSD @ 1.3850 SL 1.3800",
    "BUY EURUSD NOW",
    "BUY GBPUSD @ 1.6000 SL 1.5900",
    "Token: **SOL/USDT**\nLONG\nEntry: 150.25\nSL: 140.25",
    "Token: sol/usdt\nLONG\nEntry: 150.25\nSL: 140.25",
    "close EURUSD",
    "EURUSD close half",
    json.dumps({"ticker": "EURUSD", "action": "buy", "sentiment": "long"}),
    json.dumps({"ticker": "EURUSD", "action": "sell", "sentiment": "flat"}),
    json.dumps({"action": "OPEN", "symbol": "EURUSD", "direction": "BUY", "order_type": "LIMIT",
                "price": "1.386", "sl": "1.38"}),
    json.dumps({"action": "OPEN", "symbol": "EURUSD", "direction": "BUY", "sl": "1.38",
                "time": "2020-01-01T00:00:00Z"}),
    "Good morning",
]  # fmt: skip
FEEDS: dict[str, dict[str, object]] = {
    "open": {"alert_mapping": {"ignore": ["Token:"]}},
    "only GBP/USD": {"alert_symbols": ["GBP/USD"]},
    "not approved": {"is_approved": False},
}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_failures()
    cache.clear()
    monkeypatch.setattr(open_signals, "_sources", ["true"])
    monkeypatch.setattr(alert_trades, "_filled_sources", [])


@WALK_TIME
def test_preview_and_endpoint_agree(feed: Feed) -> None:
    _, secret = feeds.create_feed_token(feed)
    with Walk() as walk:
        for text, rules, is_open in walk.each(product(TEXTS, FEEDS, [False, True])):
            with walk.cell(f"{text} ({rules})", "a trade is open" if is_open else "") as cell:
                if is_open:
                    deliver(feed, secret, b"BUY EURUSD @ 1.3840 SL 1.3700")
                Feed.objects.filter(pk=feed.pk).update(**FEEDS[rules])
                expect_agreement(cell, Feed.objects.get(pk=feed.pk), secret, text)


def expect_agreement(cell: Cell, feed: Feed, secret: str, text: str) -> None:
    """Test a text, then send it: expect the same faults, or none."""
    before = (Signal.objects.count(), IncomingAlert.objects.count())
    with on_behalf_of(feed.owner):
        shown = preview_alert(feed, text.encode())
    now = (Signal.objects.count(), IncomingAlert.objects.count())
    cell.expect(before, now, "signals and alerts after the test")
    errors = [one.code for one in shown.errors]
    if not shown.dialect and not feed.is_approved:  # its faults help before the approval, too
        cell.expect(True, bool(errors), "has faults")
        return
    codes = []
    try:
        deliver(feed, secret, text.encode())
    except FillcastError as error:
        refused = field_errors(error) if isinstance(error, InvalidInputError) else (error,)
        codes = [one.code for one in refused]
    cell.expect(codes, errors, "faults of the test")
    cell.expect(not codes, bool(shown.effect), "has an effect")
