"""Texts at the endpoint of a feed: entries, updates of its only trade, and levels as distances."""

import json
from decimal import Decimal as D

import pytest

from alerts.carry_out import trades as alert_trades
from alerts.preview import preview_alert
from common.clocks import market_now
from common.reason_codes import Code
from events.models import Event, EventKind
from signals import open_signals, services
from signals.checks import price_guard
from signals.checks.price_guard import Reference
from signals.models import Feed
from tests.alerts.alert_texts import ENTRY, all_are_open, fresh_counters, refusal, secret, send
from users.tenancy import on_behalf_of

__all__ = ["all_are_open", "fresh_counters", "secret"]


def test_text_is_published_with_its_levels(feed: Feed, secret: str) -> None:
    (signal,) = send(feed, secret, ENTRY)
    assert signal.is_published
    assert (signal.order_type, signal.open_price, signal.sl) == ("LIMIT", D("1.385"), D("1.38"))
    assert send(feed, secret, ENTRY) == [signal]  # sent twice, it is one signal


def test_stop_moves_to_the_entry_of_the_only_trade(feed: Feed, secret: str) -> None:
    (opened,) = send(feed, secret, ENTRY)
    (moved,) = send(feed, secret, "SL to BE")
    assert (moved.action, moved.refers_to_id, moved.sl) == ("MODIFY", opened.pk, D("1.385"))
    assert send(feed, secret, "SL to BE") == [moved]


def test_half_is_closed_before_the_stop_moves(feed: Feed, secret: str) -> None:
    send(feed, secret, ENTRY)
    closed, moved = send(feed, secret, "EURUSD close half and move SL to BE")
    assert (closed.action, closed.close_fraction) == ("CLOSE", D("0.5"))
    assert moved.action == "MODIFY"


def test_update_without_a_trade_is_refused(feed: Feed, secret: str) -> None:
    assert refusal(feed, secret, "close half").code == Code.ALERT_WITHOUT_TRADE
    send(feed, secret, ENTRY)
    assert refusal(feed, secret, "GBPUSD close half").code == Code.ALERT_WITHOUT_TRADE
    assert refusal(feed, secret, "close EURUSD short").code == Code.ALERT_WITHOUT_TRADE


def test_update_with_two_trades_names_both(feed: Feed, secret: str) -> None:
    (first,) = send(feed, secret, ENTRY)
    (second,) = send(feed, secret, "SELL GBPUSD @ 1.6000 SL 1.6100")
    error = refusal(feed, secret, "close half")
    assert error.code == Code.ALERT_AMBIGUOUS
    assert first.number in error.detail
    assert second.number in error.detail
    (closed,) = send(feed, secret, "GBPUSD close half")
    assert closed.refers_to_id == second.pk


def test_trade_that_the_feed_has_closed_is_no_candidate(feed: Feed, secret: str) -> None:
    send(feed, secret, ENTRY)
    send(feed, secret, "close EURUSD")
    assert refusal(feed, secret, "SL to BE").code == Code.ALERT_WITHOUT_TRADE


def test_break_even_without_a_stated_price_is_refused(feed: Feed, secret: str) -> None:
    send(feed, secret, "BUY EURUSD NOW SL 1.3800")
    assert refusal(feed, secret, "SL to BE").code == Code.PRICE_REQUIRED
    (moved,) = send(feed, secret, "move SL to 1.3820")
    assert moved.sl == D("1.382")


