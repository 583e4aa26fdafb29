"""A connection's page: health at a glance, the last test with its named checks, what it did."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse

from common.permissions import Right
from config.console import connection_actions, source_pages
from config.console.connection_actions import find
from config.console.pages import View, can, page
from config.console.source_pages import prices_of
from connections.eligibility import reason_for
from connections.fitting import slippage_rule
from connections.lanes import owner_of
from connections.maintenance import shown_of
from connections.models import ConnectionHealth, ExecutionConnection
from connections.open import in_words, what_is_open
from connections.selectors import checks_of, health, test_waits, waits_for
from connections.setting_fields import label_of, shown, takes_credentials
from execution.models import DriftItem, ExecutionLog, Order

LAST = 10


def show(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """The page itself."""
    connection = find(pk)
    orders = Order.objects.filter(connection_id=pk).order_by("-pk")
    lines = ExecutionLog.objects.filter(order_id__in=list(orders.values_list("pk", flat=True)[:50]))
    return page(
        request,
        "connection/page.html",
        connection.name,
        connection=connection,
        snapshot=getattr(connection, "snapshot", None),
        health=health(connection),
        reason=reason_for(connection_id=pk) or "",
        still_open="" if connection.is_active else in_words(what_is_open(pk)),
        maintenance=shown_of(connection),
        has_credentials=connection.sealed_credentials is not None,
        subscriptions=connection.subscriptions.select_related("feed").order_by("feed__name"),
        orders=orders.select_related("signal")[:LAST],
        troubles=lines.filter(status__in=["REJECTED", "FAILED", "UNKNOWN"]).order_by("-pk")[:LAST],
        drift=DriftItem.objects.filter(connection_id=pk, state="OPEN"),
        can_change=can(request, Right.CONNECTIONS),
        can_share=can(request, Right.SHARE_PRICES),
        can_compare=can(request, Right.RECONCILE),
        can_seal=can(request, Right.CREDENTIALS),
        prices=prices_of(connection),
        **_kind(connection),
        lane_owner=owner_of(connection.lane),
        **_test(connection),
    )


def _kind(connection: ExecutionConnection) -> dict[str, Any]:
    return {
        "broker": label_of(connection.type),
        "settings": shown(connection.type, connection.settings),
        "slippage_rule": slippage_rule(connection.type, connection.exchange_name),
        "takes_credentials": takes_credentials(connection.type),
    }


def _test(connection: ExecutionConnection) -> dict[str, Any]:
    state: ConnectionHealth | None = getattr(connection, "health", None)
    return {
        "state": state,
        "test_waits": test_waits(state),
        "waits_for": waits_for(connection),
        "checks": checks_of(state),
    }


def checks(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """The panel of the last test alone, asked for every second while a test runs."""
    connection = find(pk)
    response = page(
        request, "connection/checks.html", "", connection=connection, **_test(connection)
    )
    response["Cache-Control"] = "no-store"
    return response


URLS: tuple[tuple[str, str, View], ...] = (
    ("<uuid:pk>/", "connections_executionconnection_page", show),
    ("<uuid:pk>/checks/", "connections_executionconnection_checks", checks),
    *connection_actions.URLS,
    *source_pages.URLS,
)
