"""Access to the portal's pages: tests are generated for every address, new ones included."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, reverse

from portal.urls import urlpatterns
from tests.html import html_of
from tests.matrix import WALK_TIME, Rows, Walk, as_role, unrendered
from tests.portal.conftest import SignedIn
from tests.portal.factories import PASSWORD, World

FEED_PAGES = (
    "feed_record", "feed_proof", "feed_record_show", "public_record", "public_proof",
    "preflight_csv",
)  # fmt: skip
OPEN = {"sign_in", "sign_out", "reason", "public_record", "public_proof"}
pytestmark = pytest.mark.usefixtures("private_feeds")
OWN_ARGUMENTS: dict[str, Callable[[World, str], Any]] = {  # arguments that name a user's object
    "signal": lambda w, username: {"pk": (w.euro if username == "alice" else w.bobs_signal).pk},
    "feed_alert_log": lambda w, username: {"slug": f"of-{username}"},
    **dict.fromkeys(
        ("order_cancel", "order_change"),
        lambda w, username: {"pk": (w.working if username == "alice" else w.bobs_order).pk},
    ),
    **dict.fromkeys(
        (
            "position",
            "position_close_part",
            "position_levels",
            "position_break_even",
            "position_trailing",
            "close",
        ),
        lambda w, username: {"pk": (w.unprotected if username == "alice" else w.bobs_position).pk},
    ),
    "reason": lambda w, username: {"code": "NO_MONEY"},
    "results_csv": lambda w, username: {"table": "trades"},
    "results_month": lambda w, username: {"year": 2026, "month": 3},
    **dict.fromkeys(
        (
            "alerts",
            "alert_mapping",
            "alert_address_new",
            "telegram",
            "telegram_token",
            "telegram_pause",
            "telegram_resume",
            "telegram_remove",
            "telegram_forwarding",
        ),
        lambda w, username: {"slug": w.addresses[username].feed.slug},
    ),
    **dict.fromkeys(
        ("telegram_chat", "telegram_chat_end"),
        lambda w, username: {
            "slug": w.addresses[username].feed.slug,
            "pk": w.telegram_chats[username].pk,
        },
    ),
    **dict.fromkeys(
        ("alert_address_replace", "alert_address_revoke"),
        lambda w, username: {
            "slug": w.addresses[username].feed.slug,
            "pk": w.addresses[username].pk,
        },
    ),
    **dict.fromkeys(
        ("subscribe", "preflight", "feed_end", *FEED_PAGES),
        lambda w, username: {"slug": w.carry.slug},
    ),
    **dict.fromkeys(
        ("history", "history_csv", "history_json"), lambda w, username: {"table": "orders"}
    ),
    "scoped_action": lambda w, username: {
        "pk": (w.scoped if username == "alice" else w.bobs_scoped).pk
    },
    **dict.fromkeys(
        ("loss_limit_edit", "loss_limit_remove"),
        lambda w, username: {"pk": (w.limit if username == "alice" else w.bobs_limit).pk},
    ),
    "entries_resume": lambda w, username: {
        "pk": (w.pause if username == "alice" else w.bobs_pause).pk
    },
    **dict.fromkeys(
        ("preset_edit", "preset_assign", "preset_remove", "preset_loss_limit"),
        lambda w, username: {"pk": (w.own_preset if username == "alice" else w.bobs_preset).pk},
    ),
    "notification_read": lambda w, username: {
        "pk": (w.notification if username == "alice" else w.bobs_notification).pk
    },
}


OF_FEED = (
    "feed_terms", "publishing_feed", "publishing_followers", "publishing_approval",
    "publishing_withdraw", "publishing_archive", "publishing_settings", "publishing_terms",
    "publishing_signals", "publishing_choose", "publishing_open", "publishing_modify",
    "publishing_close", "publishing_drafts",
)  # fmt: skip


def _of_feed(row: str) -> Callable[[World, str], Any]:
    """Return the arguments of a page about a row of a tenant's own feed; '' for the feed."""

    def arguments(world: World, username: str) -> dict[str, Any]:
        prefix = "" if username == "alice" else "bobs_"
        slug = {"slug": getattr(world, f"{prefix}own").slug}
        return slug | ({"pk": getattr(world, f"{prefix}{row}").pk} if row else {})

    return arguments


OWN_ARGUMENTS |= dict.fromkeys(OF_FEED, _of_feed(""))
OWN_ARGUMENTS |= dict.fromkeys(
    ("publishing_signal", "publishing_signal_publish", "publishing_signal_cancel"),
    _of_feed("waiting"),
)
OWN_ARGUMENTS |= dict.fromkeys(
    ("publishing_draft", "publishing_draft_publish", "publishing_draft_discard"), _of_feed("draft")
)


def names() -> Iterator[str]:
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        assert pattern.name
        yield pattern.name


