"""The pages of portal and console that ask for a secret."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.test import Client
from django.urls import NoReverseMatch, get_resolver, reverse

from brokers.registry import broker_types
from connections.models import ExecutionConnection
from tests.console.bare_layout import bare_layout
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factor_steps import STALE, form_on, is_asked
from tests.portal.factories import World
from tests.portal.test_access import PRIVATE, args
from tests.portal.test_second_factor import enrol_factor, set_factor_age, view_names_of
from users.models import User
from users.tenancy import for_all_tenants


@pytest.fixture
def with_credentials(world: World) -> ExecutionConnection:
    """Store credentials for Alice's account at MetaTrader 5. Before `as_web`."""
    world.mt5.settings = {"server": "Broker-Live03"}
    world.mt5.save(update_fields=["settings"])
    world.mt5.set_credentials({"password": "the real one"})
    return world.mt5


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


def expect_fresh_factor(
    user: User, signed_in: SignedIn, addresses: Iterator[str], *ends: str
) -> None:
    """Expect that each page with a secret asks for the second factor once it is too old.

    ends: of addresses that are such pages.
    """
    enrol_factor(user)
    client = signed_in(user)
    set_factor_age(client, user, 0)
    with bare_layout():
        found = pages_with_secrets(client, addresses)
    missing = [end for end in ends if not any(page.endswith(end) for page in found)]
    assert missing == [], found
    set_factor_age(client, user, STALE)
    for page in sorted(found):
        assert is_asked(client.get(page)) or is_asked(sent_with_secrets(client, page)), page


def sent_with_secrets(client: Client, page: str) -> Any:
    """Send a page's form with all its secrets: it asked for no factor when it was opened."""
    named = {"name": "New", "account": "5551"} if "/add/" in page else {}
    shown = html_of(client.get(page))
    secrets = dict.fromkeys(re.findall(r'type="password" name="([^"]+)"', shown), "x")
    return client.post(page, form_on(client, page) | named | secrets)
