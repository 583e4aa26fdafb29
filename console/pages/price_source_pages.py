"""What operators can do with the prices of a connection's own broker: use and share them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from common.permissions import Right
from connections.models import DataConnection, ExecutionConnection
from connections.selectors import (
    SourceStatus,
    can_provide_prices,
    is_delivering,
    source_status,
    source_with_status,
    with_status,
)
from connections.services import get_or_create_broker_source, share_with_all, use_own_prices
from console.pages.page_helpers import View, require_permission, run_action


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices that a connection uses, and those that its own broker provides.

    source, status: the price source that it uses. own_source, own_status: the source that its own
    broker is, if any. can_provide: its broker provides prices. may_share: an administrator owns it.
    """

    source: DataConnection | None
    status: SourceStatus | None
    own_source: DataConnection | None
    own_status: SourceStatus | None
    can_provide: bool
    may_share: bool

    @property
    def is_own(self) -> bool:
        """Whether it uses its own broker's prices."""
        return self.source is not None and self.source == self.own_source

    @property
    def has_no_prices(self) -> bool:
        """Whether its source delivers no prices."""
        return self.source is not None and not is_delivering(self.source, datetime.now(UTC))

    @property
    def is_shared(self) -> bool:
        """Whether all accounts may use its prices."""
        return self.own_source is not None and self.own_source.user_id is None


def prices_of(connection: ExecutionConnection) -> Prices:
    """Return where a connection's prices come from, and what it provides itself."""
    now, rows = datetime.now(UTC), with_status(DataConnection.objects.all())
    source = source_with_status(connection)
    own_source = rows.filter(broker_connection=connection).first()
    can_provide = connection.archived_at is None and can_provide_prices(
        connection.type, connection.exchange_name
    )
    return Prices(
        source=source, status=source_status(source, now) if source else None,
        own_source=own_source,
        own_status=source_status(own_source, now) if own_source else None,
        can_provide=can_provide, may_share=can_provide and connection.is_admin_owned(),
    )  # fmt: skip


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
