"""What a page of results shows: the period, the book, accounts, feed and pair of its address.

What an address names wrongly counts as not named: a page then shows more, never another's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from django.http import QueryDict

from analytics.results.closed_trades import ALL, Scope
from analytics.results.periods import Kind, Period, period_of
from analytics.results.reports import BookKey, Report, ReportAccount, books, report, report_accounts
from common.clocks import market_now
from common.time_zones import is_time_zone
from connections.models import ExecutionConnection
from connections.trading_day import DEFAULT_RULE, latest_date, trading_date
from signals.selectors import feeds_for
from users.models import User
from users.tenancy import for_all_tenants

LONGEST = 20  # characters of a pair


@dataclass(frozen=True, slots=True)
class ResultChoice:
    """A reader's choice. key: None while they have no account.

    today: the latest trading day that has begun for one of the chosen accounts.
    """

    period: Period
    keys: Sequence[BookKey]
    key: BookKey | None
    accounts: Sequence[ReportAccount]
    account: ReportAccount | None
    scope: Scope
    today: date

    def report(self) -> Report | None:
        """Return the report of the choice; None without an account."""
        if self.key is None:
            return None
        chosen = [self.account] if self.account else self.accounts
        return report(self.key, chosen, self.scope)


def result_choice(user: User, query: QueryDict, *, period: Period | None = None) -> ResultChoice:
    """Return what the address asks for, of the user's own accounts. period: instead of its own."""
    own = report_accounts(ExecutionConnection.objects.filter(user=user))
    by_book = books(own)
    account = next((a for a in own if str(a.id) == query.get("account")), None)
    slugs = {key.slug: key for key in by_book}
    key = slugs.get(query.get("book", ""))
    if account is not None:
        key = BookKey(account.currency, account.is_paper)
    if key is None:
        key = next(iter(by_book), None)
    accounts = by_book.get(key, []) if key else []
    rules = {one.rule for one in ([account] if account else accounts)} or {DEFAULT_RULE}
    now = market_now()
    today = max(trading_date(now, rule) for rule in rules)
    period = period or _period(query, today)
    zone = user.time_zone if is_time_zone(user.time_zone) else "UTC"
    scope = Scope(
        [account.id] if account else [one.id for one in accounts],
        period.start,
        period.end,
        "UTC" if query.get("zone") == "utc" else zone,
        _number(query.get("feed", "")),
        query.get("pair", "").strip().upper()[:LONGEST] or None,
    )
    return ResultChoice(period, list(by_book), key, accounts, account, scope, today)


def feed_choices(user: User, found: Report) -> dict[int, str]:
    """Return the feeds that a report can be limited to: those with trades, and the chosen one.

    So a choice without a trade stays chosen. Its name is the user's to see only if they may see the
    feed, or have taken it.
    """
    choices, chosen = dict(found.feed_choices), found.scope.feed_id
    if chosen is not None and chosen not in choices:
        with for_all_tenants():  # one that they have left is hidden from them otherwise
            feed = feeds_for(user).filter(pk=chosen).first()
        choices[chosen] = feed.name if feed else f"Feed {chosen}"
    return choices


def tables_query(query: QueryDict, period: Period) -> str:
    """Return the query of the tables of a page: its filters, and its period by name and day.

    A page may have its period from elsewhere than its query: from its path, or from today. The
    tables must be of the same, also when they are downloaded tomorrow.
    """
    stated = query.copy()
    for name in ("period", "on", "from", "to", "before"):
        stated.pop(name, None)
    stated["period"] = period.kind
    if period.kind == Kind.CUSTOM:
        stated["from"], stated["to"] = period.start.isoformat(), period.end.isoformat()
    elif period.kind != Kind.ALL:
        stated["on"] = period.start.isoformat()
    return stated.urlencode()


def _period(query: QueryDict, today: date) -> Period:
    start, end = _day(query.get("from", "")), _day(query.get("to", ""))
    name = query.get("period", "")
    if name == Kind.CUSTOM and (start or end):
        start, end = start or ALL, end or today
        return Period(Kind.CUSTOM, min(start, end), max(start, end))
    kind = Kind(name) if name in set(Kind) - {Kind.CUSTOM} else Kind.MONTH
    if kind == Kind.ALL:
        return Period(kind, ALL, latest_date(market_now()))
    return period_of(kind, _day(query.get("on", "")) or today)


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 2000 <= day.year <= 2100 else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None
