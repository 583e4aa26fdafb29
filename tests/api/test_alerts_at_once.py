"""Alerts of one feed that come at the same moment: those about one pair wait for each other, those
about different pairs do not."""

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
from signals.models import Signal
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_alert_sequence import Door, exits, strategy

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 30.0
COINS = [
    "BTC", "ADA", "ALGO", "APT", "ARB", "ATOM", "AVAX", "BCH", "BNB", "DOGE", "DOT", "ETC", "ETH",
    "FIL", "LINK", "LTC", "NEAR", "SOL", "SUI", "XRP",
]  # fmt: skip
_WAITING = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@pytest.fixture
def door(world: World, as_web: AsWeb, monkeypatch: pytest.MonkeyPatch) -> Door:
    """Time-outs are long enough for a test to see who waits for whom."""
    options = connections.settings["default"]["OPTIONS"]
    patient = f"{options['options']} -c lock_timeout=60s -c statement_timeout=60s"
    monkeypatch.setitem(options, "options", patient)
    return Door(world, as_web)


class Post:
    """An alert that is posted on a thread of its own."""

    def __init__(self, door: Door, **said: Any) -> None:
        self.status = 0
        self.body: dict[str, Any] = {}
        self._thread = Thread(target=self._run, args=[door.path, json.dumps(said)])
        self._thread.start()

    def _run(self, path: str, body: str) -> None:
        try:
            answer = Client().post(path, body, content_type="text/plain")
            self.status, self.body = answer.status_code, answer.json()
        finally:
            connection.close()

    @property
    def is_answered(self) -> bool:
        return not self._thread.is_alive()


def until(condition: Callable[[], bool]) -> bool:
    """Wait for a condition; whether it came. Asks the database, so that no transaction idles."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        rows("SELECT pg_stat_clear_snapshot()")
        time.sleep(0.02)
    return True


def waiting(number: int) -> bool:
    return until(lambda: bool(rows(_WAITING)[0].n == number))


@contextmanager
def held(position: ExecutionPosition) -> Iterator[None]:
    """An alert that closes this position cannot end meanwhile."""
    with transaction.atomic():
        ExecutionPosition.objects.select_for_update().get(pk=position.pk)
        yield


def trade(door: Door, pair: str) -> ExecutionPosition:
    """Open a trade of 1,000 in a pair."""
    position = door.trade()
    Signal.objects.filter(pk=position.signal_id).update(currency_pair=pair)
    ExecutionPosition.objects.filter(pk=position.pk).update(pair=pair)
    return position


def leave(coin: str) -> dict[str, Any]:
    return {**strategy("long", "sell", "flat", -5), "ticker": f"{coin}USDT"}


def test_exits_of_twenty_symbols_at_once_do_not_wait_for_a_slow_one(door: Door) -> None:
    """At a bar's close. What one account holds of the first symbol is busy."""
    slow, *_ = positions = [trade(door, f"{coin}/USDT") for coin in COINS]
    with held(slow):
        first = Post(door, **leave(COINS[0]))
        assert waiting(1)
        others = [Post(door, **leave(coin)) for coin in COINS[1:]]
        in_time = until(lambda: all(one.is_answered for one in others))
        assert not first.is_answered
    assert until(lambda: first.is_answered and all(one.is_answered for one in others))
    assert [one.status for one in (first, *others)] == [201] * len(COINS)
    assert in_time
    assert all(len(exits(position)) == 1 for position in positions)


@pytest.mark.parametrize("ticker", ["BTCUSDT", "BINANCE:BTCUSDT.P", "BTC/USDT"])
def test_alerts_of_one_pair_are_taken_one_after_the_other(door: Door, ticker: str) -> None:
    """An entry that was sent before the exit under way, however it writes the symbol."""
    position = trade(door, "BTC/USDT")
    with held(position):
        leaving = Post(door, **leave("BTC"))
        assert waiting(1)
        entry = Post(door, **{**strategy("flat", "buy", "long", -20), "ticker": ticker})
        assert waiting(2)
    assert until(lambda: leaving.is_answered and entry.is_answered)
    assert (leaving.status, entry.status) == (201, 409), entry.body
    assert entry.body["code"] == "ALERT_OUT_OF_ORDER"


@pytest.mark.parametrize("reference", ["refers_to", "refers_to_external_id"])
def test_alert_that_refers_to_a_signal_waits_for_those_of_its_pair(
    door: Door, reference: str
) -> None:
    position = trade(door, "BTC/USDT")
    Signal.objects.filter(pk=position.signal_id).update(external_id="mine")
    named = {"refers_to": position.signal_id, "refers_to_external_id": "mine"}[reference]
    later = {"action": "MODIFY", "timenow": strategy("", "", "", 0)["timenow"], reference: named}
    with held(position):
        leaving = Post(door, **leave("BTC"))
        assert waiting(1)
        moving = Post(door, **later, sl="1.2")
        assert waiting(2)
        assert _advisory_waits() == 1
    assert until(lambda: leaving.is_answered and moving.is_answered)
    assert (leaving.status, moving.status) == (201, 201), moving.body


@pytest.mark.parametrize("reference", ["refers_to", "refers_to_external_id"])
def test_alert_that_refers_to_an_unknown_signal_waits_for_all(door: Door, reference: str) -> None:
    """The alert under way may be the one that opens it."""
    position = trade(door, "BTC/USDT")
    with held(position):
        leaving = Post(door, **leave("BTC"))
        assert waiting(1)
        later = {"action": "MODIFY", "timenow": strategy("", "", "", 0)["timenow"], "sl": "1.2"}
        named = {"refers_to": position.signal_id + 1000, "refers_to_external_id": "mine"}
        unknown = Post(door, **later, **{reference: named[reference]})
        assert waiting(2)
        assert _advisory_waits() == 1
    assert until(lambda: leaving.is_answered and unknown.is_answered)
    assert (leaving.status, unknown.status) == (201, 400)


@pytest.mark.parametrize("other", ["KOSPI200/USD", "KOSPI200"])
def test_alert_of_a_word_waits_for_all_pairs_of_its_base(door: Door, other: str) -> None:
    """What a word means may depend on the alert under way, even one whose own currency is sent."""
    position = trade(door, "KOSPI200/KRW")
    with held(position):
        leaving = Post(door, **{**leave(""), "ticker": "KOSPI200/KRW"})
        assert waiting(1)
        word = Post(door, **{**leave(""), "ticker": other})
        elsewhere = Post(door, **{**leave(""), "ticker": "KOSPI100"})
        assert until(lambda: elsewhere.is_answered)
        assert waiting(2)
        assert _advisory_waits() == 1
    assert until(lambda: leaving.is_answered and word.is_answered)
    assert (leaving.status, elsewhere.status) == (201, 400)


def test_word_without_a_currency_is_in_turn_with_its_pair(door: Door) -> None:
    position = trade(door, "KOSPI200/KRW")
    with held(position):
        leaving = Post(door, **{**leave(""), "ticker": "KOSPI200/KRW"})
        assert waiting(1)
        entry = Post(door, **{**strategy("flat", "buy", "long", -20), "ticker": "KOSPI200"})
        other = Post(door, **leave("BTC"))
        assert until(lambda: other.is_answered)
        assert waiting(2)
    assert until(lambda: leaving.is_answered and entry.is_answered)
    assert (leaving.status, entry.status, other.status) == (201, 409, 200)


def _advisory_waits() -> int:
    found = rows("SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    return int(found[0].n)
