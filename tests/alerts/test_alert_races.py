"""Two workers take one alert, one bot or one message at the same time."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import telegram

from alerts.inbox.publishing import publish_next
from alerts.inbox.storing import accept_alert
from alerts.models import AlertSource, IncomingAlert, TelegramBot, TelegramChat
from alerts.telegram.leases import take_bots
from alerts.telegram.services import set_bot
from alerts.telegram.updates import Lease, take_update
from common.sealing import new_private_key
from signals.feeds.services import create_feed
from signals.models import Feed, Signal
from tests.changes.races import Race, require_one_winner
from tests.connections import make

pytestmark = pytest.mark.django_db(transaction=True)
BODY = {"symbol": "EUR/USD", "direction": "BUY"}
CONFLICT = "STATE_CONFLICT"
CHAT = -1001


@pytest.fixture(autouse=True)
def surroundings(settings: Any, limits: Callable[..., None]) -> None:
    """Tokens can be sealed, and a session waits for as long as the test."""
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = None
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = [new_private_key()]
    limits(lock_timeout=60_000)


def _feed() -> Feed:
    return create_feed(owner=make.user("paula"), name="Majors", is_approved=True)


def two_workers_at_one_alert() -> Race:
    receipt = accept_alert(_feed(), b"BUY EURUSD", source=AlertSource.TELEGRAM, source_key="1:1")
    assert receipt.alert is not None
    assert receipt.alert.is_waiting

    def left() -> tuple[int, str]:
        return Signal.objects.count(), IncomingAlert.objects.get().state

    return Race(publish_next, publish_next, ("True", "False"), left, (1, "PUBLISHED"))


def _bot() -> TelegramBot:
    feed = _feed()
    bot = set_bot(feed, "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1", by=feed.owner)
    TelegramChat.objects.create(bot=bot, chat_id=CHAT, kind="channel", title="c", is_allowed=True)
    return bot


def two_pollers_take_one_bot() -> Race:
    bot = _bot()

    def take(holder: str) -> int:
        return len(take_bots(holder, 60.0))

    def left() -> tuple[str, int]:
        now = TelegramBot.objects.get()
        return now.holder, now.fence - bot.fence

    return Race(lambda: take("one"), lambda: take("other"), ("1", "0"), left, ("one", 1))


def _post(update_id: int) -> telegram.Update:
    chat = {"id": CHAT, "type": "channel", "title": "c"}
    post = {"message_id": 7, "date": int(datetime.now(UTC).timestamp()), "chat": chat,
            "text": "BUY EURUSD"}  # fmt: skip
    update = telegram.Update.de_json({"update_id": update_id, "channel_post": post}, None)
    assert update is not None
    return update


def one_update_that_comes_twice() -> Race:
    bot = _bot()
    (held,) = take_bots("one", 60.0)
    lease = Lease(bot.pk, "one", held.fence)

    def take() -> int:
        return take_update(lease, _post(5))

    def left() -> tuple[int, int]:
        return IncomingAlert.objects.count(), TelegramBot.objects.get().next_offset

    return Race(take, take, ("0", "0"), left, (1, 6))


RACES: dict[str, Callable[[], Race]] = {
    made.__name__: made
    for made in (
        two_workers_at_one_alert,
        two_pollers_take_one_bot,
        one_update_that_comes_twice,
    )
}


@pytest.mark.parametrize("name", RACES)
def test_alert_is_taken_by_one_worker(name: str) -> None:
    require_one_winner(RACES[name]())
