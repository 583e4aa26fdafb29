"""The entry point for alerts: access, validation, and that a rejection stores nothing."""

import json
import time
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.core.cache import cache
from django.db.models import F

from alerts.carry_out import trades as alert_trades
from alerts.inbox import storing as alerts
from common.clocks import market_now
from common.errors import ConflictError, FillcastError, InvalidInputError, NotAllowedError
from common.reason_codes import Code
from signals import open_signals, services
from signals.feeds import services as feeds
from signals.feeds.rate import forget_failures
from signals.feeds.signing import open_signing_key
from signals.models import Feed, FeedToken, Origin, ReceivedAlert, Signal
from signals.reading.ends import REPLAY_WINDOW
from signals.reading.errors import field_errors
from tests.alert_inbox import deliver
from tests.alerts.charting import Chart, fill_in, templates

ALERT = {"symbol": "OANDA:EURUSD", "direction": "buy", "open_price": "1.386", "sl": "1.38"}


@pytest.fixture(autouse=True)
def fresh_counters() -> None:
    forget_failures()
    cache.clear()


@pytest.fixture
def secret(feed: Feed) -> str:
    return feeds.create_feed_token(feed)[1]


def body(**changes: Any) -> bytes:
    return json.dumps({**ALERT, **changes}).encode()


def post(feed: Feed, secret: str, data: bytes, **more: Any) -> tuple[Signal, bool]:
    outcome = deliver(feed, secret, data, **more)
    assert outcome.main is not None
    return outcome.main, outcome.is_new


def rejection(feed: Feed, secret: str, data: bytes, **more: Any) -> FillcastError:
    """Return the error with which an alert is rejected; nothing may have been stored."""
    before = list(Signal.objects.order_by("pk").values())
    with pytest.raises(FillcastError) as caught:
        post(feed, secret, data, **more)
    assert list(Signal.objects.order_by("pk").values()) == before
    return caught.value


def test_alert_is_published_at_once(feed: Feed, secret: str) -> None:
    signal, created = post(feed, secret, body())
    assert created
    assert signal.is_published
    assert (signal.origin, signal.created_by, signal.published_by) == (
        Origin.ALERT,
        feed.owner,
        feed.owner,
    )
    assert (signal.currency_pair, signal.direction) == ("EUR/USD", "BUY")


def test_alert_publishes_a_stop_limit_order_with_an_expiry(feed: Feed, secret: str) -> None:
    fields: dict[str, Any] = {
        "order_type": "STOP_LIMIT", "stop_price": "1.4000", "open_price": "1.4010", "tp": "1.42",
        "time_in_force": "GTD", "valid_for": 3600,
    }  # fmt: skip
    signal, created = post(feed, secret, body(**fields))
    assert created
    assert (signal.order_type, signal.time_in_force) == ("STOP_LIMIT", "GTD")
    assert (signal.stop_price, signal.open_price) == (D("1.4"), D("1.401"))
    assert signal.valid_until is not None
    error = rejection(feed, secret, body(**fields | {"open_price": None, "external_id": "other"}))
    assert error.code == Code.PRICE_REQUIRED


def test_alert_publishes_a_trailing_stop(feed: Feed, secret: str) -> None:
    fields: dict[str, Any] = {
        "order_type": "TRAILING_STOP", "trail_percent": "1", "activation_price": "1.39",
        "open_price": None,
    }  # fmt: skip
    signal, created = post(feed, secret, body(**fields))
    assert created
    assert (signal.order_type, signal.trail_percent) == ("TRAILING_STOP", D(1))
    assert signal.activation_price == D("1.39")
    error = rejection(feed, secret, body(**fields | {"trail_pips": "5", "external_id": "other"}))
    assert error.code == Code.FIELD_INVALID
    by_atr = fields | {"trail_percent": None, "trail_atr": "1.5", "external_id": "by ATR"}
    signal, created = post(feed, secret, body(**by_atr))
    assert (created, signal.trail_atr, signal.trail_atr_minutes) == (True, D("1.5"), None)


