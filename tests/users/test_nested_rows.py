"""A row below another one is found only there: not by the id of another's, or of another parent."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from alerts.models import TelegramBot, TelegramChat
from common.permissions import Scope
from events.models import Channel, WebhookMessage
from signals.feeds.services import create_feed_token
from signals.models import Action, Feed
from signals.publishing.drafts import store_draft
from tests.api.cases import CASES
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


def _draft(owner: User) -> tuple[Feed, Any]:
    feed = make.feed(owner)
    return feed, store_draft(feed.pk, action=Action.OPEN, body={}, by=owner).pk


def _of_feed(path: str) -> Callable[[Any], str]:
    return lambda feed: path.replace("<feed>", feed.slug)


_DRAFT, _TOKEN = "feeds/<feed>/drafts/{}/", "feeds/<feed>/tokens/{}/"
API: dict[str, Nested] = {
    "GET draft": (_of_feed(_DRAFT), _draft),
    "PATCH draft": (_of_feed(_DRAFT), _draft),
    "POST publish": (_of_feed(f"{_DRAFT}publish/"), _draft),
    "POST discard": (_of_feed(f"{_DRAFT}discard/"), _draft),
    "POST rotate": (_of_feed(f"{_TOKEN}rotate/"), _token),
    "POST revoke": (_of_feed(f"{_TOKEN}revoke/"), _token),
    "PATCH chat": (_of_feed("feeds/<feed>/telegram-bot/chats/{}/"), _chat),
    "POST resend": (lambda of: f"channels/{of.pk}/messages/{{}}/resend/", _message),
}
BODIES: dict[str, dict[str, Any]] = {
    "PATCH draft": {"body": {"note": "n"}, "version": 1},
    "POST rotate": {"old_ends_at": None},
    "PATCH chat": {"is_allowed": True},
}
FAULTY = {"POST publish": 400}
"""What is answered about one's own row; by default 200 to 202. The draft says too little."""
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
    client, body = Client(headers={"Authorization": f"Bearer {secret}"}), BODIES.get(act, {})
    method = act.split()[0]

    def call(path: str) -> HttpResponse:
        given: dict[str, Any] = {"content_type": "application/json"}
        if method != "GET":
            given["data"] = json.dumps(body)
        answer: Any = client.generic(method, f"/api/v1/{path}", **given)
        return answer  # type: ignore[no-any-return]

    others, elsewhere, own = statuses(API[act], call, alice)
    assert (others, elsewhere) == (404, 404)
    assert own in {200, 201, 202, FAULTY.get(act, 200)}


@pytest.mark.parametrize("act", PAGES)
def test_page_finds_a_nested_row_only_below_its_parent(act: str) -> None:
    alice, client = make.user("alice"), Client()
    client.force_login(alice)

    def look(path: str) -> HttpResponse:
        answer: Any = client.get(path)
        return answer  # type: ignore[no-any-return]

    assert statuses(PAGES[act], look, alice) == [404, 404, 200]


def test_every_operation_on_a_nested_row_is_asked() -> None:
    nested = {one for one in CASES if " /api/" in one and one.count("{") > 1}
    assert len(nested) == len(API), sorted(nested)
