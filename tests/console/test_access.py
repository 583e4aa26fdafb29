"""Access to the console: operators open every page, others none, and no page reveals secrets."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from common.permissions import Role
from common.web.admin import is_hidden
from config import urls  # noqa: F401  # registers the admin's pages
from execution.disaster_recovery.epochs import current_epoch
from tests.console.bare_layout import bare_layout
from tests.console.seed import CANARY
from tests.html import html_of
from tests.matrix import WALK_TIME, Cell, Walk
from tests.roles import staff
from users.models import User

Page = Callable[..., str]
LISTS = [
    f"/admin/{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry
]


def pages_of(rows: dict[str, Any]) -> list[str]:
    """Return one address of each of the console's own pages."""
    signal, waiting, connection = rows["signal"], rows["waiting"], rows["connections"][0]
    failed = next(order for order in rows["orders"] if order.status == "FAILED")
    order, position = rows["orders"][0], rows["position"]
    at = {
        "signals_signal_page": signal, "signals_signal_export": signal,
        "signals_signal_cancel": signal, "signals_signal_publish": waiting,
        "execution_order_page": order, "execution_order_retry": failed,
        "positions_executionposition_page": position,
        "positions_executionposition_close": position,
        "connections_executionconnection_page": connection,
        "connections_executionconnection_checks": connection,
        "connections_executionconnection_credentials": connection,
        "connections_executionconnection_edit": connection,
        "connections_executionconnection_archive": connection,
        "execution_driftitem_page": rows["drift"],
        "execution_driftitem_adopt": rows["drift"],
        "execution_driftitem_relink": rows["drift"],
        "execution_driftitem_close": rows["drift"],
        "execution_driftitem_ignore": rows["drift"],
        "connections_killswitch_release": rows["switch"],
        "connections_epoch_page": current_epoch(),
        "connections_epoch_release": current_epoch(),
        "signals_feed_token": rows["feed"],
    }  # fmt: skip
    named = [reverse(f"admin:{name}", args=[row.pk]) for name, row in at.items()]
    alone = ["index", "console_live", "console_trail", "connections_killswitch_set",
             "connections_executionconnection_add", "users_apikey_create",
             "signals_signal_add"]  # fmt: skip
    waiting_page = reverse("admin:signals_signal_page", args=[waiting.pk])
    return [waiting_page, *named, *(reverse(f"admin:{name}") for name in alone)]


@WALK_TIME
def test_operators_open_every_page_and_see_no_secret(world: dict[str, Any], client: Client) -> None:
    """On our own pages there is no inline code."""
    client.force_login(world["operator"])
    ours = pages_of(world)
    assert CANARY not in html_of(client.get(reverse("admin:index"))), "in the layout"
    with Walk(client) as walk, bare_layout():
        for path in walk.each([*ours, *LISTS]):
            with walk.cell(path, "operator") as cell:
                response = client.get(path)
                cell.expect(200, response.status_code)
                html = html_of(response)
                cell.expect(False, CANARY in html, "shows a secret")
                if path in ours:
                    expect_no_inline_code(cell, html)


def expect_no_inline_code(cell: Cell, html: str) -> None:
    own = html.partition('class="fc fc-page')[2] or html
    own = own.partition('id="modal-overlay"')[0].partition("<footer")[0]
    styled = own.partition("</main>")[0].partition("x-data")[0]
    cell.expect(False, " style=" in styled, "has a style")
    cell.expect(False, " onclick=" in own, "has a script")


@pytest.mark.parametrize("caller", ["visitor", "tenant"])
@WALK_TIME
def test_visitors_and_tenants_are_sent_to_sign_in(
    world: dict[str, Any], client: Client, caller: str
) -> None:
    if caller == "tenant":
        client.force_login(User.objects.get(username="tenant-01"))
    with Walk(client) as walk:
        for path in walk.each([*pages_of(world), *LISTS]):
            with walk.cell(path, caller) as cell:
                response = client.get(path)
                cell.expect(302, response.status_code)
                to = response.headers.get("Location", "").partition("?")[0]
                cell.expect("/admin/login/", to, "Location")


def test_support_reads_and_changes_nothing(small: dict[str, Any], client: Client) -> None:
    client.force_login(staff(Role.SUPPORT))
    signal, connection = small["waiting"].pk, small["connections"][0].pk
    assert client.get(f"/admin/signals/signal/{signal}/").status_code == 200
    for path in (
        f"/admin/signals/signal/{signal}/publish/",
        f"/admin/signals/signal/{signal}/cancel/",
        f"/admin/connections/executionconnection/{connection}/credentials/",
        f"/admin/connections/executionconnection/{connection}/test/",
        "/admin/connections/killswitch/set/",
    ):
        assert client.post(path).status_code == 403, path
    small["waiting"].refresh_from_db()
    assert small["waiting"].published_at is None


def test_tables_written_by_the_system_take_no_changes(
    world: dict[str, Any], client: Client
) -> None:
    client.force_login(world["operator"])
    for name in ("execution/executionlog", "execution/fill", "execution/order", "events/event",
                 "positions/executionposition", "analytics/analyticsdaily"):  # fmt: skip
        assert client.post(f"/admin/{name}/add/").status_code == 403, name
    order = world["orders"][0].pk
    assert client.post(f"/admin/execution/order/{order}/delete/").status_code == 405
    assert client.post(f"/admin/execution/order/{order}/change/").status_code == 405


def hidden_columns() -> list[tuple[str, str]]:
    """Return the list and the name of each column whose value no page shows."""
    return [
        (f"/admin/{model._meta.app_label}/{model._meta.model_name}/", field.name)
        for model in admin.site._registry
        for field in model._meta.concrete_fields
        if is_hidden(field)
    ]


@WALK_TIME
def test_lists_cannot_be_searched_by_a_hidden_value(small: dict[str, Any], client: Client) -> None:
    """Else staff who only read find a digest out, letter by letter, by what a list then shows."""
    client.force_login(staff(*Role, name="reader"))
    found = hidden_columns()
    for known in (
        ("/admin/users/apikey/", "secret_hash"), ("/admin/users/user/", "password"),
        ("/admin/connections/executionconnection/", "sealed_credentials"),
        ("/admin/events/channel/", "push_digest"),
    ):  # fmt: skip
        assert known in found
    with Walk(client) as walk:
        for path, name in walk.each(found):
            for lookup in (name, f"{name}__startswith", f"{name}__gt", f"{name}__isnull"):
                with walk.cell(f"{path}?{lookup}=a", "staff with every role") as cell:
                    cell.expect(400, client.get(path, {lookup: "a"}).status_code)
