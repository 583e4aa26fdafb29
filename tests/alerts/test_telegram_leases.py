"""A process whose lease of a bot is over changes nothing; updates count from where the bot is."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import telegram

from alerts.inbox import publishing as alert_publishing
from alerts.inbox.storing import accept_alert
from alerts.models import AlertSource, IncomingAlert, TelegramBot, TelegramChat
from alerts.telegram.leases import release_bots, take_bots
from alerts.telegram.services import set_bot
from alerts.telegram.updates import Lease, LeaseLostError, take_update
from common.reason_codes import Code
from common.sealing import new_private_key
from signals.feeds.services import create_feed
from tests.connections import make
from users.services import create_api_key, revoke_api_key

pytestmark = pytest.mark.django_db
CHAT, TOKEN = -1001, "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"
PAST = datetime(2026, 3, 11, tzinfo=UTC)


@pytest.fixture
def bot(settings: Any) -> TelegramBot:
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = None
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = [new_private_key()]
    feed = create_feed(owner=make.user("paula"), name="Majors", is_approved=True)
    made = set_bot(feed, TOKEN, by=feed.owner)
    TelegramChat.objects.create(bot=made, chat_id=CHAT, kind="channel", title="c", is_allowed=True)
    return made


def _lease(bot: TelegramBot, holder: str = "one") -> Lease:
    (held,) = take_bots(holder, 60.0)
    return Lease(bot.pk, holder, held.fence)


def _post(update_id: int, message_id: int = 7) -> telegram.Update:
    chat = {"id": CHAT, "type": "channel", "title": "c"}
    post = {"message_id": message_id, "date": int(datetime.now(UTC).timestamp()), "chat": chat,
            "text": "BUY EURUSD"}  # fmt: skip
    update = telegram.Update.de_json({"update_id": update_id, "channel_post": post}, None)
    assert update is not None
    return update


def _another_takes_it(bot: TelegramBot) -> None:
    TelegramBot.objects.update(lease_until=PAST)
    _lease(bot, "other")


def _its_token_is_replaced(bot: TelegramBot) -> None:
    set_bot(bot.feed, TOKEN, by=bot.feed.owner)


def _the_process_takes_it_again(bot: TelegramBot) -> None:
    set_bot(bot.feed, TOKEN, by=bot.feed.owner)
    _lease(bot)


def _it_is_paused(bot: TelegramBot) -> None:
    TelegramBot.objects.update(is_paused=True)


def _its_key_is_revoked(bot: TelegramBot) -> None:
    key, _ = create_api_key(bot.feed.owner, "k")
    TelegramBot.objects.update(made_with=key.pk)
    revoke_api_key(key.pk)


@pytest.mark.parametrize(
    "happens",
    [
        _another_takes_it,
        _its_token_is_replaced,
        _the_process_takes_it_again,
        _it_is_paused,
        _its_key_is_revoked,
    ],
)
def test_late_answer_stores_nothing(
    bot: TelegramBot, happens: Callable[[TelegramBot], None]
) -> None:
    lease = _lease(bot)
    happens(bot)
    before = TelegramBot.objects.values().get()
    with pytest.raises(LeaseLostError):
        take_update(lease, _post(5))
    assert (TelegramBot.objects.values().get(), IncomingAlert.objects.count()) == (before, 0)


@pytest.mark.parametrize(("holder", "left"), [("one", ""), ("other", "one")])
def test_lease_is_released_by_its_holder(bot: TelegramBot, holder: str, left: str) -> None:
    _lease(bot)
    release_bots(holder, [bot.pk])
    assert TelegramBot.objects.get().holder == left


@pytest.mark.parametrize(
    ("counted", "update_id", "alerts", "next_offset"),
    [
        (timedelta(hours=1), 4, 0, 5),  # sent again
        (timedelta(hours=1), 5, 1, 6),
        (timedelta(hours=1), 9, 1, 10),
        (timedelta(days=8), 4, 1, 5),  # Telegram has begun to count again
    ],
)
def test_update_counts_from_where_the_bot_is(
    bot: TelegramBot, counted: timedelta, update_id: int, alerts: int, next_offset: int
) -> None:
    lease = _lease(bot)
    TelegramBot.objects.update(next_offset=5, update_at=datetime.now(UTC) - counted)
    take_update(lease, _post(update_id))
    stored = TelegramBot.objects.get().next_offset
    assert (IncomingAlert.objects.count(), stored) == (alerts, next_offset)


def test_message_counts_once_whatever_its_updates_number(bot: TelegramBot) -> None:
    lease = _lease(bot)
    for update in (_post(5), _post(6), _post(7, message_id=8)):
        take_update(lease, update)
    assert (IncomingAlert.objects.count(), TelegramBot.objects.get().next_offset) == (2, 8)


@pytest.mark.parametrize(
    ("settled", "attempts"),
    [
        ({}, 1),
        ({"state": "PUBLISHED", "settled_at": PAST}, 0),
        ({"state": "REFUSED", "settled_at": PAST, "refusal": "CONFLICT"}, 0),
    ],
)
def test_alert_that_was_settled_meanwhile_is_not_set_back(
    bot: TelegramBot, settled: dict[str, Any], attempts: int
) -> None:
    receipt = accept_alert(bot.feed, b"BUY EURUSD", source=AlertSource.TELEGRAM, source_key="1:1")
    assert receipt.alert is not None
    IncomingAlert.objects.update(**settled)
    alert_publishing._set_back(receipt.alert.pk, Code.UNEXPECTED, OSError("no answer"))
    stored = IncomingAlert.objects.get()
    assert (stored.state, stored.attempts) == (settled.get("state", "WAITING"), attempts)
