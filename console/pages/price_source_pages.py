"""What operators do with the prices that a connection's own broker tells: use them, offer them."""

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
    """source: what the connection goes by; tells: the source that it is for others, if it is one.

    could_tell: its broker tells prices. may_offer: it is an administrator's own, for all.
    """

    source: DataConnection | None
    status: SourceStatus | None
    tells: DataConnection | None
    told: SourceStatus | None
    can_provide: bool
    may_share: bool

    @property
    def is_own(self) -> bool:
        """Whether it goes by its own broker."""
        return self.source is not None and self.source == self.tells

    @property
    def has_no_prices(self) -> bool:
        """Whether it goes by a source that tells nothing."""
        return self.source is not None and not is_delivering(self.source, datetime.now(UTC))

    @property
    def is_shared(self) -> bool:
        """Whether everybody may use what it tells."""
        return self.tells is not None and self.tells.user_id is None


def prices_of(connection: ExecutionConnection) -> Prices:
    """Return where its prices come from, and whom it tells some."""
    now, rows = datetime.now(UTC), with_status(DataConnection.objects.all())
    source = source_with_status(connection)
    tells = rows.filter(broker_connection=connection).first()
    could_tell = connection.archived_at is None and can_provide_prices(
        connection.type, connection.exchange_name
    )
    return Prices(
        source=source, status=source_status(source, now) if source else None,
        tells=tells, told=source_status(tells, now) if tells else None,
        can_provide=could_tell, may_share=could_tell and connection.is_admin_owned(),
    )  # fmt: skip


def use_own(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """Let the connection go by its own broker's prices; another source is a click away."""
    require_permission(request, Right.CONNECTIONS)
    if request.method != "POST":
        return HttpResponseRedirect(_address(pk))
    return run_action(request, lambda: _use_own(pk, request), back=_address(pk))


def _use_own(pk: UUID, request: HttpRequest) -> str:
    by: Any = request.user
    use_own_prices(pk, by=by)
    return "It goes by what its own broker tells, from the next signal on."


def share(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """Let everybody go by what an administrator's own account is told, or nobody else again."""
    require_permission(request, Right.SHARE_PRICES)
    if request.method != "POST":
        return HttpResponseRedirect(_address(pk))
    return run_action(request, lambda: _share(pk, request), back=_address(pk))


def _share(pk: UUID, request: HttpRequest) -> str:
    by: Any = request.user
    connection = ExecutionConnection.objects.get(pk=pk)
    if request.POST.get("to") != "itself":
        share_with_all(get_or_create_broker_source(connection, by=by), by=by)
        return "Everybody may choose its prices now: they are among the price sources."
    # Not `get_or_create_broker_source`: that would switch on what its owner has switched off.
    for source in DataConnection.objects.filter(broker_connection=connection):
        share_with_all(source, by=by, shared=False)
    return "Nobody else can choose its prices any more."


def _address(pk: UUID) -> str:
    return reverse("admin:connections_executionconnection_page", args=[pk]) + "#prices"


URLS: tuple[tuple[str, str, View], ...] = (
    ("<uuid:pk>/own-prices/", "connections_executionconnection_own_prices", use_own),
    ("<uuid:pk>/offer-prices/", "connections_executionconnection_offer_prices", share),
)
