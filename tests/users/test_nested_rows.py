"""A row below another one is found only there: not by the id of another's, or of another parent."""

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from common.permissions import Scope
from events.models import Channel, WebhookMessage
from signals.feeds import create_feed_token
from signals.models import Feed, TelegramBot, TelegramChat
from tests.connections import make
from users.models import User
from users.services import create_api_key

pytestmark = pytest.mark.django_db
Nested = tuple[Callable[[Any], str], Callable[[User], tuple[Any, Any]]]
"""The address below a parent, with {} for the nested row, and a new parent with its row."""


def _token(owner: User) -> tuple[Feed, Any]:
    feed = make.feed(owner)
    return feed, create_feed_token(feed)[0].pk


def _chat(owner: User) -> tuple[Feed, int]:
    return (chat := _stored_chat(owner)).bot.feed, chat.chat_id


def _chat_of_pages(owner: User) -> tuple[Feed, int]:
    return (chat := _stored_chat(owner)).bot.feed, chat.pk


def _stored_chat(owner: User) -> TelegramChat:
    number = TelegramBot.objects.count() + 1
    bot = TelegramBot.objects.create(feed=make.feed(owner), bot_id=number, token_sealed=b"")
    return TelegramChat.objects.create(bot=bot, chat_id=-number, kind="channel", title="c")


def _message(owner: User) -> tuple[Channel, Any]:
    channel = Channel.objects.create(user=owner, name="hook", url_display="https://…")
    message = WebhookMessage.objects.create(channel=channel, uid=f"m{channel.pk}", events=1)
    return channel, message.pk


def _of_feed(path: str) -> Callable[[Any], str]:
    return lambda feed: path.replace("<feed>", feed.slug)


API: dict[str, Nested] = {
    "rotate an address": (_of_feed("feeds/<feed>/tokens/{}/rotate/"), _token),
    "revoke an address": (_of_feed("feeds/<feed>/tokens/{}/revoke/"), _token),
    "change a chat": (_of_feed("feeds/<feed>/telegram-bot/chats/{}/"), _chat),
    "send a message again": (lambda of: f"channels/{of.pk}/messages/{{}}/resend/", _message),
}
BODIES = {"rotate an address": {"old_ends_at": None}, "change a chat": {"is_allowed": True}}
PAGES: dict[str, Nested] = {
    "replace an address": (_of_feed("/feeds/<feed>/alerts/addresses/{}/replace/"), _token),
    "revoke an address": (_of_feed("/feeds/<feed>/alerts/addresses/{}/revoke/"), _token),
    "accept a chat": (_of_feed("/feeds/<feed>/alerts/telegram/chats/{}/"), _chat_of_pages),
    "refuse a chat": (_of_feed("/feeds/<feed>/alerts/telegram/chats/{}/refuse/"), _chat_of_pages),
}


def statuses(nested: Nested, send: Callable[[str], HttpResponse], alice: User) -> list[int]:
    """Return the statuses for a row of the parent, of another parent, and of another tenant."""
    address, made = nested
    parent, own = made(alice)
    _, elsewhere = made(alice)
    _, others = made(make.user())
    return [send(address(parent).format(pk)).status_code for pk in (others, elsewhere, own)]


@pytest.mark.parametrize("act", API)
def test_operation_finds_a_nested_row_only_below_its_parent(act: str) -> None:
    alice = make.user("alice")
    _, secret = create_api_key(alice, "k", scopes=list(Scope))
    client = Client(headers={"Authorization": f"Bearer {secret}"})
    send = client.patch if act == "change a chat" else client.post

    def call(path: str) -> HttpResponse:
        answer: Any = send(f"/api/v1/{path}", BODIES.get(act, {}), "application/json")
        return answer  # type: ignore[no-any-return]

    found = statuses(API[act], call, alice)
    assert found[:2] == [404, 404]
    assert found[2] < 300


@pytest.mark.parametrize("act", PAGES)
def test_page_finds_a_nested_row_only_below_its_parent(act: str) -> None:
    alice, client = make.user("alice"), Client()
    client.force_login(alice)

    def look(path: str) -> HttpResponse:
        answer: Any = client.get(path)
        return answer  # type: ignore[no-any-return]

    assert statuses(PAGES[act], look, alice) == [404, 404, 200]