def test_alert_may_name_when_its_position_is_closed(feed: Feed, secret: str) -> None:
    now = market_now()
    fields: dict[str, Any] = {
        "close_at": (now + timedelta(hours=1)).isoformat(), "close_after_seconds": 600,
    }  # fmt: skip
    signal, _ = post(feed, secret, body(**fields, external_id="a"))
    assert (signal.close_at, signal.close_after_seconds) == (now + timedelta(hours=1), 600)
    assert signal.valid_until == signal.close_at  # an entry that works longer would be closed
    early, _ = post(feed, secret, body(**fields, external_id="b", valid_for=60))
    assert early.valid_until is not None
    assert early.valid_until < now + timedelta(minutes=2)
    late = rejection(feed, secret, body(close_at=now.isoformat(), external_id="c"))
    assert late.code == Code.SIGNAL_ENDED


def test_alert_may_name_a_condition(feed: Feed, secret: str) -> None:
    at = market_now() + timedelta(hours=1)
    first, _ = post(feed, secret, body(external_id="first"))
    fields: dict[str, Any] = {
        "not_before": at.isoformat(), "after_signal_external_id": "first", "after_state": "closed",
        "order_type": "MARKET", "open_price": None, "time": market_now().isoformat(),
        "external_id": "second",
    }  # fmt: skip
    signal, created = post(feed, secret, body(**fields))
    assert (created, signal.not_before, signal.after_state) == (True, at, "CLOSED")
    assert signal.after_signal == first
    assert signal.valid_until is None  # a market entry's own end would come before its time
    fields |= {"external_id": "third"}
    unknown = rejection(feed, secret, body(**fields | {"after_signal_external_id": "other"}))
    assert unknown.code == Code.REFERENCE_REQUIRED
    late = rejection(feed, secret, body(**fields | {"valid_for": 3600 - 60}))
    assert late.code == Code.FIELD_INVALID
    services.cancel(first.pk, by=None)
    over = rejection(feed, secret, body(**fields))
    assert over.code == Code.SIGNAL_ENDED


def test_repeated_alert_is_the_same_signal(feed: Feed, secret: str) -> None:
    for changes in ({}, {"external_id": "bar-1"}):
        first, _ = post(feed, secret, body(**changes))
        again, created = post(feed, secret, body(**changes))
        assert (again.pk, created) == (first.pk, False)
        assert again.published_at == first.published_at
    assert Signal.objects.count() == 2


def test_repeated_alert_does_not_revive_cancelled_signal(feed: Feed, secret: str) -> None:
    signal, _ = post(feed, secret, body(external_id="e"))
    services.cancel(signal.pk, by=None)
    again, created = post(feed, secret, body(external_id="e"))
    assert (again.pk, created) == (signal.pk, False)


@pytest.mark.parametrize(
    ("data", "code", "field"),
    [
        (b"", Code.BODY_NOT_JSON, ""),
        (b"EURUSD buy maybe", Code.ALERT_NOT_UNDERSTOOD, ""),
        (b"x" * 20_000, Code.BODY_TOO_LARGE, ""),
        (body(sl="NaN"), Code.NUMBER_MALFORMED, "sl"),
        (body(sl="1.39"), Code.STOP_WRONG_SIDE, "sl"),
        (body(symbol="{{ticker}}"), Code.SYMBOL_UNKNOWN, "symbol"),
        (body(feed="another"), Code.FIELD_INVALID, "feed"),
        (body(secret="x"), Code.FIELD_UNKNOWN, "secret"),
        (body()[:-1] + b', "sl": 1}', Code.DUPLICATE_KEY, "sl"),
        (body(action="CLOSE", refers_to=1), Code.FIELD_INVALID, "open_price"),
        (body(valid_until="2020-01-01T00:00:00Z"), Code.SIGNAL_ENDED, "valid_until"),
        (body(time="2020-01-01T00:00:00Z"), Code.ALERT_TOO_OLD, "time"),
    ],
)
def test_invalid_alert_is_rejected_with_code_and_field(
    feed: Feed, secret: str, data: bytes, code: Code, field: str
) -> None:
    error = rejection(feed, secret, data)
    assert isinstance(error, InvalidInputError)
    assert (error.code, error.field) == (code, field)
    assert field_errors(error)
    assert not Signal.objects.exists()


