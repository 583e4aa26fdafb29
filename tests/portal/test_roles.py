"""Every page of the portal × every kind of user (role_matrix.py)."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from common.permissions import Role
from common.sql import rows, run
from events.models import WebhookMessage
from events.services import create_channel
from portal.security_urls import urlpatterns as security_urls
from portal.urls import urlpatterns as portal_urls
from portal.visitor_urls import urlpatterns as visitor_urls
from tests.portal.factories import World
from tests.portal.role_matrix import CELLS, CONSOLE, OWN, PAGES, YES
from tests.portal.test_access import TABLES, WITH_OWNER, args
from tests.roles import staff
from tests.sampling import exhaustive
from users.services import create_api_key

pytestmark = pytest.mark.usefixtures("private_feeds")
CONFIRMATION = "security:channel_confirm"
OF_ALICE = frozenset(f"portal:{name}" for name in WITH_OWNER) | {
    "security:key_revoke", "security:channel_test", "security:channel_resend",
    "security:channel_remove", "security:channel", "security:channel_rules",
    "security:channel_secret", "security:message_resend", CONFIRMATION,
}  # fmt: skip
SIGN_IN, TO_CONSOLE, NOT_THERE = "–", "console", "404"
GET_STATUSES, POST_STATUSES = {"200", "302"}, {"200", "302", "405", "422"}
# Signing in and out is tested below.
REQUESTED = [name for name in PAGES if name not in ("portal:sign_in", "portal:sign_out")]
FORM = {"fraction": "1", "name": "changed", "cancel_working": "on"}
# Visitors' links, which are guesses here; sign-up is by invitation only.
DEAD_LINKS = {"visitor:sign_up": {"404"}, "visitor:sign_up_finish": {"404"}} | {
    f"visitor:{name}": {"410"} for name in ("invitation", "reset_password", "confirm_address")
}
Addresses = dict[str, dict[str, Any]]  # the arguments of an address, by its name
ROLES = 2  # the column of staff with a role
Columns = list[tuple[str, int, Client]]  # caller, their column of the matrix, and their client


@pytest.fixture
def alices(world: World) -> Addresses:
    """Return the arguments of the addresses of Alice's own key and channel."""
    key, _secret = create_api_key(world.alice, "report script")
    address = "mailto:alice@example.com"
    channel = create_channel(user_id=world.alice.pk, name="mail", url=address).pk
    arguments: Addresses = {"security:key_revoke": {"pk": key.pk}}
    arguments |= {
        f"security:channel_{action}": {"pk": channel}
        for action in ("test", "resend", "remove", "rules", "secret")
    }
    message = WebhookMessage.objects.create(channel_id=channel, uid="msg_1", events=1)
    arguments |= {
        "security:channel": {"pk": channel},
        "security:channel_new": {"service": "webhook"},
        "security:message_resend": {"pk": message.pk},
    }
    arguments |= {  # guesses
        "visitor:sign_up_finish": {"token": "a:b:c"},
        "visitor:invitation": {"secret": "a" * 32},
        "visitor:reset_password": {"uid": "MQ", "token": "a-b"},
        "visitor:confirm_address": {"token": "a:b:c"},
        "security:session_end": {"reference": "a" * 24},
    }
    return arguments | {CONFIRMATION: {"pk": channel, "code": "a" * 24}}  # a guess


@pytest.fixture
def columns(world: World) -> Columns:
    """Return a visitor, Alice, Nora (a tenant without rows), and staff with each role and none."""
    people = [("visitor", 0, None), ("alice", 1, world.alice), ("nora", 1, world.nora)]
    people += [
        (role.value, ROLES, staff(role, name=f"is-{role.value.replace(' ', '-')}")) for role in Role
    ]
    people.append(("no role", 3, staff(name="no-role")))
    columns = []
    for caller, column, user in people:
        client = Client()
        if user is not None:
            client.force_login(user)
        columns.append((caller, column, client))
    return columns


