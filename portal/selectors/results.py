"""Equity and today's result of a tenant's accounts; paper and real money are kept apart."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Q, Sum

from common.clocks import market_now
from connections.trading_day import DayRule, bounds, rule_of, trading_date
from portal.selectors.accounts import Account
from portal.selectors.positions import PositionView
from positions.models import CloseReason, ExecutionPosition

ZERO = Decimal(0)
Key = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of today's result; the lines add up."""

    what: str
    note: str
    amount: Decimal


@dataclass(slots=True)
class CurrencySummary:
    """Money of one currency, real or paper."""

    currency: str
    is_paper: bool
    accounts: list[Account] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    closed: Decimal = ZERO
    open: Decimal = ZERO
    unpriced: int = 0

    @property
    def equity(self) -> Decimal:
        return sum((a.snapshot.equity for a in self.accounts if a.snapshot), ZERO)

    @property
    def balance(self) -> Decimal:
        return sum((a.snapshot.balance for a in self.accounts if a.snapshot), ZERO)

    @property
    def today(self) -> Decimal:
        return self.closed + self.open


def currency_summaries(
    accounts: Sequence[Account], open_positions: Sequence[PositionView]
) -> list[CurrencySummary]:
    """Return equity (as last synced) and today's result by currency, real money first."""
    found: dict[Key, CurrencySummary] = {}
    for account in accounts:
        if account.snapshot:
            summary = _summary_of(found, account.snapshot.currency, account.is_paper)
            summary.accounts.append(account)
    for row in _closed_today(accounts):
        summary = _summary_of(found, row["currency"] or "", row["broker_type"] == "paper")
        summary.closed += row["made"]
        summary.lines.append(_closed_line(row))
    _add_open(found, open_positions)
    return sorted(found.values(), key=lambda summary: (summary.is_paper, summary.currency))


def _summary_of(
    found: dict[Key, CurrencySummary], currency: str, is_paper: bool
) -> CurrencySummary:
    return found.setdefault((currency, is_paper), CurrencySummary(currency, is_paper))


def _closed_line(row: dict[str, Any]) -> Line:
    count = row["count"]
    reason = CloseReason(row["close_reason"]).label if row["close_reason"] else "Closed"
    note = f"{count} position{'' if count == 1 else 's'}, after commission and swap"
    if beside := row["beside"]:
        note += f"; fees of {beside} not included: no rate was quoted"
    return Line(f"{row['pair']}: {reason[0].lower()}{reason[1:]}", note, row["made"])


def _closed_today(accounts: Sequence[Account]) -> Sequence[dict[str, Any]]:
    """Sum what closed since each account's trading day began, by currency, pair and reason."""
    by_rule: dict[DayRule, list[UUID]] = defaultdict(list)
    for account in accounts:
        by_rule[rule_of(account.connection.preset)].append(account.connection.pk)
    if not by_rule:
        return []
    today, now = Q(), market_now()
    for rule, ids in by_rule.items():
        start, end = bounds(trading_date(now, rule), rule)
        today |= Q(connection__in=ids, closed_at__gte=start, closed_at__lt=end)
    rows = ExecutionPosition.objects.filter(today).values(
        "pair", "close_reason", currency=F("connection__snapshot__currency"),
        broker_type=F("connection__type"),
    )  # fmt: skip
    summed = rows.annotate(
        count=Count("pk"), made=Sum(F("realized_pnl") - F("commission") + F("swap")),
        beside=Count("pk", filter=~Q(unconverted_fees={})),
    )  # fmt: skip
    return list(summed.order_by("pair", "close_reason"))


def _add_open(found: dict[Key, CurrencySummary], open_positions: Sequence[PositionView]) -> None:
    by_pair: dict[tuple[Key, str], list[PositionView]] = defaultdict(list)
    for one in open_positions:
        by_pair[(one.currency, one.is_paper), one.position.pair].append(one)
    for (key, pair), group in by_pair.items():
        summary = _summary_of(found, *key)
        priced = [o.position.unrealized_pnl for o in group if o.position.unrealized_pnl is not None]
        summary.unpriced += len(group) - len(priced)
        summary.open += sum(priced, ZERO)
        note = f"{len(group)} position{'' if len(group) == 1 else 's'}, at the last price"
        if missing := len(group) - len(priced):
            note += f"; {missing} without a price left out"
        summary.lines.append(Line(f"Open {pair}", note, sum(priced, ZERO)))