def test_rejection_without_valid_token_reveals_nothing(
    feed: Feed, secret: str, unapproved: Feed
) -> None:
    errors = [
        rejection(feed, "0" * len(secret), body()),
        rejection(unapproved, secret, body()),
        rejection(Feed(slug="none"), secret, body()),
    ]
    assert {(error.code, error.detail) for error in errors} == {
        (Code.FEED_UNKNOWN, Code.FEED_UNKNOWN.sentence)
    }


def test_alert_to_unapproved_feed_is_rejected(unapproved: Feed) -> None:
    _, secret = feeds.create_feed_token(unapproved)
    error = rejection(unapproved, secret, body())
    assert isinstance(error, NotAllowedError)
    assert error.code == Code.FEED_NOT_APPROVED


def test_alert_outside_the_replay_window_is_rejected(feed: Feed, secret: str) -> None:
    edge = REPLAY_WINDOW + timedelta(seconds=5)
    for distance in (-edge, edge):
        error = rejection(feed, secret, body(time=(market_now() + distance).isoformat()))
        assert error.code == Code.ALERT_TOO_OLD
    assert post(feed, secret, body(time=market_now().isoformat()))[1]


def test_close_of_unpublished_signal_is_rejected(feed: Feed, secret: str) -> None:
    opened = Signal.objects.create(
        feed=feed, currency_pair="EUR/USD", direction="BUY", external_id="o"
    )
    data = json.dumps({"action": "CLOSE", "refers_to_external_id": "o"}).encode()
    error = rejection(feed, secret, data)
    assert isinstance(error, ConflictError)
    assert error.code == Code.SIGNAL_NOT_PUBLISHED
    assert Signal.objects.get() == opened


class TestSignedToken:
    """A token that requires a signature."""

    @pytest.fixture
    def signed(self, feed: Feed) -> tuple[str, str]:
        token, secret = feeds.create_feed_token(feed, signed=True)
        return secret, token.signing_key

    def test_only_the_signature_of_the_body_is_accepted(
        self, feed: Feed, signed: tuple[str, str]
    ) -> None:
        secret, key = signed
        data = body(external_id="e")
        wrong = [
            "",
            "sha256=",
            feeds.signature_of(key, data + b" "),
            feeds.signature_of("", data),
            feeds.signature_of(secret, data),
            feeds.signature_of(key, data).upper(),
            "ｓ" * 71,
        ]
        for signature in wrong:
            error = rejection(feed, secret, data, signature=signature)
            assert (type(error), error.code) == (NotAllowedError, Code.PERMISSION_DENIED)
        assert post(feed, secret, data, signature=feeds.signature_of(key, data))[1]

    @pytest.mark.parametrize(
        "text",
        [
            '{"action": "OPEN", "symbol": "EURUSD", "direction": "BUY", "order_type": "LIMIT",'
            ' "price": "1.386", "sl": "1.38", "time": "%s"}',
            '{"action": "OPEN", "symbol": "EURUSD", "direction": "BUY", "sl": "1.38",'
            ' "time": "%s"}',
            '{"action": "MODIFY", "refers_to_external_id": "o", "sl": "1.37", "time": "%s"}',
            '{"action": "CLOSE", "refers_to_external_id": "o", "close_fraction": "0.5",'
            ' "time": "%s"}',
            '{"action": "CLOSE", "symbol": "EURUSD", "close_fraction": "0.5", "time": "%s"}',
            "BUY GBPUSD @ 1.3860 SL 20 pips %s",
            "EURUSD close half %s",
            "EURUSD SL to BE %s",
        ],
    )
    def test_signed_alert_of_a_clock_that_is_ahead_counts_once(
        self, feed: Feed, signed: tuple[str, str], monkeypatch: pytest.MonkeyPatch, text: str
    ) -> None:
        """It may be sent again until its time is five minutes ago, ten minutes after the first."""
        monkeypatch.setattr(open_signals, "_sources", ["true"])
        monkeypatch.setattr(alert_trades, "_filled_sources", [])
        secret, key = signed
        opened = body(external_id="o")
        post(feed, secret, opened, signature=feeds.signature_of(key, opened))
        ahead = market_now() + timedelta(minutes=4)
        data = (text % ahead.strftime("%Y-%m-%dT%H:%M:%SZ")).encode()
        signature = feeds.signature_of(key, data)
        first = deliver(feed, secret, data, signature=signature)
        assert first.is_new
        assert first.signals
        earlier = timedelta(minutes=5, seconds=30)
        Signal.objects.update(created_at=F("created_at") - earlier)
        ReceivedAlert.objects.update(received_at=F("received_at") - earlier)
        again = deliver(feed, secret, data, signature=signature)
        assert (again.signals, again.is_new) == (first.signals, False)

    def test_signed_alert_needs_a_time(self, feed: Feed, signed: tuple[str, str]) -> None:
        secret, key = signed
        error = rejection(feed, secret, body(), signature=feeds.signature_of(key, body()))
        assert isinstance(error, InvalidInputError)
        assert (error.code, error.field) == (Code.FIELD_REQUIRED, "time")


