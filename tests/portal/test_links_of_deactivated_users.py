"""Links and secrets that need no sign-in: none is of use to a deactivated user.

Each of LINKS makes what its user was sent, and uses it; it returns what is stored before and after.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from common.sealing import new_private_key, public_key_of
from events import push_keys, push_services
from events.confirmation import link_of
from events.models import Channel
from events.services import create_channel
from tests.fakes.push_service.service import BrowserSubscription
from tests.portal.factories import World
from users.mails import links
from users.models import User

pytestmark = pytest.mark.django_db
BASE = "https://fillcast.example.com"
PASSWORD = "a password for Alice only"
Use = Callable[[], object]


@pytest.fixture(autouse=True)
def keys(world: World, settings: Any) -> None:
    private, push = new_private_key(), push_keys.new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_PUSH_PUBLIC_KEY = push_keys.public_key_of(push)
    settings.FILLCAST_PUBLIC_URL = BASE
    Channel.objects.all().delete()


def post(link: str, **form: str) -> None:
    Client().post(link.removeprefix(BASE), form)


def of_a_channel(user: User) -> tuple[Use, Use]:
    channel = create_channel(user_id=user.pk, name="mail", url="mailto:alice@example.com")

    def state() -> bool:
        return Channel.objects.get().confirmed_at is not None

    return lambda: post(link_of(channel)), state


def of_an_address(user: User) -> tuple[Use, Use]:
    User.objects.filter(pk=user.pk).update(email="alice@example.com", email_confirmed_at=None)

    def state() -> bool:
        return User.objects.get(pk=user.pk).email_confirmed_at is not None

    return lambda: post(links.confirm_link(user.pk, "alice@example.com")), state


def of_a_forgotten_password(user: User) -> tuple[Use, Use]:
    link = links.reset_link(User.objects.get(pk=user.pk))

    def state() -> bool:
        return User.objects.get(pk=user.pk).check_password(PASSWORD)

    return lambda: post(link, new_password1=PASSWORD, new_password2=PASSWORD), state


def of_a_browser(user: User) -> tuple[Use, Use]:
    old, new = (
        BrowserSubscription(f"https://push.example.com/{name}", push_keys.offered_key())
        for name in ("old", "new")
    )
    push_services.subscribe_browser(
        user_id=user.pk, name="Chrome",
        subscription=push_services.checked_subscription(old.endpoint, old.p256dh, old.auth),
    )  # fmt: skip

    def use() -> None:
        body = {"endpoint": old.endpoint, "auth": old.auth, "new": new.as_json()}
        Client().post("/push/renew/", json.dumps(body), content_type="application/json")

    return use, lambda: push_services.find_browser(new.endpoint, new.auth) is not None


LINKS = (of_a_channel, of_an_address, of_a_forgotten_password, of_a_browser)


@pytest.mark.parametrize("is_active", [True, False], ids=["active", "deactivated"])
@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.__name__)
def test_link_of_a_user_works_only_while_they_are_active(
    world: World, link: Callable[[User], tuple[Use, Use]], is_active: bool
) -> None:
    use, state = link(world.alice)
    User.objects.filter(pk=world.alice.pk).update(is_active=is_active)
    before = state()
    use()
    assert (before, state()) == (False, is_active)
