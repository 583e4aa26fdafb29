"""The server of an account with credentials changes together with the credentials only."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from connections.models import ExecutionConnection
from connections.services import create_connection
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factor_steps import client, confirm, errors_on, form_on, is_asked, rita, stored
from tests.portal.factories import World
from tests.portal.test_second_factor import client_with_stale_factor
from users.models import User
from users.services import create_api_key
from users.tenancy import on_behalf_of

__all__ = ["client", "rita"]


@pytest.fixture
def account(world: World) -> ExecutionConnection:
    """Return an account of Alice with credentials and with nothing open. Before `as_web`."""
    return create_connection(
        by=None, user=world.alice, name="Real", type="mt5", account="5559",
        settings={"server": "Broker-Live03"}, credentials={"password": "the real one"},
    )  # fmt: skip


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
        stays = "Leave it empty to keep the stored one. Needed only if you change: Server."
        assert stays in html_of(client.get(page))
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