def address_of(name: str, world: World, alices: Addresses) -> str:
    """Return the address of a page; of Alice's object where it needs one."""
    app, _, short = name.partition(":")
    if app == "portal":
        return reverse(name, kwargs=args(world, short, "alice"))
    return reverse(name, kwargs=alices.get(name))


def outcome(response: Any) -> str:
    """Return where a page redirects callers without access, else its status."""
    to = response.headers.get("Location", "") if response.status_code == 302 else ""
    if to == "/login/" or to.startswith("/login/?next="):
        return SIGN_IN
    return TO_CONSOLE if to == "/admin/" else str(response.status_code)


def existing_rows() -> set[tuple[str, str]]:
    """Return all rows that the portal's pages can change, as the owner of the tables sees them."""
    names = (*TABLES, "events_channel", "users_apikey", "users_secondfactor")
    return {
        (name, row.text) for name in names for row in rows(f"SELECT t::text AS text FROM {name} t")
    }


def expected(name: str, caller: str, column: int, permitted: set[str]) -> set[str]:
    """Return the outcomes that the matrix allows; for Alice's rows, others get 404.

    permitted: the outcomes for callers who may open the page.
    """
    cell = CELLS[PAGES[name]][column]
    if cell == CONSOLE:
        return {TO_CONSOLE}
    if cell not in (OWN, YES):
        return {SIGN_IN}
    is_own = caller == "alice" and name != CONFIRMATION  # it needs a code, which is a guess here
    if name in DEAD_LINKS:
        return DEAD_LINKS[name]
    return {NOT_THERE} if name in OF_ALICE and not is_own else permitted


def test_every_page_is_in_the_matrix() -> None:
    existing = {f"portal:{pattern.name}" for pattern in portal_urls}
    existing |= {f"security:{pattern.name}" for pattern in security_urls}
    existing |= {f"visitor:{pattern.name}" for pattern in visitor_urls}
    assert set(PAGES) == existing


@pytest.mark.parametrize("is_whole", [False, exhaustive(True)], ids=["a role each", "every role"])
def test_each_caller_gets_the_outcome_of_the_matrix(
    world: World, alices: Addresses, columns: Columns, as_web: None, is_whole: bool
) -> None:
    """All roles have one column, so usually each page is opened by one of them in turn."""
    wrong = []
    others = [one for one in columns if one[1] != ROLES]
    of_roles = [one for one in columns if one[1] == ROLES]
    for number, name in enumerate(REQUESTED):
        address = address_of(name, world, alices)
        some = of_roles if is_whole else [of_roles[number % len(of_roles)]]
        for caller, column, client in [*others, *some]:
            actual = outcome(client.get(address))
            if actual not in expected(name, caller, column, GET_STATUSES):
                wrong.append((name, caller, actual))
    assert wrong == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("role", ["fillcast_web", "NONE"])  # querysets alone must suffice, too
def test_post_changes_no_rows_of_others(
    world: World, alices: Addresses, columns: Columns, enqueued: list[Any], role: str
) -> None:
    """All rows belong to Alice and Bob, who do not post; the addresses name Alice's rows."""
    wrong, existing = [], existing_rows()
    for name in REQUESTED:
        address = address_of(name, world, alices)
        run(f"SET ROLE {role}")
        for caller, column, client in columns:
            if caller == "alice":
                continue
            actual = outcome(client.post(address, FORM))
            if actual not in expected(name, caller, column, POST_STATUSES):
                wrong.append((name, caller, actual))
        run("RESET ROLE")
        now = existing_rows()
        wrong += [(name, "changed", f"{table}: {text}") for table, text in existing - now]
        existing = now & existing
    assert wrong == []


@pytest.mark.parametrize("caller", ["visitor", "alice", "olga"])
def test_all_callers_may_sign_in_and_out(world: World, caller: str) -> None:
    client = Client()
    if caller != "visitor":
        client.force_login(getattr(world, caller))
    home = {"visitor": "", "alice": "/", "olga": "/admin/"}[caller]
    response = client.get("/login/")
    assert (response.status_code, response.headers.get("Location", "")) == (
        302 if home else 200,
        home,
    )
    assert client.post("/logout/")["Location"] == "/login/"
