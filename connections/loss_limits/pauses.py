"""Pause entries because a loss limit was reached, and resume them. Public through `services`."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from common.clocks import market_now
from common.db.sql import Query, rows
from common.limit_figures import Figures
from common.permissions import Right
from connections.accounts.permissions import check_owner
from connections.loss_limits.figures import AppliedLimit, limit_name
from connections.loss_limits.rules import Breach, describe, pause_end, pause_figures
from connections.models import (
    ConnectionLock,
    ExecutionConnection,
    Subscription,
    TradingPause,
)
from connections.trading_day import rule_of
from events.models import EventKind
from events.services import emit
from users.models import User

RESUMED_AT_ONCE = 500


class _EndedPause(NamedTuple):
    id: int


END_DUE = Query(
    _EndedPause,
    """
UPDATE connections_tradingpause SET ended_at = until WHERE id = ANY(ARRAY(
  SELECT id FROM connections_tradingpause WHERE ended_at IS NULL AND until <= %s
  ORDER BY until LIMIT %s FOR UPDATE SKIP LOCKED))
RETURNING id
""",
)


def lock_account(connection_id: UUID) -> None:
    """Lock the work on an account, as the claim does. Call it in a transaction."""
    ConnectionLock.objects.select_for_update(no_key=True).get(pk=connection_id)


def start_pauses(
    breaches: Sequence[tuple[AppliedLimit, Breach]], *, now: datetime
) -> list[TradingPause]:
    """Write the pauses of limits that are reached, with an event each; return the new ones.

    Call it under the account's lock. A limit that pauses already is left as it is.
    """
    return [
        _start(limit, breach, now)
        for limit, breach in breaches
        if not TradingPause.objects.filter(
            connection=limit.connection_id, limit=limit.limit_id, ended_at=None
        ).exists()
    ]


def _start(limit: AppliedLimit, breach: Breach, now: datetime) -> TradingPause:
    name = limit_name(limit)
    pause = TradingPause.objects.create(
        connection_id=limit.connection_id,
        subscription_id=limit.subscription_id,
        limit_id=limit.limit_id,
        code=breach.code.value,
        name=name,
        value=breach.value,
        maximum=breach.maximum,
        unit=limit.unit,
        detail=(describe(name, breach, limit.unit, limit.currency) + _flows_note(limit))[:300],
        action=limit.action,
        since=now,
        until=pause_end(limit, now, rule_of(limit)),
    )
    figures = pause_figures(name, breach.value, breach.maximum, limit.unit, limit.currency)
    _emit(pause, EventKind.LOSS_LIMIT_REACHED, figures=figures)
    return pause


def _flows_note(limit: AppliedLimit) -> str:
    """Return what to append to a detail: that the value may include a withdrawal."""
    if not limit.lacks_flows:
        return ""
    since = f"{limit.flows_missing_since:%Y-%m-%d %H:%M} UTC"
    return f". Deposits and withdrawals could not be read since {since}: {limit.flows_error}"


@transaction.atomic
def end_due_pauses() -> int:
    """End the pauses whose window has ended, up to 500; return how many. Safe to repeat."""
    ended = rows(END_DUE, (market_now(), RESUMED_AT_ONCE))
    pauses = TradingPause.objects.filter(pk__in=[row.id for row in ended])
    for pause in pauses.select_related("connection"):
        _emit(pause, EventKind.TRADING_RESUMED)
    return len(ended)


@transaction.atomic
def resume_after_limit(pause_id: int, *, by: User | None) -> bool:
    """End a pause before its time: losses up to now no longer count for its limit.

    Returns False if it has ended already. Raises NotAllowedError.
    """
    pause = TradingPause.objects.select_related("connection").get(pk=pause_id)
    check_owner(pause.connection, by, Right.LIMITS)
    running = TradingPause.objects.filter(pk=pause_id, ended_at=None)
    if not running.update(ended_at=market_now(), ended_by=by, is_resumed_by_hand=True):
        return False
    _emit(pause, EventKind.TRADING_RESUMED, by=by)
    return True


def _emit(
    pause: TradingPause,
    kind: EventKind,
    *,
    by: User | None = None,
    figures: Figures | None = None,
) -> None:
    connection = ExecutionConnection.objects.only("user_id", "admin_id").get(pk=pause.connection_id)
    emit(
        kind,
        user_id=connection.owner_id,
        connection_id=pause.connection_id,
        payload={
            "pause": pause.pk,
            "code": pause.code,
            "detail": pause.detail,
            "action": pause.action,
            "until": f"{pause.until:%Y-%m-%d %H:%M} UTC" if pause.until else "",
            "subscription": pause.subscription_id,
            "feed": _feed_of(pause),
            "by": by.get_username() if by else "",
            **({"figures": figures.as_json()} if figures else {}),
        },
    )


def _feed_of(pause: TradingPause) -> str:
    """Return the feed that a subscription's limit pauses; '' if the whole account is paused."""
    if pause.subscription_id is None:
        return ""
    found = Subscription.objects.filter(pk=pause.subscription_id)
    return found.values_list("feed__slug", flat=True).first() or ""