def test_alerts_per_minute_of_a_feed_are_limited(
    feed: Feed, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeds.update_feed(feed.pk, by=None, alerts_per_minute=2)
    monkeypatch.setattr(time, "time", lambda: 1_700_000_010.0)  # 30 s before a full minute
    for number in range(2):
        post(feed, secret, body(external_id=str(number)))
    error = rejection(feed, secret, body(external_id="3"))
    assert isinstance(error, alerts.RateLimitedError)
    assert (error.code, error.retry_after) == (Code.THROTTLED, 30)
    other = Feed.objects.create(slug="other", name="o", owner=feed.owner, is_approved=True)
    assert post(other, feeds.create_feed_token(other)[1], body())[1]
    monkeypatch.setattr(time, "time", lambda: 1_700_000_041.0)
    assert post(feed, secret, body(external_id="3"))[1]


def test_alerts_are_accepted_without_redis(
    feed: Feed, secret: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_010.0)  # no minute ends meanwhile
    feeds.update_feed(feed.pk, by=None, alerts_per_minute=1)
    assert post(feed, secret, body(external_id="first"))[1]
    assert rejection(feed, secret, body()).code == Code.THROTTLED
    nowhere = {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {"default": nowhere}
    assert post(feed, secret, body())[1]


def strategy(**changes: Any) -> bytes:
    """Return the documented message of a strategy's long entry; `None` leaves a field out."""
    documented = json.loads(fill_in(templates()["strategy"], Chart().order("Long", "buy", "3")))
    fields = {**documented, **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def test_alerts_state_what_the_provider_trades(feed: Feed, secret: str) -> None:
    stated = {"provider_quantity": "300", "provider_equity": 2500.5, "provider_currency": "usd"}
    sent = (body(**stated), strategy(**stated, timenow=f"{market_now():%Y-%m-%dT%H:%M:%SZ}"))
    for data in sent:
        signal, _ = post(feed, secret, data)
        assert (signal.provider_quantity, signal.provider_equity) == (300, D("2500.5"))
        assert signal.provider_currency == "USD"
    zero = rejection(feed, secret, strategy(provider_quantity="0"))
    assert zero.code == Code.NUMBER_NOT_POSITIVE


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"market_position": "up"}, Code.FIELD_INVALID, "market_position"),
        (
            {"market_position": "{{strategy.market_position}}"},
            Code.FIELD_INVALID,
            "market_position",
        ),
        ({"action": "hold"}, Code.FIELD_INVALID, "action"),
        ({"action": "sell"}, Code.ALERT_CONTRADICTORY, "market_position"),
        (
            {
                "market_position": None,
                "prev_market_position": None,
                "prev_market_position_size": None,
                "market_position_size": None,
                "contracts": None,
            },
            Code.ALERT_AMBIGUOUS,
            "market_position",
        ),
        ({"timenow": None}, Code.FIELD_REQUIRED, "timenow"),
        ({"timenow": "2020-01-01T00:00:00Z"}, Code.ALERT_TOO_OLD, "time"),
        ({"ticker": "OANDA:EURUSB"}, Code.SYMBOL_UNKNOWN, "ticker"),
        ({"contracts": "-1"}, Code.FIELD_INVALID, "contracts"),
        ({"sl": "NaN"}, Code.NUMBER_MALFORMED, "sl"),
        ({"sl": "1.2"}, Code.STOP_WRONG_SIDE, "sl"),
        ({"qty": "1"}, Code.FIELD_UNKNOWN, "qty"),
    ],
)
def test_unclear_strategy_alert_is_rejected(
    feed: Feed, secret: str, changes: dict[str, Any], code: Code, field: str
) -> None:
    assert_rejected(feed, secret, strategy(**changes), code, field)


