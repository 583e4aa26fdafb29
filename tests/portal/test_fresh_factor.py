"""What is sealed, or decides where secrets go, needs a fresh second factor wherever it is sent."""

from typing import Any

from django.test import Client
from django.urls import reverse

from connections.models import ExecutionConnection
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_second_factor import (
    current_code,
    enrol_factor,
    set_factor_age,
)
from users.models import User
from users.session_factor import FRESH_SECONDS
from users.tenancy import for_all_tenants

STALE = FRESH_SECONDS + 1
NEW_ACCOUNT = {
    "name": "New", "type": "mt5", "account": "5551", "settings.server": "Demo",
    "credentials.password": "a master password",
}  # fmt: skip


def client_with_stale_factor(signed_in: SignedIn, user: User) -> Client:
    enrol_factor(user)
    client = signed_in(user)
    set_factor_age(client, user, STALE)
    return client


def is_asked(response: Any) -> bool:
    """Whether the page sends the browser to the page that asks for the second factor."""
    to = response.get("Location", "")
    return bool(response.status_code == 302 and to.startswith("/security/confirm/"))


def confirm(client: Client, response: Any) -> Any:
    """Enter a code where a page sent the browser; return the page that it leads back to."""
    return client.get(client.post(response["Location"], {"code": current_code()})["Location"])


def test_new_account_asks_for_the_factor_and_keeps_what_was_typed(
    world: World, signed_in: SignedIn, as_web: None, enqueued: Any
) -> None:
    client = client_with_stale_factor(signed_in, world.alice)
    page = f"{reverse('portal:account_add')}?type=mt5"
    assert is_asked(client.get(page)), "before the password is typed"
    answer = client.post(page, NEW_ACCOUNT)
    assert is_asked(answer)
    with for_all_tenants():
        assert not ExecutionConnection.objects.filter(name="New").exists()
    shown = html_of(confirm(client, answer))
    assert "Your second factor was needed first." in shown
    assert 'value="5551"' in shown
    assert "a master password" not in shown
    assert "a master password" not in str(dict(client.session))
    assert client.post(page, NEW_ACCOUNT).status_code == 302
    with for_all_tenants():
        assert ExecutionConnection.objects.get(name="New").sealed_credentials is not None
