"""What an API key set up of a feed's Telegram bot, when the key has ended."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from common.permissions import Role
from signals.models import Feed, TelegramBot, TelegramChat
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
    return staff(*Role, name="rita")


def address(name: str, feed: Feed, *more: int) -> str:
    return reverse(f"portal:{name}", args=[feed.slug, *more])


def test_senders_that_a_revoked_key_named_are_to_be_named_again(
    world: World, signed_in: SignedIn, feed: Feed, as_web: None
) -> None:
    """A thief who had the key may be one of them: nothing makes them the owner's unseen."""
    with on_behalf_of(world.alice):
        key, secret = create_api_key(world.alice, "robot", scopes=["read", "publish"])
    robot = Client(headers={"Authorization": f"Bearer {secret}"})
    chat_path = f"/api/v1/feeds/{feed.slug}/telegram-bot/chats/-77/"
    client = signed_in(world.alice)
    client.post(address("telegram_token", feed), {"token": TOKEN})
    with for_all_tenants():
        bot = TelegramBot.objects.get(feed=feed)
        chat = TelegramChat.objects.create(
            bot=bot, chat_id=-77, kind="group", title="Mine", is_allowed=True, sender_ids=[11]
        )
    body = {"is_allowed": True, "sender_ids": [11, 666]}
    assert robot.patch(chat_path, body, "application/json").status_code == 200
    with on_behalf_of(world.alice):
        assert revoke_api_key(key.pk, by=world.alice)
    refused = client.patch(chat_path, {"is_allowed": True}, "application/json")
    assert refused.status_code == 400
    assert "sender_ids" in refused.content.decode()
    page = client.get(address("telegram_chat", feed, chat.pk))
    assert "An API key that has ended had set the senders 11, 666" in html_of(page)
    assert 'value="11' not in html_of(page)
    accepted = client.patch(chat_path, body | {"sender_ids": [11]}, "application/json")
    assert accepted.status_code == 200
    with for_all_tenants():
        chat.refresh_from_db()
    assert (chat.sender_ids, chat.made_with_id) == ([11], None)


def test_owner_sees_that_a_bot_of_an_operators_key_has_ended(
    world: World, signed_in: SignedIn, rita: User, feed: Feed, as_web: None
) -> None:
    """The owner does not see that key."""
    with on_behalf_of(rita):
        key, secret = create_api_key(rita, "staff robot", scopes=["read", "publish"])
    robot = Client(headers={"Authorization": f"Bearer {secret}"})
    bot_path = f"/api/v1/feeds/{feed.slug}/telegram-bot/"
    assert robot.post(bot_path, {"token": TOKEN}, "application/json").status_code == 201
    assert robot.patch(bot_path, {"forward_from": [-99]}, "application/json").status_code == 200
    with for_all_tenants():
        TelegramBot.objects.update(checked_at=timezone.now(), contact_at=timezone.now())
    with on_behalf_of(rita):
        assert revoke_api_key(key.pk, by=rita)
    client = signed_in(world.alice)
    assert "which has ended: nothing is read" in html_of(client.get(address("telegram", feed)))
    assert client.get(address("telegram_forwarding", feed)).status_code == 200
