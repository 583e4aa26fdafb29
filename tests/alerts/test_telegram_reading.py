"""Telegram as a source: what a bot reads becomes one signal, of when it was written."""

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from alerts.inbox.publishing import publish_waiting
from alerts.models import AlertState, IncomingAlert, TelegramBot, TelegramChat
from alerts.telegram import updates
from alerts.telegram.poller import TelegramPoller
from alerts.telegram.services import change_bot, remove_bot, set_bot, set_chat
from common.reason_codes import Code
from signals.models import Feed, Signal
from tests.alerts.telegram_bot import (
    ENTRY,
    OTHER,
    api,
    bot,
    make,
    notified,
    outcome,
    poller,
    published,
    read,
    surroundings,
    wait,
)
from tests.fakes.telegram.bot_api import CHANNEL, CHANNEL_ID, TOKEN, BotApi

__all__ = ["api", "bot", "make", "poller", "surroundings"]


def rows_of_bot() -> list[dict[str, Any]]:
    """Return a bot and its chat: what differs from another's, and whether there is a time."""
    found = [*TelegramBot.objects.values(), *TelegramChat.objects.values()]
    own = {"id", "bot_id", "fence", "holder", "lease_until", "token_sealed", "due_at"}
    return [
        {
            name: isinstance(value, datetime) or value
            for name, value in row.items()
            if name not in own
        }
        for row in found
    ]


