"""What operators do with the prices that a connection's own broker tells: use them, offer them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from common.permissions import Right
from config.console.pages import View, attempt, need
from connections.faring import Faring, as_told, faring, source_of, tells
from connections.models import DataConnection, ExecutionConnection
from connections.own_prices import use_own_prices
from connections.sources import offer_to_all, tell_prices, tells_prices


@dataclass(frozen=True, slots=True)
class Prices:
    """source: what the connection goes by; tells: the source that it is for others, if it is one.

    could_tell: its broker tells prices. may_offer: it is an administrator's own, for all.
    """

    source: DataConnection | None
    faring: Faring | None
    tells: DataConnection | None
    told: Faring | None
    could_tell: bool
    may_offer: bool

    @property
    def is_own(self) -> bool:
        """Whether it goes by its own broker."""
        return self.source is not None and self.source == self.tells

    @property
    def lacks(self) -> bool:
        """Whether it goes by a source that tells nothing."""
        return self.source is not None and not tells(self.source, datetime.now(UTC))

    @property
    def is_offered(self) -> bool:
        """Whether everybody may use what it tells."""
        return self.tells is not None and self.tells.user_id is None


def prices_of(connection: ExecutionConnection) -> Prices:
    """Return where its prices come from, and whom it tells some."""
    now, rows = datetime.now(UTC), as_told(DataConnection.objects.all())
    source = source_of(connection)
    tells = rows.filter(told_by=connection).first()
    could_tell = connection.archived_at is None and tells_prices(
        connection.type, connection.exchange_name
    )
    return Prices(
        source=source, faring=faring(source, now) if source else None,
        tells=tells, told=faring(tells, now) if tells else None,
        could_tell=could_tell, may_offer=could_tell and connection.is_admin_owned(),
    )  # fmt: skip


def use_own(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """Let the connection go by its own broker's prices; another source is a click away."""
    need(request, Right.CONNECTIONS)
    if request.method != "POST":
        return HttpResponseRedirect(_address(pk))
    return attempt(request, lambda: _use_own(pk, request), back=_address(pk))


def _use_own(pk: UUID, request: HttpRequest) -> str:
    by: Any = request.user
    use_own_prices(pk, by=by)
    return "It goes by what its own broker tells, from the next signal on."


def offer(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """Let everybody go by what an administrator's own account is told, or nobody else again."""
    need(request, Right.SHARE_PRICES)
    if request.method != "POST":
        return HttpResponseRedirect(_address(pk))
    return attempt(request, lambda: _offer(pk, request), back=_address(pk))


def _offer(pk: UUID, request: HttpRequest) -> str:
    by: Any = request.user
    connection = ExecutionConnection.objects.get(pk=pk)
    if request.POST.get("to") != "itself":
        offer_to_all(tell_prices(connection, by=by), by=by)
        return "Everybody may choose its prices now: they are among the price sources."
    # Not `tell_prices`: that would switch on what its owner has switched off.
    for source in DataConnection.objects.filter(told_by=connection):
        offer_to_all(source, by=by, offered=False)
    return "Nobody else can choose its prices any more."


def _address(pk: UUID) -> str:
    return reverse("admin:connections_executionconnection_page", args=[pk]) + "#prices"


URLS: tuple[tuple[str, str, View], ...] = (
    ("<uuid:pk>/own-prices/", "connections_executionconnection_own_prices", use_own),
    ("<uuid:pk>/offer-prices/", "connections_executionconnection_offer_prices", offer),
)
