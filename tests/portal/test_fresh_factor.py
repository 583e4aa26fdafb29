"""What is sealed, or decides where secrets go, needs a fresh second factor wherever it is sent."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.test import Client
from django.urls import NoReverseMatch, get_resolver, reverse
from drf_spectacular.generators import SchemaGenerator

from brokers.registry import broker_types
from connections.models import DecisionProvider, ExecutionConnection
from tests.console.bare_layout import bare_layout
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factor_steps import STALE, client, confirm, form_on, is_asked, rita
from tests.portal.factories import World
from tests.portal.test_access import PRIVATE, args
from tests.portal.test_second_factor import (
    enrol_factor,
    set_factor_age,
    view_names_of,
)
from users.models import User
from users.tenancy import for_all_tenants, on_behalf_of

__all__ = ["client", "rita"]
NEW_ACCOUNT = {
    "name": "New", "type": "mt5", "account": "5551", "settings.server": "Demo",
    "credentials.password": "a master password",
}  # fmt: skip


@pytest.fixture
def with_credentials(world: World) -> ExecutionConnection:
    """Store credentials for Alice's account at MetaTrader 5. Before `as_web`."""
    world.mt5.settings = {"server": "Broker-Live03"}
    world.mt5.save(update_fields=["settings"])
    world.mt5.set_credentials({"password": "the real one"})
    return world.mt5


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


SECRET_FIELD = re.compile(r'<input type="password"[^>]*>')
OWN_PASSWORD = 'autocomplete="current-password"'


def portal_pages(world: World) -> Iterator[str]:
    for name in PRIVATE:
        yield reverse(f"portal:{name}", kwargs=args(world, name, "alice"))
    for broker_type in broker_types():
        yield f"{reverse('portal:account_add')}?type={broker_type}"
    yield from pages_of("security:")


def pages_of(prefix: str) -> Iterator[str]:
    """Return the addresses of a namespace; of those about a row, that of one which exists."""
    for name in sorted(view_names_of(get_resolver())):
        if not name.startswith(prefix):
            continue
        try:
            yield reverse(name)
        except NoReverseMatch:
            app, _, rest = name.removeprefix(prefix).partition("_")
            with for_all_tenants():
                pks = [
                    pk_of(model)
                    for model in apps.get_models()
                    if model._meta.app_label == app
                    and rest.startswith(f"{model._meta.model_name}_")
                ]
            for pk in filter(None, pks):
                try:
                    yield reverse(name, args=[pk])
                except NoReverseMatch:
                    continue


def pk_of(model: Any) -> Any:
    """Return the key of one row; of accounts, that of one with credentials."""
    rows = model._default_manager.all()
    if model is ExecutionConnection:
        rows = rows.filter(name="Main MT5")
    return rows.values_list("pk", flat=True).first()


def pages_with_secrets(client: Client, addresses: Iterator[str]) -> set[str]:
    """Return the pages that ask for a secret, other than the reader's own password."""
    found = set()
    for address in addresses:
        page = client.get(address)
        if page.status_code == 200 and not page.streaming and b'"password"' in page.content:
            fields = SECRET_FIELD.findall(html_of(page))
            if any(OWN_PASSWORD not in field for field in fields):
                found.add(address)
    return found


@pytest.mark.usefixtures("private_feeds")
@pytest.mark.parametrize(("name", "expected"), [
    ("alice", ("/accounts/add/?type=mt5", "/credentials/", "/edit/")),
    ("rita", ("/credentials/", "/decisionprovider/add/", "/edit/")),
])  # fmt: skip
def test_every_page_with_a_secret_needs_a_fresh_factor(
    world: World, signed_in: SignedIn, rita: User, with_credentials: ExecutionConnection,
    as_web: None, name: str, expected: Any,
) -> None:  # fmt: skip
    user = rita if name == "rita" else world.alice
    enrol_factor(user)
    client = signed_in(user)
    set_factor_age(client, user, 0)
    addresses = pages_of("admin:") if user == rita else portal_pages(world)
    with bare_layout():
        found = pages_with_secrets(client, addresses)
    assert all(any(page.endswith(end) for page in found) for end in expected)
    set_factor_age(client, user, STALE)
    for page in sorted(found):
        assert is_asked(client.get(page)) or is_asked(sent_with_secrets(client, page)), page


def sent_with_secrets(client: Client, page: str) -> Any:
    """Send a page's form with all its secrets: it asked for no factor when it was opened."""
    named = {"name": "New", "account": "5551"} if "/add/" in page else {}
    shown = html_of(client.get(page))
    secrets = dict.fromkeys(re.findall(r'type="password" name="([^"]+)"', shown), "x")
    return client.post(page, form_on(client, page) | named | secrets)


SECRET_NAME = re.compile(r"secret|token|password|credential|api_?key|passphrase")


def operations_with_secrets() -> Iterator[tuple[str, str, str]]:
    """Return method, path and property of each secret in a body of the API, from its schema."""
    generator: Any = SchemaGenerator
    schema = generator().get_schema(request=None, public=True)
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
