"""A bot whose channel is allowed, its poller, and what both have stored.

The real client library talks to a double of the Bot API (tests/fakes/telegram).
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.cache import cache

from alerts.carry_out import trades as alert_trades
from alerts.inbox.publishing import publish_waiting
from alerts.models import IncomingAlert, TelegramBot, TelegramChat
from alerts.telegram.poller import TelegramPoller
from alerts.telegram.services import set_bot, set_chat
from common import failpoints
from common.sealing import new_private_key
from events.models import Event, EventKind
from signals import open_signals
from signals.feeds.rate import forget_failures
from signals.models import Feed
from tests.fakes.telegram.bot_api import CHANNEL_ID, TOKEN, BotApi, bot_api
from tests.until import until

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
    until(is_done, meanwhile=poller.step)


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


def notified() -> list[str]:
    found = Event.objects.filter(kind=EventKind.ALERT_REFUSED).order_by("pk")
    return [event.payload["code"] for event in found]
