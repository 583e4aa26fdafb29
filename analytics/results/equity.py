"""Equity by trading day, with deposits and withdrawals separate from results. Pure.

A day's return is time-weighted: the readings after each deposit or withdrawal cut it into parts,
each part returns (equity at its end − what came in) / equity at its start − 1, and the parts are
chained. So no deposit changes a return. docs/analytics.md has the definitions.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from itertools import pairwise
from uuid import UUID

from analytics.results.statistics import ReturnStatistics, drawdowns, grown, return_statistics
from common.money import DIGITS, divide, to_stored
from connections.selectors import EquityReading

ZERO, ONE, DAY = Decimal(0), Decimal(1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class EquityDay:
    """One account over a trading day, or over several on which it was not read at all.

    last: the last day; first: earlier if readings are missing. opening, closing: equity of the
    readings at both ends. value: the time-weighted return; None while the equity was not above 0.
    is_ended: False for the day that goes on.
    """

    connection_id: UUID
    first: date
    last: date
    opening: Decimal
    closing: Decimal
    deposits: Decimal
    withdrawals: Decimal
    value: Decimal | None
    is_ended: bool

    @property
    def gain(self) -> Decimal:
        """What the equity changed by, without deposits and withdrawals."""
        return self.closing - self.opening - self.deposits + self.withdrawals

    @property
    def is_gap(self) -> bool:
        """Whether readings of whole days are missing in it."""
        return self.first != self.last


@dataclass(frozen=True, slots=True)
class AccountEquity:
    """What became of one account's equity: opening + deposits − withdrawals + result = closing.

    Times are those of its first and its last reading in the period.
    """

    connection_id: UUID
    opened_at: datetime
    closed_at: datetime
    opening: Decimal
    closing: Decimal
    opening_balance: Decimal
    closing_balance: Decimal
    deposits: Decimal
    withdrawals: Decimal
    credits: Decimal
    days: tuple[EquityDay, ...] = ()
    is_added: bool = False  # it was first read after the period had begun

    @property
    def result(self) -> Decimal:
        """The equity's change without deposits and withdrawals."""
        return self.closing - self.opening - self.deposits + self.withdrawals

    def other(self, closed_net: Decimal) -> Decimal:
        """Return what of the balance's change nothing explains: interest, trades elsewhere.

        closed_net: net results of the trades closed between its two readings.
        """
        flows = self.deposits - self.withdrawals - self.credits
        return self.closing_balance - self.opening_balance - flows - closed_net


@dataclass(frozen=True, slots=True)
class BookDay:
    """The equity of all accounts at the end of a trading day; None: one of them was not read.

    deposits, withdrawals: of that day, and added: the first equity of accounts that begin on it.
    value: their return, each weighted by its equity at the start; None: no account has one.
    below_peak: the drawdown at its end, a fraction ≤ 0.
    """

    day: date
    equity: Decimal | None
    deposits: Decimal
    withdrawals: Decimal
    added: Decimal
    value: Decimal | None
    below_peak: Decimal | None
    is_full: bool  # exactly one trading day, which has ended


@dataclass(frozen=True, slots=True)
class Book:
    """The equity of several accounts of one currency over a period.

    opening + added + deposits − withdrawals + result = closing, to the last digit.
    """

    accounts: tuple[AccountEquity, ...]
    days: tuple[BookDay, ...]
    statistics: ReturnStatistics
    gaps: tuple[EquityDay, ...] = field(default=())

    @property
    def opening(self) -> Decimal:
        return sum((a.opening for a in self.accounts if not a.is_added), ZERO)

    @property
    def added(self) -> Decimal:
        return sum((a.opening for a in self.accounts if a.is_added), ZERO)

    @property
    def deposits(self) -> Decimal:
        return sum((a.deposits for a in self.accounts), ZERO)

    @property
    def withdrawals(self) -> Decimal:
        return sum((a.withdrawals for a in self.accounts), ZERO)

    @property
    def result(self) -> Decimal:
        return sum((a.result for a in self.accounts), ZERO)

    @property
    def closing(self) -> Decimal:
        return sum((a.closing for a in self.accounts), ZERO)

    @property
    def until(self) -> datetime | None:
        """The earliest of the accounts' last readings: until then the equity counts."""
        return min((a.closed_at for a in self.accounts), default=None)


def account_equity(
    readings: Sequence[EquityReading], *, start: date, end: date
) -> AccountEquity | None:
    """Return one account's equity over [start, end] from its readings; None with fewer than two."""
    if len(readings) < 2:
        return None
    first, last = readings[0], readings[-1]
    return AccountEquity(
        connection_id=first.connection_id,
        opened_at=first.at,
        closed_at=last.at,
        opening=first.equity,
        closing=last.equity,
        opening_balance=first.balance,
        closing_balance=last.balance,
        deposits=sum((r.deposits for r in readings[1:]), ZERO),
        withdrawals=sum((r.withdrawals for r in readings[1:]), ZERO),
        credits=sum((r.credits for r in readings[1:]), ZERO),
        days=tuple(_days(readings, end=end)),
        is_added=first.day > start,
    )


