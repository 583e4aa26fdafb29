"""Concurrent alerts of one feed: those about one pair wait for each other, those about different
pairs do not."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import Client

from alerts.models import IncomingAlert
from common.db.sql import rows
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.alert_inbox import answer_of
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_alert_sequence import AlertEndpoint, exits, strategy
from tests.lock_waits import until_one_waits
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 120.0
COINS = [
    "BTC", "ADA", "ALGO", "APT", "ARB", "ATOM", "AVAX", "BCH", "BNB", "DOGE", "DOT", "ETC", "ETH",
    "FIL", "LINK", "LTC", "NEAR", "SOL", "SUI", "XRP",
]  # fmt: skip


@pytest.fixture
def endpoint(world: World, as_web: AsWeb, monkeypatch: pytest.MonkeyPatch) -> AlertEndpoint:
    """Return an alert endpoint with time-outs long enough to observe what waits for what."""
    options = connections.settings["default"]["OPTIONS"]
    long_timeouts = f"{options['options']} -c lock_timeout=60s -c statement_timeout=60s"
    monkeypatch.setitem(options, "options", long_timeouts)
    return AlertEndpoint(world, as_web)


class PostedAlert:
    """An alert that is posted on its own thread."""

    def __init__(self, endpoint: AlertEndpoint, **fields: Any) -> None:
        self.status = 0
        self.body: dict[str, Any] = {}
        self._thread = Thread(target=self._run, args=[endpoint.path, json.dumps(fields)])
        self._thread.start()

    def _run(self, path: str, body: str) -> None:
        try:
            response = answer_of(Client().post(path, body, content_type="text/plain"))
            self.status, self.body = response.status_code, response.json()
        finally:
            connection.close()

    @property
    def is_answered(self) -> bool:
        return not self._thread.is_alive()


@contextmanager
def held(position: ExecutionPosition) -> Iterator[None]:
    """Lock a position, so that an alert that closes it cannot finish."""
    with transaction.atomic():
        ExecutionPosition.objects.select_for_update().get(pk=position.pk)
        yield


def trade(endpoint: AlertEndpoint, pair: str) -> ExecutionPosition:
    """Open a trade of 1,000 in a pair."""
    position = endpoint.trade()
    Signal.objects.filter(pk=position.signal_id).update(currency_pair=pair)
    ExecutionPosition.objects.filter(pk=position.pk).update(pair=pair)
    return position


def leave(coin: str) -> dict[str, Any]:
    return {**strategy("long", "sell", "flat", -5), "ticker": f"{coin}USDT"}


def test_exits_of_twenty_symbols_at_once_do_not_wait_for_a_slow_one(
    endpoint: AlertEndpoint,
) -> None:
    """As at a bar's close. The position in the first symbol is locked."""
    slow, *_ = positions = [trade(endpoint, f"{coin}/USDT") for coin in COINS]
    with held(slow):
        first = PostedAlert(endpoint, **leave(COINS[0]))
        until_one_waits()
        others = [PostedAlert(endpoint, **leave(coin)) for coin in COINS[1:]]
        until_answered(*others)
        assert not first.is_answered
    until_answered(first, *others)
    assert [post.status for post in (first, *others)] == [201] * len(COINS)
    assert all(len(exits(position)) == 1 for position in positions)


@pytest.mark.parametrize("ticker", ["BTCUSDT", "BINANCE:BTCUSDT.P", "BTC/USDT"])
def test_alerts_of_one_pair_are_processed_one_after_the_other(
    endpoint: AlertEndpoint, ticker: str
) -> None:
    """An entry that was sent before the exit in progress, in each spelling of the symbol."""
    position = trade(endpoint, "BTC/USDT")
    with held(position):
        leaving = PostedAlert(endpoint, **leave("BTC"))
        until_one_waits()
        entry = PostedAlert(endpoint, **{**strategy("flat", "buy", "long", -20), "ticker": ticker})
        until_in_turn(2)
    until_answered(leaving, entry)
    assert (leaving.status, entry.status) == (201, 409), entry.body
    assert entry.body["code"] == "ALERT_OUT_OF_ORDER"