@pytest.mark.parametrize(
    ("data", "code", "field"),
    [
        ('{"action": "buy", "action": "sell"}', Code.DUPLICATE_KEY, "action"),
        ('{"action": "buy", "ticker": "EURUSD", "timenow": "NOW"}', Code.ALERT_AMBIGUOUS, ""),
        ('{"direction": "sell", "symbol": "EURUSD"}', Code.ALERT_AMBIGUOUS, "action"),
        ('{"action": "CLOSE"}', Code.FIELD_REQUIRED, "ticker"),
        ('{"action": "CLOSE", "ticker": "EURUSD", "sl": "1"}', Code.FIELD_INVALID, "sl"),
    ],
)
def test_unclear_alert_is_rejected(
    feed: Feed, secret: str, data: str, code: Code, field: str
) -> None:
    sent = data.replace("NOW", market_now().isoformat()).encode()
    assert_rejected(feed, secret, sent, code, field)


def assert_rejected(feed: Feed, secret: str, data: bytes, code: Code, field: str) -> None:
    """Check code and field of the rejection; an empty field is not checked."""
    error = rejection(feed, secret, data)
    assert isinstance(error, InvalidInputError)
    assert error.code == code
    assert error.field == field or not field
    assert not ReceivedAlert.objects.exists()


@pytest.mark.parametrize(
    "levels",
    [{"sl": "1.2"}, {"tp": "1.05"}, {"sl": "1.2", "tp": "1.05"}],
    ids=["stop", "target", "both"],
)
def test_side_alone_is_rejected_while_it_could_close_a_trade(
    feed: Feed, secret: str, levels: dict[str, str]
) -> None:
    """An alert without the strategy's position makes an exit look like an entry."""
    entry = {"symbol": "EURUSD", "direction": "buy", "sl": "1.08", "tp": "1.12"}
    assert post(feed, secret, json.dumps(entry).encode())[1]
    exit_ = {"symbol": "EURUSD", "direction": "sell", **levels}
    error = rejection(feed, secret, json.dumps(exit_).encode())
    assert isinstance(error, InvalidInputError)
    assert error.code == Code.ALERT_AMBIGUOUS
    assert error.detail == (
        "'sell' alone could open a short trade, or close a long one. An indicator sends "
        '"action": "OPEN"; a strategy its market_position and prev_market_position.'
    )
    signal, created = post(feed, secret, json.dumps({**exit_, "action": "OPEN"}).encode())
    assert (signal.action, signal.direction, created) == ("OPEN", "SELL", True)


def test_alert_without_position_is_an_entry_once_the_other_side_is_closed(
    feed: Feed, secret: str
) -> None:
    long = {"symbol": "EURUSD", "direction": "buy", "sl": "1.08", "tp": "1.12"}
    short = {"symbol": "EURUSD", "direction": "sell", "sl": "1.2", "tp": "1.05"}
    opened, _ = post(feed, secret, json.dumps(long | {"external_id": "long-1"}).encode())
    close = {"action": "CLOSE", "refers_to_external_id": "long-1"}
    assert post(feed, secret, json.dumps(close).encode())[0].refers_to == opened
    signal, created = post(feed, secret, json.dumps(short).encode())
    assert (signal.direction, created) == ("SELL", True)


@pytest.mark.parametrize("size", ["1e-7", "2.5E-8", "0.00012345678901234568", 1e-07, 12.5])
def test_sizes_are_read_in_every_format_of_platforms(feed: Feed, secret: str, size: Any) -> None:
    assert post(feed, secret, strategy(contracts=size, market_position_size=size))[1]
    flat = strategy(
        action="sell", prev_market_position="long", prev_market_position_size=size, contracts=size,
        market_position="flat", market_position_size="0",
    )  # fmt: skip
    outcome = deliver(feed, secret, flat)
    assert outcome.change == "flat"


