"""Concurrent alerts of one feed: those about one pair wait for each other, those about different
pairs do not."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import Client

from common.sql import rows
from positions.models import ExecutionPosition
from signals.models import IncomingAlert, Signal
from tests.alert_inbox import answer_of
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_alert_sequence import AlertEndpoint, exits, strategy

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 30.0
COINS = [
    "BTC", "ADA", "ALGO", "APT", "ARB", "ATOM", "AVAX", "BCH", "BNB", "DOGE", "DOT", "ETC", "ETH",
    "FIL", "LINK", "LTC", "NEAR", "SOL", "SUI", "XRP",
]  # fmt: skip
_WAITING = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


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


def until(condition: Callable[[], bool]) -> bool:
    """Wait for a condition; return whether it came true.

    It queries the database meanwhile, so that no transaction idles.
    """
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        rows("SELECT pg_stat_clear_snapshot()")
        time.sleep(0.02)
    return True


def waiting(number: int) -> bool:
    """Wait until this number of sessions wait for a lock; return whether they do."""
    return until(lambda: bool(rows(_WAITING)[0].n == number))


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
        assert waiting(1)
        others = [PostedAlert(endpoint, **leave(coin)) for coin in COINS[1:]]
        in_time = until(lambda: all(post.is_answered for post in others))
        assert not first.is_answered
    assert until(lambda: first.is_answered and all(post.is_answered for post in others))
    assert [post.status for post in (first, *others)] == [201] * len(COINS)
    assert in_time
    assert all(len(exits(position)) == 1 for position in positions)


@pytest.mark.parametrize("ticker", ["BTCUSDT", "BINANCE:BTCUSDT.P", "BTC/USDT"])
def test_alerts_of_one_pair_are_processed_one_after_the_other(
    endpoint: AlertEndpoint, ticker: str
) -> None:
    """An entry that was sent before the exit in progress, in each spelling of the symbol."""
    position = trade(endpoint, "BTC/USDT")
    with held(position):
        leaving = PostedAlert(endpoint, **leave("BTC"))
        assert waiting(1)
        entry = PostedAlert(endpoint, **{**strategy("flat", "buy", "long", -20), "ticker": ticker})
        assert in_turn(2)
    assert until(lambda: leaving.is_answered and entry.is_answered)
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
        assert waiting(1)
        moving = PostedAlert(endpoint, **later, sl="61000.50")
        assert in_turn(2)
    assert until(lambda: leaving.is_answered and moving.is_answered)
    assert (leaving.status, moving.status) == (201, 201), moving.body


@pytest.mark.parametrize("reference", ["refers_to", "refers_to_external_id"])
def test_alert_that_refers_to_an_unknown_signal_waits_for_all_pairs(
    endpoint: AlertEndpoint, reference: str
) -> None:
    """The alert in progress may be the one that opens it."""
    position = trade(endpoint, "BTC/USDT")
    with held(position):
        leaving = PostedAlert(endpoint, **leave("BTC"))
        assert waiting(1)
        later = {"action": "MODIFY", "timenow": strategy("", "", "", 0)["timenow"], "sl": "1.2"}
        named = {"refers_to": position.signal_id + 1000, "refers_to_external_id": "mine"}
        unknown = PostedAlert(endpoint, **later, **{reference: named[reference]})
        assert in_turn(2)
    assert until(lambda: leaving.is_answered and unknown.is_answered)
    assert (leaving.status, unknown.status) == (201, 400)


@pytest.mark.parametrize("other", ["KOSPI200/USD", "KOSPI200"])
def test_alert_of_a_word_waits_for_all_pairs_of_its_base(
    endpoint: AlertEndpoint, other: str
) -> None:
    """The meaning of a word may depend on the alert in progress, even one with a currency."""
    position = trade(endpoint, "KOSPI200/KRW")
    with held(position):
        leaving = PostedAlert(endpoint, **{**leave(""), "ticker": "KOSPI200/KRW"})
        assert waiting(1)
        word = PostedAlert(endpoint, **{**leave(""), "ticker": other})
        elsewhere = PostedAlert(endpoint, **{**leave(""), "ticker": "KOSPI100"})
        assert until(lambda: elsewhere.is_answered)
        assert in_turn(2)
    assert until(lambda: leaving.is_answered and word.is_answered)
    assert (leaving.status, elsewhere.status) == (201, 400)


def test_alert_of_a_word_waits_for_its_pair_only(endpoint: AlertEndpoint) -> None:
    position = trade(endpoint, "KOSPI200/KRW")
    with held(position):
        leaving = PostedAlert(endpoint, **{**leave(""), "ticker": "KOSPI200/KRW"})
        assert waiting(1)
        entry = PostedAlert(
            endpoint, **{**strategy("flat", "buy", "long", -20), "ticker": "KOSPI200"}
        )
        other = PostedAlert(endpoint, **leave("BTC"))
        assert until(lambda: other.is_answered)
        assert in_turn(2)
    assert until(lambda: leaving.is_answered and entry.is_answered)
    assert (leaving.status, entry.status, other.status) == (201, 409, 200)


def in_turn(number: int) -> bool:
    """Wait until this number of alerts wait; return whether they do, and only one is worked on."""
    is_stored = until(lambda: IncomingAlert.objects.filter(state="WAITING").count() == number)
    return is_stored and waiting(1)
