"""An edit in Telegram is about the trade of its message."""

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from alerts.inbox.publishing import publish_waiting
from alerts.models import AlertState, IncomingAlert, TelegramBot
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
    read,
    surroundings,
)
from tests.fakes.telegram.bot_api import CHANNEL, BotApi
from tests.sampling import often

__all__ = ["api", "bot", "make", "poller", "surroundings"]


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
        publish_waiting(seconds=60)
        assert outcome(second) == (AlertState.PUBLISHED, "")
        assert Signal.objects.get().direction == "SELL"

    def test_edit_withdraws_no_message_whose_number_begins_like_its_own(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        post = api.post(ENTRY)
        api.next_message = post["message_id"] * 10
        api.post(OTHER)
        api.edit(post, "SELL EURUSD @ 1.3850 SL 1.3900")
        withdrawn, other, edited = read(poller, api)
        assert outcome(withdrawn) == (AlertState.REFUSED, Code.ALERT_EDITED)
        assert [one.state for one in (other, edited)] == [AlertState.WAITING] * 2

    def test_edit_into_something_else_withdraws_what_waits(
        self, bot: TelegramBot, poller: TelegramPoller, api: BotApi
    ) -> None:
        post = api.post(ENTRY)
        api.edit(post, "sorry, that was wrong")
        read(poller, api)
        assert publish_waiting(seconds=60) == 0
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
