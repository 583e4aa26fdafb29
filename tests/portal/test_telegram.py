"""The page of a feed's Telegram bot: connected by clicks, its chats accepted, its errors shown."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from alerts.models import TelegramBot, TelegramChat
from common.permissions import Role
from common.reason_codes import Code
from signals.models import Feed
from tests.fakes.telegram.bot_api import TOKEN
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.factories import feed as make_feed
from tests.roles import staff
from users.models import User
from users.services import create_api_key, revoke_api_key
from users.tenancy import for_all_tenants, on_behalf_of


@pytest.fixture
def feed(world: World) -> Feed:
    return make_feed(world.alice, "alice-telegram", "Alice telegram")


@pytest.fixture
def rita(world: World) -> User:
    """Return a member of staff with all roles. Before `as_web`."""
    return staff(*Role, name="rita")


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
    page = html_of(client.get(address("telegram", feed)))
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
    page = html_of(client.get(address("telegram", feed)))
    assert "which has ended: nothing is read" in page
    assert "accepted with the API key robot" in page
    assert "Accept…" in page
    shown = client.get(bot_path).json()
    assert (shown["ended_with_key"], shown["chats"][0]["ended_with_key"]) == (True, True)
    form = client.get(address("telegram_forwarding", feed)).content.decode()
    assert "set these chats: -99." in form
    assert ">\n</textarea>" in form
    client.post(address("telegram_token", feed), {"token": TOKEN})
    client.post(address("telegram_chat", feed, chat.pk))
    shown = client.get(bot_path).json()
    assert (shown["ended_with_key"], shown["chats"][0]["ended_with_key"]) == (False, False)


def test_owner_sees_what_ended_with_the_key_of_an_operator(
    world: World, signed_in: SignedIn, rita: User, feed: Feed, as_web: None
) -> None:
    """The owner cannot read that key's row, and does not learn its name."""
    with on_behalf_of(rita):
        key, secret = create_api_key(rita, "staff robot", scopes=["read", "publish"])
    robot = Client(headers={"Authorization": f"Bearer {secret}"})
    bot_path = f"/api/v1/feeds/{feed.slug}/telegram-bot/"
    assert robot.post(bot_path, {"token": TOKEN}, "application/json").status_code == 201
    assert robot.patch(bot_path, {"forward_from": [-99]}, "application/json").status_code == 200
    tokens = f"/api/v1/feeds/{feed.slug}/tokens/"
    assert robot.post(tokens, {"name": "alerts"}, "application/json").status_code == 201
    with for_all_tenants():
        TelegramBot.objects.update(checked_at=timezone.now(), contact_at=timezone.now())
        bot = TelegramBot.objects.get(feed=feed)
        TelegramChat.objects.create(bot=bot, chat_id=-77, kind="channel", title="Mine")
    chat = f"{bot_path}chats/-77/"
    assert robot.patch(chat, {"is_allowed": True}, "application/json").status_code == 200
    client = signed_in(world.alice)
    open_bot = client.get(bot_path).json()
    assert not open_bot["ended_with_key"]
    assert not open_bot["forward_from_ended_with_key"]
    assert "Works" in html_of(client.get(address("alerts", feed)))
    with on_behalf_of(rita):
        assert revoke_api_key(key.pk, by=rita)
    page = html_of(client.get(address("telegram", feed)))
    assert "set up with the API key of an operator, which has ended: nothing is read" in page
    assert "accepted with the API key of an operator, which has ended" in page
    assert "set with the API key of an operator, which has ended: -99" in page
    assert "staff robot" not in page, "it is theirs"
    forwarding = html_of(client.get(address("telegram_forwarding", feed)))
    assert "The API key of an operator set these chats: -99." in forwarding
    shown = client.get(bot_path).json()
    assert (shown["ended_with_key"], shown["chats"][0]["ended_with_key"]) == (True, True)
    assert shown["forward_from_ended_with_key"]
    addresses = html_of(client.get(address("alerts", feed)))
    assert "Revoked" in addresses
    assert "Works" not in addresses


def test_sender_whom_a_revoked_key_added_is_accepted_only_by_name(
    world: World, signed_in: SignedIn, feed: Feed, as_web: None
) -> None:
    with on_behalf_of(world.alice):
        key, secret = create_api_key(world.alice, "robot", scopes=["read", "publish"])
    robot = Client(headers={"Authorization": f"Bearer {secret}"})
    bot_path = f"/api/v1/feeds/{feed.slug}/telegram-bot/"
    client = signed_in(world.alice)
    client.post(address("telegram_token", feed), {"token": TOKEN})
    client.post(address("telegram_forwarding", feed), {"chats": "-1"})
    with for_all_tenants():
        bot = TelegramBot.objects.get(feed=feed)
        chat = TelegramChat.objects.create(
            bot=bot, chat_id=-77, kind="group", title="Mine", is_allowed=True, sender_ids=[11]
        )
    page, forwarding = address("telegram_chat", feed, chat.pk), address("telegram_forwarding", feed)
    assert ">\n11</textarea>" in client.get(page).content.decode()
    assert ">\n-1</textarea>" in client.get(forwarding).content.decode()
    body = {"is_allowed": True, "sender_ids": [11, 666]}
    assert robot.patch(f"{bot_path}chats/-77/", body, "application/json").status_code == 200
    origins = {"forward_from": [-1, -99]}
    assert robot.patch(bot_path, origins, "application/json").status_code == 200
    for is_revoked in (False, True):
        if is_revoked:
            with on_behalf_of(world.alice):
                assert revoke_api_key(key.pk, by=world.alice)
        form = client.get(page).content.decode()
        assert f"The API key {key} set these senders: 11, 666." in form
        assert ">\n</textarea>" in form
        form = client.get(forwarding).content.decode()
        assert f"The API key {key} set these chats: -99, -1." in form
        assert ">\n</textarea>" in form
        refused = client.patch(f"{bot_path}chats/-77/", {"is_allowed": True}, "application/json")
        assert (refused.status_code, refused.json()["code"]) == (400, "FIELD_REQUIRED")
    assert "Check its senders, then accept it again." in html_of(
        client.get(address("telegram", feed))
    )
    assert client.post(page, {"senders": ""}).status_code == 422
    client.post(page, {"senders": "11"})
    assert ">\n11</textarea>" in client.get(page).content.decode()
    with for_all_tenants():
        chat.refresh_from_db()
    assert (chat.is_allowed, chat.sender_ids, chat.made_with_id) == (True, [11], None)
