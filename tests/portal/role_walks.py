"""Walks through the pages of the portal as each kind of user (role_matrix.py)."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import resolve, reverse

from common.permissions import Role
from events.models import WebhookMessage
from events.services import create_channel
from tests.html import html_of
from tests.matrix import Cell, Rows, Walk, as_role, unrendered
from tests.portal.factories import World
from tests.portal.no_pages import NO_PAGES
from tests.portal.role_matrix import CELLS, CONSOLE, OWN, PAGES, YES
from tests.portal.test_access import PRIVATE, TABLES, WITH_OWNER, args
from tests.roles import staff
from users.models import User
from users.services import create_api_key

CONFIRMATION = "security:channel_confirm"
OF_ALICE = frozenset(f"portal:{name}" for name in WITH_OWNER) | {
    "security:key_revoke", "security:channel_test", "security:channel_resend",
    "security:channel_remove", "security:channel", "security:channel_rules",
    "security:channel_secret", "security:message_resend", CONFIRMATION,
}  # fmt: skip
SIGN_IN, TO_CONSOLE, NOT_THERE = "–", "console", "404"
# Visitors' links, which are guesses here; sign-up is by invitation only.
DEAD_LINKS = {"visitor:sign_up": {"404"}, "visitor:sign_up_finish": {"404"}} | {
    f"visitor:{name}": {"410"} for name in ("invitation", "reset_password", "confirm_address")
}
Addresses = dict[str, dict[str, Any]]  # the arguments of an address, by its name
ROLES = {role.value: role for role in Role}
WEB = "fillcast_web"  # the role in the database
REDIRECTED = set(ROLES) - {"administrator"}
"""Pages of tenants redirect every role. Administrators, who have all rights, ask for them by HTTP;
these ask only the view, which decides."""
Respond = Callable[..., Any]


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
def user(world: World, caller: str) -> User | None:
    """Return the user of the caller of the test; a visitor has none."""
    if caller in ROLES:
        return staff(ROLES[caller], name=f"is-{caller.replace(' ', '-')}")
    return None if caller == "visitor" else getattr(world, caller, None) or staff(name="no-role")


@pytest.fixture
def client(user: User | None) -> Client:
    """Return a client in which the caller of the test is signed in."""
    found = Client()
    if user is not None:
        found.force_login(user)
    return found


@pytest.fixture
def respond(client: Client, user: Any, caller: str) -> Respond:
    """Return a function that opens a page of an address, or sends it a form."""

    def answer(name: str, address: str, form: Any = None) -> Any:
        if caller in REDIRECTED and CELLS[PAGES[name]][2] == CONSOLE:
            request: Any = getattr(RequestFactory(), "get" if form is None else "post")(address)
            request.user = user
            match = resolve(address)
            return match.func(request, *match.args, **match.kwargs)
        return client.get(address) if form is None else client.post(address, form)

    return answer


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


def expected(name: str, caller: str, permitted: set[str]) -> set[str]:
    """Return the outcomes that the matrix allows; for Alice's rows, others get 404.

    permitted: the outcomes for callers who may open the page.
    """
    columns = {"visitor": 0, "alice": 1, "nora": 1, "no role": 3}
    cell = CELLS[PAGES[name]][columns.get(caller, 2)]
    if cell == CONSOLE:
        return {TO_CONSOLE}
    if cell not in (OWN, YES):
        return {SIGN_IN}
    is_own = caller == "alice" and name != CONFIRMATION  # it needs a code, which is a guess here
    if name in DEAD_LINKS:
        return DEAD_LINKS[name]
    return {NOT_THERE} if name in OF_ALICE and not is_own else permitted


GET_STATUSES, POST_STATUSES = {"200", "302"}, {"200", "302", "405", "422"}
PRIVATE_PAGES = {f"portal:{name}" for name in PRIVATE}
# Signing in and out has a test of its own: test_roles.py.
REQUESTED = [name for name in PAGES if name not in ("portal:sign_in", "portal:sign_out")]
FORM = {"fraction": "1", "name": "changed", "cancel_working": "on"}


def walk_pages(
    caller: str, world: World, alices: Addresses, client: Client, respond: Respond
) -> None:
    """Open each page as a caller.

    Alice's pages are rendered. Those of the others are the same, and their status is judged.
    """
    with Walk(client) as walk, nullcontext() if caller == "alice" else unrendered():
        for name in walk.each(REQUESTED):
            address = address_of(name, world, alices)
            with walk.cell(f"GET {name}", caller) as cell:
                response = respond(name, address)
                cell.expect_one(expected(name, caller, GET_STATUSES), outcome(response))
                if caller == "visitor" and name in PRIVATE_PAGES:
                    cell.expect(f"/login/?next={address}", response["Location"], "Location")
                if caller == "alice" and name in PRIVATE_PAGES:
                    expect_strict_policy(cell, response)
                if caller == "alice" and name in NO_PAGES and response.status_code == 200:
                    cell.expect(False, "<html" in html_of(response), "is a page")


def expect_strict_policy(cell: Cell, response: Any) -> None:
    """Expect that a page loads and runs our own files only, and that no cache keeps it."""
    policy, page = response.get("Content-Security-Policy", ""), html_of(response)
    strict = "script-src 'self'; style-src 'self'"
    cell.expect(strict, strict if strict in policy else policy, "policy")
    cell.expect("private, no-store", response["Cache-Control"], "Cache-Control")
    inline = [code for code in ("style=", "<style", "<script>", " onclick") if code in page]
    cell.expect([], inline, "inline code")


def walk_posts(
    caller: str, role: str, world: World, alices: Addresses, client: Client, respond: Respond
) -> None:
    """Send a form to each page as a caller. All rows belong to Alice and Bob, who do not post."""
    tables = (*TABLES, "events_channel", "users_apikey", "users_secondfactor")
    existing = Rows(tables, may_be_added=True)
    with Walk(client) as walk, unrendered():
        for name in walk.each(REQUESTED):
            with walk.cell(f"POST {name}", f"{caller} ({role})") as cell:
                address = address_of(name, world, alices)
                with as_role(role):
                    response = respond(name, address, FORM)
                cell.expect_one(expected(name, caller, POST_STATUSES), outcome(response))
                cell.expect_unchanged(existing)
