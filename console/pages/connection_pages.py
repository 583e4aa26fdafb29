"""A connection's page: health, last test, prices, settings and last orders."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse

from analytics.orders.figures import with_figures
from analytics.orders.rounding_debt import RoundingDebt, rounding_debts
from common.permissions import Right
from connections.forms import (
    broker_type_label,
    display_settings,
    takes_credentials,
)
from connections.models import (
    ConnectionHealth,
    ExecutionConnection,
    Subscription,
    TradingPause,
)
from connections.selectors import (
    describe_maintenance,
    describe_open_items,
    flow_note,
    health_badge,
    is_test_pending,
    missing_worker_message,
    open_items,
    slippage_rule,
    test_checks,
)
from console.pages import connection_actions, price_source_pages
from console.pages.page_helpers import View, can, page
from console.pages.price_source_pages import price_context
from console.queries.connection_page import shown_connection, tested_connection
from execution.models import ExecutionLog, Order
from execution.monitoring.loss_limits import limit_states

LAST_ORDERS, ORDERS_WITH_FAILURES = 10, 50


def show(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    connection = shown_connection(pk)
    latest = _latest_orders(pk)
    log_lines = ExecutionLog.objects.filter(order_id__in=[order.pk for order in latest])
    return page(
        request,
        "connection/page.html",
        connection.name,
        connection=connection,
        snapshot=getattr(connection, "snapshot", None),
        health=health_badge(connection),
        reason=connection.skip_reason,
        still_open="" if connection.is_active else describe_open_items(open_items(pk)),
        maintenance=describe_maintenance(connection),
        has_credentials=connection.sealed_credentials is not None,
        subscriptions=_with_rounding_debts(connection),
        orders=latest[:LAST_ORDERS],
        failed_steps=log_lines.filter(status__in=["REJECTED", "FAILED", "UNKNOWN"]).order_by("-pk")[
            :LAST_ORDERS
        ],
        limits=limit_states(pk),
        flow_note=flow_note(connection),
        pauses=TradingPause.objects.filter(connection=pk, ended_at=None),
        can_resume=can(request, Right.LIMITS),
        can_change=can(request, Right.CONNECTIONS),
        can_share=can(request, Right.SHARE_PRICES),
        can_compare=can(request, Right.RECONCILE),
        can_trade=can(request, Right.TRADE),
        can_set_credentials=can(request, Right.CREDENTIALS),
        **price_context(connection),
        **_broker_context(connection),
        **_test_context(connection),
    )


def _latest_orders(pk: UUID) -> list[Order]:
    """Return the last orders: those that the page shows, and those whose failures it shows."""
    orders = Order.objects.filter(connection_id=pk).order_by("-pk")
    return list(with_figures(orders.select_related("signal"))[:ORDERS_WITH_FAILURES])


def _with_rounding_debts(connection: Any) -> list[tuple[Subscription, list[RoundingDebt]]]:
    debts = rounding_debts(connection.pk, routes=connection.routes)
    subscriptions = connection.subscriptions.select_related("feed").order_by("feed__name")
    return [(taken, debts.get(taken.feed_id, [])) for taken in subscriptions]


def _broker_context(connection: ExecutionConnection) -> dict[str, Any]:
    return {
        "broker": broker_type_label(connection.type),
        "settings": display_settings(connection.type, connection.settings),
        "slippage_rule": slippage_rule(connection.type, connection.exchange_name),
        "takes_credentials": takes_credentials(connection.type),
    }


def _test_context(connection: ExecutionConnection) -> dict[str, Any]:
    state: ConnectionHealth | None = getattr(connection, "health", None)
    return {
        "state": state,
        "test_waits": is_test_pending(state),
        "waits_for": missing_worker_message(connection),
        "checks": test_checks(state),
    }


def checks(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """The panel of the last test alone, polled every second while a test runs."""
    connection = tested_connection(pk)
    response = page(
        request, "connection/checks.html", "", connection=connection, **_test_context(connection)
    )
    response["Cache-Control"] = "no-store"
    return response


URLS: tuple[tuple[str, str, View], ...] = (
    ("<uuid:pk>/", "connections_executionconnection_page", show),
    ("<uuid:pk>/checks/", "connections_executionconnection_checks", checks),
    *connection_actions.URLS,
    *price_source_pages.URLS,
)
