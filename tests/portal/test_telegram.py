"""The page of a feed's Telegram bot: connected by clicks, its chats accepted, its errors shown."""

import pytest
from django.urls import reverse

from common.reason_codes import Code
from signals.models import Feed, TelegramBot, TelegramChat
from tests.fakes.telegram.bot_api import TOKEN
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.factories import feed as make_feed
from users.tenancy import for_all_tenants


@pytest.fixture
def feed(world: World) -> Feed:
    return make_feed(world.alice, "alice-telegram", "Alice telegram")


def address(name: str, feed: Feed, *more: int) -> str:
    return reverse(f"portal:{name}", args=[feed.slug, *more])


def test_bot_is_connected_and_its_token_never_shown(
    world: World, signed_in: SignedIn, feed: Feed, as_web: None
) -> None:
    client = signed_in(world.alice)
    assert "BotFather" in client.get(address("telegram", feed)).content.decode()
    wrong = client.post(address("telegram_token", feed), {"token": "no token"})
    assert wrong.status_code == 422
    assert "no bot token" in wrong.content.decode()
    made = client.post(address("telegram_token", feed), {"token": TOKEN}, follow=True)
    assert "Being tested" in made.content.decode()
    assert TOKEN not in made.content.decode()


def test_found_chat_is_accepted_and_refused_again(
    world: World, signed_in: SignedIn, feed: Feed, as_web: None
) -> None:
    client = signed_in(world.alice)
    client.post(address("telegram_token", feed), {"token": TOKEN})
    assert (
        "Waiting for a message in your channel"
        in client.get(address("telegram", feed)).content.decode()
    )
    with for_all_tenants():
        bot = TelegramBot.objects.get(feed=feed)
        chat = TelegramChat.objects.create(
            bot=bot, chat_id=-77, kind="supergroup", title="<b>My group", found_sender_id=55
        )
    page = client.get(address("telegram", feed)).content.decode()
    assert "&lt;b&gt;My group" in page
    asked = client.get(address("telegram_chat", feed, chat.pk)).content.decode()
    assert "55" in asked
    assert client.post(
        address("telegram_chat", feed, chat.pk), {"senders": "Anna"}
    ).status_code == 422  # fmt: skip
    client.post(address("telegram_chat", feed, chat.pk), {"senders": "55\n66"})
    with for_all_tenants():
        chat.refresh_from_db()
    assert (chat.is_allowed, chat.sender_ids) == (True, [55, 66])
    client.post(address("telegram_chat_end", feed, chat.pk))
    with for_all_tenants():
        chat.refresh_from_db()
    assert not chat.is_allowed


def test_pause_error_and_removal(
    world: World, signed_in: SignedIn, feed: Feed, as_web: None
) -> None:
    client = signed_in(world.alice)
    client.post(address("telegram_token", feed), {"token": TOKEN})
    client.post(address("telegram_forwarding", feed), {"chats": "-100999"})
    paused = client.post(address("telegram_pause", feed), follow=True).content.decode()
    assert "Paused" in paused
    assert "-100999" in paused
    client.post(address("telegram_resume", feed))
    with for_all_tenants():
        TelegramBot.objects.update(error_code=Code.TELEGRAM_CONFLICT, error_detail="webhook")
    for name in ("telegram", "alerts"):
        assert "Another program reads" in client.get(address(name, feed)).content.decode()
    client.post(address("telegram_remove", feed))
    with for_all_tenants():
        assert not TelegramBot.objects.filter(feed=feed).exists()