@pytest.mark.parametrize("size", ["1e999", "1e21", "１２", "0x10", "9" * 30, "1_000"])
def test_size_in_unknown_format_is_rejected(feed: Feed, secret: str, size: str) -> None:
    assert_rejected(feed, secret, strategy(contracts=size), Code.NUMBER_MALFORMED, "contracts")


def test_two_orders_of_one_bar_are_two_signals(feed: Feed, secret: str) -> None:
    chart, now = Chart(), market_now()
    sent = [
        fill_in(templates()["strategy"], chart.order("Long", "buy", "1", now)) for _ in range(2)
    ]
    first, second = (post(feed, secret, data) for data in sent)
    assert first[1]
    assert second[1]
    again = [post(feed, secret, data) for data in sent]
    assert [(signal.pk, new) for signal, new in again] == [
        (first[0].pk, False),
        (second[0].pk, False),
    ]
    assert Signal.objects.count() == 2


def test_repeated_strategy_alert_is_recognised_in_other_spelling(feed: Feed, secret: str) -> None:
    message = json.loads(strategy())
    first, _ = post(feed, secret, json.dumps(message).encode())
    rewritten = {**message, "contracts": 3, "market_position_size": "3.0", "action": "BUY"}
    again, created = post(feed, secret, json.dumps(rewritten, indent=2).encode())
    assert (again.pk, created) == (first.pk, False)


def test_signed_position_size_stands_for_the_position(feed: Feed, secret: str) -> None:
    message = {"ticker": "EURUSD", "action": "sell", "contracts": "2", "position_size": "-2"}
    data = json.dumps({**message, "timenow": market_now().isoformat()}).encode()
    signal, _ = post(feed, secret, data)
    assert (signal.action, signal.direction) == ("OPEN", "SELL")


def test_entry_takes_its_levels_and_price_along(feed: Feed, secret: str) -> None:
    limits = {"max_slippage_pips": "2", "max_spread": "0.5", "max_spread_unit": "BPS",
              "trailing_distance": "30", "trailing_step": "5"}  # fmt: skip
    signal, _ = post(feed, secret, strategy(sl="1.09", tp="1.13", **limits))
    assert (signal.open_price, signal.sl, signal.tp) == (D("1.1"), D("1.09"), D("1.13"))
    assert (signal.note, signal.max_slippage_pips) == ("Long", D(2))
    assert (signal.max_spread, signal.max_spread_unit) == (D("0.5"), "BPS")
    assert (signal.trailing_distance, signal.trailing_step) == (D(30), D(5))
    assert signal.valid_until is not None


@pytest.mark.parametrize("name", ["strategy", "indicator", "close"])
@pytest.mark.parametrize(
    ("exchange", "ticker", "pair"),
    [
        ("OANDA", "EURUSD", "EUR/USD"),
        ("BINANCE", "BTCUSDT", "BTC/USDT"),
        ("BINANCE", "BTCUSDT.P", "BTC/USDT"),
        ("NASDAQ_DLY", "AAPL", "AAPL/USD"),
    ],
)
def test_tickers_of_charts_are_mapped_to_pairs(
    feed: Feed, secret: str, name: str, exchange: str, ticker: str, pair: str
) -> None:
    price = D("1.1") if ticker == "EURUSD" else D(64000)
    plots = {"Stop": str(price * D("0.9")), "Target": str(price * D("1.1"))}
    chart = Chart(ticker, exchange, price=price, plots=plots)
    data = fill_in(templates()[name], chart.order("Long", "buy", "1"))
    outcome = deliver(feed, secret, data)
    assert {signal.currency_pair for signal in outcome.signals} <= {pair}
    assert bool(outcome.signals) == (name != "close")
    assert pair in outcome.summary or name == "indicator"


