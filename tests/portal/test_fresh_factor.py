"""What is sealed, or decides where secrets go, needs a fresh second factor wherever it is sent."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from connections.models import DecisionProvider, ExecutionConnection
from tests.api.schemas import whole_schema
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factor_steps import client, confirm, is_asked
from tests.portal.factories import World
from tests.portal.secret_pages import expect_fresh_factor, portal_pages, with_credentials
from users.tenancy import for_all_tenants, on_behalf_of

__all__ = ["client", "with_credentials"]
NEW_ACCOUNT = {
    "name": "New", "type": "mt5", "account": "5551", "settings.server": "Demo",
    "credentials.password": "a master password",
}  # fmt: skip


def test_new_account_asks_for_the_factor_and_keeps_what_was_typed(
    enqueued: Any, client: Client
) -> None:
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


@pytest.mark.usefixtures("private_feeds")
def test_every_portal_page_with_a_secret_needs_a_fresh_factor(
    world: World, signed_in: SignedIn, with_credentials: ExecutionConnection, as_web: None
) -> None:
    ends = ("/accounts/add/?type=mt5", "/credentials/", "/edit/")
    expect_fresh_factor(world.alice, signed_in, portal_pages(world), *ends)


SECRET_NAME = re.compile(r"secret|token|password|credential|api_?key|passphrase")


def operations_with_secrets() -> Iterator[tuple[str, str, str]]:
    """Return method, path and property of each secret in a body of the API, from its schema."""
    schema = whole_schema()
    components = schema["components"]["schemas"]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            contents = operation.get("requestBody", {}).get("content", {}).values()
            names = {one["schema"].get("$ref", "").rsplit("/", 1)[-1] for one in contents}
            for body in filter(None, map(components.get, names)):
                for name, shape in body.get("properties", {}).items():
                    if SECRET_NAME.search(name) and not shape.get("readOnly"):
                        yield method.upper(), path, name


def test_every_secret_in_a_body_of_the_api_needs_a_fresh_factor(
    world: World, client: Client
) -> None:
    with on_behalf_of(world.alice):
        provider = DecisionProvider.objects.create(name="mine", user=world.alice)
    operations = set(operations_with_secrets())
    assert operations >= {
        ("POST", "/api/v1/connections/", "credentials"),
        ("POST", "/api/v1/decision-providers/", "secret"),
        ("PATCH", "/api/v1/decision-providers/{id}/", "secret"),
        ("POST", "/api/v1/feeds/{slug}/telegram-bot/", "token"),
    }
    answers = {}
    for method, path, name in operations:
        pk = world.mt5.pk if "connections" in path else provider.pk
        address = path.replace("{id}", str(pk)).replace("{slug}", world.own.slug)
        value: Any = {"password": "x"} if name == "credentials" else "a secret of 24 letters"
        answer = client.generic(method, address, json.dumps({name: value}), "application/json")
        answers[method, path, name] = (answer.status_code, answer.json().get("code"))
    assert answers == dict.fromkeys(operations, (403, "SECOND_FACTOR_NEEDED"))
