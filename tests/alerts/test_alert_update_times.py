"""Which trade a text is about, by the time at which it was sent."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from alerts.carry_out import trades as alert_trades
from alerts.preview import preview_alert
from common.clocks import market_now
from common.reason_codes import Code
from signals import open_signals
from signals.models import Feed
from tests.alerts.alert_texts import ENTRY, all_are_open, fresh_counters, refusal, secret, send
from users.tenancy import on_behalf_of

__all__ = ["all_are_open", "fresh_counters", "secret"]
OTHER = "SELL GBPUSD @ 1.6000 SL 1.6100"
UPDATES = ["SL to BE", "close half", "TP1 hit, close half", "cancel", "close"]


def at(seconds: int) -> str:
    """Return a text's time, some seconds from now."""
    return (market_now() + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("words", UPDATES)
def test_update_that_is_older_than_the_only_trade_is_refused(
    feed: Feed, secret: str, words: str
) -> None:
    send(feed, secret, ENTRY)
    error = refusal(feed, secret, f"{words} {at(-60)}")
    assert error.code == Code.ALERT_AMBIGUOUS
    assert "before S-" in error.detail


@pytest.mark.parametrize("words", UPDATES)
def test_update_without_a_time_is_refused_while_another_trade_has_just_ended(
    feed: Feed, secret: str, words: str
) -> None:
    (ended,) = send(feed, secret, ENTRY)
    send(feed, secret, "close EURUSD")
    (opened,) = send(feed, secret, OTHER)
    error = refusal(feed, secret, words)
    assert error.code == Code.ALERT_AMBIGUOUS
    assert ended.number in error.detail
    assert opened.number in error.detail
    (closed,) = send(feed, secret, "GBPUSD close half")  # the symbol names it
    assert closed.refers_to_id == opened.pk


def test_symbol_does_not_name_a_trade_while_another_of_it_has_just_ended(
    feed: Feed, secret: str
) -> None:
    send(feed, secret, ENTRY)
    send(feed, secret, "close EURUSD")
    (opened,) = send(feed, secret, "SELL EURUSD @ 1.3950 SL 1.4000")
    assert refusal(feed, secret, "EURUSD SL to BE").code == Code.ALERT_AMBIGUOUS
    (half,) = send(feed, secret, f"EURUSD close half {at(2)}")  # written after both
    assert half.refers_to_id == opened.pk


def test_trade_that_ended_at_the_brokers_is_a_candidate(
    feed: Feed, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stopped,) = send(feed, secret, ENTRY)
    monkeypatch.setattr(open_signals, "_sources", [f"s.id <> {stopped.pk}"])
    ended = f"SELECT {stopped.pk} AS id WHERE %(since)s IS NOT NULL AND %(feed)s = {feed.pk}"
    send(feed, secret, OTHER)
    (moved,) = send(feed, secret, "SL to BE")
    assert moved.refers_to_id != stopped.pk
    monkeypatch.setattr(alert_trades, "_ended_sources", [ended])
    assert refusal(feed, secret, "close half").code == Code.ALERT_AMBIGUOUS


def test_trade_that_no_account_has_is_a_candidate_for_its_sender(
    feed: Feed, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (denied,) = send(feed, secret, ENTRY)
    (opened,) = send(feed, secret, OTHER)
    monkeypatch.setattr(open_signals, "_sources", [f"s.id = {opened.pk}"])
    monkeypatch.setattr(alert_trades, "_filled_sources", [f"s.id = {opened.pk}"])
    error = refusal(feed, secret, "close half")
    assert denied.number in error.detail


def test_update_that_a_later_one_has_overtaken_is_refused(feed: Feed, secret: str) -> None:
    send(feed, secret, ENTRY)
    send(feed, secret, f"move SL to 1.3830 {at(60)}")
    error = refusal(feed, secret, f"move SL to 1.3820 {at(30)}")
    assert error.code == Code.ALERT_OUT_OF_ORDER


@pytest.mark.parametrize("words", ["EURUSD close", "EURUSD cancel", "cancel"])
def test_entry_that_was_sent_before_its_end_opens_nothing(
    feed: Feed, secret: str, words: str
) -> None:
    assert refusal(feed, secret, f"{words} {at(-60)}").code == Code.ALERT_WITHOUT_TRADE
    assert refusal(feed, secret, f"{ENTRY} {at(-120)}").code == Code.ALERT_OUT_OF_ORDER
    (signal,) = send(feed, secret, f"{ENTRY} {at(-5)}")
    assert signal.is_published


def test_entry_that_was_sent_before_a_close_of_its_symbol_opens_nothing(
    feed: Feed, secret: str
) -> None:
    send(feed, secret, ENTRY)
    send(feed, secret, f"EURUSD close {at(60)}")
    late = f"BUY EURUSD @ 1.3840 SL 1.3800 {at(30)}"
    assert refusal(feed, secret, late).code == Code.ALERT_OUT_OF_ORDER


def test_preview_says_that_it_could_be_about_either_trade(feed: Feed, secret: str) -> None:
    (ended,) = send(feed, secret, ENTRY)
    send(feed, secret, "close EURUSD")
    send(feed, secret, OTHER)
    with on_behalf_of(feed.owner):
        shown = preview_alert(feed, b"close half")
    assert not shown.effect
    assert [error.code for error in shown.errors] == [Code.ALERT_AMBIGUOUS]
    assert ended.number in shown.errors[0].detail


def test_preview_refuses_an_old_time_as_the_endpoint_does(feed: Feed) -> None:
    with on_behalf_of(feed.owner):
        shown = preview_alert(feed, f"{ENTRY} {at(-1000)}".encode())
    assert [error.code for error in shown.errors] == [Code.ALERT_TOO_OLD]
    assert not shown.effect


def test_sell_alone_is_refused_while_a_long_trade_is_open(feed: Feed, secret: str) -> None:
    send(feed, secret, ENTRY)
    error = refusal(feed, secret, "SELL EURUSD NOW")
    assert error.code == Code.ALERT_AMBIGUOUS
    assert "close a long one. Write “SHORT …”" in error.detail
    (other,) = send(feed, secret, "SELL EURUSD NOW SL 1.3950")  # no close has a stop
    (short,) = send(feed, secret, "SHORT EURUSD NOW")
    assert [other.direction, short.direction] == ["SELL", "SELL"]


def test_levels_without_a_price_are_refused_while_their_trade_is_open(
    feed: Feed, secret: str
) -> None:
    (opened,) = send(feed, secret, "BUY EURUSD SL 1.3800 TP 1.3900")
    assert send(feed, secret, "BUY EURUSD SL 1.3800 TP 1.3900") == [opened]  # sent twice
    error = refusal(feed, secret, "EURUSD BUY SL 1.3820")
    assert error.code == Code.ALERT_AMBIGUOUS
    assert "a second trade, or state the levels of " + opened.number in error.detail
    with on_behalf_of(feed.owner):
        assert preview_alert(feed, b"EURUSD BUY SL 1.3820").errors[0].code == Code.ALERT_AMBIGUOUS
    (second,) = send(feed, secret, "BUY EURUSD NOW SL 1.3820")
    assert second.pk != opened.pk
    (short,) = send(feed, secret, "EURUSD SELL SL 1.3950")
    assert short.direction == "SELL"


def test_levels_that_follow_an_announcement_open_no_second_trade(feed: Feed, secret: str) -> None:
    (announced,) = send(feed, secret, "BUY EURUSD NOW")
    details = "EURUSD BUY @ 1.3850 SL 1.3800 TP1 1.3900"
    error = refusal(feed, secret, details)
    assert error.code == Code.ALERT_AMBIGUOUS
    assert announced.number in error.detail
    send(feed, secret, "close EURUSD")
    (opened,) = send(feed, secret, details)
    assert opened.sl == D("1.38")


@pytest.mark.parametrize("update", ["EURUSD move SL to 1.3800", "EURUSD move TP to 1.3950"])
def test_second_trade_opens_once_the_first_was_given_its_levels(
    feed: Feed, secret: str, update: str
) -> None:
    send(feed, secret, "BUY EURUSD NOW")
    send(feed, secret, update)
    (second,) = send(feed, secret, "EURUSD BUY @ 1.3850 SL 1.3810 TP1 1.3900")
    assert second.sl == D("1.381")
