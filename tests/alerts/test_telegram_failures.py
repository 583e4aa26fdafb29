"""Whatever fails while a Telegram bot is read, each message is taken once."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import DataError, OperationalError

from alerts.inbox import storing as alerts
from alerts.models import AlertState, IncomingAlert, TelegramBot
from alerts.telegram import updates
from alerts.telegram.messages import ChatMessage, sender_error
from alerts.telegram.poller import NOTIFIED_AFTER, TelegramPoller
from alerts.telegram.services import change_bot, remove_bot, set_bot
from common import failpoints
from common.failpoints import AbandonedError, Failpoint
from common.reason_codes import Code
from events.models import Event, EventKind
from signals import open_signals
from signals.models import Feed, Signal
from tests.alerts.telegram_bot import (
    ENTRY,
    OTHER,
    SECONDS,
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
from tests.fakes.telegram.bot_api import CHANNEL, TOKEN, BotApi, Refused

__all__ = ["api", "bot", "make", "poller", "surroundings"]


def failed(times: int) -> bool:
    return TelegramBot.objects.get().failures == times


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

    def test_changed_bot_is_asked_again_at_once(
        self, bot: TelegramBot, poller: TelegramPoller
    ) -> None:
        """The answer to the call before the change would be lost, half a minute later."""
        wait(poller, lambda: poller._polls)
        change_bot(bot.feed, by=None, forward_from=[5])
        poller.refresh()
        assert poller._polls[bot.pk].lease.fence == TelegramBot.objects.get().fence

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
