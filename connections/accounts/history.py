"""The history of balances and equities, and of deposits and withdrawals.

Public through `connections.services`.
"""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction

from common.clocks import market_now
from common.db.row_faults import row_errors
from common.errors import raise_all
from common.permissions import Right
from common.web.quotas import require_quota, within_a_day
from connections.accounts.limit_scope import applies_sql
from connections.accounts.permissions import check_owner
from connections.models import CashFlow, ExecutionConnection
from connections.trading_day import day_start_sql, offset_sql, trading_date_sql, zone_sql
from users.models import User

_DATE = trading_date_sql("x.market_time", zone="x.zone", offset="x.day_offset")
_DAY_START = day_start_sql(_DATE, zone="x.zone", offset="x.day_offset")
# A period also begins with a state in another currency, and with one that may show a deposit or
# withdrawal: the balance has changed by 1 % of the equity or more, and the equity about as much,
# while a closed trade leaves the equity as it is. Such a flow may become known later only. Then the
# highest values of a period are still all from before it, or all from after it.
_BEGINS_PERIOD = """before.currency <> read.currency
      OR (abs(read.balance - before.balance) >= greatest(abs(before.equity) * 0.01, 0.01)
        AND abs((read.equity - before.equity) - (read.balance - before.balance))
          < abs(read.equity - before.equity))"""
# A period begins where a window of a loss limit may begin. greatest() ignores NULLs.
_PERIOD_START = f"""greatest(date_trunc('hour', x.market_time, 'UTC'), {_DAY_START},
    CASE WHEN x.begins_period THEN x.market_time END,
    (SELECT max(h.period_start) FROM connections_accounthistory h
     WHERE h.connection_id = x.id AND h.period_start <= x.market_time),
    (SELECT max(f.at) FROM connections_cashflow f
     WHERE f.connection_id = x.id AND f.at <= x.market_time),
    (SELECT max(p.ended_at) FROM connections_tradingpause p
     WHERE p.connection_id = x.id AND p.is_resumed_by_hand AND p.ended_at <= x.market_time),
    (SELECT max(l.started_at) FROM connections_losslimit l WHERE l.started_at <= x.market_time
     AND {applies_sql(account="x.id", preset="x.preset_id")}))"""


def add_to_history_sql(source: str) -> str:
    """Return an INSERT that adds read account states to the history.

    source: a FROM item with the columns id (of the connection), currency, balance, equity and
    market_time. The first state of a period stays; later ones only raise its highest values. Part
    of the statement that replaces the accounts' last states, which it compares with.
    """
    return f"""
  INSERT INTO connections_accounthistory AS h (connection_id, period_start, currency, read_at,
    balance, equity, peak_balance, peak_balance_at, peak_equity, peak_equity_at)
  SELECT x.id, {_PERIOD_START}, x.currency, x.market_time, x.balance, x.equity,
    x.balance, x.market_time, x.equity, x.market_time
  FROM (SELECT read.id, read.currency, read.balance, read.equity, read.market_time, c.preset_id,
      {zone_sql()} AS zone, {offset_sql()} AS day_offset, {_BEGINS_PERIOD} AS begins_period
    FROM {source}
    JOIN connections_executionconnection c ON c.id = read.id
    LEFT JOIN connections_tradingpreset t ON t.id = c.preset_id
    LEFT JOIN connections_accountsnapshot before ON before.connection_id = read.id) x
  ORDER BY x.id
  ON CONFLICT (connection_id, period_start) DO UPDATE SET
    peak_balance = greatest(h.peak_balance, excluded.peak_balance),
    peak_balance_at = CASE WHEN excluded.peak_balance > h.peak_balance
      THEN excluded.peak_balance_at ELSE h.peak_balance_at END,
    peak_equity = greatest(h.peak_equity, excluded.peak_equity),
    peak_equity_at = CASE WHEN excluded.peak_equity > h.peak_equity
      THEN excluded.peak_equity_at ELSE h.peak_equity_at END
  WHERE h.currency = excluded.currency
    AND (excluded.peak_balance > h.peak_balance OR excluded.peak_equity > h.peak_equity)"""


@transaction.atomic
def record_cash_flow(
    connection_id: UUID,
    *,
    amount: Decimal,
    by: User | None,
    at: datetime | None = None,
    note: str = "",
) -> CashFlow:
    """Record a deposit (amount above 0) or a withdrawal that the broker does not report.

    at: market time, by default now. Loss limits leave the amount out from then on. Raises as
    `add_cash_flow`.
    """
    connection = ExecutionConnection.objects.live().get(pk=connection_id)
    now = market_now()
    flow = CashFlow(
        connection=connection, at=now if at is None else at, amount=amount, note=note[:200]
    )
    return add_cash_flow(flow, by=by)


@transaction.atomic
def add_cash_flow(flow: CashFlow, *, by: User | None) -> CashFlow:
    """Store a deposit or withdrawal that was entered by hand.

    Raises NotAllowedError; InvalidInputError for an amount of 0 or a time in the future;
    ConflictError QUOTA_REACHED.
    """
    check_owner(flow.connection, by, Right.LIMITS)
    flow.origin, flow.created_by = CashFlow.Origin.OWNER, by
    raise_all(row_errors(flow))
    owner_id = flow.connection.owner_id
    entered = CashFlow.objects.filter(
        within_a_day(), origin=CashFlow.Origin.OWNER,
        connection__in=ExecutionConnection.objects.owned_by(owner_id),
    )  # fmt: skip
    require_quota("cash flows entered within a day", owner_id, entered)
    flow.save(force_insert=True)
    return flow