def args(world: World, name: str, username: str) -> dict[str, Any]:
    """Return the arguments of the address of an object of `username`."""
    pattern = next(p for p in urlpatterns if p.name == name)
    if not pattern.pattern.converters:
        return {}
    if name in OWN_ARGUMENTS:
        arguments: dict[str, Any] = OWN_ARGUMENTS[name](world, username)
        return arguments
    if name.startswith("difference"):
        return {"pk": (world.difference if username == "alice" else world.bobs_difference).pk}
    if "subscription" in name:
        return {
            "pk": (world.subscriptions[0] if username == "alice" else world.bobs_subscription).pk
        }
    return {"pk": (world.mt5 if username == "alice" else world.bobs).pk}


PRIVATE = [name for name in names() if name not in OPEN]
# Public feeds, and what shows one's own rows whatever its address names.
WITHOUT_OWNER = {
    "subscribe", "preflight", "reason", "feed_end", "results_csv", "results_month",
    "history", "history_csv", "history_json", *FEED_PAGES,
}  # fmt: skip
WITH_OWNER = [p.name for p in urlpatterns if p.pattern.converters and p.name not in WITHOUT_OWNER]
TABLES = (
    "connections_executionconnection", "connections_connectionhealth", "connections_subscription",
    "connections_killswitch", "execution_order", "positions_executionposition",
    "events_notification", "execution_driftitem", "connections_tradingpause",
    "connections_cashflow", "connections_losslimit", "connections_subscriptionroute",
    "connections_subscriptiontwin",
    "execution_scopedaction", "signals_feed", "signals_signal", "signals_saveddraft",
    "signals_feedterms", "signals_approvalrequest",
)  # fmt: skip


@WALK_TIME
@pytest.mark.parametrize("role", ["fillcast_web", "NONE"])  # querysets alone must suffice, too
def test_objects_of_another_tenant_are_not_found(
    world: World, signed_in: SignedIn, role: str
) -> None:
    """Own ones are found: test_roles.py."""
    before, client = Rows(TABLES), signed_in(world.alice)
    with Walk(client) as walk:
        for name in walk.each(name for name in names() if name in WITH_OWNER):
            address = reverse(f"portal:{name}", kwargs=args(world, name, "bob"))
            with walk.cell(f"GET {name} of Bob", f"alice ({role})") as cell:
                with as_role(role):
                    response = client.get(address)
                cell.expect(404, response.status_code)
                shows_bob = bool(re.search(rb"\bBob\b", b"".join(response)))
                cell.expect(False, shows_bob, "shows Bob's name")
                cell.expect_unchanged(before)
            with walk.cell(f"POST {name} of Bob", f"alice ({role})") as cell:
                with as_role(role), unrendered():
                    response = client.post(address, {"fraction": "1"})
                cell.expect(404, response.status_code)
                cell.expect_unchanged(before)


@WALK_TIME
def test_lists_contain_no_rows_of_others(world: World, signed_in: SignedIn, as_web: None) -> None:
    client = signed_in(world.alice)
    with Walk(client) as walk:
        for name in walk.each((
            "overview", "signals", "positions", "working_orders", "accounts", "feeds", "inbox",
            "results",
        )):  # fmt: skip
            with walk.cell(name, "alice") as cell:
                page = html_of(client.get(reverse(f"portal:{name}")))
                is_named = bool(re.search(r"\bBob\b", page))  # as a word: a token is random letters
                cell.expect(False, is_named, "names Bob")
                cell.expect(False, "NZD/USD" in page, "has Bob's pair")


def test_sign_in_redirects_tenants_home_and_operators_to_the_console(
    world: World, as_web: None
) -> None:
    for name, home in (("alice", "/"), ("olga", "/admin/")):
        client = Client()
        typed = {"username": name, "password": PASSWORD}
        assert client.post("/login/", typed)["Location"] == home
    client.logout()


def test_wrong_password_is_explained_and_the_name_kept(world: World, as_web: None) -> None:
    response = Client().post("/login/", {"username": "alice", "password": "guess"})
    page = html_of(response)
    assert response.status_code == 200
    assert "is wrong" in page
    assert 'value="alice"' in page
    assert "guess" not in page


def test_eleventh_guess_is_not_checked(world: World, as_web: None) -> None:
    client = Client(headers={"user-agent": "x"})
    with transaction.atomic():
        for _ in range(11):
            response = client.post("/login/", {"username": "alice", "password": "guess"})
    assert response.status_code == 429
    assert "Wait 15 minutes" in html_of(response)
    assert "Content-Security-Policy" in response
    right = client.post("/login/", {"username": "alice", "password": PASSWORD})
    assert right.status_code == 429


def test_signing_out_needs_a_post(world: World, signed_in: SignedIn, as_web: None) -> None:
    client = signed_in(world.alice)
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/")["Location"].startswith("/login/")


def test_form_without_its_csrf_token_changes_nothing(world: World, as_web: None) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.alice)
    response = client.post(reverse("portal:pause"))
    assert (response.status_code, b"Nothing was done" in response.content) == (403, True)


def test_unknown_address_is_not_found(world: World, as_web: None) -> None:
    response = Client().get("/no-such-page/")
    assert (response.status_code, b"Page not found" in response.content) == (404, True)


def test_polling_panel_reloads_the_page_when_signed_out(world: World, as_web: None) -> None:
    response = Client().get("/live/", headers={"hx-request": "true"})
    assert (response.status_code, response["HX-Refresh"], response.content) == (200, "true", b"")
