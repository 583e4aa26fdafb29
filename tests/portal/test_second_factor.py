"""The second factor at both sign-in pages, its enrolment, and where it is asked again."""

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
from drf_spectacular.generators import SchemaGenerator

from common.errors import InvalidInputError, NotAllowedError
from common.permissions import Right, Role
from common.reason_codes import Code
from config.middleware.second_factor import REAUTHENTICATED_API_CALLS, REAUTHENTICATED_VIEWS
from connections.models import ExecutionConnection
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import PASSWORD, World
from users import one_time_codes, second_factor
from users.models import RecoveryCode, SecondFactor, TryCount, User
from users.services import change_rights, create_api_key
from users.session_factor import FRESH_SECONDS, SESSION_KEY
from users.tenancy import for_all_tenants, on_behalf_of

DOORS = [("alice", "/login/"), ("olga", "/login/"), ("olga", "/admin/login/")]
SECRET = b"twenty bytes, fixed!"


def now_step() -> int:
    return int(time.time()) // one_time_codes.STEP_SECONDS


def present_code(ahead: int = 0) -> str:
    return one_time_codes.code_at(SECRET, now_step() + ahead)


def give_factor(user: User) -> list[str]:
    """Enrol an app whose codes of now and later are not used; return the recovery codes."""
    try:
        return second_factor.enrol(user, SECRET, present_code(-1))
    except InvalidInputError:  # that code went out of date at this very moment
        return second_factor.enrol(user, SECRET, present_code(-1))


def sign_in(client: Client, name: str, door: str = "/login/", next_page: str = "") -> Any:
    data = {"username": name, "password": PASSWORD, "next": next_page}
    return client.post(door, data)


def is_signed_in(client: Client) -> bool:
    return client.get("/security/").status_code == 200


@pytest.mark.parametrize(("name", "door"), DOORS)
def test_both_pages_ask_for_it_and_the_password_alone_opens_nothing(
    world: World, as_web: None, name: str, door: str
) -> None:
    give_factor(getattr(world, name))
    client = Client()
    assert sign_in(client, name, door)["Location"] == "/login/code/"
    assert not is_signed_in(client)
    assert client.get("/api/v1/me/").status_code == 401
    assert client.get("/admin/").status_code == 302
    asked = client.get("/login/code/")
    assert "recovery codes" in html_of(asked)
    assert "reset_second_factor" in html_of(asked)
    wrong = client.post("/login/code/", {"code": "000000"})
    assert (wrong.status_code, is_signed_in(client)) == (422, False)
    right = client.post("/login/code/", {"code": present_code()})
    assert right["Location"] == ("/admin/" if name == "olga" else "/")
    assert is_signed_in(client)


def test_a_code_counts_once(world: World, as_web: None) -> None:
    give_factor(world.alice)
    code = present_code()
    for status in (302, 422):
        client = Client()
        sign_in(client, "alice")
        assert client.post("/login/code/", {"code": code}).status_code == status
    assert not is_signed_in(client)


def test_a_recovery_code_counts_once_and_is_stored_as_a_hash(world: World, as_web: None) -> None:
    first, *others = give_factor(world.alice)
    for status in (302, 422):
        client = Client()
        sign_in(client, "alice")
        assert client.post("/login/code/", {"code": first.upper()}).status_code == status
    with for_all_tenants():
        stored = {row.code_hash for row in RecoveryCode.objects.all()}
    assert len(stored) == 10
    assert not stored & {first, *others, first.replace("-", "")}


def test_ten_wrong_codes_rest_even_for_the_right_one(world: World, as_web: None) -> None:
    give_factor(world.alice)
    client = Client()
    sign_in(client, "alice")
    told = [client.post("/login/code/", {"code": f"00000{n}"}).status_code for n in range(10)]
    assert told == [422] * 10
    assert client.post("/login/code/", {"code": present_code()}).status_code == 429
    assert TryCount.objects.get(scope="second factor").tries == 10
    assert not is_signed_in(client)


def test_staff_who_must_have_one_set_it_up_first_and_can_do_nothing_else(
    world: World, as_web: None, settings: Any
) -> None:
    settings.FILLCAST_STAFF_SECOND_FACTOR = True
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
    given = client.post("/login/first/", {"code": one_time_codes.code_at(secret, now_step())})
    assert html_of(given).count("<li><code>") == 10
    assert is_signed_in(client)
    assert sign_in(Client(), "alice")["Location"] == "/"  # tenants are free to


