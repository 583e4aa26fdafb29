"""The second factor: at both sign-in pages, its enrolment, and actions that need a fresh one."""

import contextlib
import json
import time
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import NoReverseMatch, URLResolver, get_resolver, reverse

from alerts.models import TelegramBot
from common.errors import InvalidInputError, NotAllowedError
from common.permissions import Right, Role
from common.reason_codes import Code
from config.middleware.second_factor import REAUTHENTICATED_API_CALLS, REAUTHENTICATED_VIEWS
from connections.models import ExecutionConnection
from tests.api.schemas import whole_schema
from tests.html import html_of
from tests.operational import set_setting
from tests.portal.conftest import SignedIn
from tests.portal.factories import PASSWORD, World
from users.models import RecoveryCode, SecondFactor, TryCount, User
from users.services import change_rights, create_api_key
from users.sign_in import one_time_codes, second_factor
from users.sign_in.session_factor import FRESH_SECONDS, SESSION_KEY
from users.tenancy import for_all_tenants, on_behalf_of

SIGN_IN_PAGES = [("alice", "/login/"), ("olga", "/login/"), ("olga", "/admin/login/")]
SECRET = b"twenty bytes, fixed!"


def now_step() -> int:
    return int(time.time()) // one_time_codes.STEP_SECONDS


def current_code(ahead: int = 0) -> str:
    return one_time_codes.code_at(SECRET, now_step() + ahead)


def wrong_codes(count: int) -> list[str]:
    """Return codes that are right neither now nor in the next minutes."""
    right = {current_code(ahead) for ahead in range(-2, 12)}
    codes = (f"{number:06}" for number in range(count + len(right)))
    return [code for code in codes if code not in right][:count]


def enrol_factor(user: User) -> list[str]:
    """Enrol an app with the code of the previous step; return the recovery codes."""
    try:
        return second_factor.enrol(user, SECRET, current_code(-1))
    except InvalidInputError:  # the code expired at this moment
        return second_factor.enrol(user, SECRET, current_code(-1))


def sign_in(client: Client, name: str, page: str = "/login/", next_page: str = "") -> Any:
    data = {"username": name, "password": PASSWORD, "next": next_page}
    return client.post(page, data)


def is_signed_in(client: Client) -> bool:
    return client.get("/security/").status_code == 200


@pytest.mark.parametrize(("name", "page"), SIGN_IN_PAGES)
def test_both_sign_in_pages_need_the_second_factor(
    world: World, as_web: None, name: str, page: str
) -> None:
    enrol_factor(getattr(world, name))
    client = Client()
    assert sign_in(client, name, page)["Location"] == "/login/code/"
    assert not is_signed_in(client)
    assert client.get("/api/v1/me/").status_code == 401
    assert client.get("/admin/").status_code == 302
    code_page = client.get("/login/code/")
    assert "recovery codes" in html_of(code_page)
    assert "reset_second_factor" in html_of(code_page)
    (code,) = wrong_codes(1)
    wrong = client.post("/login/code/", {"code": code})
    assert (wrong.status_code, is_signed_in(client)) == (422, False)
    right = client.post("/login/code/", {"code": current_code()})
    assert right["Location"] == ("/admin/" if name == "olga" else "/")
    assert is_signed_in(client)


def test_code_is_valid_once(world: World, as_web: None) -> None:
    enrol_factor(world.alice)
    code = current_code()
    for status in (302, 422):
        client = Client()
        sign_in(client, "alice")
        assert client.post("/login/code/", {"code": code}).status_code == status
    assert not is_signed_in(client)


def test_recovery_code_is_valid_once_and_stored_as_a_hash(world: World, as_web: None) -> None:
    first, *others = enrol_factor(world.alice)
    for status in (302, 422):
        client = Client()
        sign_in(client, "alice")
        assert client.post("/login/code/", {"code": first.upper()}).status_code == status
    with for_all_tenants():
        stored = {row.code_hash for row in RecoveryCode.objects.all()}
    assert len(stored) == 10
    assert not stored & {first, *others, first.replace("-", "")}


