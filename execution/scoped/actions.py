"""Cancel all entries, or close all positions, of a connection, feed, user, symbol or broker type.

The scopes are those of the kill switch, but nothing is halted: signals that are published
afterwards are executed. Callers enqueue on commit.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from common.db.sql import array, rows
from common.errors import ConflictError
from common.permissions import Right, require
from common.reason_codes import Code
from connections.models import ExecutionConnection, KillSwitch
from connections.services import HaltTarget
from execution import services
from execution.models import Order, ScopedAction
from execution.monitoring.halt_actions import (
    HaltImpact,
    closable_positions,
    count_live_entries,
    halt_impact,
    live_entries,
    scope_condition,
)
from execution.submission import claim_sql
from positions.models import ExecutionPosition
from signals.models import Feed
from users.models import User

Scope = KillSwitch.Scope
EVERYTHING = HaltTarget(Scope.ALL)
LOCK_REQUEST = "SELECT pg_advisory_xact_lock(hashtextextended(%s, %s)) AS locked"


@dataclass(frozen=True, slots=True)
class ActionScope:
    """The orders and positions that fit each of the targets; none: everything.

    signal_id: only those of this signal.
    """

    targets: tuple[HaltTarget, ...] = ()
    signal_id: int | None = None

    @property
    def condition(self) -> Q:
        """The condition of its orders and positions."""
        found = Q() if self.signal_id is None else Q(signal_id=self.signal_id)
        for target in self.targets:
            found &= scope_condition(target)
        return found

    @property
    def name(self) -> str:
        """What it covers, in words, with the names of today."""
        names = [_name(target) for target in self.targets if target.scope != Scope.ALL]
        if self.signal_id is not None:
            names.append(f"signal S-{self.signal_id}")
        return ", ".join(names) or "everything"

    def stored(self) -> dict[str, Any]:
        """Return it as JSON, so that two requests can be compared."""
        targets = [
            {name: str(value) for name, value in asdict(target).items() if value not in (None, "")}
            for target in self.targets
        ]
        return {"targets": targets, "signal_id": self.signal_id}


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """What to do with a scope.

    request_id: the caller's own; '' if it cannot be repeated. shown: how many entries and positions
    the caller was shown before.
    """

    scope: ActionScope
    cancels_entries: bool = False
    closes_positions: bool = False
    request_id: str = ""
    shown: tuple[int, int] | None = None


def as_scope(scope: HaltTarget | ActionScope) -> ActionScope:
    """Return the scope of a single target."""
    return ActionScope((scope,)) if isinstance(scope, HaltTarget) else scope


def scope_impact(scope: HaltTarget | ActionScope, *, by: User | None) -> HaltImpact:
    """Return what is live in the scope, on the accounts that `by` may trade on.

    Raises NotAllowedError.
    """
    return halt_impact(EVERYTHING, _tradable(by) & as_scope(scope).condition)


def carry_out(request: ActionRequest, *, by: User | None) -> ScopedAction:
    """Cancel and close, and store which orders that concerned; a repetition does nothing.

    First the entries are cancelled. If positions are closed too, so is what the entries that were
    sent still fill. Enqueue `exits` and pending actions on commit. Raises NotAllowedError;
    ConflictError DUPLICATE_REQUEST (the same request id with other contents).
    """
    with transaction.atomic():
        if request.request_id:
            rows(LOCK_REQUEST, (request.request_id, by.pk if by else 0))
            if (known := _known(request, by)) is not None:
                return known
        found: list[int] = []
        cancelled: list[int] = []
        if request.cancels_entries:
            found = entry_ids(request.scope, by=by, closes=request.closes_positions)
            _lock(found)
            cancelled = services.cancel_orders(found, by=by, then_close=request.closes_positions)
        exits = close_all(request.scope, by=by) if request.closes_positions else []
        shown_entries, shown_positions = request.shown or (None, None)
        return ScopedAction.objects.create(
            request_id=request.request_id,
            user=by,
            cancels_entries=request.cancels_entries,
            closes_positions=request.closes_positions,
            scope=request.scope.stored(),
            scope_name=_name_for(request.scope, by)[:300],
            cancelled=cancelled,
            ended=sorted({*found} - {*cancelled}),
            exits=exits,
            shown_entries=shown_entries,
            shown_positions=shown_positions,
        )


def _lock(order_ids: Sequence[int]) -> None:
    """Lock these orders in the order of their ids, after the accounts as a claim locks them."""
    rows(claim_sql.LOCK.format(skip=""), (array(order_ids),))
    orders = Order.objects.select_for_update(no_key=True).filter(pk__in=order_ids)
    list(orders.order_by("pk").values_list("pk"))


def _known(request: ActionRequest, by: User | None) -> ScopedAction | None:
    """Return what an earlier request with this id did. Raises ConflictError."""
    known = ScopedAction.objects.filter(user=by, request_id=request.request_id).first()
    if known is not None:
        before = (known.scope, known.cancels_entries, known.closes_positions)
        asked = (request.scope.stored(), request.cancels_entries, request.closes_positions)
        if before != asked:
            raise ConflictError(Code.DUPLICATE_REQUEST)
    return known


def cancel_all(scope: HaltTarget | ActionScope, *, by: User | None) -> tuple[list[int], int]:
    """Cancel the entries that have not filled; return the ids of those that had not ended when
    their turn came, and how many were found.

    Exits, stops and targets stay: no position loses its protection. Enqueue pending actions on
    commit. Raises NotAllowedError.
    """
    ids = entry_ids(scope, by=by)
    return services.cancel_orders(ids, by=by), len(ids)


def entry_ids(
    scope: HaltTarget | ActionScope, *, by: User | None, closes: bool = False
) -> list[int]:
    """Return the ids of the entries that `cancel_all` would cancel now. Raises NotAllowedError.

    closes: also those that are being cancelled, if nothing closes what they fill before.
    """
    live = live_entries(EVERYTHING, closes=closes)
    found = live.filter(_tradable(by), as_scope(scope).condition)
    return list(found.order_by("pk").values_list("pk", flat=True))


def count_entries(scope: HaltTarget | ActionScope, *, by: User | None) -> tuple[int, int]:
    """Return how many `entry_ids` there are without and with `closes`. Raises NotAllowedError."""
    return count_live_entries(EVERYTHING, _tradable(by) & as_scope(scope).condition)


def close_all(scope: HaltTarget | ActionScope, *, by: User | None) -> list[int]:
    """Write exits for the open positions; return the ids of the orders to enqueue.

    Entries that have not filled stay: cancel them first, or what fills later stays open. Raises
    NotAllowedError.
    """
    return services.close_positions(position_ids(scope, by=by), by=by)


def position_ids(scope: HaltTarget | ActionScope, *, by: User | None) -> list[int]:
    """Return the ids of the positions that `close_all` would close now. Raises NotAllowedError."""
    return list(_closable(scope, by).order_by("pk").values_list("pk", flat=True))


def count_positions(scope: HaltTarget | ActionScope, *, by: User | None) -> int:
    """Return how many `position_ids` there are. Raises NotAllowedError."""
    return _closable(scope, by).count()


def _closable(scope: HaltTarget | ActionScope, by: User | None) -> QuerySet[ExecutionPosition]:
    return closable_positions(EVERYTHING).filter(_tradable(by), as_scope(scope).condition)


def _tradable(by: User | None) -> Q:
    """Return the condition of the accounts that `by` may trade on. Raises NotAllowedError.

    Staff with the right may trade on all accounts, others on their own. A feed's owner does not own
    the accounts of its followers.
    """
    if by is None or by.is_staff:
        require(by, Right.TRADE)
        return Q()
    require(by, Right.TRADE, owner_id=by.pk)
    return Q(connection__user_id=by.pk)


def _name_for(scope: ActionScope, by: User | None) -> str:
    if by is not None and not by.is_staff and scope == ActionScope():
        return f"all accounts of {by.get_username()}"
    return scope.name


def _name(target: HaltTarget) -> str:
    if target.feed_id is not None:
        found = Feed.objects.filter(pk=target.feed_id).values_list("name", flat=True).first()
        return f"feed {found or target.feed_id}"
    if target.user_id is not None:
        found = User.objects.filter(pk=target.user_id).values_list("username", flat=True).first()
        return f"all accounts of {found or target.user_id}"
    if target.connection_id is not None:
        connections = ExecutionConnection.objects.filter(pk=target.connection_id)
        found = connections.values_list("name", flat=True).first()
        return f"connection {found or target.connection_id}"
    return target.pair or f"broker type {target.broker_type}"
