"""Every page, list, form and action of the console × every role (role_matrix.py)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client, RequestFactory
from django.urls import URLPattern, get_resolver, reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from common.permissions import Role
from config import urls  # noqa: F401  # registers the admin's pages
from connections.models import TradingPreset
from tests.console.bare_layout import bare_layout
from tests.console.role_matrix import LISTS, PAGES, READERS
from tests.console.role_rows import address, rows_of_pages
from tests.html import html_of
from tests.matrix import WALK_TIME, Cell, Walk, unrendered
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
OF_LISTS = ("changelist", "add", "change", "delete", "history")


def names_of(resolver: Any) -> Iterator[str]:
    """Yield the names of all addresses below; addresses that only redirect have none."""
    for pattern in resolver.url_patterns:
        if not isinstance(pattern, URLPattern):
            yield from names_of(pattern)
        elif pattern.name:
            yield pattern.name


def console_names() -> set[str]:
    (console,) = (
        pattern
        for pattern in get_resolver().url_patterns
        if getattr(pattern, "app_name", "") == "admin"
    )
    return set(names_of(console))


def label(model: Any) -> str:
    return str(model._meta.label_lower)


MODEL_ADMINS = {label(model): one for model, one in admin.site._registry.items()}


def request_of(client: Client) -> Any:
    """Return a request of the user who is signed in, for what decides about access."""
    request: Any = RequestFactory().get("/")
    request.user = User.objects.get(pk=client.session["_auth_user_id"])
    return request


def test_every_address_and_list_is_in_the_matrix() -> None:
    lists = {f"{name.replace('.', '_')}_{kind}" for name in LISTS for kind in OF_LISTS}
    assert console_names() == set(PAGES) | lists
    assert {label(model) for model in admin.site._registry} == set(LISTS)


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


def expect_access(cell: Cell, response: Any, letter: str, roles: str) -> None:
    """Expect that a page is open to these roles.

    Others get 403, with the code of the missing right and who gives it. What staff without a role
    may not read is not found.
    """
    if letter in roles:
        cell.expect_one({200, 302, 400, 404, 405, 422}, response.status_code)
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
        """Look for them on a page."""
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


@WALK_TIME
@pytest.mark.parametrize("letter", LETTERS)
def test_pages_and_lists_are_open_to_the_roles_of_the_matrix(
    rows: dict[str, Any], team: dict[str, Client], letter: str
) -> None:
    """And what they show can be used by who sees it.

    The layout is looked at on the index alone, where it has the same links as elsewhere.
    """
    buttons, client = Buttons(rows, letter), team[letter]
    with Walk(client) as walk:
        with walk.cell("index with its layout", named(letter)) as cell:
            buttons.look_at(cell, client.get(reverse("admin:index")))
        with bare_layout():
            walk_pages(walk, client, rows, letter, buttons)
            walk_lists(walk, client, letter, buttons)
    if letter == "A":
        assert buttons.allowed - buttons.seen <= HIDDEN


def walk_pages(
    walk: Walk, client: Client, rows: dict[str, Any], letter: str, buttons: Buttons
) -> None:
    paths = {name: (address(name, page, rows), page.roles) for name, page in PAGES.items()}
    paths["signals_signal_page, unapproved"] = (
        reverse("admin:signals_signal_page", args=[rows["unapproved"].pk]), READERS,
    )  # fmt: skip
    paths["execution_order_page, failed"] = (
        reverse("admin:execution_order_page", args=[rows["failed"].pk]), READERS,
    )  # fmt: skip
    for name, (path, roles) in walk.each(paths.items()):
        has_buttons = roles == READERS and "/r/" not in path and not path.endswith(".csv")
        if name != "logout":
            with walk.cell(f"GET {name}", named(letter)) as cell:
                with rendered(letter, "" if has_buttons else roles):
                    response = client.get(path)
                expect_access(cell, response, letter, roles)
                if has_buttons and letter in READERS:
                    buttons.look_at(cell, response)
        with walk.cell(f"POST {name}", named(letter)) as cell:
            with rendered(letter, roles):
                response = client.post(path)
            expect_access(cell, response, letter, roles)


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
                    expect_access(cell, response, letter, roles)
                else:  # administrators have every right, and are refused: only this can differ
                    is_open = getattr(MODEL_ADMINS[name], f"has_{kind}_permission")
                    cell.expect(False, is_open(request_of(client)), "may be sent")


@WALK_TIME
def test_actions_on_several_rows_are_offered_by_role(rows: dict[str, Any]) -> None:
    """Django executes only the actions that a list offers."""
    users = {letter: staff(*roles) for letter, roles in LETTERS.items()}
    with Walk() as walk:
        for model, model_admin in walk.each(admin.site._registry.items()):
            kinds = LISTS[label(model)]
            for letter, user in users.items():
                request: Any = RequestFactory().get("/")
                request.user = user
                with walk.cell(f"actions of {label(model)}", named(letter)) as cell:
                    expected = set(kinds.actions) if letter in kinds.act else set()
                    cell.expect(expected, set(model_admin.get_actions(request)))


def test_actions_on_several_rows_are_executed_by_role(team: dict[str, Client]) -> None:
    every = IntervalSchedule.objects.create(every=5, period="seconds")
    task = PeriodicTask.objects.create(name="sweep", task="sweep", interval=every)
    preset = TradingPreset.objects.create(name="p", risk_percent=1)

    def act(letter: str, path: str, action: str, row: Any) -> None:
        data = {"action": action, "_selected_action": [row.pk], "post": "yes"}
        assert team[letter].post(path, data).status_code in (200, 302, 403)

    for letter in "RSNOA":
        act(letter, "/admin/django_celery_beat/periodictask/", "disable_tasks", task)
        task.refresh_from_db()
        assert task.enabled is (letter != "A"), letter
    for letter in "OSNR":
        act(letter, "/admin/connections/tradingpreset/", "delete_selected", preset)
        assert TradingPreset.objects.filter(pk=preset.pk).exists() is (letter != "R"), letter