def test_cancel_ends_what_waits_and_is_refused_once_filled(
    feed: Feed, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (opened,) = send(feed, secret, ENTRY)
    monkeypatch.setattr(alert_trades, "_filled_sources", ["true"])
    error = refusal(feed, secret, "cancel EURUSD")
    assert error.code == Code.ALERT_AMBIGUOUS
    monkeypatch.setattr(alert_trades, "_filled_sources", ["false"])
    (closed,) = send(feed, secret, "cancel EURUSD")
    assert (closed.action, closed.refers_to_id, closed.close_fraction) == ("CLOSE", opened.pk, 1)


def test_reversal_at_a_price_is_refused_while_the_other_side_is_open(
    feed: Feed, secret: str
) -> None:
    fields = {
        "ticker": "EURUSD", "action": "buy", "sentiment": "long", "orderType": "limit",
        "limitPrice": "1.3840",
    }  # fmt: skip
    reversal = json.dumps(fields)
    (opened,) = send(feed, secret, reversal)
    assert (opened.direction, opened.open_price) == ("BUY", D("1.384"))
    send(feed, secret, "SHORT EURUSD @ 1.3850 SL 1.3900")
    reversal = json.dumps(fields | {"limitPrice": "1.3830"})
    error = refusal(feed, secret, reversal)
    assert error.code == Code.ALERT_AMBIGUOUS
    assert "when the price is there" in error.detail
    assert "when the price is there" in str(preview_alert(feed, reversal.encode()).errors)


@pytest.mark.parametrize(
    "text",
    [
        ENTRY,
        "BUY EURUSD @ 1.3850 SL 20 pips",
        '{"ticker": "EURUSD", "action": "buy", "sentiment": "long"}',
        "MACD Cross (12, 26): order buy @ 1 filled on EURUSD. New strategy position is 1",
    ],
)
@pytest.mark.parametrize("end", ["close", "cancel", "broker"])
def test_equal_entry_after_the_end_of_its_trade_is_not_guessed(
    feed: Feed, secret: str, text: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (opened,) = send(feed, secret, text)
    assert send(feed, secret, text) == [opened]  # sent twice
    if end == "close":
        send(feed, secret, "close EURUSD")
    elif end == "cancel":
        services.cancel(opened.pk, by=None)
    else:
        monkeypatch.setattr(open_signals, "_sources", ["false"])
        ended = f"SELECT {opened.pk} AS id WHERE %(feed)s > 0 AND %(since)s IS NOT NULL"
        monkeypatch.setattr(alert_trades, "_ended_sources", [ended])
    error = refusal(feed, secret, text)
    assert error.code == Code.ALERT_AMBIGUOUS
    assert f"opened {opened.number}, which has ended" in error.detail
    assert Event.objects.filter(kind=EventKind.ALERT_REFUSED).count() == 1
    timed = json.loads(text) if text.startswith("{") else None
    now = market_now().strftime("%Y-%m-%dT%H:%M:%SZ")
    again = json.dumps(timed | {"time": now}) if timed else f"{text} {now}"
    assert send(feed, secret, again)[0] != opened


@pytest.mark.parametrize(
    ("symbol", "entry", "level", "is_refused"),
    [
        ("USDJPY", "150.00", {"sl": "50"}, True),
        ("USDJPY", "150.00", {"tp": "250"}, True),
        ("USDJPY", "150.00", {"sl": "148"}, False),
        ("XAUUSD", "2345", {"sl": "20"}, True),
        ("EURUSD", "1.3850", {"sl": "1.20"}, False),  # with decimals of a price: the feed's limit
    ],
)
def test_distance_in_a_modify_is_no_price(
    feed: Feed, secret: str, symbol: str, entry: str, level: dict[str, object], is_refused: bool
) -> None:
    send(feed, secret, f'{{"action": "OPEN", "symbol": "{symbol}", "direction": "BUY",'
         f' "order_type": "LIMIT", "price": "{entry}", "external_id": "a"}}')  # fmt: skip
    change = json.dumps({"action": "MODIFY", "refers_to_external_id": "a", **level})
    with on_behalf_of(feed.owner):
        shown = preview_alert(feed, change.encode())
    if is_refused:
        assert refusal(feed, secret, change).code == Code.ALERT_AMBIGUOUS
        assert [one.code for one in shown.errors] == [Code.ALERT_AMBIGUOUS]
    else:
        assert not shown.errors
        assert send(feed, secret, change)[0].action == "MODIFY"


def test_one_target_does_not_replace_several(feed: Feed, secret: str) -> None:
    send(feed, secret, "BUY EURUSD @ 1.3850 SL 1.3800 TP1 1.3900 TP2 1.3950")
    assert refusal(feed, secret, "EURUSD move TP to 1.4000").code == Code.ALERT_AMBIGUOUS


@pytest.mark.parametrize("words", ["move SL to 20", "SL to 10830", "EURUSD move TP to 0.5"])
def test_level_that_is_near_no_price_of_its_trade_is_refused(
    feed: Feed, secret: str, words: str
) -> None:
    send(feed, secret, "SELL EURUSD @ 1.3850 SL 1.3900 TP 1.3800")
    error = refusal(feed, secret, words)
    assert error.code == Code.ALERT_AMBIGUOUS
    assert "a distance of" in error.detail
    assert preview_alert(feed, words.encode()).errors


def test_level_of_a_trade_without_known_scale_is_compared_with_its_own_prices(
    feed: Feed, secret: str
) -> None:
    send(feed, secret, "SHORT NASDAQ:AAPL @ 180 SL 185 TP 170")
    assert refusal(feed, secret, "AAPL move SL to 1820").code == Code.ALERT_AMBIGUOUS
    (moved,) = send(feed, secret, "move SL to 182")
    assert moved.sl == D(182)


def test_new_level_may_be_near_the_market_instead_of_the_entry(
    feed: Feed, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(feed, secret, "BUY NASDAQ:AAPL @ 180 SL 175")
    assert refusal(feed, secret, "move SL to 900").code == Code.ALERT_AMBIGUOUS

    def newest(feed: Feed, pair: str, /, *, with_steps: bool) -> Reference:
        return Reference(D(949), D(950), market_now(), "test")

    monkeypatch.setattr(price_guard, "_source", newest)
    (moved,) = send(feed, secret, "move SL to 900")
    assert moved.sl == D(900)


PIPS = "60123456789,buy,EURUSD,sl=20,tp=40,risk=1"


def test_distances_count_from_the_market_and_the_text_is_recognised(
    feed: Feed, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotes = iter(["1.3850", "1.3850", "1.3860", "1.3860"])

    def newest(feed: Feed, pair: str, /, *, with_steps: bool) -> Reference:
        ask = D(next(quotes, "1.3860"))
        return Reference(ask - D("0.0002"), ask, market_now(), "test")

    monkeypatch.setattr(price_guard, "_source", newest)
    (signal,) = send(feed, secret, PIPS)
    assert (signal.sl, signal.target_prices) == (D("1.383"), [D("1.389")])
    assert send(feed, secret, PIPS) == [signal]  # though the market has moved


def test_distances_without_a_quote_or_with_no_clear_pip_are_refused(
    feed: Feed, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price_guard, "_source", None)
    assert refusal(feed, secret, PIPS).code == Code.PRICE_REQUIRED
    gold = "BUY XAUUSD @ 2350 SL 20 pips"
    assert refusal(feed, secret, gold).code == Code.ALERT_AMBIGUOUS
    (signal,) = send(feed, secret, "SELL USDJPY @ 150.00 SL 20 pips TP 40 pips")
    assert (signal.sl, signal.target_prices) == (D("150.2"), [D("149.6")])


def test_buy_that_may_end_a_short_trade_is_refused_while_one_is_open(
    feed: Feed, secret: str
) -> None:
    send(feed, secret, "SELL BTCUSDT NOW")
    error = refusal(feed, secret, "e=bybit s=btcusdt b=buy t=market q=1")
    assert error.code == Code.ALERT_AMBIGUOUS


def test_object_with_both_levels_is_refused_while_the_other_side_is_open(
    feed: Feed, secret: str
) -> None:
    fields = {"ticker": "EURUSD", "action": "sell", "sl": "1.3900", "tp": "1.3800"}
    send(feed, secret, "BUY EURUSD NOW SL 1.3700 TP 1.4000")
    assert refusal(feed, secret, json.dumps(fields)).code == Code.ALERT_AMBIGUOUS
    send(feed, secret, "close EURUSD")
    (opened,) = send(feed, secret, json.dumps(fields))
    assert (opened.direction, opened.sl, opened.target_prices) == ("SELL", D("1.39"), [D("1.38")])


def test_feeds_mapping_is_used_at_the_endpoint(feed: Feed, secret: str) -> None:
    Feed.objects.filter(pk=feed.pk).update(alert_mapping={"symbols": {"FIBER": "EUR/USD"}})
    (signal,) = send(feed, secret, "BUY FIBER @ 1.3850")
    assert signal.currency_pair == "EUR/USD"


def test_same_words_about_another_trade_are_not_taken_for_a_repetition(
    feed: Feed, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(feed, secret, ENTRY)
    (closed,) = send(feed, secret, "close EURUSD half")
    assert send(feed, secret, "close EURUSD half") == [closed]  # the same trade: sent twice
    monkeypatch.setattr(alert_trades, "closed_by_feed", lambda ids: set(ids) - {max(ids)})
    (second,) = send(feed, secret, "SELL EURUSD @ 1.3850 SL 1.3900 TP 1.3800")
    refused = refusal(feed, secret, "close EURUSD half")
    assert refused.code == Code.ALERT_AMBIGUOUS
    assert second.number in refused.detail
