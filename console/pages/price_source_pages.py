"""What operators can do with the prices of a connection's own broker: use and share them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from common.permissions import Right
from connections.models import DataConnection, ExecutionConnection
from connections.selectors import account_prices, is_delivering
from connections.services import get_or_create_broker_source, share_with_all, use_own_prices
from console.pages.page_helpers import View, require_permission, run_action


def price_context(connection: Any) -> dict[str, Any]:
    """Return what a connection's page shows of its prices. connection: from `shown_connection`.

    is_shared: all accounts may use its own broker's prices. may_share: an administrator owns it.
    """
    prices = account_prices(connection)
    return {
        "prices": prices,
        "has_no_prices": prices.source is not None
        and not is_delivering(prices.source, datetime.now(UTC)),
        "is_shared": connection.is_shared,
        "may_share": prices.can_provide and connection.is_admin_owned(),
    }


def use_own(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """Use the prices of the connection's own broker."""
    require_permission(request, Right.CONNECTIONS)
    if request.method != "POST":
        return HttpResponseRedirect(_address(pk))
    return run_action(request, lambda: _use_own(pk, request), back=_address(pk))


def _use_own(pk: UUID, request: HttpRequest) -> str:
    by: Any = request.user
    use_own_prices(pk, by=by)
    return "It uses its own broker's prices from the next signal on."


def share(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """Share the prices of an administrator's account with all accounts, or stop sharing them."""
    require_permission(request, Right.SHARE_PRICES)
    if request.method != "POST":
        return HttpResponseRedirect(_address(pk))
    return run_action(request, lambda: _share(pk, request), back=_address(pk))


def _share(pk: UUID, request: HttpRequest) -> str:
    by: Any = request.user
    connection = ExecutionConnection.objects.get(pk=pk)
    if request.POST.get("to") != "itself":
        share_with_all(get_or_create_broker_source(connection, by=by), by=by)
        return "All accounts can now choose its prices as their price source."
    # get_or_create_broker_source would switch on a source that its owner switched off
    for source in DataConnection.objects.filter(broker_connection=connection):
        share_with_all(source, by=by, shared=False)
    return "Other accounts can no longer choose its prices."


def _address(pk: UUID) -> str:
    return reverse("admin:connections_executionconnection_page", args=[pk]) + "#prices"


URLS: tuple[tuple[str, str, View], ...] = (
    ("<uuid:pk>/own-prices/", "connections_executionconnection_own_prices", use_own),
    ("<uuid:pk>/offer-prices/", "connections_executionconnection_offer_prices", share),
)
