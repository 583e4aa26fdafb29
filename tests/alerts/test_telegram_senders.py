"""Whose messages a Telegram bot carries out, and how it is set up."""

import time
from typing import Any

import pytest

from alerts.inbox.publishing import publish_waiting
from alerts.models import AlertState, TelegramBot, TelegramChat
from alerts.telegram import updates
from alerts.telegram.poller import TelegramPoller
from alerts.telegram.services import change_bot, set_bot, set_chat
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from signals.feeds.services import create_feed
from signals.models import Feed, Signal
from tests.alerts.telegram_bot import (
    ENTRY,
    api,
    bot,
    make,
    outcome,
    poller,
    published,
    read,
    surroundings,
    wait,
)
from tests.fakes.telegram.bot_api import GROUP_ID, TOKEN, BotApi

__all__ = ["api", "bot", "make", "poller", "surroundings"]


class TestSenders:
    """Only allowed chats and senders are believed."""

    def test_unknown_chat_is_found_shown_and_never_carried_out(
        self, feed: Feed, poller: TelegramPoller, api: BotApi
    ) -> None:
        set_bot(feed, TOKEN, by=feed.owner)
        api.post(ENTRY)
        [alert] = read(poller, api)
        assert outcome(alert) == (AlertState.REFUSED, Code.TELEGRAM_CHAT_NOT_ALLOWED)
        chat = TelegramChat.objects.get()
        assert (chat.title, chat.is_allowed) == ("Alice signals", False)
        set_chat(feed, chat.chat_id, is_allowed=True, by=feed.owner)
        assert publish_waiting(seconds=60) == 0
        assert not Signal.objects.exists()

    def test_flood_of_unknown_chats_keeps_no_channel_away(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        for number in range(30):
            chat = {"id": 1000 + number, "type": "private", "first_name": "Eve"}
            api.say(ENTRY, sender=1000 + number, chat=chat)
        api.post(ENTRY)
        alerts = read(poller, api)
        assert len(alerts) <= 2 * 20 + 1
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        bot.refresh_from_db()
        assert bot.refused_count >= 30
        unknown = TelegramChat.objects.filter(is_allowed=False)
        assert unknown.count() == updates.MOST_CHATS
        mine = {"id": -100777, "type": "channel", "title": "My second channel"}
        api.say("Hello", sender=1, chat=mine)
        for number in range(30):
            chat = {"id": 5000 + number, "type": "private", "first_name": "Eve"}
            api.say(ENTRY, sender=5000 + number, chat=chat)
        read(poller, api)
        assert unknown.count() == updates.MOST_CHATS
        assert unknown.filter(chat_id=-100777).exists(), "strangers keep no channel away"

    def test_only_named_senders_of_a_group(
        self, feed: Feed, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.say("hello", sender=55)
        read(poller, api)
        chat = set_chat(feed, GROUP_ID, is_allowed=True, by=feed.owner)
        assert chat.sender_ids == [55]
        api.say(ENTRY, sender=66)
        assert outcome(published(poller, api)) == (
            AlertState.REFUSED, Code.TELEGRAM_SENDER_NOT_ALLOWED,
        )  # fmt: skip
        api.say(ENTRY, sender=55)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        with pytest.raises(InvalidInputError, match="name the senders"):
            set_chat(feed, GROUP_ID, is_allowed=True, sender_ids=[], by=feed.owner)

    def test_forwarded_message_counts_only_from_an_allowed_chat(
        self, feed: Feed, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        origin = {
            "type": "channel", "date": int(time.time()), "message_id": 3,
            "chat": {"id": -100999, "type": "channel", "title": "Rival"},
        }  # fmt: skip
        api.post(ENTRY, forward_origin=origin)
        assert outcome(published(poller, api)) == (AlertState.REFUSED, Code.TELEGRAM_FORWARDED)
        change_bot(feed, by=feed.owner, forward_from=[-100999])
        api.post(ENTRY, forward_origin=origin)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        api.post(ENTRY, forward_origin={**origin, "date": int(time.time()) - 86_400})
        assert outcome(published(poller, api))[0] == AlertState.EXPIRED  # as old as its original

    @pytest.mark.parametrize("kind", ["strikethrough", "blockquote", "spoiler"])
    def test_text_that_is_crossed_out_or_quoted_is_refused(
        self, feed: Feed, bot: TelegramBot, poller: TelegramPoller, api: BotApi, kind: str
    ) -> None:
        api.post(ENTRY, entities=[{"type": kind, "offset": 0, "length": len(ENTRY)}])
        assert outcome(published(poller, api)) == (
            AlertState.REFUSED, Code.ALERT_NOT_UNDERSTOOD,
        )  # fmt: skip

    def test_copy_that_telegram_puts_into_the_channels_group_is_not_read_twice(
        self, feed: Feed, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.post(ENTRY)
        api.say(ENTRY, is_automatic_forward=True)
        assert len(read(poller, api)) == 1


class TestSetUp:
    """Tokens, and one bot for one feed."""

    @pytest.mark.parametrize("token", ["", "abc", "123:short", f"{TOKEN} {TOKEN}", f"{TOKEN}/x"])
    def test_what_is_no_token_is_refused(self, feed: Feed, token: str) -> None:
        with pytest.raises(InvalidInputError, match="no bot token"):
            set_bot(feed, token, by=feed.owner)

    def test_token_is_sealed(self, feed: Feed) -> None:
        bot = set_bot(feed, f" {TOKEN}\n", by=feed.owner)
        assert TOKEN.encode() not in bytes(bot.token_sealed)

    def test_bot_serves_one_feed_but_an_invented_token_keeps_none_away(
        self, feed: Feed, poller: TelegramPoller, api: BotApi, operator: Any
    ) -> None:
        squatter = create_feed(owner=operator, name="Squatter", is_approved=True)
        set_bot(squatter, TOKEN[:-3] + "xyz", by=operator)
        set_bot(feed, TOKEN, by=feed.owner)
        wait(poller, lambda: TelegramBot.objects.get(feed=feed).checked_at)
        assert TelegramBot.objects.get(feed=feed).error_code == ""
        set_bot(squatter, TOKEN, by=operator)
        wait(poller, lambda: TelegramBot.objects.get(feed=squatter).error_code)
        found = TelegramBot.objects.get(feed=squatter)
        assert found.error_code == Code.TELEGRAM_BOT_TAKEN

    def test_without_a_key_no_token_is_stored(self, feed: Feed, settings: Any) -> None:
        settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = []
        with pytest.raises(ConflictError):
            set_bot(feed, TOKEN, by=feed.owner)
