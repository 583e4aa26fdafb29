"""A reply in Telegram is about the trade of its message."""

from typing import Any

import pytest

from alerts.models import AlertState, TelegramBot
from alerts.telegram.poller import TelegramPoller
from common.reason_codes import Code
from signals.models import Signal
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
    surroundings,
)
from tests.fakes.telegram.bot_api import BotApi

__all__ = ["api", "bot", "make", "poller", "surroundings"]


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
