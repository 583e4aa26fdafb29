"""The page of a feed's Telegram bot: connected by clicks, its chats accepted, its errors shown."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from common.reason_codes import Code
from signals.models import Feed, TelegramBot, TelegramChat
from tests.fakes.telegram.bot_api import TOKEN
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.factories import feed as make_feed
from users.services import create_api_key, revoke_api_key
from users.tenancy import for_all_tenants, on_behalf_of


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


def test_what_a_revoked_key_set_up_is_shown_as_ended_and_kept_by_a_person(
    world: World, signed_in: SignedIn, feed: Feed, as_web: None
) -> None:
    with on_behalf_of(world.alice):
        key, secret = create_api_key(world.alice, "robot", scopes=["read", "publish"])
    robot = Client(headers={"Authorization": f"Bearer {secret}"})
    bot_path = f"/api/v1/feeds/{feed.slug}/telegram-bot/"
    assert robot.post(bot_path, {"token": TOKEN}, "application/json").status_code == 201
    with for_all_tenants():
        bot = TelegramBot.objects.get(feed=feed)
        TelegramBot.objects.update(checked_at=timezone.now(), contact_at=timezone.now())
        chat = TelegramChat.objects.create(bot=bot, chat_id=-77, kind="channel", title="Mine")
    allowed = robot.patch(f"{bot_path}chats/-77/", {"is_allowed": True}, "application/json")
    assert (allowed.status_code, allowed.json()["ended_with_key"]) == (200, False)
    assert robot.patch(bot_path, {"forward_from": [-99]}, "application/json").status_code == 200
    with on_behalf_of(world.alice):
        assert revoke_api_key(key.pk, by=world.alice)
    client = signed_in(world.alice)
    page = client.get(address("telegram", feed)).content.decode()
    assert "which has ended: nothing is read" in page
    assert "accepted with the API key robot" in page
    assert "Accept…" in page
    shown = client.get(bot_path).json()
    assert (shown["ended_with_key"], shown["chats"][0]["ended_with_key"]) == (True, True)
    form = client.get(address("telegram_forwarding", feed)).content.decode()
    assert "-99" not in form
    client.post(address("telegram_token", feed), {"token": TOKEN})
    client.post(address("telegram_chat", feed, chat.pk))
    shown = client.get(bot_path).json()
    assert (shown["ended_with_key"], shown["chats"][0]["ended_with_key"]) == (False, False)
