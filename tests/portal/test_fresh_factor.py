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
from common.permissions import Role
from connections.models import DecisionProvider, ExecutionConnection, TradingPreset
from connections.services import create_connection
from signals.models import Feed
from tests.console.bare_layout import bare_layout
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_access import PRIVATE, args
from tests.portal.test_second_factor import (
    client_with_stale_factor,
    current_code,
    enrol_factor,
    set_factor_age,
    view_names_of,
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
def with_credentials(world: World) -> ExecutionConnection:
    """Store credentials for Alice's account at MetaTrader 5. Before `as_web`."""
    world.mt5.settings = {"server": "Broker-Live03"}
    world.mt5.save(update_fields=["settings"])
    world.mt5.set_credentials({"password": "the real one"})
    return world.mt5


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


@pytest.fixture
def client(world: World, signed_in: SignedIn, as_web: None) -> Client:
    """A session of alice, whose second factor is too old for important actions."""
    return client_with_stale_factor(signed_in, world.alice)


def is_asked(response: Any) -> bool:
    """Whether the page sends the browser to the page that asks for the second factor."""
    to = response.get("Location", "")
    return bool(response.status_code == 302 and to.startswith("/security/confirm/"))


def confirm(client: Client, response: Any) -> Any:
    """Enter a code where a page sent the browser; return the page that it leads back to."""
    return client.get(client.post(response["Location"], {"code": current_code()})["Location"])


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


WEB_SERVICE = {
    "name": "mine", "kind": "HTTP", "url": "https://decides.example.com/ask", "secret": "s" * 16,
}  # fmt: skip
PROVIDERS = "/api/v1/decision-providers/"


def test_web_service_that_decides_needs_a_fresh_factor_and_rules_do_not(
    world: World, client: Client
) -> None:
    """It is sent balance and equity, and its answers scale the size of entries."""
    rules = client.post(PROVIDERS, {"name": "rules", "kind": "RULES"}, "application/json")
    assert rules.status_code == 201, rules.content
    package = {"name": "p", "kind": "PACKAGE", "entry_point": "theirs"}
    web = {name: value for name, value in WEB_SERVICE.items() if name != "secret"}
    for refused in (
        client.post(PROVIDERS, WEB_SERVICE, "application/json"),
        client.post(PROVIDERS, package, "application/json"),
        client.patch(f"{PROVIDERS}{rules.json()['id']}/", package, "application/json"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (403, "SECOND_FACTOR_NEEDED")
    set_factor_age(client, world.alice, 0)
    made = client.post(PROVIDERS, WEB_SERVICE, "application/json")
    assert made.status_code == 201, made.content
    own = f"{PROVIDERS}{made.json()['id']}/"
    set_factor_age(client, world.alice, STALE)
    for changes, status in (
        ({"url": "https://elsewhere.example.com/"}, 403), ({"kind": "RULES"}, 403),
        (web, 200), ({"timeout_seconds": "1"}, 200),
    ):  # fmt: skip
        assert client.patch(own, changes, "application/json").status_code == status, changes
    assert client.get(own).json()["url"] == WEB_SERVICE["url"]


@pytest.fixture
def providers(world: World) -> tuple[DecisionProvider, DecisionProvider]:
    """Return Alice's rules and her web service. Before `as_web`."""
    rules = DecisionProvider(name="rules", user=world.alice)
    web = DecisionProvider(
        name="web", user=world.alice, kind="HTTP", url=WEB_SERVICE["url"], secret_sealed=b"box"
    )
    rules.save()
    web.save()
    return rules, web


def test_preset_needs_a_fresh_factor_to_be_decided_by_a_web_service(
    world: World, providers: tuple[DecisionProvider, ...], client: Client
) -> None:
    address = f"/api/v1/presets/{world.own_preset.pk}/"
    answers = [
        client.patch(address, {"decision_provider": chosen}, "application/json").status_code
        for chosen in (providers[0].pk, None, providers[1].pk)
    ]
    assert answers == [200, 200, 403]
    new = {"name": "n", "sizing_mode": "RISK_PERCENT", "risk_percent": "1"}
    for chosen, status in ((providers[0].pk, 201), (providers[1].pk, 403)):
        body = new | {"decision_provider": chosen}
        answer = client.post("/api/v1/presets/", body, "application/json")
        assert answer.status_code == status, answer.content
    set_factor_age(client, world.alice, 0)
    assert client.patch(
        address, {"decision_provider": providers[1].pk}, "application/json"
    ).status_code == 200  # fmt: skip
    set_factor_age(client, world.alice, STALE)
    kept = {"decision_provider": providers[1].pk, "multiplier": "2"}
    assert client.patch(address, kept, "application/json").status_code == 200


def test_preset_page_asks_for_the_factor_and_keeps_what_was_typed(
    providers: tuple[DecisionProvider, ...], client: Client
) -> None:
    page = reverse("portal:preset_new")
    typed = form_on(client, page) | {
        "name": "Decided elsewhere", "decision_provider": str(providers[1].pk)
    }  # fmt: skip
    answer = client.post(page, typed)
    assert is_asked(answer), errors_on(answer)
    with for_all_tenants():
        assert not TradingPreset.objects.filter(name=typed["name"]).exists()
    shown = html_of(confirm(client, answer))
    assert "Your second factor was needed first." in shown
    assert f'value="{typed["name"]}"' in shown
    assert f'<option value="{providers[1].pk}" selected' in shown


def test_console_asks_for_the_factor_and_keeps_what_was_typed(
    world: World, signed_in: SignedIn, rita: User, providers: tuple[DecisionProvider, ...],
    as_web: None,
) -> None:  # fmt: skip
    client = client_with_stale_factor(signed_in, rita)
    provider = reverse("admin:connections_decisionprovider_change", args=[providers[0].pk])
    assert is_asked(client.get(provider)), "before anything is typed"
    page = reverse("admin:connections_tradingpreset_change", args=[world.own_preset.pk])
    typed = form_on(client, page) | {
        "name": "Typed", "decision_provider": str(providers[1].pk)
    }  # fmt: skip
    answer = client.post(page, typed)
    assert is_asked(answer), errors_on(answer)
    shown = html_of(confirm(client, answer))
    assert "Nothing was saved yet." in shown
    assert 'value="Typed"' in shown
    with for_all_tenants():
        assert TradingPreset.objects.get(pk=world.own_preset.pk).decision_provider is None
    assert client.post(page, typed).status_code == 302
    with for_all_tenants():
        stored = TradingPreset.objects.get(pk=world.own_preset.pk)
    assert (stored.name, stored.decision_provider_id) == ("Typed", providers[1].pk)


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


def stored(connection: ExecutionConnection) -> ExecutionConnection:
    with for_all_tenants():
        return ExecutionConnection.objects.get(pk=connection.pk)


@pytest.fixture
def guarded_feed(world: World) -> Feed:
    """Let Alice's feed take signed alerts from two networks. Before `as_web`."""
    world.own.alert_sources, world.own.alerts_signed_only = ["203.0.113.0/24", "2001:db8::1"], True
    world.own.save(update_fields=["alert_sources", "alerts_signed_only"])
    return world.own


def test_looser_rules_of_alerts_need_a_fresh_factor_and_stricter_ones_do_not(
    world: World, guarded_feed: Feed, client: Client
) -> None:
    address = f"/api/v1/feeds/{guarded_feed.slug}/"
    changes: tuple[dict[str, Any], ...] = (
        {"alerts_signed_only": False}, {"alert_sources": []}, {"alert_sources": ["tradingview"]},
        {"alert_sources": ["203.0.113.0/24", "2001:db8::/64"]},
        {"alert_sources": ["0.0.0.0/0"], "name": "Renamed"},
    )  # fmt: skip
    for looser in changes:
        answer = client.patch(address, looser, "application/json")
        assert (answer.status_code, answer.json().get("code")) == (403, "SECOND_FACTOR_NEEDED")
    for stricter in (
        {"alert_sources": ["203.0.113.7"], "alerts_signed_only": True}, {"name": "Renamed"},
    ):  # fmt: skip
        answer = client.patch(address, stricter, "application/json")
        assert answer.status_code == 200, answer.content
    assert client.get(address).json()["alert_sources"] == ["203.0.113.7"]
    set_factor_age(client, world.alice, 0)
    open_to_all: dict[str, Any] = {"alert_sources": [], "alerts_signed_only": False}
    assert client.patch(address, open_to_all, "application/json").status_code == 200
    set_factor_age(client, world.alice, STALE)
    again = open_to_all | {"alert_sources": ["tradingview"]}
    assert client.patch(address, again, "application/json").status_code == 200


def test_pages_of_feeds_ask_for_the_factor_and_keep_what_was_typed(
    world: World, signed_in: SignedIn, rita: User, guarded_feed: Feed, as_web: None
) -> None:
    pages = {
        world.alice: reverse("portal:publishing_settings", args=[guarded_feed.slug]),
        rita: reverse("admin:signals_feed_change", args=[guarded_feed.pk]),
    }
    for user, page in pages.items():
        client = client_with_stale_factor(signed_in, user)
        typed = form_on(client, page) | {"name": f"Of {user}", "alert_sources": ""}
        asked = client.post(page, typed)
        assert is_asked(asked), errors_on(asked)
        shown = html_of(confirm(client, asked))
        assert f'value="Of {user}"' in shown
        with for_all_tenants():
            guarded_feed.refresh_from_db()
        assert guarded_feed.alert_sources
        assert client.post(page, typed).status_code == 302
        with for_all_tenants():
            guarded_feed.refresh_from_db()
            assert (guarded_feed.name, guarded_feed.alert_sources) == (f"Of {user}", [])
            Feed.objects.filter(pk=guarded_feed.pk).update(alert_sources=["203.0.113.7"])


def test_console_keeps_what_was_typed_about_a_provider(
    world: World,
    signed_in: SignedIn,
    rita: User,
    providers: tuple[DecisionProvider, DecisionProvider],
    as_web: None,
) -> None:
    """The page asks before anything is typed, and the factor may end while one types."""
    enrol_factor(rita)
    client = signed_in(rita)
    set_factor_age(client, rita, 0)
    page = reverse("admin:connections_decisionprovider_change", args=[providers[0].pk])
    typed = form_on(client, page) | {"name": "Typed for six minutes"}
    set_factor_age(client, rita, STALE)
    answer = client.post(page, typed)
    assert is_asked(answer)
    shown = html_of(confirm(client, answer))
    assert "Typed for six minutes" in shown
