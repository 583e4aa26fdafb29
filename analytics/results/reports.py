"""A whole report of results: trades, equity and execution of one book over a period.

A book is all of a reader's accounts of one currency, with real or with paper money: money of
different currencies is never added, and paper is no money. API, portal and exports use these
functions. They read in few statements, whatever the number of trades.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import groupby
from typing import Any
from uuid import UUID

from analytics.quality.signals import (
    ExecutionSums,
    SignalExecution,
    SignalScope,
    execution_sums,
    signal_executions,
)
from analytics.results.closed_trades import (
    ALL,
    DayRow,
    MonthRow,
    Scope,
    TradeResults,
    closed_between,
    months_of,
    result_feeds,
    result_months,
    trade_results,
)
from analytics.results.equity import AccountEquity, Book, account_equity, book_of
from common.clocks import market_now
from connections.selectors import equity_readings
from connections.trading_day import DEFAULT_RULE, DEFAULT_ZONE, DayRule, latest_date
from users.tenancy import for_all_tenants

ZERO = Decimal(0)
PAPER = "paper"


@dataclass(frozen=True, slots=True)
class ReportAccount:
    """An account of the reader. currency: as it was last read, '' before that. rule: of its days.

    why_no_flows: why its deposits and withdrawals are not read from its broker; '': they are, or
    the account was not read yet.
    """

    id: UUID
    name: str
    number: str
    currency: str
    is_paper: bool
    is_archived: bool = False
    why_no_flows: str = ""
    rule: DayRule = DEFAULT_RULE


@dataclass(frozen=True, slots=True)
class BookKey:
    """A currency, and whether its money is paper."""

    currency: str
    is_paper: bool

    @property
    def slug(self) -> str:
        """The book's name in addresses: `USD`, `USD-paper`."""
        return f"{self.currency or 'unknown'}{'-paper' if self.is_paper else ''}"

    @property
    def money(self) -> str:
        """Which persons its execution is compared with."""
        return "on paper accounts" if self.is_paper else "with real money"

    @property
    def label(self) -> str:
        """The book's name for people."""
        return f"{self.currency or 'Currency not known'}{', paper' if self.is_paper else ''}"


@dataclass(frozen=True, slots=True)
class AccountLine:
    """One account of the equity table. closed: net results of its trades between its readings.

    other: the rest of its balance's change: interest, fees, trades outside of Fillcast, and
    deposits or withdrawals that are not recorded.
    """

    account: ReportAccount
    equity: AccountEquity
    closed: Decimal

    @property
    def other(self) -> Decimal:
        return self.equity.other(self.closed)

    @property
    def is_unexplained(self) -> bool:
        """Whether so much is unexplained that a deposit may be missing: 1 % of the equity."""
        return abs(self.other) >= max(abs(self.equity.opening) / 100, Decimal(1))


@dataclass(frozen=True)
class Report:
    """The results of a book. Each part is read when it is first asked for, and once.

    accounts: the reader's own, since the statements reach all rows; the scope's connections are
    these. until: market time; what closed until then is counted.
    """

    key: BookKey
    scope: Scope
    accounts: tuple[ReportAccount, ...]
    until: datetime

    @cached_property
    def trades(self) -> TradeResults:
        """Sums, breakdowns, days and streaks of the closed trades."""
        with for_all_tenants():  # feeds that were left are hidden from their former subscribers
            return trade_results(self.scope)

    @cached_property
    def months(self) -> list[MonthRow]:
        """The months of all time with a closed trade."""
        if self.scope.start == ALL and self.scope.end >= latest_date(self.until):
            return months_of(self.trades.days)
        with for_all_tenants():
            return result_months(_all_time(self.scope))

    @cached_property
    def execution(self) -> ExecutionSums:
        """The execution beside the median of all who traded the same signals with such money."""
        return execution_report(self.key, self.scope)

    @cached_property
    def _equities(self) -> list[AccountEquity] | None:
        is_part = self.scope.is_part_of_accounts
        return None if is_part else account_equities(self.scope)

    @cached_property
    def book(self) -> Book | None:
        """The equity of all accounts; None if a filter leaves out trades of theirs."""
        return None if self._equities is None else book_of(self._equities)

    @cached_property
    def lines(self) -> tuple[AccountLine, ...]:
        """The equity of each account."""
        found = self._equities or []
        by_id: Mapping[UUID, ReportAccount] = {account.id: account for account in self.accounts}
        closed = closed_between([(e.connection_id, e.opened_at, e.closed_at) for e in found])
        return tuple(
            AccountLine(by_id[e.connection_id], e, closed.get(e.connection_id, ZERO)) for e in found
        )

    @property
    def has_unexplained(self) -> bool:
        """Whether a deposit or withdrawal may count as a result, since none is recorded."""
        return any(line.is_unexplained for line in self.lines)

    @property
    def days(self) -> list[DayRow]:
        """The trading days with a closed trade."""
        return self.trades.days

    @property
    def feeds(self) -> dict[int, str]:
        """The names of the feeds with trades in it."""
        return {int(row.key): row.feed_name for row in self.trades.breakdowns["feed"]}

    @cached_property
    def feed_choices(self) -> dict[int, str]:
        """The names of the feeds with trades in its period, whatever feed or pair is chosen."""
        if not self.scope.is_part_of_accounts:
            return self.feeds
        with for_all_tenants():
            return result_feeds(self.scope)

    @property
    def has_anything(self) -> bool:
        """Whether there is a trade or a reading in it."""
        return bool(self.trades.total.trades or (self.book and self.book.days))

    @property
    def without_flows(self) -> list[ReportAccount]:
        """Accounts of the equity whose brokers do not report deposits and withdrawals."""
        return [line.account for line in self.lines if line.account.why_no_flows]

    @property
    def other(self) -> Decimal | None:
        """What of the balances' change nothing explains; None: the equity is not known."""
        return sum((line.other for line in self.lines), ZERO) if self.lines else None


