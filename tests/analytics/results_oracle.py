"""Results and equity computed a second time: slow, in plain Python, from the rows alone.

Written from docs/analytics.md and sharing no code with the product, so that both must agree.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from math import sqrt
from zoneinfo import ZoneInfo

from connections.models import (
    AccountHistory,
    AccountSnapshot,
    CashFlow,
    ExecutionConnection,
)
from positions.models import ExecutionPosition

NEW_YORK = ZoneInfo("America/New_York")


def day_of(at: datetime) -> date:
    """The trading day of the default rule: from 17:00 in New York on it is the next date."""
    local = at.astimezone(NEW_YORK)
    return local.date() + timedelta(days=int(local.time() >= time(17)))


@dataclass
class Sums:
    """What trades add up to."""

    trades: int = 0
    wins: int = 0
    losses: int = 0
    profit: Decimal = Decimal(0)
    loss: Decimal = Decimal(0)
    commission: Decimal = Decimal(0)
    swap: Decimal = Decimal(0)
    with_swap: int = 0

    def add(self, position: ExecutionPosition) -> None:
        """Count one closed position."""
        net = position.realized_pnl - position.commission + position.swap
        self.trades += 1
        self.wins += net > 0
        self.losses += net < 0
        self.profit += max(0, net)
        self.loss -= min(0, net)
        self.commission += position.commission
        self.swap += position.swap
        self.with_swap += position.swap != 0


def sums_by(positions: Iterable[ExecutionPosition], key: object) -> dict[str, Sums]:
    """Return the sums by feed, pair, account or hour (UTC); `total`: of all."""
    found: dict[str, Sums] = {}
    for one in positions:
        assert one.closed_at is not None
        name = {
            "feed": str(one.signal.feed_id), "pair": one.pair, "account": str(one.connection_id),
            "hour": str(one.closed_at.hour), "total": "",
        }[str(key)]  # fmt: skip
        found.setdefault(name, Sums()).add(one)
    return found


def streaks(positions: Iterable[ExecutionPosition]) -> tuple[int, int, int]:
    """Return the longest runs of wins and of losses, and the last one (below 0: losses)."""
    longest = {1: 0, -1: 0, 0: 0}
    sign = length = 0
    for one in sorted(positions, key=lambda p: (p.closed_at, p.pk)):
        net = one.realized_pnl - one.commission + one.swap
        outcome = (net > 0) - (net < 0)
        length = length + 1 if outcome == sign else 1
        sign = outcome
        longest[outcome] = max(longest[outcome], length)
    return longest[1], longest[-1], sign * length


def daily_returns(account: ExecutionConnection, first: date, last: date) -> dict[date, Fraction]:
    """Return an account's time-weighted return of each trading day that begins and ends known."""
    state = AccountSnapshot.objects.get(connection=account)
    known = sorted(
        {(h.read_at, h.equity) for h in AccountHistory.objects.filter(connection=account)}
        | {(state.read_at, state.equity)}
    )
    flows = list(CashFlow.objects.filter(connection=account))
    opening: dict[date, datetime] = {}
    for at, _ in known:
        opening.setdefault(day_of(at), at)
    found = {}
    for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
        begin, end = opening.get(day), opening.get(day + timedelta(days=1))
        if begin is None or end is None:
            continue
        inside = [(at, Fraction(equity)) for at, equity in known if begin <= at <= end]
        growth = Fraction(1)
        start_at, start = inside[0]
        for at, equity in inside[1:]:
            came = sum(Fraction(f.amount) for f in flows if start_at < f.at <= at)
            if came or at == end:
                growth *= (equity - came) / start
                start_at, start = at, equity
        found[day] = growth - 1
    return found


def sharpe(returns: list[float], periods: int = 365) -> float:
    """Mean / sample deviation, times √periods."""
    mean = sum(returns) / len(returns)
    variance = sum((r - mean) ** 2 for r in returns) / (len(returns) - 1)
    return mean / sqrt(variance) * sqrt(periods)
