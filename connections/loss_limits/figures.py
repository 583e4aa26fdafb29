"""Read the limits of accounts and the figures that they compare."""

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from common.clocks import market_at
from common.db.sql import Query, array, columns, periodic_rows, rows, run
from connections.accounts.limit_scope import LIMITED_ACCOUNTS, applies_sql
from connections.loss_limits.rules import LossFigures, window_start
from connections.models import LossBasis, LossLimit, LossMeasure
from connections.trading_day import rule_of

OF_STATES = frozenset({LossMeasure.BALANCE, LossMeasure.BALANCE_TO_EQUITY, LossMeasure.EQUITY})
FLOWS_WAIT = timedelta(minutes=5)  # for deposits and withdrawals; later a state counts without them
ALWAYS = datetime.fromisoformat("1970-01-01T00:00:00Z")


class DueAccount(NamedTuple):
    """An account whose limits have to be checked. read_at: of its snapshot, machine time."""

    connection_id: UUID
    read_at: datetime


class AppliedLimit(NamedTuple):
    """A limit that applies to an account, with the account's last state.

    resumed_at: when trading was last resumed by hand after this limit. read_at: machine time.
    flows_missing_since: machine time of the first state since when deposits and withdrawals could
    not be read, with the error; None: they are known.
    """

    limit_id: int
    connection_id: UUID
    subscription_id: int | None
    feed_id: int | None
    window: str
    measure: str
    basis: str
    maximum: Decimal
    unit: str
    action: str
    resume: str
    started_at: datetime | None
    resumed_at: datetime | None
    is_paused: bool
    trading_day_zone: str
    trading_day_start: time
    currency: str
    balance: Decimal
    equity: Decimal
    read_at: datetime
    flows_missing_since: datetime | None
    flows_error: str

    def since(self, now: datetime) -> datetime:
        """Return from when losses count: the window's start, or a later restart."""
        start = window_start(self.window, now, rule_of(self)) or ALWAYS
        return max(start, self.started_at or ALWAYS, self.resumed_at or ALWAYS)

    @property
    def lacks_flows(self) -> bool:
        """Whether its value may be wrong, because deposits and withdrawals could not be read."""
        return self.flows_missing_since is not None and self.measure in OF_STATES

    @property
    def is_on_hold(self) -> bool:
        """Whether it is not judged yet, because a fall may be a withdrawal that was not read."""
        since = self.flows_missing_since
        return self.lacks_flows and since is not None and self.read_at - since < FLOWS_WAIT


class UnreadLimit(NamedTuple):
    """A limit of an account whose balance and equity were never read."""

    limit_id: int
    feed_id: int | None
    window: str
    measure: str
    basis: str
    maximum: Decimal
    unit: str
    action: str


class ClosedResult(NamedTuple):
    """The closed trades of a limit's window. loss: account currency, above 0 for a loss."""

    loss: Decimal
    streak: int


NO_TRADES = ClosedResult(Decimal(0), 0)

# The snapshot is new, or a position was closed and the check was not made since. A close is
# committed up to some seconds after its time, so until then it is checked again.
DUE = Query(
    DueAccount,
    f"""
SELECT c.id AS connection_id, a.read_at
FROM {LIMITED_ACCOUNTS} limited
JOIN connections_executionconnection c ON c.id = limited.id
JOIN connections_accountsnapshot a ON a.connection_id = c.id
WHERE EXISTS (SELECT FROM connections_losslimit) AND c.archived_at IS NULL
  AND (a.limits_checked_for IS DISTINCT FROM a.read_at OR EXISTS (
    SELECT FROM unnest(%(closed)s::uuid[], %(closed_at)s::timestamptz[]) AS t (id, at)
    WHERE t.id = c.id AND a.limits_checked_at < t.at + interval '5 seconds'))
ORDER BY a.limits_checked_at NULLS FIRST LIMIT %(limit)s
""",
)

LIMITS = Query(
    AppliedLimit,
    f"""
SELECT l.id AS limit_id, c.id AS connection_id, l.subscription_id, s.feed_id, l.window, l.measure,
  l.basis, l.maximum, l.unit, l.action, l.resume, l.started_at,
  (SELECT max(p.ended_at) FROM connections_tradingpause p WHERE p.connection_id = c.id
   AND p.limit_id = l.id AND p.is_resumed_by_hand) AS resumed_at,
  EXISTS (SELECT FROM connections_tradingpause p WHERE p.connection_id = c.id
   AND p.limit_id = l.id AND p.ended_at IS NULL) AS is_paused,
  coalesce(t.trading_day_zone, '') AS trading_day_zone,
  coalesce(t.trading_day_start, time '17:00') AS trading_day_start,
  a.currency, a.balance, a.equity, a.read_at, flows.missing_since AS flows_missing_since,
  coalesce(flows.error, '') AS flows_error
FROM connections_executionconnection c
JOIN connections_accountsnapshot a ON a.connection_id = c.id
LEFT JOIN connections_tradingpreset t ON t.id = c.preset_id
JOIN connections_losslimit l ON {applies_sql(account="c.id", preset="c.preset_id")}
LEFT JOIN connections_subscription s ON s.id = l.subscription_id
LEFT JOIN connections_cashflowread flows ON flows.connection_id = c.id
WHERE c.id = ANY(%s::uuid[]) ORDER BY c.id, l.id
""",
)