def test_signing_key_is_sealed_with_its_tokens_secret(feed: Feed) -> None:
    token, secret = feeds.create_feed_token(feed, signed=True)
    other, its_secret = feeds.create_feed_token(feed, signed=True)
    stored = FeedToken.objects.get(pk=token.pk).signing_key
    assert token.signing_key not in stored
    assert open_signing_key(stored, secret, token.prefix) == token.signing_key
    for wrong_secret, prefix in ((its_secret, token.prefix), (secret, other.prefix)):
        with pytest.raises(InvalidInputError):
            open_signing_key(stored, wrong_secret, prefix)
    data = body(external_id="sealed")
    assert post(feed, secret, data, signature=feeds.signature_of(token.signing_key, data))
    forged = feeds.signature_of(stored, data)  # with the key from a copy of the database
    assert isinstance(rejection(feed, secret, data, signature=forged), NotAllowedError)


STRATEGY = {
    "ticker": "EURUSD", "action": "buy", "market_position": "long",
    "prev_market_position": "flat",
}  # fmt: skip


def faults(error: FillcastError) -> list[tuple[str, str]]:
    assert isinstance(error, InvalidInputError)
    return [(one.code, one.field) for one in field_errors(error)]


@pytest.mark.parametrize(
    ("fields", "others"),
    [
        ({**ALERT, "direction": "up"}, [("FIELD_INVALID", "direction")]),
        ({"symbol": "EURUSD", "direction": "buy"}, [("ALERT_AMBIGUOUS", "action")]),
        ({**ALERT, "symbol": "NOWHERE"}, [("SYMBOL_UNKNOWN", "symbol")]),
        (
            {**ALERT, "close_at": "2020-01-01T00:00:00Z"},
            [("SIGNAL_ENDED", "close_at")],
        ),
        # ---- the order of a strategy ----
        ({**STRATEGY, "action": "up", "time": "now"}, [("FIELD_INVALID", "action"),
                                                      ("FIELD_INVALID", "time")]),
        ({**STRATEGY, "time": "2020-01-01T00:00:00Z"}, [("ALERT_TOO_OLD", "time")]),
        ({**STRATEGY, "time": None}, [("FIELD_REQUIRED", "timenow")]),
        ({**STRATEGY, "sl": "NaN"}, [("NUMBER_MALFORMED", "sl")]),
        ({**STRATEGY, "valid_until": "2020-01-01T00:00:00Z"}, [("SIGNAL_ENDED", "valid_until")]),
        ({**STRATEGY, "ticker": "NOWHERE"}, [("SYMBOL_UNKNOWN", "ticker")]),
        (  # a reversal
            {**STRATEGY, "prev_market_position": "short", "sl": "NaN"},
            [("NUMBER_MALFORMED", "sl")],
        ),
        # ---- a close by symbol ----
        ({"action": "CLOSE", "symbol": "EURUSD", "close_fraction": "2"},
         [("FIELD_INVALID", "close_fraction")]),
        (
            {"action": "CLOSE", "symbol": "NOWHERE", "valid_until": "2020-01-01T00:00:00Z"},
            [("SYMBOL_UNKNOWN", "symbol"), ("SIGNAL_ENDED", "valid_until")],
        ),
        ({"action": "CLOSE", "all": True, "valid_until": "2020-01-01T00:00:00Z"},
         [("SIGNAL_ENDED", "valid_until")]),
    ],
)  # fmt: skip
def test_wrong_feed_hides_no_other_fault_of_an_alert(
    feed: Feed, secret: str, fields: dict[str, Any], others: list[tuple[str, str]]
) -> None:
    given = {"time": market_now().isoformat(), **fields, "feed": "another"}
    data = json.dumps({name: value for name, value in given.items() if value is not None})
    found = faults(rejection(feed, secret, data.encode()))
    assert sorted(found) == sorted([("FIELD_INVALID", "feed"), *others])


def test_unknown_symbol_hides_no_other_fault_of_a_strategy(feed: Feed, secret: str) -> None:
    given = {**STRATEGY, "time": market_now().isoformat(), "ticker": "NOWHERE",
             "close_at": "2020-01-01T00:00:00Z"}  # fmt: skip
    found = faults(rejection(feed, secret, json.dumps(given).encode()))
    assert sorted(found) == [("SIGNAL_ENDED", "close_at"), ("SYMBOL_UNKNOWN", "ticker")]
