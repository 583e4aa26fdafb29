"""Walks through the pages and lists of the console as each role (role_matrix.py)."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client, RequestFactory
from django.urls import reverse

from common.permissions import Role
from config import urls  # noqa: F401  # registers the admin's pages
from tests.console.bare_layout import bare_layout, bare_requests
from tests.console.role_matrix import LISTS, PAGES, READERS, Page
from tests.console.role_rows import address, rows_of_pages
from tests.html import html_of
from tests.matrix import Cell, Walk, unrendered
from tests.roles import staff
from users.models import User

LETTERS = {
    "A": (Role.ADMINISTRATOR,),
    "O": (Role.OPERATOR,),
    "R": (Role.RISK_OFFICER,),
    "S": (Role.SUPPORT,),
    "N": (),
}
GIVEN_BY = "An administrator gives roles"
# A form without fields is shown again; a row that there is not leads back to the index.
OF_FORMS = {"add": 200, "change": 302, "delete": 302}
OF_LISTS = ("changelist", "add", "change", "delete", "history")


def label(model: Any) -> str:
    return str(model._meta.label_lower)


MODEL_ADMINS = {label(model): one for model, one in admin.site._registry.items()}


def request_of(client: Client) -> Any:
    """Return a request of the user who is signed in, for what decides about access."""
    request: Any = RequestFactory().get("/")
    request.user = User.objects.get(pk=client.session["_auth_user_id"])
    return request


@pytest.fixture
def rows(small: dict[str, Any]) -> dict[str, Any]:
    """Return the rows that the pages are about, by their names in the matrix."""
    return rows_of_pages(small)


@pytest.fixture
def team(rows: dict[str, Any]) -> dict[str, Client]:
    """Return a signed-in client for each role."""
    clients = {}
    for letter, roles in LETTERS.items():
        clients[letter] = Client(raise_request_exception=False)
        clients[letter].force_login(staff(*roles, name=f"staff-{letter}"))
    return clients


def named(letter: str) -> str:
    """Return the role of a letter, for a failure."""
    return ", ".join(LETTERS[letter]) or "no role"


def expect_access(cell: Cell, response: Any, letter: str, roles: str, status: int = 200) -> None:
    """Expect that these roles are answered with a status: 200, if the page is open to them.

    Others get 403, with the code of the missing right and who gives it. What staff without a role
    may not read is not found.
    """
    if letter in roles:
        cell.expect(status, response.status_code)
    elif letter == "N" and roles == READERS:
        cell.expect_one({403, 404}, response.status_code)
    else:
        cell.expect(403, response.status_code)
    if letter not in roles and response.status_code != 404:
        text = "PERMISSION_DENIED" if not roles and letter != "N" else GIVEN_BY
        cell.expect(True, text in html_of(response), f"has “{text}”")


class Buttons:
    """Links and forms that act: none may lead to a refusal.

    allowed: those that a role may use; seen: those that its pages have.
    """

    def __init__(self, rows: dict[str, Any], letter: str) -> None:
        acting = {name: page for name, page in PAGES.items() if page.roles in ("AO", "AOR", "A")}
        self.allowed = {name for name, page in acting.items() if letter in page.roles}
        self.seen: set[str] = set()
        self._marks = {name: f'"{address(name, page, rows)}"' for name, page in acting.items()}

    def look_at(self, cell: Cell, response: Any) -> None:
        html = html_of(response)
        shown = {name for name, mark in self._marks.items() if mark in html}
        cell.expect(set(), shown - self.allowed, "buttons that lead to a refusal")
        self.seen |= shown


# Not applicable to these rows: no prices to share, an epoch that is not open, no second factor.
HIDDEN = {
    "connections_executionconnection_offer_prices", "auth_user_password_change",
    "connections_executionconnection_own_prices",
    "connections_epoch_release", "users_user_reset_second_factor",
    *(f"execution_driftitem_{action}" for action in ("adopt", "relink", "close", "ignore")),
}  # fmt: skip
ON_LISTS = {  # their buttons are on lists alone
    "connections_killswitch_set", "execution_scopedaction_ask", "signals_signal_bracket",
    "signals_signal_oco", "signals_feed_close_trades", "signals_feed_token",
    "users_apikey_create", "users_apikey_revoke",
    *(f"connections_subscription_{action}" for action in ("end", "pause", "priority", "route")),
    *(f"signals_feedtoken_{action}" for action in ("revoke", "rotate")),
    *(f"users_invitation_{action}" for action in ("create", "revoke")),
}  # fmt: skip


def expect_pages(letter: str, rows: dict[str, Any], client: Client) -> Buttons:
    """Open all pages as a role. What they show can be used by who sees it.

    The layout is looked at on the index alone, where it has the same links as elsewhere. Through
    all middleware go this and the requests of administrators.
    """
    buttons = Buttons(rows, letter)
    with Walk(client) as walk:
        with walk.cell("index with its layout", named(letter)) as cell:
            buttons.look_at(cell, client.get(reverse("admin:index")))
        with bare_layout(), nullcontext() if letter == "A" else bare_requests(client):
            walk_pages(walk, client, rows, letter, buttons)
    return buttons


def expect_lists(letter: str, rows: dict[str, Any], client: Client) -> Buttons:
    """Open all lists as a role, and send their forms. What they show can be used by who sees it."""
    buttons = Buttons(rows, letter)
    past = nullcontext() if letter == "A" else bare_requests(client)
    with Walk(client) as walk, bare_layout(), past:
        walk_lists(walk, client, letter, buttons)
    return buttons


def walk_pages(
    walk: Walk, client: Client, rows: dict[str, Any], letter: str, buttons: Buttons
) -> None:
    paths = {name: (address(name, page, rows), page) for name, page in PAGES.items()}
    paths["signals_signal_page, unapproved"] = (
        reverse("admin:signals_signal_page", args=[rows["unapproved"].pk]), Page(READERS),
    )  # fmt: skip
    paths["execution_order_page, failed"] = (
        reverse("admin:execution_order_page", args=[rows["failed"].pk]), Page(READERS),
    )  # fmt: skip
    for name, (path, page) in walk.each(paths.items()):
        roles = page.roles
        has_buttons = roles == READERS and "/r/" not in path and not path.endswith(".csv")
        if name != "logout":
            with walk.cell(f"GET {name}", named(letter)) as cell:
                with rendered(letter, "" if has_buttons else roles):
                    response = client.get(path)
                expect_access(cell, response, letter, roles, page.get)
                if has_buttons and letter in READERS:
                    buttons.look_at(cell, response)
        with walk.cell(f"POST {name}", named(letter)) as cell:
            with rendered(letter, roles):
                response = client.post(path)
            expect_access(cell, response, letter, roles, page.post)


def rendered(letter: str, roles: str) -> AbstractContextManager[None]:
    """Render what is open to several roles for administrators, who see most, and refusals."""
    return unrendered() if letter in roles and letter != "A" else nullcontext()


def walk_lists(walk: Walk, client: Client, letter: str, buttons: Buttons) -> None:
    for name, kinds in walk.each(LISTS.items()):
        at = f"admin:{name.replace('.', '_')}"
        is_uuid = name.endswith("executionconnection")
        none = "00000000-0000-4000-8000-000000000000" if is_uuid else "10000000"
        with walk.cell(f"GET list of {name}", named(letter)) as cell:
            response = client.get(reverse(f"{at}_changelist"))
            expect_access(cell, response, letter, kinds.read)
            if letter in READERS:
                buttons.look_at(cell, response)
        for kind in ("add", "change", "delete"):
            roles = getattr(kinds, kind)
            with walk.cell(f"POST {kind} of {name}", named(letter)) as cell:
                if roles or letter == "A":
                    path = reverse(f"{at}_{kind}", args=[] if kind == "add" else [none])
                    with rendered(letter, roles):
                        response = client.post(path)
                    if kind != "add" and not roles:  # no one may: test_written_by_the_system.py
                        cell.expect(405, response.status_code)
                    else:
                        expect_access(cell, response, letter, roles, OF_FORMS[kind])
                else:  # administrators have every right, and are refused: only this can differ
                    is_open = getattr(MODEL_ADMINS[name], f"has_{kind}_permission")
                    cell.expect(False, is_open(request_of(client)), "may be sent")