UNREAD = Query(
    UnreadLimit,
    f"""
SELECT l.id AS limit_id, s.feed_id, l.window, l.measure, l.basis, l.maximum, l.unit, l.action
FROM connections_executionconnection c
JOIN connections_losslimit l ON {applies_sql(account="c.id", preset="c.preset_id")}
LEFT JOIN connections_subscription s ON s.id = l.subscription_id
WHERE c.id = %s
  AND NOT EXISTS (SELECT FROM connections_accountsnapshot a WHERE a.connection_id = c.id)
ORDER BY l.id
""",
)


class _WindowRow(NamedTuple):
    opening_balance: Decimal | None
    opening_equity: Decimal | None
    peak_balance: Decimal | None
    peak_equity: Decimal | None


# Deposits after a value are added to it, so that it compares with the present one. The sum for each
# row of the history is only made for accounts with deposits.
# Credit changes the equity only.
# A deposit may become known after the states that include it: then a row's highest value is one
# from after it, although the first one, with the deposit added, is higher. So both count.
_IN_EQUITY = """(SELECT coalesce(sum(f.amount), 0) FROM connections_cashflow f
    WHERE f.connection_id = r.connection_id AND f.at > {since} AND f.at <= r.as_of)"""
_IN_BALANCE = f"{_IN_EQUITY[:-1]} AND NOT f.is_credit)"
WINDOWS = Query(
    _WindowRow,
    f"""
SELECT first.balance + {_IN_BALANCE.format(since="first.read_at")} AS opening_balance,
  first.equity + {_IN_EQUITY.format(since="first.read_at")} AS opening_equity,
  peak.balance AS peak_balance, peak.equity AS peak_equity
FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::boolean[])
  WITH ORDINALITY AS r (connection_id, since, as_of, currency, needs_peak, number)
LEFT JOIN LATERAL (
  SELECT h.balance, h.equity, h.read_at FROM connections_accounthistory h
  WHERE h.connection_id = r.connection_id AND h.period_start >= r.since
    AND h.currency = r.currency
  ORDER BY h.period_start LIMIT 1) first ON true
CROSS JOIN LATERAL (
  SELECT EXISTS (SELECT FROM connections_cashflow f WHERE f.connection_id = r.connection_id
    AND f.at > r.since AND f.at <= r.as_of) AS known) deposits
LEFT JOIN LATERAL (
  SELECT
    max(CASE WHEN deposits.known THEN greatest(
        h.balance + {_IN_BALANCE.format(since="h.read_at")},
        h.peak_balance + {_IN_BALANCE.format(since="h.peak_balance_at")})
      ELSE h.peak_balance END) AS balance,
    max(CASE WHEN deposits.known THEN greatest(
        h.equity + {_IN_EQUITY.format(since="h.read_at")},
        h.peak_equity + {_IN_EQUITY.format(since="h.peak_equity_at")})
      ELSE h.peak_equity END) AS equity
  FROM connections_accounthistory h
  WHERE r.needs_peak AND h.connection_id = r.connection_id AND h.period_start >= r.since
    AND h.currency = r.currency) peak ON true
ORDER BY r.number
""",
)

MARK_CHECKED = """
UPDATE connections_accountsnapshot a
SET limits_checked_for = t.read_at, limits_checked_at = %s
FROM unnest(%s::uuid[], %s::timestamptz[]) AS t (id, read_at) WHERE a.connection_id = t.id
"""


def due_accounts(closed: Mapping[UUID, datetime], *, limit: int) -> list[DueAccount]:
    """Return accounts with limits whose state is new, or that have just closed a position.

    closed: when accounts last closed a position (machine time).
    """
    parameters = {"closed": list(closed), "closed_at": list(closed.values()), "limit": limit}
    return periodic_rows(DUE, parameters)


def mark_checked(accounts: Sequence[DueAccount], *, at: datetime) -> None:
    """Record which snapshots were checked, and when the check began (machine time)."""
    if accounts:
        run(MARK_CHECKED, (at, *columns(accounts, 2)))


def limits_of(connection_ids: Sequence[UUID]) -> list[AppliedLimit]:
    """Return the limits of these accounts and their subscriptions, without accounts never read."""
    return rows(LIMITS, (array(connection_ids),))


def unread_limits_of(connection_id: UUID) -> list[UnreadLimit]:
    """Return the limits of an account that was never read; empty if it was read."""
    return rows(UNREAD, (connection_id,))


def limit_name(limit: AppliedLimit | UnreadLimit) -> str:
    """Return what a limit limits, for people."""
    return LossLimit(window=limit.window, measure=limit.measure, basis=limit.basis).name


def figures_of(
    limits: Sequence[AppliedLimit], closed: Mapping[int, ClosedResult], now: datetime
) -> list[LossFigures]:
    """Return the figures of each limit, in the same order.

    closed: the closed trades of the limits that count them, by their place in `limits`.
    """
    requests = [
        (
            limit.connection_id, limit.since(now), market_at(limit.read_at), limit.currency,
            limit.basis == LossBasis.PEAK,
        )
        for limit in limits
    ]  # fmt: skip
    if not requests:
        return []
    return [
        LossFigures(
            limit.balance,
            limit.equity,
            *window,
            realized_loss=closed.get(place, NO_TRADES).loss,
            losing_streak=closed.get(place, NO_TRADES).streak,
        )
        for place, (limit, window) in enumerate(
            zip(limits, rows(WINDOWS, columns(requests, 5)), strict=True)
        )
    ]