def test_sessions_of_staff_from_before_it_was_required_end(
    world: World, signed_in: SignedIn, as_web: None, settings: Any
) -> None:
    client = signed_in(world.olga)
    assert client.get("/admin/").status_code == 200
    settings.FILLCAST_STAFF_SECOND_FACTOR = True
    assert client.get("/admin/").status_code == 302
    assert not is_signed_in(client)


def test_everybody_sets_it_up_with_their_password_and_other_sessions_end(
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
    given = mine.post("/security/enrol/", {"code": code, "password": PASSWORD})
    assert html_of(given).count("<li><code>") == 10
    assert is_signed_in(mine)
    assert not is_signed_in(elsewhere)
    factor = SecondFactor.objects.get()
    assert secret not in bytes(factor.sealed_secret)


def shown(client: Client, user: User, seconds_ago: float) -> None:
    """Let a session have shown the second factor so long ago."""
    session = client.session
    factor = SecondFactor.objects.get(user=user)
    session[SESSION_KEY] = {"of": factor.enrolled_at.isoformat(), "at": time.time() - seconds_ago}
    session.save()


def test_it_is_asked_again_before_what_matters(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    give_factor(world.alice)
    client = signed_in(world.alice)
    shown(client, world.alice, FRESH_SECONDS + 1)
    page = reverse("portal:credentials", args=[world.mt5.pk])
    for answer in (client.get(page), client.post(page, {"password": "x"})):
        assert answer["Location"].startswith("/security/confirm/?next=%2Faccounts%2F")
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
    assert client.get("/accounts/").status_code == 200  # reading asks for nothing
    to = f"/security/confirm/?next={page}"
    assert client.post(to, {"code": "000000"}).status_code == 422
    assert client.post(to, {"code": present_code()})["Location"] == page
    assert client.get(page).status_code == 200


CONNECTION = {"name": "New", "type": "mt5", "account": "5551", "settings": {"server": "Demo"}}
SECRETS = {"credentials": {"password": "master password"}}


def doors_of_credentials() -> set[tuple[str, str]]:
    """Every operation of the API whose body has credentials in it, by its schema."""
    generator: Any = SchemaGenerator
    schema = generator().get_schema(request=None, public=True)
    components = schema["components"]["schemas"]

    def has_credentials(operation: Any) -> bool:
        contents = operation.get("requestBody", {}).get("content", {}).values()
        names = [one["schema"].get("$ref", "").rsplit("/", 1)[-1] for one in contents]
        return any(
            "credentials" in components.get(name, {}).get("properties", {}) for name in names
        )

    return {
        (method.upper(), path)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        if isinstance(operation, dict) and has_credentials(operation)
    }


def test_every_api_door_for_credentials_asks_again(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    give_factor(world.alice)
    client = signed_in(world.alice)
    shown(client, world.alice, FRESH_SECONDS + 1)
    doors = doors_of_credentials()
    assert ("POST", "/api/v1/connections/") in doors
    assert ("PUT", "/api/v1/connections/{id}/credentials/") in doors
    answers = {}
    for method, path in doors:
        body = CONNECTION | SECRETS if method == "POST" else SECRETS
        address = path.replace("{id}", str(world.mt5.pk))
        answer = client.generic(method, address, json.dumps(body), "application/json")
        answers[method, path] = (answer.status_code, answer.json().get("code"))
    assert answers == dict.fromkeys(doors, (403, "SECOND_FACTOR_NEEDED"))
    with on_behalf_of(world.alice):
        assert not ExecutionConnection.objects.filter(name="New").exists()


def test_connection_without_credentials_or_by_a_key_is_made_without_asking_again(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    give_factor(world.alice)
    client = signed_in(world.alice)
    shown(client, world.alice, FRESH_SECONDS + 1)
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
    shown(client, world.alice, 0)
    fresh = client.post(address, CONNECTION | SECRETS | {"account": "5553"}, "application/json")
    assert (fresh.status_code, fresh.json()["has_credentials"]) == (201, True)


@pytest.mark.parametrize("name", ["alice", "olga"])
def test_form_for_a_new_account_takes_no_credentials(
    world: World, signed_in: SignedIn, as_web: None, name: str
) -> None:
    """Portal and console ask for them on a page of their own, which asks again."""
    user: User = getattr(world, name)
    give_factor(user)
    client = signed_in(user)
    shown(client, user, FRESH_SECONDS + 1)
    page, owner = reverse("portal:account_add"), {}
    if name == "olga":
        page, owner = reverse("admin:connections_executionconnection_add"), {"owner": "alice"}
    secrets = {"password": "x", "credentials": '{"password": "x"}'}
    said = {"name": "New", "type": "mt5", "account": "5551", "settings.server": "Demo", **owner}
    answer = client.post(f"{page}?type=mt5", said | secrets)
    assert answer.status_code == 302, html_of(answer)
    with for_all_tenants():
        made = ExecutionConnection.objects.get(name="New")
    assert made.sealed_credentials is None


def address_with_any_argument(name: str) -> str:
    for arguments in ([], [1], [UUID(int=1)], ["a-slug"]):
        with contextlib.suppress(NoReverseMatch):
            return reverse(name, args=arguments)
    raise AssertionError(f"{name} needs other arguments.")


@pytest.mark.parametrize("name", sorted(REAUTHENTICATED_VIEWS))
def test_listed_page_asks_again(world: World, signed_in: SignedIn, as_web: None, name: str) -> None:
    give_factor(world.olga)
    client = signed_in(world.olga)
    shown(client, world.olga, FRESH_SECONDS + 1)
    for answer in (client.get(page := address_with_any_argument(name)), client.post(page)):
        assert answer.status_code == 302
        assert answer["Location"].startswith("/security/confirm/")


@pytest.mark.parametrize(("name", "method"), sorted(REAUTHENTICATED_API_CALLS))
def test_listed_api_operation_asks_again(
    world: World, signed_in: SignedIn, as_web: None, name: str, method: str
) -> None:
    give_factor(world.olga)
    client = signed_in(world.olga)
    shown(client, world.olga, FRESH_SECONDS + 1)
    page = address_with_any_argument(name)
    answer = client.generic(method, page, "{}", content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "SECOND_FACTOR_NEEDED")


def test_it_is_asked_again_before_a_channel_is_made_or_removed(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    """A channel is a way out for what happens on an account; without one alarms are silent."""
    give_factor(world.alice)
    client, said = signed_in(world.alice), {"name": "hook", "url": "https://hooks.example.com/x"}
    api = "/api/v1/channels/"
    shown(client, world.alice, 0)
    pk = client.post(api, said, "application/json").json()["id"]
    shown(client, world.alice, FRESH_SECONDS + 1)
    for path in ("/channels/create/", f"/channels/{pk}/remove/"):
        for answer in (client.get(path), client.post(path, said)):
            assert answer["Location"].startswith("/security/confirm/?next=%2Fchannels%2F")
    for refused in (client.post(api, said, "application/json"), client.delete(f"{api}{pk}/")):
        assert (refused.status_code, refused.json()["code"]) == (403, "SECOND_FACTOR_NEEDED")
    assert [one["id"] for one in client.get(api).json()["results"]] == [pk]
    assert client.get("/channels/").status_code == 200  # reading asks for nothing
    shown(client, world.alice, 0)
    assert client.post("/channels/create/", said).status_code == 302
    assert client.delete(f"{api}{pk}/").status_code == 204
    assert len(client.get(api).json()["results"]) == 1


def test_where_it_leads_to_is_ours(world: World, signed_in: SignedIn, as_web: None) -> None:
    give_factor(world.alice)
    client = signed_in(world.alice)
    shown(client, world.alice, FRESH_SECONDS + 1)
    away = "/security/confirm/?next=https://elsewhere.example/"
    assert client.post(away, {"code": present_code()})["Location"] == "/security/"


def test_trading_is_resumed_as_the_page_says(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    """All accounts together ask again; one account or subscription paused alone does not."""
    give_factor(world.alice)
    client, taken = signed_in(world.alice), world.taken[0]
    shown(client, world.alice, FRESH_SECONDS + 1)
    page = " ".join(html_of(client.get("/security/")).split())
    assert "to resume trading after “Pause everything”" in page
    assert "You can pause and resume a single account or subscription without it." in page
    together = reverse("portal:resume")
    assert client.post(together)["Location"].startswith("/security/confirm/")
    client.post(reverse("portal:subscription_pause", args=[taken.pk]))
    account = reverse("portal:account_resume", args=[world.mt4.pk])
    assert client.post(account)["Location"] == f"/accounts/{world.mt4.pk}/"
    feed = reverse("portal:subscription_resume", args=[taken.pk])
    assert client.post(feed)["Location"] == "/feeds/"
    with on_behalf_of(world.alice):
        world.mt4.refresh_from_db()
        taken.refresh_from_db()
    assert (world.mt4.is_paused, taken.is_paused) == (False, False)


def test_staff_read_what_asks_them_again(world: World, signed_in: SignedIn, as_web: None) -> None:
    give_factor(world.olga)
    client = signed_in(world.olga)
    shown(client, world.olga, FRESH_SECONDS + 1)
    page = " ".join(html_of(client.get("/security/")).split())
    assert "to change users, and to release a kill switch or an epoch." in page
    assert "Pause everything" not in page


def names(resolver: URLResolver, prefix: str = "") -> set[str]:
    found: set[str] = set()
    for one in resolver.url_patterns:
        if isinstance(one, URLResolver):
            inner = f"{prefix}{one.namespace}:" if one.namespace else prefix
            found |= names(one, inner)
        elif one.name:
            found.add(f"{prefix}{one.name}")
    return found


def test_every_address_that_asks_again_is_there() -> None:
    """An address that was renamed would ask nobody."""
    there = names(get_resolver())
    assert there >= REAUTHENTICATED_VIEWS
    assert {name for name, _method in REAUTHENTICATED_API_CALLS} <= there
    with pytest.raises(NoReverseMatch):
        reverse("portal:no_such_name")


def test_another_administrator_resets_it_and_nobody_their_own(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    world.olga.is_superuser = True
    with connection.cursor() as cursor:  # only the owner of the tables makes her one
        cursor.execute("RESET ROLE")
        world.olga.save()
        cursor.execute("SET ROLE fillcast_web")
    give_factor(world.alice)
    client = signed_in(world.olga)
    page = reverse("admin:users_user_reset_second_factor", args=[world.alice.pk])
    assert "Reset the second factor of alice?" in html_of(client.get(page))
    assert client.post(page).status_code == 302
    with for_all_tenants():
        assert not SecondFactor.objects.exists()
        assert not RecoveryCode.objects.exists()
    give_factor(world.olga)
    client = signed_in(world.olga)
    shown(client, world.olga, 0)
    client.post(reverse("admin:users_user_reset_second_factor", args=[world.olga.pk]))
    assert SecondFactor.objects.filter(user=world.olga).exists()
    assert signed_in(world.alice).post(page).status_code == 302  # to signing in
    with connection.cursor() as cursor:  # on the machine, by who administers it
        cursor.execute("RESET ROLE")
        call_command("reset_second_factor", "olga")
        assert not SecondFactor.objects.exists()
        cursor.execute("SET ROLE fillcast_web")


def test_an_administrator_does_not_reset_who_has_more_rights(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    """An administrator's role without one of its rights is no longer above a full administrator."""
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
        oscar = User.objects.create_user("oscar", password=PASSWORD)
        change_rights(oscar.pk, by=None, roles=[Role.ADMINISTRATOR])
        lesser = User.objects.create_user("lesser", password=PASSWORD, is_staff=True)
        names = [Right.READ.value, Right.USERS.value]
        lesser.user_permissions.set(Permission.objects.filter(codename__in=names))
        give_factor(oscar)
        cursor.execute("SET ROLE fillcast_web")
    with on_behalf_of(lesser), pytest.raises(NotAllowedError) as refused:
        second_factor.reset(oscar.pk, by=lesser)
    assert refused.value.code is Code.RIGHTS_ABOVE_OWN
    assert SecondFactor.objects.filter(user=oscar).exists()


def test_turning_it_off_is_for_who_need_not_have_it(
    world: World, signed_in: SignedIn, as_web: None, settings: Any
) -> None:
    settings.FILLCAST_STAFF_SECOND_FACTOR = True
    for user in (world.alice, world.olga):
        give_factor(user)
        client = signed_in(user)
        shown(client, user, 0)
        assert client.post("/security/turn-off/").status_code == 302
    assert [factor.user for factor in SecondFactor.objects.all()] == [world.olga]


def test_a_secret_that_another_key_sealed_does_not_let_anybody_in(
    world: World, as_web: None, settings: Any
) -> None:
    """FILLCAST_SECRET_KEY was changed: no code is right, recovery codes still are."""
    first, *_ = give_factor(world.alice)
    settings.SECRET_KEY = "another key of more than thirty-two characters"
    client = Client()
    sign_in(client, "alice")
    assert client.post("/login/code/", {"code": present_code()}).status_code == 422
    assert client.post("/login/code/", {"code": first}).status_code == 302


def test_codes_are_those_of_rfc_6238() -> None:
    secret = b"12345678901234567890"
    at = {59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"}
    assert {time: one_time_codes.code_at(secret, time // 30) for time in at} == at