def _days(readings: Sequence[EquityReading], *, end: date) -> list[EquityDay]:
    """Cut the readings into days. Each day goes from its first reading to the next day's first."""
    starts = [n for n, row in enumerate(readings) if row.is_first_of_day]
    bounds = [*pairwise(starts)]
    if readings[starts[-1]].day <= end and starts[-1] < len(readings) - 1:
        bounds.append((starts[-1], len(readings) - 1))  # the latest reading ends the last day
    days = []
    for begin, until in bounds:
        part = readings[begin : until + 1]
        is_open_end = not part[-1].is_first_of_day
        last = part[-1].day if is_open_end else part[-1].day - DAY
        days.append(
            EquityDay(
                connection_id=part[0].connection_id,
                first=part[0].day,
                last=last,
                opening=part[0].equity,
                closing=part[-1].equity,
                deposits=sum((r.deposits for r in part[1:]), ZERO),
                withdrawals=sum((r.withdrawals for r in part[1:]), ZERO),
                value=chained(part),
                is_ended=not is_open_end,
            )
        )
    return days


def chained(readings: Sequence[EquityReading]) -> Decimal | None:
    """Return the time-weighted return over these readings; None if no part began above 0."""
    growth: Decimal | None = None
    with localcontext(prec=2 * DIGITS):
        for before, after in pairwise(readings):
            if before.equity <= 0:
                continue
            net = after.equity - after.deposits + after.withdrawals
            growth = grown(ONE if growth is None else growth, net / before.equity)
        return None if growth is None else to_stored(growth - ONE)


def book_of(
    accounts: Iterable[AccountEquity], *, why_none: str = "no account was read twice in this period"
) -> Book:
    """Add up accounts of one currency by trading day."""
    accounts = tuple(accounts)
    ending: dict[date, list[EquityDay]] = defaultdict(list)
    added: dict[date, Decimal] = defaultdict(Decimal)
    for account in accounts:
        for day in account.days:
            ending[day.last].append(day)
        if account.is_added and account.days:
            added[account.days[0].first] += account.opening
    returns = {day: _weighted(parts) for day, parts in ending.items()}
    dated = sorted((day, value) for day, value in returns.items() if value is not None)
    falls = dict(zip([day for day, _ in dated], drawdowns(v for _, v in dated), strict=True))
    days = tuple(
        BookDay(
            day=day,
            equity=_equity(accounts, ending.get(day, ()), day),
            deposits=sum((part.deposits for part in ending.get(day, ())), ZERO),
            withdrawals=sum((part.withdrawals for part in ending.get(day, ())), ZERO),
            added=added.get(day, ZERO),
            value=returns.get(day),
            below_peak=falls.get(day),
            is_full=all(part.is_ended and not part.is_gap for part in ending.get(day, ())),
        )
        for day in _all_days(accounts)
    )
    valued = [day for day in days if day.value is not None]
    statistics = return_statistics(
        [day.value for day in valued if day.value is not None],
        [day.value for day in valued if day.value is not None and day.is_full],
        why_none,
    )
    gaps = tuple(day for account in accounts for day in account.days if day.is_gap)
    return Book(accounts, days, statistics, gaps)


def _weighted(parts: Sequence[EquityDay]) -> Decimal | None:
    """Return the accounts' mean return, weighted by their equity at the start."""
    known = [part for part in parts if part.value is not None and part.opening > 0]
    if not known:
        only = [part.value for part in parts if part.value is not None]
        return only[0] if len(only) == 1 else None
    with localcontext(prec=2 * DIGITS):
        gained = sum((part.opening * part.value for part in known if part.value is not None), ZERO)
        return divide(gained, sum((part.opening for part in known), ZERO))


def _all_days(accounts: Sequence[AccountEquity]) -> list[date]:
    """Return every date from the first day of any account to the last."""
    firsts = [account.days[0].first for account in accounts if account.days]
    lasts = [account.days[-1].last for account in accounts if account.days]
    if not firsts:
        return []
    first, last = min(firsts), max(lasts)
    return [first + DAY * n for n in range((last - first).days + 1)]


def _equity(
    accounts: Sequence[AccountEquity], parts: Sequence[EquityDay], day: date
) -> Decimal | None:
    """Return the accounts' equity at the end of a day; None if one lacks a reading then.

    parts: what ends on that day, one for each account that was read. Accounts that were added
    later are not part of it yet.
    """
    begun = sum(1 for a in accounts if a.days and a.days[0].first <= day)
    return sum((p.closing for p in parts), ZERO) if parts and len(parts) == begun else None