class TestOrder:
    """A message is about the trades of the time at which it was written."""

    def test_update_written_before_the_only_trade_is_refused_with_both_readings(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.post(ENTRY)
        published(poller, api)
        api.post("SL to BE", date=int((datetime.now(UTC) - timedelta(minutes=2)).timestamp()))
        alert = published(poller, api)
        assert outcome(alert) == (AlertState.REFUSED, Code.ALERT_AMBIGUOUS)
        assert "before S-" in alert.detail
        assert notified() == [Code.ALERT_AMBIGUOUS]

    def test_update_written_after_the_last_trade_ended_is_about_the_new_one(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        now = datetime.now(UTC)
        texts = [ENTRY, "close EURUSD", OTHER, "close half"]
        for number, text in enumerate(texts):
            api.post(text, date=int((now - timedelta(seconds=40 - 10 * number)).timestamp()))
        alert = published(poller, api)
        assert outcome(alert) == (AlertState.PUBLISHED, "")
        half = Signal.objects.get(pk=alert.signal_ids[0])
        assert half.refers_to is not None
        assert half.refers_to.currency_pair == "GBP/USD"

    def test_close_of_a_symbol_spares_what_was_opened_after_it_was_written(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.post(ENTRY)
        published(poller, api)
        earlier = int((datetime.now(UTC) - timedelta(minutes=2)).timestamp())
        api.post("Close all EURUSD", date=earlier)
        assert outcome(published(poller, api))[0] == AlertState.NOTHING


class TestEqualTexts:
    """The same words as another message: a slip, or a second trade."""

    @pytest.mark.parametrize("text", [ENTRY, "BUY EURUSD NOW", "BUY EURUSD @ 1.3850 SL 20 pips"])
    def test_entry_after_the_close_of_the_same_one_is_another_trade(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi, text: str
    ) -> None:
        for words in (text, "close EURUSD", text):
            api.post(words)
            assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        assert Signal.objects.filter(action="OPEN").count() == 2
        assert not notified()

    @pytest.mark.parametrize("text", [ENTRY, "BUY EURUSD @ 1.3850 SL 20 pips"])
    def test_entry_that_was_posted_twice_is_refused_with_both_readings(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi, text: str
    ) -> None:
        api.post(text)
        published(poller, api)
        api.post(text)
        alert = published(poller, api)
        assert outcome(alert) == (AlertState.REFUSED, Code.ALERT_AMBIGUOUS)
        assert "that message again, or another trade" in alert.detail
        assert notified() == [Code.ALERT_AMBIGUOUS]
        assert Signal.objects.count() == 1

    def test_forwarded_entry_that_is_older_than_the_close_opens_nothing(
        self, feed: Feed, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        now = int(time.time())
        for age, words in ((40, ENTRY), (20, "close EURUSD")):
            api.post(words, date=now - age)
            published(poller, api)
        change_bot(feed, by=feed.owner, forward_from=[CHANNEL_ID])
        origin = {"type": "channel", "date": now - 40, "message_id": 3, "chat": CHANNEL}
        api.post(ENTRY, forward_origin=origin)
        assert outcome(published(poller, api)) == (AlertState.REFUSED, Code.ALERT_AMBIGUOUS)


class TestReading:
    """What is asked of Telegram, and what becomes of a message."""

    def test_post_becomes_one_signal_and_is_confirmed(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        post = api.post(ENTRY)
        alert = published(poller, api)
        assert outcome(alert) == (AlertState.PUBLISHED, "")
        assert alert.source_key == f"{CHANNEL['id']}:{post['message_id']}"
        signal = Signal.objects.get()
        assert (signal.currency_pair, signal.sl) == ("EUR/USD", D("1.38"))
        wait(poller, lambda: not api.updates)
        bot.refresh_from_db()
        assert bot.username == "alice_signals_bot"
        assert bot.contact_at is not None
        assert bot.error_code == ""

    def test_bot_of_these_tests_is_as_its_poller_leaves_it(
        self, feed: Feed, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        expected = rows_of_bot()
        remove_bot(feed, by=feed.owner)
        api.next_id, api.next_message = 9001, 1
        set_bot(feed, TOKEN, by=feed.owner)
        api.post("Hello")
        wait(poller, TelegramChat.objects.exists)
        set_chat(feed, CHANNEL_ID, is_allowed=True, by=feed.owner)
        assert rows_of_bot() == expected

    def test_long_poll_asks_for_texts_only(
        self, feed: Feed, poller: TelegramPoller, api: BotApi
    ) -> None:
        set_bot(feed, TOKEN, by=feed.owner)
        wait(poller, lambda: len(api.calls("getUpdates")) > 2)
        assert len(api.calls("getMe")) == 1
        call = api.calls("getUpdates")[-1]
        assert call.timeout == 25
        assert set(call.allowed) == {
            "message", "edited_message", "channel_post", "edited_channel_post",
        }  # fmt: skip

    def test_repeated_updates_are_one_signal(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.repeats = True
        api.post(ENTRY)
        published(poller, api)
        before = len(api.calls("getUpdates"))
        wait(poller, lambda: len(api.calls("getUpdates")) > before + 3)
        assert publish_waiting(seconds=60) == 0
        assert IncomingAlert.objects.count() == 1

    def test_caption_is_read_and_pictures_are_not(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.post(None)
        api.post(None, caption=ENTRY, media_group_id="7")
        api.post(None, media_group_id="7")
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        assert IncomingAlert.objects.count() == 1

    def test_old_entries_expire_and_exits_count(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.post(OTHER)
        published(poller, api)
        IncomingAlert.objects.update(received_at=datetime.now(UTC) - timedelta(hours=4))
        old = int((datetime.now(UTC) - timedelta(hours=3)).timestamp())
        api.post(ENTRY, date=old)
        api.post("GBPUSD close half", date=old)
        published(poller, api)
        _, entry, exit_ = IncomingAlert.objects.order_by("pk")
        assert outcome(entry) == (AlertState.EXPIRED, Code.ALERT_EXPIRED)
        assert "It waited" in entry.detail
        assert outcome(exit_) == (AlertState.PUBLISHED, "")

    def test_feeds_limit_makes_messages_wait_at_telegram(
        self, feed: Feed, bot: TelegramBot, poller: TelegramPoller, api: BotApi,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(updates, "alert_pause", lambda _: 30)
        api.post(ENTRY)
        wait(poller, lambda: TelegramBot.objects.get().due_at > datetime.now(UTC))
        assert not IncomingAlert.objects.exists()
        assert api.updates
        monkeypatch.undo()
        TelegramBot.objects.update(due_at=datetime.now(UTC))
        assert len(read(poller, api)) == 1

    def test_chatter_is_refused_without_a_notification(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.post("Good morning everybody")
        api.post("BUY EURUSD SL somewhere")
        first, second = read(poller, api)
        assert outcome(first)[0] == outcome(second)[0] == AlertState.REFUSED
        assert notified() == [second.code]
