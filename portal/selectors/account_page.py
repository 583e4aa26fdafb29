"""One account with all that its page reads of the account's row and of the rows around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Count, Exists, OuterRef, Subquery
from django.db.models.functions import JSONObject

from connections.models import ExecutionConnection, SubscriptionRoute, TradingPause
from connections.selectors import with_skip_reason, with_source_status
from execution.models import DriftItem
from portal.selectors.accounts import Account, as_accounts, connections_of
from portal.selectors.halts import Halt
from users.models import User


class OpenPause(NamedTuple):
    """A pause of an account's entries that has not ended. until: None: until it is resumed."""

    pk: int
    detail: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class AccountPage:
    """An account with what its page shows of the rows around it.

    routes: the accounts that execute for its subscriptions. others: how many accounts of the tenant
    use the same price source. has_differences: whether any waits for a decision.
    """

    account: Account
    pauses: list[OpenPause]
    routes: list[UUID]
    others: int
    has_differences: bool


def account_page(user: User, pk: UUID, *, halts: Sequence[Halt]) -> AccountPage | None:
    """Return one of the tenant's accounts for its page, with its price source; None: not found.

    One statement. halts: from `halts_affecting`.
    """
    pauses = TradingPause.objects.filter(connection=OuterRef("pk"), ended_at=None)
    routes = SubscriptionRoute.objects.filter(subscription__connection=OuterRef("pk"))
    differences = DriftItem.objects.filter(connection=OuterRef("pk"), state=DriftItem.State.OPEN)
    stated = JSONObject(pk="pk", detail="detail", until="until")
    known = with_source_status(with_skip_reason(connections_of(user))).annotate(
        pauses=ArraySubquery(pauses.values(json=stated)),
        routes=ArraySubquery(routes.order_by("rank").values("connection_id")),
        others=_others_on_source(user),
        has_differences=Exists(differences),
    )
    row: Any = known.filter(pk=pk).first()
    if row is None:
        return None
    [account] = as_accounts(user, [row], halts)
    return AccountPage(
        account,
        [_pause(**stored) for stored in row.pauses],
        row.routes,
        row.others or 0,
        row.has_differences,
    )


def _others_on_source(user: User) -> Subquery:
    """Return how many other accounts of the tenant use an account's price source; NULL: none."""
    others = ExecutionConnection.objects.live().of(user.pk).exclude(pk=OuterRef("pk"))
    same = others.filter(data_connection=OuterRef("data_connection")).order_by()
    return Subquery(same.values("data_connection").annotate(n=Count("pk")).values("n"))


def _pause(*, pk: int, detail: str, until: str | None) -> OpenPause:
    return OpenPause(pk, detail, datetime.fromisoformat(until) if until else None)