def books(accounts: Iterable[ReportAccount]) -> dict[BookKey, list[ReportAccount]]:
    """Return the reader's accounts by book, real money first."""
    found: dict[BookKey, list[ReportAccount]] = {}
    for account in accounts:
        found.setdefault(BookKey(account.currency, account.is_paper), []).append(account)
    order = sorted(found, key=lambda key: (key.is_paper, not key.currency, key.currency))
    return {key: found[key] for key in order}


def report_accounts(connections: Any) -> list[ReportAccount]:
    """Return a queryset of connections as accounts, by name, in one statement.

    Paper twins are left out: they have a comparison of their own (`twins`).
    """
    values = (
        connections.filter(twin_of=None)
        .order_by("name", "pk")
        .values_list("pk", "name", "account", "snapshot__currency", "type", "archived_at",
                     "cash_flow_read__retry_at", "cash_flow_read__missing_since",
                     "cash_flow_read__error", "preset__trading_day_zone",
                     "preset__trading_day_start")
    )  # fmt: skip
    return [
        ReportAccount(
            pk, name, number, currency or "", kind == PAPER, archived is not None,
            (error or "") if retry_at is not None and missing_since is None else "",
            DayRule(zone or DEFAULT_ZONE, start) if start is not None else DEFAULT_RULE,
        )
        for pk, name, number, currency, kind, archived, retry_at, missing_since, error, zone, start
        in values
    ]  # fmt: skip


def report(key: BookKey, accounts: Sequence[ReportAccount], scope: Scope) -> Report:
    """Return the report of some accounts of a book.

    scope: its connections are those accounts. They must be the reader's own: the statements reach
    all rows.
    """
    return Report(key, scope, tuple(accounts), market_now())


def account_equities(scope: Scope) -> list[AccountEquity]:
    """Return the equity of each account of a scope that was read twice in it."""
    readings = equity_readings(scope.connection_ids, scope.start, scope.end)
    # What was there when the first account was read is the opening, what came later was added.
    start = max(scope.start, min((reading.day for reading in readings), default=scope.start))
    return [
        equity
        for _, group in groupby(readings, key=lambda reading: reading.connection_id)
        if (equity := account_equity(list(group), start=start, end=scope.end)) is not None
    ]


def signal_scope(key: BookKey, scope: Scope) -> SignalScope:
    """Return the signals that belong to a scope of trades of a book."""
    return SignalScope(
        scope.connection_ids, scope.start, scope.end, key.is_paper, scope.feed_id, scope.pair
    )


def execution_report(key: BookKey, scope: Scope) -> ExecutionSums:
    """Return the aggregate of my execution and the medians over the signals of a scope."""
    with for_all_tenants():
        return execution_sums(signal_scope(key, scope))


def executions(
    key: BookKey, scope: Scope, *, before: int | None = None, limit: int = 30
) -> list[SignalExecution]:
    """Return the signals of a scope with my execution and the medians, the newest first."""
    with for_all_tenants():
        return signal_executions(signal_scope(key, scope), before=before, limit=limit)


def _all_time(scope: Scope) -> Scope:
    """Return the scope without its period, for the table of months."""
    return Scope(
        scope.connection_ids, ALL, latest_date(market_now()) + timedelta(days=1), scope.zone,
        scope.feed_id, scope.pair,
    )  # fmt: skip