def test_right_code_is_refused_after_ten_wrong_ones(world: World, as_web: None) -> None:
    enrol_factor(world.alice)
    client = Client()
    sign_in(client, "alice")
    codes = wrong_codes(10)
    statuses = [client.post("/login/code/", {"code": code}).status_code for code in codes]
    assert statuses == [422] * 10
    assert client.post("/login/code/", {"code": current_code()}).status_code == 429
    assert TryCount.objects.get(scope="second factor").tries == 10
    assert not is_signed_in(client)


def test_staff_must_enrol_before_anything_else_when_required(
    world: World, as_web: None, settings: Any
) -> None:
    set_setting("users.staff_second_factor", True)
    client = Client()
    assert sign_in(client, "olga", "/admin/login/")["Location"] == "/login/first/"
    assert client.get("/admin/").status_code == 302
    assert not is_signed_in(client)
    page = html_of(client.get("/login/first/"))
    assert "data:image/svg+xml;base64," in page
    sealed = client.session["new_second_factor"]
    secret = second_factor.open_secret(world.olga, bytes.fromhex(sealed))
    assert secret is not None
    assert one_time_codes.typed_secret(secret) in page
    assert client.post("/login/first/", {"code": "000000"}).status_code == 422
    assert html_of(client.get("/login/first/")).count(one_time_codes.typed_secret(secret))
    response = client.post("/login/first/", {"code": one_time_codes.code_at(secret, now_step())})
    assert html_of(response).count("<li><code>") == 10
    assert is_signed_in(client)
    assert sign_in(Client(), "alice")["Location"] == "/"  # optional for tenants


def test_earlier_sessions_of_staff_end_when_it_becomes_required(
    world: World, signed_in: SignedIn, as_web: None, settings: Any
) -> None:
    client = signed_in(world.olga)
    assert client.get("/admin/").status_code == 200
    set_setting("users.staff_second_factor", True)
    assert client.get("/admin/").status_code == 302
    assert not is_signed_in(client)


