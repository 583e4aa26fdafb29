"""Telegram as a source: what a bot reads becomes one signal, whatever fails on the way.

The real client library talks to a double of the Bot API (tests/fakes/telegram).
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from functools import partial
from typing import Any

import pytest
from django.core.cache import cache
from django.db import DataError, OperationalError

from common import failpoints
from common.errors import ConflictError, InvalidInputError
from common.failpoints import AbandonedError, Failpoint
from common.reason_codes import Code
from common.sealing import new_private_key
from events.models import Event, EventKind
from signals import alert_trades, alerts, open_signals
from signals.alert_publishing import publish_waiting
from signals.feeds import create_feed
from signals.models import AlertState, Feed, IncomingAlert, Signal, TelegramBot, TelegramChat
from signals.rate import forget_failures
from signals.telegram import updates
from signals.telegram.messages import ChatMessage, sender_error
from signals.telegram.poller import NOTIFIED_AFTER, TelegramPoller
from signals.telegram.services import change_bot, remove_bot, set_bot, set_chat
from tests.fakes.telegram.bot_api import (
    CHANNEL,
    CHANNEL_ID,
    GROUP_ID,
    TOKEN,
    BotApi,
    Refused,
    bot_api,
)
from tests.sampling import often
from users.models import ApiKey, User
from users.services import create_api_key, revoke_api_key, user_for_key

ENTRY = "BUY EURUSD @ 1.3850 SL 1.3800 TP 1.3900"
OTHER = "SELL GBPUSD @ 1.6000 SL 1.6100"
SECONDS = 60.0


@pytest.fixture(autouse=True)
def surroundings(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A key, counters at zero, and every published signal counts as open."""
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = None
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = [new_private_key()]
    forget_failures()
    cache.clear()
    monkeypatch.setattr(open_signals, "_sources", ["true"])
    monkeypatch.setattr(alert_trades, "_filled_sources", [])
    yield
    failpoints.arm([])


@pytest.fixture
def api() -> Iterator[BotApi]:
    with bot_api() as state:
        yield state


@pytest.fixture
def make(api: BotApi) -> Iterator[Callable[..., TelegramPoller]]:
    """Return what makes pollers as processes have one each; all are closed."""
    made: list[TelegramPoller] = []

    def one(**more: Any) -> TelegramPoller:
        values: dict[str, Any] = {"base_url": api.base_url, "shortest": 0.01}
        made.append(TelegramPoller(**values, refresh_seconds=0.02, **more))
        return made[-1]

    yield one
    for poller in made:
        poller.close()


@pytest.fixture
def poller(make: Callable[..., TelegramPoller]) -> TelegramPoller:
    return make()


@pytest.fixture
def bot(feed: Feed, api: BotApi) -> TelegramBot:
    """Return a bot whose channel is allowed; the message by which it was found is read."""
    made = set_bot(feed, TOKEN, by=feed.owner)
    api.post("Hello")
    api.updates.clear()
    now = datetime.now(UTC)
    TelegramBot.objects.update(
        username="alice_signals_bot", checked_at=now, contact_at=now, update_at=now,
        next_offset=api.next_id, refused_count=1,
    )  # fmt: skip
    TelegramChat.objects.create(
        bot=made, chat_id=CHANNEL_ID, kind="channel", title="Alice signals", sender_ids=[]
    )
    set_chat(feed, CHANNEL_ID, is_allowed=True, by=feed.owner)
    made.refresh_from_db()
    return made


def wait(poller: TelegramPoller, is_done: Callable[[], Any]) -> None:
    """Let a poller work until a condition holds."""
    end = time.monotonic() + SECONDS
    while not is_done():
        assert time.monotonic() < end, "it did not happen"
        poller.step()


def read(poller: TelegramPoller, api: BotApi) -> list[IncomingAlert]:
    """Let a poller take all updates; return the alerts, the oldest first."""
    wait(poller, lambda: TelegramBot.objects.get().next_offset >= api.next_id)
    return list(IncomingAlert.objects.order_by("pk"))


