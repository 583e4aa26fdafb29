"""Names of one line: at every stored column, at every entry point, and in a mail's subject."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.core import mail
from django.db import models, transaction

from common.errors import InvalidInputError
from common.names import NameField, in_one_line
from common.sealing import public_key_of
from connections import services as connections
from events import channels
from events import services as events
from signals.feeds.services import create_feed_token
from tests.connections import make
from users.models import User
from users.people.invitations import invite
from users.services import create_api_key

BAD = ["One\nTwo", "One\rTwo", "One\u2028Two", "One\x1b[31m", "One\x85Two"]
COLUMNS = ("name", "title", "full_name")
NOT_TYPED = {  # made by us, or by a service that we read
    "connections.TradingPause.name", "events.Notification.title", "events.WebhookMessage.title",
    "alerts.TelegramChat.title", "users.AccountMail.name",
}  # fmt: skip
ENTRY_POINTS: dict[str, Callable[[User, str], Any]] = {
    "API key": lambda user, name: create_api_key(user, name),
    "alert address": lambda user, name: create_feed_token(make.feed(), name),
    "calendar": lambda user, name: connections.add_news_calendar(name, owner=user, by=user),
    "channel": lambda user, name: events.create_channel(
        user_id=user.pk, name=name, url="mailto:a@example.com"
    ),
    "invitation": lambda user, name: invite(name, by=None),
    "preset": lambda user, name: make.preset(user, name=name),
    "feed": lambda user, name: make.feed(name=name),
    "account": lambda user, name: make.connection(user, name=name),
}


def test_every_name_that_people_type_has_one_line() -> None:
    ours = (
        "users",
        "events",
        "signals",
        "alerts",
        "connections",
        "prices",
        "execution",
        "positions",
    )
    loose = []
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if model._meta.app_label in ours and field.name in COLUMNS and not field.choices:
                where = f"{model._meta.label}.{field.name}"
                if isinstance(field, models.CharField) and not isinstance(field, NameField):
                    loose.append(where)
    assert set(loose) - NOT_TYPED == set()


@pytest.mark.django_db
@pytest.mark.parametrize("entry_point", list(ENTRY_POINTS))
def test_name_of_two_lines_is_refused_at_its_field(entry_point: str, settings: Any) -> None:
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(os.urandom(32))
    user = make.user("alice")
    for bad in BAD:
        with pytest.raises(InvalidInputError) as refused, transaction.atomic():
            ENTRY_POINTS[entry_point](user, bad)
        assert refused.value.field in ("name", "note"), ascii(bad)


def test_mail_with_an_older_name_of_two_lines_is_sent() -> None:
    message = channels.Outgoing("Filled: One\nTwo\u2028Three", "Body", is_alarm=False)
    channels.send("mailto:alice@example.com", message)
    assert mail.outbox[-1].subject == "Filled: One Two Three"


def test_one_line_keeps_words_apart() -> None:
    assert in_one_line(" a\r\n\tb\x00c  d ") == "a b c d"