def test_enrolment_needs_the_password_and_ends_other_sessions(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    mine, elsewhere = signed_in(world.alice), signed_in(world.alice)
    assert mine.get("/security/enrol/").status_code == 200
    sealed = mine.session["new_second_factor"]
    secret = second_factor.open_secret(world.alice, bytes.fromhex(sealed))
    assert secret is not None
    code = one_time_codes.code_at(secret, now_step())
    wrong = mine.post("/security/enrol/", {"code": code, "password": "a guess"})
    assert (wrong.status_code, SecondFactor.objects.count()) == (422, 0)
    response = mine.post("/security/enrol/", {"code": code, "password": PASSWORD})
    assert html_of(response).count("<li><code>") == 10
    assert is_signed_in(mine)
    assert not is_signed_in(elsewhere)
    factor = SecondFactor.objects.get()
    assert secret not in bytes(factor.sealed_secret)


def set_factor_age(client: Client, user: User, seconds_ago: float) -> None:
    """Let a session have passed the second factor this long ago."""
    session = client.session
    factor = SecondFactor.objects.get(user=user)
    session[SESSION_KEY] = {"of": factor.enrolled_at.isoformat(), "at": time.time() - seconds_ago}
    session.save()


def client_with_stale_factor(signed_in: SignedIn, user: User) -> Client:
    enrol_factor(user)
    client = signed_in(user)
    set_factor_age(client, user, FRESH_SECONDS + 1)
    return client


@pytest.fixture
def client(world: World, signed_in: SignedIn, as_web: None) -> Client:
    """A session of alice, whose second factor is too old for important actions."""
    return client_with_stale_factor(signed_in, world.alice)


@pytest.fixture
def staff_client(world: World, signed_in: SignedIn, as_web: None) -> Client:
    """A session of olga, whose second factor is too old for important actions."""
    return client_with_stale_factor(signed_in, world.olga)


def test_important_actions_need_a_fresh_second_factor(world: World, client: Client) -> None:
    page = reverse("portal:credentials", args=[world.mt5.pk])
    for response in (client.get(page), client.post(page, {"password": "x"})):
        assert response["Location"].startswith("/security/confirm/?next=%2Faccounts%2F")
    api = client.put(
        f"/api/v1/connections/{world.mt5.pk}/credentials/",
        {"credentials": {"password": "x"}}, content_type="application/json",
    )  # fmt: skip
    assert (api.status_code, api.json()["code"]) == (403, "SECOND_FACTOR_NEEDED")
    disguised = client.put(
        f"/api/v1/connections/{world.mt5.pk}/credentials/",
        {"credentials": {"password": "x"}}, content_type="application/json",
        headers={"Authorization": "Basic x"},
    )  # fmt: skip
    assert disguised.status_code == 403
    assert client.get("/accounts/").status_code == 200  # reading does not need it
    to = f"/security/confirm/?next={page}"
    (wrong,) = wrong_codes(1)
    assert client.post(to, {"code": wrong}).status_code == 422
    assert client.post(to, {"code": current_code()})["Location"] == page
    assert client.get(page).status_code == 200


CONNECTION = {"name": "New", "type": "mt5", "account": "5551", "settings": {"server": "Demo"}}
SECRETS = {"credentials": {"password": "master password"}}


def operations_with_credentials() -> set[tuple[str, str]]:
    """Return the operations of the API with credentials in the body, from the schema."""
    schema = whole_schema()
    components = schema["components"]["schemas"]

    def has_credentials(operation: Any) -> bool:
        contents = operation.get("requestBody", {}).get("content", {}).values()
        names = [content["schema"].get("$ref", "").rsplit("/", 1)[-1] for content in contents]
        return any(
            "credentials" in components.get(name, {}).get("properties", {}) for name in names
        )

    return {
        (method.upper(), path)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        if isinstance(operation, dict) and has_credentials(operation)
    }


def test_every_api_operation_with_credentials_needs_a_fresh_second_factor(
    world: World, client: Client
) -> None:
    operations = operations_with_credentials()
    assert ("POST", "/api/v1/connections/") in operations
    assert ("PUT", "/api/v1/connections/{id}/credentials/") in operations
    responses = {}
    for method, path in operations:
        body = CONNECTION | SECRETS if method == "POST" else SECRETS
        address = path.replace("{id}", str(world.mt5.pk))
        response = client.generic(method, address, json.dumps(body), "application/json")
        responses[method, path] = (response.status_code, response.json().get("code"))
    assert responses == dict.fromkeys(operations, (403, "SECOND_FACTOR_NEEDED"))
    with on_behalf_of(world.alice):
        assert not ExecutionConnection.objects.filter(name="New").exists()


def test_connection_without_credentials_or_by_a_key_needs_no_fresh_second_factor(
    world: World, client: Client
) -> None:
    address = "/api/v1/connections/"
    plain = client.post(address, CONNECTION, "application/json")
    assert plain.status_code == 201, plain.content
    assert plain.json()["has_credentials"] is False
    with on_behalf_of(world.alice):
        _key, secret = create_api_key(world.alice, "robot", scopes=["operate"])
    by_key = client.post(
        address, CONNECTION | SECRETS | {"account": "5552"}, "application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )  # fmt: skip
    assert by_key.status_code == 201, by_key.content
    set_factor_age(client, world.alice, 0)
    fresh = client.post(address, CONNECTION | SECRETS | {"account": "5553"}, "application/json")
    assert (fresh.status_code, fresh.json()["has_credentials"]) == (201, True)


def test_consoles_form_of_a_new_account_takes_no_credentials(staff_client: Client) -> None:
    """The console has a separate page for them, which needs a fresh second factor."""
    page = f"{reverse('admin:connections_executionconnection_add')}?type=mt5"
    assert 'name="settings.server"' in html_of(staff_client.get(page))
    payload = {
        "name": "New", "type": "mt5", "account": "5551", "settings.server": "Demo",
        "owner": "alice", "credentials.password": "x",
    }  # fmt: skip
    response = staff_client.post(page, payload)
    assert response.status_code == 302, html_of(response)
    with for_all_tenants():
        row = ExecutionConnection.objects.get(name="New")
    assert row.sealed_credentials is None


def address_with_any_argument(name: str) -> str:
    for arguments in ([], [1], [UUID(int=1)], ["a-slug"], ["a-slug", 1]):
        with contextlib.suppress(NoReverseMatch):
            return reverse(name, args=arguments)
    raise AssertionError(f"{name} needs other arguments.")


@pytest.mark.parametrize("name", sorted(REAUTHENTICATED_VIEWS))
def test_listed_page_needs_a_fresh_second_factor(name: str, staff_client: Client) -> None:
    for response in (
        staff_client.get(page := address_with_any_argument(name)),
        staff_client.post(page),
    ):
        assert response.status_code == 302
        assert response["Location"].startswith("/security/confirm/")


@pytest.mark.parametrize(("name", "method"), sorted(REAUTHENTICATED_API_CALLS))
def test_listed_api_operation_needs_a_fresh_second_factor(
    name: str, method: str, staff_client: Client
) -> None:
    page = address_with_any_argument(name)
    response = staff_client.generic(method, page, "{}", content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (403, "SECOND_FACTOR_NEEDED")


def test_forwarding_chats_need_a_fresh_second_factor_and_a_pause_does_not(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    """Who may forward, may publish: a session that was stolen must not add itself."""
    with on_behalf_of(world.alice):
        bot = TelegramBot.objects.create(feed=world.own, bot_id=1, token_sealed=b"box")
    enrol_factor(world.alice)
    client = signed_in(world.alice)
    address = f"/api/v1/feeds/{world.own.slug}/telegram-bot/"
    for seconds, status in ((FRESH_SECONDS + 1, 403), (0, 200)):
        set_factor_age(client, world.alice, seconds)
        for body in ({"forward_from": [-100999]}, {"forward_from": [], "is_paused": True}):
            answer = client.patch(address, body, "application/json")
            assert answer.status_code == status, answer.content
            if status == 403:
                assert answer.json()["code"] == "SECOND_FACTOR_NEEDED"
    set_factor_age(client, world.alice, FRESH_SECONDS + 1)
    assert client.patch(address, {"is_paused": False}, "application/json").status_code == 200
    with on_behalf_of(world.alice):
        bot.refresh_from_db()
    assert (bot.is_paused, bot.forward_from) == (False, [])


def test_changing_channels_needs_a_fresh_second_factor(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    """A channel sends account events to others; without channels, alarms are not delivered."""
    enrol_factor(world.alice)
    client, payload = signed_in(world.alice), {"name": "hook", "url": "https://hooks.example.com/x"}
    api = "/api/v1/channels/"
    set_factor_age(client, world.alice, 0)
    pk = client.post(api, payload, "application/json").json()["id"]
    set_factor_age(client, world.alice, FRESH_SECONDS + 1)
    for path in ("/channels/create/advanced/", f"/channels/{pk}/remove/"):
        for response in (client.get(path), client.post(path, payload)):
            assert response["Location"].startswith("/security/confirm/?next=%2Fchannels%2F")
    for refused in (client.post(api, payload, "application/json"), client.delete(f"{api}{pk}/")):
        assert (refused.status_code, refused.json()["code"]) == (403, "SECOND_FACTOR_NEEDED")
    assert [result["id"] for result in client.get(api).json()["results"]] == [pk]
    assert client.get("/channels/").status_code == 200  # reading does not need it
    set_factor_age(client, world.alice, 0)
    assert client.post("/channels/create/advanced/", payload).status_code == 302
    assert client.delete(f"{api}{pk}/").status_code == 204
    assert len(client.get(api).json()["results"]) == 1


def test_confirmation_never_redirects_to_another_host(client: Client) -> None:
    away = "/security/confirm/?next=https://elsewhere.example/"
    assert client.post(away, {"code": current_code()})["Location"] == "/security/"


def test_only_resuming_all_accounts_needs_a_fresh_second_factor(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    """Resuming a single account or subscription does not need it."""
    enrol_factor(world.alice)
    client, subscription = signed_in(world.alice), world.subscriptions[0]
    set_factor_age(client, world.alice, FRESH_SECONDS + 1)
    page = " ".join(html_of(client.get("/security/")).split())
    assert "to resume trading after “Pause everything”" in page
    assert "You can pause and resume a single account or subscription without it." in page
    together = reverse("portal:resume")
    assert client.post(together)["Location"].startswith("/security/confirm/")
    client.post(reverse("portal:subscription_pause", args=[subscription.pk]))
    account = reverse("portal:account_resume", args=[world.mt4.pk])
    assert client.post(account)["Location"] == f"/accounts/{world.mt4.pk}/"
    feed = reverse("portal:subscription_resume", args=[subscription.pk])
    assert client.post(feed)["Location"] == "/feeds/"
    with on_behalf_of(world.alice):
        world.mt4.refresh_from_db()
        subscription.refresh_from_db()
    assert (world.mt4.is_paused, subscription.is_paused) == (False, False)


def test_security_page_lists_staff_actions_that_need_it(staff_client: Client) -> None:
    page = " ".join(html_of(staff_client.get("/security/")).split())
    assert "to change users, and to release a kill switch or an epoch." in page
    assert "Pause everything" not in page


def view_names_of(resolver: URLResolver, prefix: str = "") -> set[str]:
    view_names: set[str] = set()
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{prefix}{pattern.namespace}:" if pattern.namespace else prefix
            view_names |= view_names_of(pattern, inner)
        elif pattern.name:
            view_names.add(f"{prefix}{pattern.name}")
    return view_names


def test_every_listed_address_exists() -> None:
    """A renamed address would no longer need the second factor."""
    existing = view_names_of(get_resolver())
    assert existing >= REAUTHENTICATED_VIEWS
    assert {name for name, _method in REAUTHENTICATED_API_CALLS} <= existing
    with pytest.raises(NoReverseMatch):
        reverse("portal:no_such_name")


def test_administrators_reset_others_factors_and_never_their_own(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    world.olga.is_superuser = True
    with connection.cursor() as cursor:  # only the owner of the tables can do this
        cursor.execute("RESET ROLE")
        world.olga.save()
        cursor.execute("SET ROLE fillcast_web")
    enrol_factor(world.alice)
    client = signed_in(world.olga)
    page = reverse("admin:users_user_reset_second_factor", args=[world.alice.pk])
    assert "Reset the second factor of alice?" in html_of(client.get(page))
    assert client.post(page).status_code == 302
    with for_all_tenants():
        assert not SecondFactor.objects.exists()
        assert not RecoveryCode.objects.exists()
    enrol_factor(world.olga)
    client = signed_in(world.olga)
    set_factor_age(client, world.olga, 0)
    client.post(reverse("admin:users_user_reset_second_factor", args=[world.olga.pk]))
    assert SecondFactor.objects.filter(user=world.olga).exists()
    assert signed_in(world.alice).post(page).status_code == 302  # to sign-in
    with connection.cursor() as cursor:  # on the machine itself
        cursor.execute("RESET ROLE")
        call_command("reset_second_factor", "olga")
        assert not SecondFactor.objects.exists()
        cursor.execute("SET ROLE fillcast_web")


def test_administrator_cannot_reset_users_with_more_rights(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    """An administrator who lacks a right ranks below a full administrator."""
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
        oscar = User.objects.create_user("oscar", password=PASSWORD)
        change_rights(oscar.pk, by=None, roles=[Role.ADMINISTRATOR])
        lesser = User.objects.create_user("lesser", password=PASSWORD, is_staff=True)
        names = [Right.READ.value, Right.USERS.value]
        lesser.user_permissions.set(Permission.objects.filter(codename__in=names))
        enrol_factor(oscar)
        cursor.execute("SET ROLE fillcast_web")
    with on_behalf_of(lesser), pytest.raises(NotAllowedError) as refused:
        second_factor.reset(oscar.pk, by=lesser)
    assert refused.value.code is Code.RIGHTS_ABOVE_OWN
    assert SecondFactor.objects.filter(user=oscar).exists()


def test_second_factor_can_be_turned_off_where_it_is_optional(
    world: World, signed_in: SignedIn, as_web: None, settings: Any
) -> None:
    set_setting("users.staff_second_factor", True)
    for user in (world.alice, world.olga):
        enrol_factor(user)
        client = signed_in(user)
        set_factor_age(client, user, 0)
        assert client.post("/security/turn-off/").status_code == 302
    assert [factor.user for factor in SecondFactor.objects.all()] == [world.olga]


def test_codes_fail_when_the_secret_key_was_changed(
    world: World, as_web: None, settings: Any
) -> None:
    """Recovery codes are still valid."""
    first, *_ = enrol_factor(world.alice)
    settings.SECRET_KEY = "another key of more than thirty-two characters"
    client = Client()
    sign_in(client, "alice")
    assert client.post("/login/code/", {"code": current_code()}).status_code == 422
    assert client.post("/login/code/", {"code": first}).status_code == 302


def test_codes_are_those_of_rfc_6238() -> None:
    secret = b"12345678901234567890"
    at = {59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"}
    assert {time: one_time_codes.code_at(secret, time // 30) for time in at} == at