def published(poller: TelegramPoller, api: BotApi) -> IncomingAlert:
    """Take all updates and publish what waits; return the last alert."""
    read(poller, api)
    publish_waiting(seconds=60)
    return IncomingAlert.objects.order_by("pk")[IncomingAlert.objects.count() - 1]


def outcome(alert: IncomingAlert) -> tuple[str, str]:
    alert.refresh_from_db()
    return alert.state, alert.code


def failed(times: int) -> bool:
    return TelegramBot.objects.get().failures == times


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


def notified() -> list[str]:
    found = Event.objects.filter(kind=EventKind.ALERT_REFUSED).order_by("pk")
    return [event.payload["code"] for event in found]


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
        assert publish_waiting() == 0
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
        assert publish_waiting() == 0
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


class TestEdits:
    """An edit changes levels of exactly its signal, or is refused."""

    def test_edited_levels_change_exactly_this_signal(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        post = api.post(ENTRY)
        published(poller, api)
        api.post(OTHER)
        published(poller, api)
        api.edit(post, "BUY EURUSD @ 1.3850 SL 1.3790 TP 1.3900")
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        first, _, change = Signal.objects.order_by("pk")
        assert (change.action, change.refers_to, change.sl) == ("MODIFY", first, D("1.379"))
        assert not change.target_prices
        api.edit(post, "BUY EURUSD @ 1.3850 SL 1.3790 TP 1.3950")
        published(poller, api)
        last = Signal.objects.order_by("pk")[3]
        assert (last.sl, last.target_prices, last.refers_to) == (None, [D("1.395")], first)

    @pytest.mark.parametrize(
        "text",
        [
            "SELL EURUSD @ 1.3850 SL 1.3900 TP 1.3800",
            "BUY GBPUSD @ 1.3850 SL 1.3800 TP 1.3900",
            "BUY EURUSD now SL 1.3800 TP 1.3900",
            "BUY EURUSD @ 1.3860 SL 1.3800 TP 1.3900",
            "BUY EURUSD @ 1.3850 TP 1.3900",
            "close EURUSD",
        ],
    )
    def test_edit_of_the_meaning_is_refused_with_both_readings(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi, text: str
    ) -> None:
        post = api.post(ENTRY)
        published(poller, api)
        api.edit(post, text)
        alert = published(poller, api)
        assert outcome(alert) == (AlertState.REFUSED, Code.ALERT_EDIT_CHANGES_MEANING)
        assert "It was read as: action OPEN, symbol EUR/USD, direction BUY" in alert.detail
        assert "Now it would be: " in alert.detail
        assert notified() == [Code.ALERT_EDIT_CHANGES_MEANING]
        assert Signal.objects.count() == 1

    @pytest.mark.parametrize(
        ("old", "new", "sl", "targets"),
        often([
            ("BUY EURUSD NOW", " SL 1.3800 TP 1.3900", "1.38", ["1.39"]),
            ("SELL EURUSD NOW", " SL 1.3900 TP1 1.3800 TP2 1.37", "1.39", ["1.38", "1.37"]),
            ("BUY EURUSD NOW TP 1.3900", " SL 1.3800", "1.38", []),
            ("BUY EURUSD NOW SL 1.3800", " TP 1.3900", None, ["1.39"]),
            ("LONG EURUSD", " SL 1.3800 TP 1.3900", "1.38", ["1.39"]),
            ("SHORT EURUSD", " SL 1.3900", "1.39", []),
            ("BUY EURUSD @ 1.3850", " SL 1.3800", "1.38", []),
            ("SELL EURUSD @ 1.3850", " SL 1.3900 TP 1.3800", "1.39", ["1.38"]),
            ("BUY LIMIT EURUSD @ 1.3850", " TP 1.3900", None, ["1.39"]),
            ("SELL LIMIT EURUSD @ 1.3850", " SL 1.3900", "1.39", []),
            ("BUY STOP EURUSD @ 1.3850", " SL 1.3800", "1.38", []),
            ("SELL STOP EURUSD @ 1.3850", " SL 1.3900 TP 1.3800", "1.39", ["1.38"]),
            ("BUY EURUSD @ 1.3850", " SL 50 pips", "1.38", []),
        ], every=3),
    )  # fmt: skip
    def test_levels_are_added_to_a_bare_entry(
        self,
        bot: TelegramBot,
        poller: TelegramPoller,
        api: BotApi,
        old: str,
        new: str,
        sl: str | None,
        targets: list[str],
    ) -> None:
        post = api.post(old)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        api.edit(post, old + new)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        opened, change = Signal.objects.order_by("pk")
        assert (change.action, change.refers_to) == ("MODIFY", opened)
        assert (change.sl, change.target_prices) == (sl and D(sl), [D(one) for one in targets])
        assert change.is_published

    @pytest.mark.parametrize(
        ("old", "new", "sl"),
        [
            ("BUY EURUSD @ 1.3850 SL 20 pips", "BUY EURUSD @ 1.3850 SL 50 pips", D("1.38")),
            ("BUY EURUSD @ 1.3850 SL 1.3830", "BUY EURUSD @ 1.3850 SL 50 pips", D("1.38")),
            ("SELL EURUSD @ 1.3850 SL 20 pips", "SELL EURUSD @ 1.3850 SL 1.3900", D("1.39")),
            ("BUY EURUSD @ 1.3850 SL 50 pips", "BUY EURUSD @ 1.3850 SL 1.3800", None),
        ],
    )
    def test_edited_distance_counts_from_the_entry(
        self,
        bot: TelegramBot,
        poller: TelegramPoller,
        api: BotApi,
        old: str,
        new: str,
        sl: D | None,
    ) -> None:
        post = api.post(old)
        published(poller, api)
        api.edit(post, new)
        alert = published(poller, api)
        assert outcome(alert) == (AlertState.PUBLISHED if sl else AlertState.NOTHING, "")
        assert [one.sl for one in Signal.objects.filter(action="MODIFY")] == ([sl] if sl else [])

    @pytest.mark.parametrize(
        ("old", "new", "code"),
        [
            ("BUY EURUSD NOW", "BUY EURUSD NOW SL 20 pips", Code.PRICE_REQUIRED),
            (
                "BUY EURUSD @ 1.3850 SL 50 pips", "BUY EURUSD @ 1.3850",
                Code.ALERT_EDIT_CHANGES_MEANING,
            ),
            ("BUY EURUSD NOW SL 1.3800", "BUY EURUSD NOW SL 1.0380", Code.ALERT_AMBIGUOUS),
            ("SELL EURUSD NOW TP 1.3800", "SELL EURUSD NOW TP 1.0380", Code.ALERT_AMBIGUOUS),
            ("BUY XAUUSD NOW SL 2338", "BUY XAUUSD NOW SL 1538", Code.ALERT_AMBIGUOUS),
        ],
    )  # fmt: skip
    def test_edited_level_must_be_one_of_its_trade(
        self,
        bot: TelegramBot,
        poller: TelegramPoller,
        api: BotApi,
        old: str,
        new: str,
        code: Code,
    ) -> None:
        post = api.post(old)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        api.edit(post, new)
        assert outcome(published(poller, api)) == (AlertState.REFUSED, code)
        assert notified() == [code]
        assert Signal.objects.count() == 1

    def test_edit_of_words_changes_nothing(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        post = api.post(ENTRY)
        published(poller, api)
        api.edit(post, "BUY #EURUSD @ 1.3850\nSL: 1.3800\nTP: 1.3900")
        assert outcome(published(poller, api)) == (AlertState.NOTHING, "")
        api.edit(post, "BUY #EURUSD @ 1.3850\nSL: 1.3800\nTP: 1.3900")  # as with a new reaction
        read(poller, api)
        assert IncomingAlert.objects.count() == 2

    def test_edit_before_publication_replaces_it_visibly(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        post = api.post(ENTRY)
        api.edit(post, "SELL EURUSD @ 1.3850 SL 1.3900")
        first, second = read(poller, api)
        assert outcome(first) == (AlertState.REFUSED, Code.ALERT_EDITED)
        assert second.received_at == first.received_at  # it gains no time
        publish_waiting()
        assert outcome(second) == (AlertState.PUBLISHED, "")
        assert Signal.objects.get().direction == "SELL"

    def test_edit_into_something_else_withdraws_what_waits(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        post = api.post(ENTRY)
        api.edit(post, "sorry, that was wrong")
        read(poller, api)
        assert publish_waiting() == 0
        assert not Signal.objects.exists()
        assert notified()

    def test_edit_of_an_unknown_message_is_refused(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.edit({"message_id": 900, "chat": CHANNEL, "date": int(time.time())}, ENTRY)
        [alert] = read(poller, api)
        assert outcome(alert) == (AlertState.REFUSED, Code.ALERT_EDIT_UNKNOWN)

    def test_old_refused_message_opens_nothing_when_it_is_edited(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        old = int((datetime.now(UTC) - timedelta(hours=3)).timestamp())
        post = api.post("BUY EURUSD SL somewhere", date=old)
        api.edit(post, ENTRY)
        assert outcome(published(poller, api)) == (AlertState.EXPIRED, Code.ALERT_EXPIRED)


class TestReplies:
    """An answer is about the trade of its message, however many are open."""

    @pytest.fixture
    def posts(self, bot: TelegramBot, poller: TelegramPoller, api: BotApi) -> list[Any]:
        made = [api.post(ENTRY), api.post(OTHER)]
        published(poller, api)
        return made

    @pytest.mark.parametrize(
        ("text", "action"), [("SL to BE", "MODIFY"), ("close half", "CLOSE"), ("cancel", "CLOSE")]
    )
    def test_reply_is_about_its_message(
        self, posts: list[Any], poller: TelegramPoller, api: BotApi, text: str, action: str
    ) -> None:
        for number, post in enumerate(posts):
            api.post(text, reply_to_message=post)
            alert = published(poller, api)
            assert outcome(alert) == (AlertState.PUBLISHED, "")
            change = Signal.objects.get(pk=alert.signal_ids[0])
            opened = Signal.objects.filter(action="OPEN").order_by("pk")[number]
            assert (change.action, change.refers_to) == (action, opened)

    def test_reply_to_a_reply_is_about_the_same_trade(
        self, posts: list[Any], poller: TelegramPoller, api: BotApi
    ) -> None:
        first = api.post("SL to BE", reply_to_message=posts[1])
        published(poller, api)
        api.post("close half", reply_to_message=first)
        alert = published(poller, api)
        change = Signal.objects.get(pk=alert.signal_ids[0])
        assert change.currency_pair == "GBP/USD"

    def test_reply_to_no_signal_is_not_guessed(
        self, posts: list[Any], poller: TelegramPoller, api: BotApi
    ) -> None:
        chatter = api.post("Good morning")
        api.post("close half", reply_to_message=chatter)
        alert = published(poller, api)
        assert outcome(alert) == (AlertState.REFUSED, Code.ALERT_WITHOUT_TRADE)
        assert notified()[-1] == Code.ALERT_WITHOUT_TRADE

    @pytest.mark.parametrize("text", ["GBPUSD close half", "close EURUSD short", OTHER])
    def test_reply_that_names_something_else_is_refused(
        self, posts: list[Any], poller: TelegramPoller, api: BotApi, text: str
    ) -> None:
        api.post(text, reply_to_message=posts[0])
        assert outcome(published(poller, api)) == (AlertState.REFUSED, Code.ALERT_AMBIGUOUS)

    def test_without_a_reply_two_trades_are_still_ambiguous(
        self, posts: list[Any], poller: TelegramPoller, api: BotApi
    ) -> None:
        api.post("close half")
        assert outcome(published(poller, api)) == (AlertState.REFUSED, Code.ALERT_AMBIGUOUS)


class TestFailures:
    """Nothing is lost or taken twice, and the provider sees what is wrong."""

    @pytest.mark.parametrize("point", ["telegram.received", "telegram.stored"])
    def test_killed_before_the_commit(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi, point: str,
        make: Callable[..., TelegramPoller],
    ) -> None:  # fmt: skip
        api.post(ENTRY)
        failpoints.arm([Failpoint(point, "abandon")])
        with pytest.raises(AbandonedError):
            read(poller, api)
        assert not IncomingAlert.objects.exists()
        failpoints.arm([])
        poller.close()
        assert outcome(published(make(), api)) == (AlertState.PUBLISHED, "")
        assert Signal.objects.count() == 1

    def test_two_pollers_never_read_one_bot(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi,
        make: Callable[..., TelegramPoller],
    ) -> None:  # fmt: skip
        poller.refresh()
        other = make()
        assert not other.step()
        api.post(ENTRY)
        read(poller, api)
        poller.close()  # as a process that ends: the other one need not wait
        api.post(OTHER)
        assert len(read(other, api)) == 2
        assert not TelegramBot.objects.exclude(error_code="").exists()

    def test_answer_under_an_old_lease_stores_nothing(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi,
        make: Callable[..., TelegramPoller],
    ) -> None:  # fmt: skip
        wait(poller, lambda: poller._polls)
        api.post(ENTRY)
        past = datetime.now(UTC) - timedelta(seconds=1)
        TelegramBot.objects.update(lease_until=past)  # it stood still for a minute
        other = make()
        other.refresh()
        poll, answer = poller._answers.get(timeout=SECONDS)
        poller._settle(poll, answer)
        assert not IncomingAlert.objects.exists()
        assert len(read(other, api)) == 1

    @pytest.mark.parametrize(
        ("refused", "code"),
        [
            (Refused(401, "Unauthorized"), Code.TELEGRAM_TOKEN_REFUSED),
            (Refused(404, "Not Found"), Code.TELEGRAM_TOKEN_REFUSED),
            (Refused(409, "Conflict: webhook is active"), Code.TELEGRAM_CONFLICT),
            (Refused(429, "Too Many", {"retry_after": 7}), Code.TELEGRAM_SLOW_DOWN),
            (Refused(502, "Bad Gateway"), Code.TELEGRAM_UNREACHABLE),
        ],
    )
    def test_error_is_shown_and_then_gone(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi, refused: Refused, code: Code
    ) -> None:
        api.refused = refused
        wait(poller, lambda: TelegramBot.objects.get().error_code)
        bot.refresh_from_db()
        assert bot.error_code == code
        assert TOKEN not in bot.error_detail
        calls = len(api.journal)
        poller.refresh()
        assert len(api.journal) == calls  # it waits
        if code == Code.TELEGRAM_SLOW_DOWN:
            assert bot.error_at is not None
            assert 6 <= (bot.due_at - bot.error_at).total_seconds() <= 7.1
        TelegramBot.objects.update(due_at=datetime.now(UTC))
        api.post(ENTRY)
        assert len(read(poller, api)) == 1
        wait(poller, lambda: not TelegramBot.objects.get().error_code)

    def test_refused_token_notifies_once_and_a_new_one_goes_on(
        self, feed: Feed, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.tokens.clear()
        wait(poller, lambda: TelegramBot.objects.get().error_code)
        TelegramBot.objects.update(due_at=datetime.now(UTC))
        wait(poller, lambda: TelegramBot.objects.get().failures > 1)
        assert Event.objects.filter(kind=EventKind.TELEGRAM_STOPPED).count() == 1
        new = TOKEN[:-3] + "new"
        api.tokens[new] = "alice_signals_bot"
        api.post(ENTRY)
        set_bot(feed, new, by=feed.owner)
        assert len(read(poller, api)) == 1  # the channel is still allowed

    def test_unreachable_notifies_after_some_failures(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.refused = Refused(500, "Internal", times=0)
        for number in range(1, NOTIFIED_AFTER + 1):
            assert not Event.objects.filter(kind=EventKind.TELEGRAM_STOPPED).exists()
            TelegramBot.objects.update(due_at=datetime.now(UTC))
            wait(poller, partial(failed, number))
        assert Event.objects.filter(kind=EventKind.TELEGRAM_STOPPED).count() == 1

    def test_database_that_fails_loses_nothing(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        def fail(*_: Any, **__: Any) -> None:
            raise OperationalError("the server is restarting")

        monkeypatch.setattr(updates, "_take_message", fail)
        api.post(ENTRY)
        with pytest.raises(OperationalError):
            read(poller, api)
        monkeypatch.undo()
        monkeypatch.setattr(open_signals, "_sources", ["true"])
        assert len(read(poller, api)) == 1

    @pytest.mark.parametrize("error", [ValueError("a fault"), DataError("no such value")])
    def test_fault_of_ours_sets_its_message_aside_visibly(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi,
        monkeypatch: pytest.MonkeyPatch, error: Exception,
    ) -> None:  # fmt: skip
        real = alerts.accept_alert

        def fail_at_other(feed: Feed, body: bytes, **more: Any) -> Any:
            if body == OTHER.encode():
                raise error
            return real(feed, body, **more)

        monkeypatch.setattr(updates, "accept_alert", fail_at_other)
        api.post(OTHER)
        api.post(ENTRY)
        failed, behind = read(poller, api)
        assert outcome(failed) == (AlertState.REFUSED, Code.ALERT_PROCESSING_FAILED)
        assert failed.text == OTHER
        assert notified() == [Code.ALERT_PROCESSING_FAILED]
        assert (behind.text, behind.is_waiting) == (ENTRY, True)
        wait(poller, lambda: not api.updates)  # it is not asked for again

    def test_strangers_message_that_fails_sends_no_notification(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        def fail(*_: Any) -> None:
            raise ValueError("a fault")

        monkeypatch.setattr(updates, "_remember_chat", fail)
        api.say(ENTRY, sender=66, chat={"id": 66, "type": "private", "first_name": "Eve"})
        [alert] = read(poller, api)
        assert outcome(alert) == (AlertState.REFUSED, Code.TELEGRAM_CHAT_NOT_ALLOWED)
        assert not notified()

    @pytest.mark.parametrize("broken", ["message_of", "without_secrets"])
    def test_message_that_cannot_even_be_read_is_in_the_log(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi,
        monkeypatch: pytest.MonkeyPatch, broken: str,
    ) -> None:  # fmt: skip
        def fail(*_: Any) -> None:
            raise RecursionError

        monkeypatch.setattr(updates if broken == "message_of" else alerts, broken, fail)
        api.post(ENTRY)
        [alert] = read(poller, api)
        assert outcome(alert) == (AlertState.REFUSED, Code.ALERT_PROCESSING_FAILED)
        assert alert.text == ""

    def test_message_that_fails_again_when_set_aside_stops_none_behind_it(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        real = sender_error

        def fail_at_other(message: ChatMessage, *more: Any) -> Any:
            if message.text == OTHER:
                raise ValueError("a fault")
            return real(message, *more)

        monkeypatch.setattr(updates, "sender_error", fail_at_other)
        api.post(OTHER)
        api.post(ENTRY)
        failed, behind = read(poller, api)
        assert outcome(failed) == (AlertState.REFUSED, Code.ALERT_PROCESSING_FAILED)
        assert failed.text == ""
        assert (behind.text, behind.is_waiting) == (ENTRY, True)
        wait(poller, lambda: not api.updates)

    def test_strangers_use_up_no_notification_of_the_provider(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        for number in range(25):
            chat = {"id": 1000 + number, "type": "private", "first_name": "Eve"}
            api.say(ENTRY, sender=1000 + number, chat=chat)
        read(poller, api)
        api.edit({"message_id": 900, "chat": CHANNEL, "date": int(time.time())}, ENTRY)
        read(poller, api)
        assert notified() == [Code.ALERT_EDIT_UNKNOWN]

    def test_pause_and_removal_end_the_reading(
        self, feed: Feed, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        change_bot(feed, by=feed.owner, is_paused=True)
        poller.refresh()
        assert not poller._polls
        api.post("GBPUSD close half")
        change_bot(feed, by=feed.owner, is_paused=False)
        assert len(read(poller, api)) == 1
        assert remove_bot(feed, by=feed.owner)
        poller.refresh()
        assert not poller.step()

    def test_after_a_quiet_week_telegram_may_count_from_anywhere(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        poller.close()
        TelegramBot.objects.update(
            update_at=datetime.now(UTC) - timedelta(days=8), next_offset=50_000
        )
        api.post(ENTRY)
        wait(poller, lambda: IncomingAlert.objects.exists())
        assert TelegramBot.objects.get().next_offset == api.next_id

    def test_token_that_was_sealed_for_another_owner_does_not_open(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi, operator: Any
    ) -> None:
        poller.close()
        Feed.objects.update(owner=operator)
        wait(poller, lambda: TelegramBot.objects.get().error_code)
        assert TelegramBot.objects.get().error_code == Code.TELEGRAM_TOKEN_UNREADABLE


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


@pytest.fixture
def with_key(feed: Feed) -> User:
    """The provider, as a request with an API key knows them."""
    return user_with_key(feed, "robot")


def user_with_key(feed: Feed, name: str) -> User:
    _, secret = create_api_key(feed.owner, name)
    caller = user_for_key(secret)
    assert caller is not None
    return caller


def revoke(caller: User) -> None:
    assert caller.key_id is not None
    assert revoke_api_key(caller.key_id, by=caller)


class TestKeys:
    """What an API key set up ends with the key; what a person sets or confirms is theirs."""

    def test_bot_ends_with_its_key_until_a_person_sets_it_again(
        self, feed: Feed, with_key: User, poller: TelegramPoller, api: BotApi
    ) -> None:
        set_bot(feed, TOKEN, by=with_key)
        api.post("Hello")
        wait(poller, TelegramChat.objects.exists)
        set_chat(feed, CHANNEL_ID, is_allowed=True, by=with_key)
        api.post(ENTRY)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        revoke(with_key)
        poller.refresh()
        assert not poller._polls
        api.post(OTHER)
        set_bot(feed, TOKEN, by=feed.owner)  # the bot is theirs; its chat is not
        assert outcome(published(poller, api)) == (
            AlertState.REFUSED, Code.TELEGRAM_CHAT_NOT_ALLOWED,
        )  # fmt: skip
        set_chat(feed, CHANNEL_ID, is_allowed=True, by=feed.owner)
        api.post(OTHER)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")

    def test_answer_that_comes_after_the_revocation_stores_nothing(
        self, feed: Feed, with_key: User, poller: TelegramPoller, api: BotApi
    ) -> None:
        set_bot(feed, TOKEN, by=with_key)
        api.post("Hello")
        wait(poller, TelegramChat.objects.exists)
        set_chat(feed, CHANNEL_ID, is_allowed=True, by=with_key)
        IncomingAlert.objects.all().delete()
        wait(poller, lambda: poller._polls)
        api.post(ENTRY)
        poll, answer = poller._answers.get(timeout=SECONDS)
        revoke(with_key)
        poller._settle(poll, answer)
        assert not IncomingAlert.objects.exists()

    def test_bot_ends_when_its_key_does(
        self, feed: Feed, with_key: User, poller: TelegramPoller, api: BotApi
    ) -> None:
        set_bot(feed, TOKEN, by=with_key)
        wait(poller, lambda: poller._polls)
        ApiKey.objects.filter(name="robot").update(expires_at=datetime.now(UTC))
        poller.refresh()
        assert not poller._polls
        assert TelegramBot.objects.get().ended_with_key

    def test_chat_ends_with_the_key_that_allowed_it_and_the_others_count(
        self, feed: Feed, bot: TelegramBot, with_key: User, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.say("hello", sender=55)
        read(poller, api)
        set_chat(feed, GROUP_ID, is_allowed=True, by=with_key)
        set_chat(feed, CHANNEL_ID, is_allowed=True, by=with_key)  # it repeats what a person set
        api.say(ENTRY, sender=55)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        revoke(with_key)
        api.say(OTHER, sender=55)
        assert outcome(published(poller, api)) == (
            AlertState.REFUSED, Code.TELEGRAM_CHAT_NOT_ALLOWED,
        )  # fmt: skip
        api.post(OTHER)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")

    def test_senders_that_a_key_added_end_the_chat_with_it(
        self, feed: Feed, bot: TelegramBot, with_key: User, poller: TelegramPoller, api: BotApi
    ) -> None:
        api.say("hello", sender=55)
        read(poller, api)
        set_chat(feed, GROUP_ID, is_allowed=True, by=feed.owner)
        set_chat(feed, GROUP_ID, is_allowed=True, sender_ids=[55, 66], by=with_key)
        revoke(with_key)
        api.say(ENTRY, sender=66)
        assert outcome(published(poller, api))[0] == AlertState.REFUSED
        set_chat(feed, GROUP_ID, is_allowed=True, sender_ids=[55], by=feed.owner)
        api.say(ENTRY, sender=55)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")

    @pytest.mark.parametrize("by", ["person", "another key"])
    @pytest.mark.parametrize("is_revoked", [True, False])
    @pytest.mark.parametrize("is_refused_first", [True, False])
    def test_senders_that_a_key_set_become_anothers_by_name_only(
        self, feed: Feed, bot: TelegramBot, with_key: User, by: str, *, is_revoked: bool,
        is_refused_first: bool,
    ) -> None:  # fmt: skip
        """A repeated call without names must not adopt the sender whom a thief added."""
        TelegramChat.objects.create(
            bot=bot, chat_id=GROUP_ID, kind="group", is_allowed=True, sender_ids=[55]
        )
        set_chat(feed, GROUP_ID, is_allowed=True, sender_ids=[55, 666], by=with_key)
        set_chat(feed, GROUP_ID, is_allowed=True, by=with_key)  # its own call again
        if is_revoked:
            revoke(with_key)
        caller = feed.owner if by == "person" else user_with_key(feed, "innocent")
        if is_refused_first:
            set_chat(feed, GROUP_ID, is_allowed=False, by=caller)
        with pytest.raises(InvalidInputError) as refused:
            set_chat(feed, GROUP_ID, is_allowed=True, by=caller)
        assert (refused.value.code, refused.value.field) == (Code.FIELD_REQUIRED, "sender_ids")
        chat = TelegramChat.objects.get(chat_id=GROUP_ID)
        assert chat.made_with_id == with_key.key_id
        chat = set_chat(feed, GROUP_ID, is_allowed=True, sender_ids=[55], by=caller)
        assert (chat.sender_ids, chat.made_with_id) == ([55], caller.key_id)

    def test_chat_that_a_key_only_refused_stays_a_persons(
        self, feed: Feed, bot: TelegramBot, with_key: User
    ) -> None:
        TelegramChat.objects.create(
            bot=bot, chat_id=GROUP_ID, kind="group", is_allowed=True, sender_ids=[55]
        )
        set_chat(feed, GROUP_ID, is_allowed=False, by=with_key)
        revoke(with_key)
        chat = set_chat(feed, GROUP_ID, is_allowed=True, by=feed.owner)
        assert (chat.sender_ids, chat.made_with_id) == ([55], None)

    def test_forwarded_messages_end_with_the_key_that_allowed_them(
        self, feed: Feed, bot: TelegramBot, with_key: User, poller: TelegramPoller, api: BotApi
    ) -> None:
        origin = {
            "type": "channel", "date": int(time.time()), "message_id": 3,
            "chat": {"id": -100999, "type": "channel", "title": "Rival"},
        }  # fmt: skip
        change_bot(feed, by=with_key, forward_from=[-100999])
        api.post(ENTRY, forward_origin=origin)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
        revoke(with_key)
        api.post(OTHER, forward_origin=origin)
        assert outcome(published(poller, api)) == (AlertState.REFUSED, Code.TELEGRAM_FORWARDED)
        change_bot(feed, by=feed.owner, forward_from=[-100999])
        api.post(OTHER, forward_origin=origin)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")

    def test_new_token_of_a_persons_bot_leaves_it_theirs(
        self, feed: Feed, bot: TelegramBot, with_key: User, poller: TelegramPoller, api: BotApi
    ) -> None:
        set_bot(feed, TOKEN, by=with_key)
        revoke(with_key)
        api.post(ENTRY)
        assert outcome(published(poller, api)) == (AlertState.PUBLISHED, "")
