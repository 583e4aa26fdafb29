"""Every page, list, form and action of the console × every role (role_matrix.py)."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.test import Client, RequestFactory
from django.urls import NoReverseMatch, URLPattern, get_resolver, reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from common.permissions import Role
from config import urls  # noqa: F401  # registers the admin's pages
from connections.models import KillSwitch, Subscription, TradingPreset
from execution.disaster_recovery.epochs import current_epoch
from execution.models import DriftItem, ScopedAction, Status
from signals.feeds import create_feed_token
from signals.models import Approval, ApprovalRequest
from tests.console import seed
from tests.console.role_matrix import LISTS, PAGES, READERS, Page
from tests.html import html_of
from tests.loss_limits import pause_of
from tests.roles import staff
from users.invitations import invite
from users.models import User
from users.services import create_api_key

LETTERS = {
    "A": (Role.ADMINISTRATOR,),
    "O": (Role.OPERATOR,),
    "R": (Role.RISK_OFFICER,),
    "S": (Role.SUPPORT,),
    "N": (),
}
COUNTS = {("PENDING", ""): 1, ("FAILED", "NEVER_ARRIVED"): 1, ("FILLED", ""): 1}
OUR_SIDE = {"side": "SELL", "quantity": "40000", "entry_price": "1.38254", "stop_loss": None,
        "take_profit": None}  # fmt: skip
EVIDENCE = {"symbol": "EURUSD", "ours": OUR_SIDE, "theirs": None, "differs": "",
            "broker_position_id": "k", "client_order_id": ""}  # fmt: skip
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


def test_every_address_and_list_is_in_the_matrix() -> None:
    lists = {f"{name.replace('.', '_')}_{kind}" for name in LISTS for kind in OF_LISTS}
    assert console_names() == set(PAGES) | lists
    assert {label(model) for model in admin.site._registry} == set(LISTS)


@pytest.fixture
def rows(small: dict[str, Any]) -> dict[str, Any]:
    """Return the rows that the pages are about, by their names in the matrix."""
    feed, provider, connection = small["feed"], small["provider"], small["connections"][0]
    published = seed.signal(feed, provider, candidate_count=3)
    orders = seed.orders(published, small["connections"], COUNTS)
    by_status = {order.status: order for order in orders}
    position = seed.position(by_status[Status.FILLED])
    key, _ = create_api_key(provider, "k")
    token, _ = create_feed_token(feed)
    return {
        "": None, "app": ["signals"], "code": ["NO_PRESET"],
        "type": [ContentType.objects.get_for_model(KillSwitch).pk, 1],
        "waiting": small["waiting"], "signal": published,
        "unapproved": seed.signal(feed, approval=Approval.PENDING),
        "pending": by_status[Status.PENDING], "failed": by_status[Status.FAILED],
        "position": position, "connection": connection,
        "drift": DriftItem.objects.create(
            kind="POSITION_MISSING", connection=connection, key="k",
            position_id=position.pk, evidence=EVIDENCE,
        ),
        "subscription": Subscription.objects.filter(connection=connection).get(),
        "switch": KillSwitch.objects.create(
            scope="FEED", mode="REDUCING", feed=feed, reason="r", set_by=small["operator"]
        ),
        "scoped": ScopedAction.objects.create(
            cancels_entries=True, closes_positions=False, scope={}, scope_name="everything"
        ),
        "pause": pause_of(connection),
        "request": ApprovalRequest.objects.create(feed=feed, requested_by=provider),
        "epoch": current_epoch(), "feed": feed, "token": token, "key": key,
        "invitation": invite("for Zoe", by=None)[0],
        "tenant": User.objects.get(username="tenant-01"),
    }  # fmt: skip


@pytest.fixture
def team(rows: dict[str, Any]) -> dict[str, Client]:
    """Return a signed-in client for each role."""
    clients = {}
    for letter, roles in LETTERS.items():
        clients[letter] = Client(raise_request_exception=False)
        clients[letter].force_login(staff(*roles, name=f"staff-{letter}"))
    return clients


def address(name: str, page: Page, rows: dict[str, Any]) -> str:
    row = rows[page.on]
    args = row if isinstance(row, list) else [row.pk] if row is not None else []
    return reverse(f"admin:{name}", args=args) + page.query


def fault(response: Any, letter: str, roles: str) -> str:
    """Return what is wrong with a response, or an empty text.

    Refused callers get 403, with the code of the missing right and who gives it.
    """
    if letter == "N" and roles == READERS and response.status_code == 404:
        fits = True  # pages that they may not read are not found
    elif letter in roles:
        fits = response.status_code in (200, 302, 400, 404, 405, 422)
    else:
        html = html_of(response)
        fits = response.status_code == 403 and (
            "PERMISSION_DENIED" in html if not roles and letter != "N" else GIVEN_BY in html
        )
    return "" if fits else f"{letter}: {response.status_code}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pages_are_open_to_the_roles_of_the_matrix(
    rows: dict[str, Any], team: dict[str, Client]
) -> None:
    faults = []
    for name, page in PAGES.items():
        path = address(name, page, rows)
        for letter, client in team.items():
            for method in ("get", "post"):
                if name == "logout" and method == "get":
                    continue
                with transaction.atomic():
                    response = getattr(client, method)(path)
                    if wrong := fault(response, letter, page.roles):
                        faults.append(f"{method} {name} {wrong}")
                    transaction.set_rollback(True)
    assert not faults, "\n".join(faults)


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_lists_and_forms_are_open_to_the_roles_of_the_matrix(team: dict[str, Client]) -> None:
    faults = []
    for name, kinds in LISTS.items():
        at = f"admin:{name.replace('.', '_')}"
        none = (
            "00000000-0000-4000-8000-000000000000"
            if name.endswith("executionconnection")
            else "10000000"
        )
        for letter, client in team.items():
            results = [("list", fault(client.get(reverse(f"{at}_changelist")), letter, kinds.read))]
            for kind in ("add", "change", "delete"):
                path = reverse(f"{at}_{kind}", args=[] if kind == "add" else [none])
                results.append((kind, fault(client.post(path), letter, getattr(kinds, kind))))
            faults += [f"{name} {kind} {wrong}" for kind, wrong in results if wrong]
    assert not faults, "\n".join(faults)


def test_actions_on_several_rows_are_offered_by_role(rows: dict[str, Any]) -> None:
    """Django executes only the actions that a list offers."""
    for model, model_admin in admin.site._registry.items():
        kinds = LISTS[label(model)]
        for letter, roles in LETTERS.items():
            request: Any = RequestFactory().get("/")
            request.user = staff(*roles)
            offered = set(model_admin.get_actions(request))
            expected = set(kinds.actions) if letter in kinds.act else set()
            assert offered == expected, (model, letter)


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


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_buttons_are_displayed_to_the_roles_that_may_use_them(
    rows: dict[str, Any], team: dict[str, Client]
) -> None:
    """On every page and list, no link and no form leads to a refusal."""
    reading = [address(name, page, rows) for name, page in PAGES.items() if page.roles == "AORS"]
    paths = [path for path in reading if "/r/" not in path and not path.endswith(".csv")]
    paths += [
        reverse("admin:signals_signal_page", args=[rows["unapproved"].pk]),
        reverse("admin:execution_order_page", args=[rows["failed"].pk]),
    ]
    paths += [reverse(f"admin:{name.replace('.', '_')}_changelist") for name in LISTS]
    acting = {name: page for name, page in PAGES.items() if page.roles in ("AO", "AOR", "A")}
    seen: dict[str, set[str]] = {letter: set() for letter in "AORS"}
    for letter, buttons in seen.items():
        for path in paths:
            html = html_of(team[letter].get(path))
            buttons.update(n for n, page in acting.items() if f'"{address(n, page, rows)}"' in html)
    for letter, buttons in seen.items():
        assert buttons <= {name for name, page in acting.items() if letter in page.roles}, letter
    # Not applicable to these rows: no prices to share, an epoch that is not open, no second factor.
    hidden = {"connections_executionconnection_offer_prices", "auth_user_password_change",
              "connections_executionconnection_own_prices",
              "connections_epoch_release", "users_user_reset_second_factor"}  # fmt: skip
    hidden |= {f"execution_driftitem_{action}" for action in ("adopt", "relink", "close", "ignore")}
    assert set(acting) - seen["A"] <= hidden
    with pytest.raises(NoReverseMatch):
        reverse("admin:no_such_page")