@pytest.mark.parametrize("reference", ["refers_to", "refers_to_external_id"])
def test_alert_that_refers_to_a_signal_waits_for_alerts_of_its_pair(
    endpoint: AlertEndpoint, reference: str
) -> None:
    position = trade(endpoint, "BTC/USDT")
    Signal.objects.filter(pk=position.signal_id).update(external_id="mine")
    named = {"refers_to": position.signal_id, "refers_to_external_id": "mine"}[reference]
    later = {"action": "MODIFY", "timenow": strategy("", "", "", 0)["timenow"], reference: named}
    with held(position):
        leaving = PostedAlert(endpoint, **leave("BTC"))
        until_one_waits()
        moving = PostedAlert(endpoint, **later, sl="61000.50")
        until_in_turn(2)
    until_answered(leaving, moving)
    assert (leaving.status, moving.status) == (201, 201), moving.body


@pytest.mark.parametrize("reference", ["refers_to", "refers_to_external_id"])
def test_alert_that_refers_to_an_unknown_signal_waits_for_all_pairs(
    endpoint: AlertEndpoint, reference: str
) -> None:
    """The alert in progress may be the one that opens it."""
    position = trade(endpoint, "BTC/USDT")
    with held(position):
        leaving = PostedAlert(endpoint, **leave("BTC"))
        until_one_waits()
        later = {"action": "MODIFY", "timenow": strategy("", "", "", 0)["timenow"], "sl": "1.2"}
        named = {"refers_to": position.signal_id + 1000, "refers_to_external_id": "mine"}
        unknown = PostedAlert(endpoint, **later, **{reference: named[reference]})
        until_in_turn(2)
    until_answered(leaving, unknown)
    assert (leaving.status, unknown.status) == (201, 400)


@pytest.mark.parametrize("other", ["KOSPI200/USD", "KOSPI200"])
def test_alert_of_a_word_waits_for_all_pairs_of_its_base(
    endpoint: AlertEndpoint, other: str
) -> None:
    """The meaning of a word may depend on the alert in progress, even one with a currency."""
    position = trade(endpoint, "KOSPI200/KRW")
    with held(position):
        leaving = PostedAlert(endpoint, **{**leave(""), "ticker": "KOSPI200/KRW"})
        until_one_waits()
        word = PostedAlert(endpoint, **{**leave(""), "ticker": other})
        elsewhere = PostedAlert(endpoint, **{**leave(""), "ticker": "KOSPI100"})
        until_answered(elsewhere)
        until_in_turn(2)
    until_answered(leaving, word)
    assert (leaving.status, elsewhere.status) == (201, 400)


def test_alert_of_a_word_waits_for_its_pair_only(endpoint: AlertEndpoint) -> None:
    position = trade(endpoint, "KOSPI200/KRW")
    with held(position):
        leaving = PostedAlert(endpoint, **{**leave(""), "ticker": "KOSPI200/KRW"})
        until_one_waits()
        entry = PostedAlert(
            endpoint, **{**strategy("flat", "buy", "long", -20), "ticker": "KOSPI200"}
        )
        other = PostedAlert(endpoint, **leave("BTC"))
        until_answered(other)
        until_in_turn(2)
    until_answered(leaving, entry)
    assert (leaving.status, entry.status, other.status) == (201, 409, 200)


def until_in_turn(number: int) -> None:
    """Return once this number of alerts wait, and only one is worked on."""
    until(lambda: IncomingAlert.objects.filter(state="WAITING").count() == number)
    until_one_waits()


def until_answered(*posts: PostedAlert) -> None:
    """Return once these are answered. It queries meanwhile, so that no transaction idles."""
    until(lambda: all(post.is_answered for post in posts), meanwhile=lambda: rows("SELECT 1"))
