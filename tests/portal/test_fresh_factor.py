"""What is sealed, or decides where secrets go, needs a fresh second factor wherever it is sent."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from common.permissions import Role
from connections.models import ExecutionConnection
from connections.services import create_connection
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_second_factor import (
    current_code,
    enrol_factor,
    set_factor_age,
)
from tests.roles import staff
from users.models import User
from users.services import create_api_key
from users.session_factor import FRESH_SECONDS
from users.tenancy import for_all_tenants, on_behalf_of

STALE = FRESH_SECONDS + 1
NEW_ACCOUNT = {
    "name": "New", "type": "mt5", "account": "5551", "settings.server": "Demo",
    "credentials.password": "a master password",
}  # fmt: skip


@pytest.fixture
def account(world: World) -> ExecutionConnection:
    """Return an account of Alice with credentials and with nothing open. Before `as_web`."""
    return create_connection(
        by=None, user=world.alice, name="Real", type="mt5", account="5559",
        settings={"server": "Broker-Live03"}, credentials={"password": "the real one"},
    )  # fmt: skip


@pytest.fixture
def rita(world: World) -> User:
    """Return a member of staff with all roles. Before `as_web`."""
    return staff(*Role, name="rita")


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


def errors_on(answer: Any) -> Any:
    shown = answer.context_data
    return [getattr(one, "errors", one) for one in (shown.get("form"), shown.get("errors"))] + [
        shown["question"].form.errors if "question" in shown else ""
    ]


def form_on(client: Client, page: str) -> dict[str, Any]:
    """Return what the form on a page holds, as a browser would send it."""
    answer = client.get(page)
    assert answer.status_code == 200, (answer.status_code, answer)
    shown: Any = answer.context_data
    form = shown["adminform"].form if "adminform" in shown else shown.get("form")
    form = form or shown["question"].form
    values = {name: form[name].value() for name in form.fields}
    for inline in shown.get("inline_admin_formsets", ()):
        management = inline.formset.management_form
        values |= {
            management.add_prefix(name): management[name].value() for name in management.fields
        }
    return {
        name: value if value is not True else "on"
        for name, value in values.items()
        if value is not None and value is not False and value != []
    }


def test_pages_change_a_server_with_the_credentials_only(
    world: World, signed_in: SignedIn, rita: User, account: ExecutionConnection,
    as_web: None, enqueued: Any,
) -> None:  # fmt: skip
    """Stored credentials are not sent to another server."""
    pages = {
        world.alice: reverse("portal:account_edit", args=[account.pk]),
        rita: reverse("admin:connections_executionconnection_edit", args=[account.pk]),
    }
    for user, page in pages.items():
        client = client_with_stale_factor(signed_in, user)
        moved = form_on(client, page) | {"settings.server": f"Evil-{user}"}
        before = stored(account)
        refused = client.post(page, moved)
        assert "Enter them again with this change." in html_of(refused)
        asked = client.post(page, moved | {"credentials.password": "another"})
        assert is_asked(asked), errors_on(asked)
        assert stored(account).settings == before.settings
        shown = html_of(confirm(client, asked))
        assert f'value="Evil-{user}"' in shown
        done = client.post(page, moved | {"credentials.password": "another"})
        assert done.status_code == 302, errors_on(done)
        after = stored(account)
        assert after.settings["server"] == f"Evil-{user}"
        assert after.sealed_credentials != before.sealed_credentials
        assert client.post(page, form_on(client, page) | {"name": "Renamed"}).status_code == 302
        assert stored(account).sealed_credentials == after.sealed_credentials


@pytest.mark.parametrize("by", ["session", "key"])
def test_api_changes_a_server_with_the_credentials_only(
    world: World, signed_in: SignedIn, account: ExecutionConnection, as_web: None, by: str
) -> None:
    """A caller who does not know the password cannot have it sent to a server of theirs."""
    client, headers = signed_in(world.alice), {}
    if by == "key":
        with on_behalf_of(world.alice):
            _key, secret = create_api_key(world.alice, "robot", scopes=["operate"])
        client, headers = Client(), {"Authorization": f"Bearer {secret}"}
    address = f"/api/v1/connections/{account.pk}/"

    def patch(body: dict[str, Any]) -> Any:
        return client.patch(address, body, "application/json", headers=headers)

    moved = {"settings": {"server": "Evil-Live"}}
    refused = patch(moved)
    assert (refused.status_code, refused.json()["code"]) == (400, "CREDENTIALS_NEEDED")
    assert [one["field"] for one in refused.json()["errors"]] == ["settings.server"]
    misspelt = patch(moved | {"credentials": {"pasword": "x"}})
    assert misspelt.status_code == 400
    assert stored(account).settings == {"server": "Broker-Live03"}
    assert stored(account).sealed_credentials == account.sealed_credentials
    same = {"settings": {"server": "Broker-Live03", "reply_timeout": 5}, "name": "Renamed"}
    assert patch(same).status_code == 200
    assert stored(account).sealed_credentials == account.sealed_credentials
    done = patch(moved | {"credentials": {"password": "of that server"}})
    assert (done.status_code, done.json()["settings"]) == (200, {"server": "Evil-Live"})
    assert stored(account).sealed_credentials != account.sealed_credentials


def test_server_changes_freely_while_no_credentials_are_stored(
    world: World, signed_in: SignedIn, account: ExecutionConnection, as_web: None
) -> None:
    with on_behalf_of(world.alice):
        ExecutionConnection.objects.filter(pk=account.pk).update(sealed_credentials=None)
    address = f"/api/v1/connections/{account.pk}/"
    moved = {"settings": {"server": "Another"}}
    answer = signed_in(world.alice).patch(address, moved, "application/json")
    assert (answer.status_code, answer.json()["has_credentials"]) == (200, False)


def stored(connection: ExecutionConnection) -> ExecutionConnection:
    with for_all_tenants():
        return ExecutionConnection.objects.get(pk=connection.pk)
