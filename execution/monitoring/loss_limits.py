"""Check loss limits and pause the entries of accounts that have reached one.

Each second every process with exits checks the accounts whose state is new or that closed a
position since the last check. A limit that is reached is checked again under the account's lock,
which the claim holds too; in the same transaction its pause is written and, if its action is to
close, the exits of all open positions. A process that dies before the commit leaves nothing behind,
and the account stays due. Two processes that check at the same time write one pause.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import structlog
from django.db import DatabaseError, transaction

from common.clocks import market_at, market_now
from common.db.sql import database_now, run
from common.reason_codes import Code
from connections.models import LossAction, LossMeasure, LossUnit, TradingPause
from connections.selectors import (
    AppliedLimit,
    Breach,
    ClosedResult,
    breach_of,
    due_accounts,
    figures_of,
    limit_name,
    limits_of,
    pause_figures,
    unread_limits_of,
    value_of,
)
from connections.services import end_due_pauses, lock_account, mark_checked, start_pauses
from execution.base.statements import counts_as_live_sql
from execution.exits.legs import LOSS_LIMIT
from execution.exits.orders import ExitRequest, open_exits
from execution.models import ExecutionLog
from positions.closed_results import ClosedRequest, closed_sums, last_closes
from positions.selectors import open_position_ids
from signals.joins import is_of_feed_sql

log = structlog.get_logger(__name__)
BATCH_SIZE = 200
RECENT = timedelta(minutes=1)  # later reports of a close are seen with the account's next state
COUNTING_TRADES = frozenset({LossMeasure.REALIZED_LOSS, LossMeasure.LOSING_STREAK})

# An entry that is on its way is cancelled, and what it fills is closed. Rows that are not sent yet
# are denied by the claim.
WITHDRAW = f"""
UPDATE execution_order SET pending_action = 'CLOSE', due_at = clock_timestamp()
WHERE id = ANY(ARRAY(
  SELECT id FROM execution_order
  WHERE connection_id = %(connection_id)s AND leg LIKE 'entry%%' AND position_id IS NULL
    AND {counts_as_live_sql("execution_order")}
    AND (%(feed_id)s::bigint IS NULL OR {is_of_feed_sql("signal_id", "%(feed_id)s::bigint")})
  ORDER BY id FOR NO KEY UPDATE))
"""


def apply_loss_limits() -> list[int]:
    """End the pauses that are over, then check the accounts that are due.

    Returns the ids of exits to enqueue. An account that cannot be checked is logged and stays due.
    """
    end_due_pauses()
    now = market_now()
    began = database_now()
    closed = {row.connection_id: row.at for row in last_closes(market_at(began - RECENT))}
    due = due_accounts(closed, limit=BATCH_SIZE)
    if not due:
        return []
    exits: list[int] = []
    failed: set[UUID] = set()
    reached = find_breaches([account.connection_id for account in due], now)
    for connection_id in sorted({limit.connection_id for limit, _ in reached}):
        try:
            exits += pause_account(connection_id)
        except DatabaseError as error:
            log.warning("limit not applied", connection=str(connection_id), error=str(error))
            failed.add(connection_id)
    mark_checked([account for account in due if account.connection_id not in failed], at=began)
    return exits


def find_breaches(
    connection_ids: Sequence[UUID], now: datetime
) -> list[tuple[AppliedLimit, Breach]]:
    """Return the limits of these accounts that are reached and do not pause yet. now: market.

    A limit of balance or equity waits a while for deposits and withdrawals that were not read.
    """
    applied = limits_of(connection_ids)
    limits = [limit for limit in applied if not limit.is_paused and not limit.is_on_hold]
    figures = figures_of(limits, _closed_results(limits, now), now)
    reached = ((limit, breach_of(limit, its)) for limit, its in zip(limits, figures, strict=True))
    return [(limit, breach) for limit, breach in reached if breach is not None]


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit of an account as a page shows it. value: in the limit's unit; None: not known yet.

    is_read: the account's balance and equity were read at least once; before, nothing is judged.
    """

    limit_id: int
    name: str
    feed_id: int | None
    value: Decimal | None
    maximum: Decimal
    unit: str
    action: str
    is_paused: bool
    is_read: bool = True


def limit_states(connection_id: UUID) -> list[LimitState]:
    """Return the limits of an account with their present values, those of subscriptions last."""
    now = market_now()
    limits = sorted(limits_of([connection_id]), key=lambda limit: limit.feed_id or 0)
    figures = figures_of(limits, _closed_results(limits, now), now)
    return [
        LimitState(
            limit.limit_id, limit_name(limit), limit.feed_id, value_of(limit, its), limit.maximum,
            LossUnit(limit.unit).label.lower(), LossAction(limit.action).label, limit.is_paused,
        )
        for limit, its in zip(limits, figures, strict=True)
    ] or _unread_states(connection_id)  # fmt: skip


def _unread_states(connection_id: UUID) -> list[LimitState]:
    limits = sorted(unread_limits_of(connection_id), key=lambda limit: limit.feed_id or 0)
    return [
        LimitState(
            limit.limit_id, limit_name(limit), limit.feed_id, None, limit.maximum,
            LossUnit(limit.unit).label.lower(), LossAction(limit.action).label,
            is_paused=False, is_read=False,
        )
        for limit in limits
    ]  # fmt: skip


def pause_account(connection_id: UUID) -> list[int]:
    """Pause an account by the limits that it has reached; return the ids of exits to enqueue.

    One transaction under the account's lock: entries that are claimed later see the pause.
    """
    with transaction.atomic():
        lock_account(connection_id)
        now = market_now()
        breaches = find_breaches([connection_id], now)
        pauses = start_pauses(breaches, now=now)
        reached = {limit.limit_id: limit for limit, _ in breaches}
        exits: list[int] = []
        for pause in pauses:
            limit = reached[pause.limit_id or 0]
            _add_to_log(pause, limit.currency)
            if pause.action == LossAction.PAUSE_AND_CLOSE:
                exits += _close_all(pause, limit.feed_id)
    for pause in pauses:
        log.warning("entries paused", connection=str(connection_id), limit=pause.detail)
    return exits


def _closed_results(limits: Sequence[AppliedLimit], now: datetime) -> dict[int, ClosedResult]:
    """Return the closed trades of the limits that count them, by the limit's place."""
    places = [i for i, limit in enumerate(limits) if limit.measure in COUNTING_TRADES]
    sums = closed_sums(
        [
            ClosedRequest(limits[i].connection_id, limits[i].since(now), limits[i].feed_id)
            for i in places
        ]
    )
    return {places[i]: ClosedResult(-row.net, row.streak) for i, row in sums.items()}


def _add_to_log(pause: TradingPause, currency: str) -> None:
    ExecutionLog.objects.create(
        connection_id=pause.connection_id,
        code=pause.code,
        detail=pause.detail,
        numbers=pause_figures(
            pause.name, pause.value, pause.maximum, pause.unit, currency
        ).as_json(),
    )


def _close_all(pause: TradingPause, feed_id: int | None) -> list[int]:
    """Cancel the entries that are sent, and write exits for all open positions. feed_id: None: all.

    Orders are locked before positions, here as everywhere.
    """
    run(WITHDRAW, {"connection_id": pause.connection_id, "feed_id": feed_id})
    open_now = open_position_ids(pause.connection_id, feed_id=feed_id)
    requests = [
        ExitRequest(position_id, LOSS_LIMIT, code=Code[pause.code], detail=pause.detail)
        for position_id in open_now
    ]
    return [written.order_id for written in open_exits(requests)]
