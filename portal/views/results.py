"""Results over a period: figures, charts, tables, a month to print, and each table as CSV."""

from calendar import month_abbr
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse

from analytics.quality.signals import OTHERS, SignalExecution
from analytics.results.closed_trades import MonthRow, SumsRow
from analytics.results.definitions import DEFINITIONS
from analytics.results.exports import TABLES, Row, table_rows
from analytics.results.periods import Kind, period_of
from analytics.results.reports import Report, execution_report, executions
from common.web.formatting import amount as money_text
from common.web.formatting import gain_amount, number
from portal.files import csv_file
from portal.pages import current_user, page, tenants_only
from portal.result_charts import ResultChart, day_chart
from portal.selectors.result_choice import (
    ResultChoice,
    feed_choices,
    result_choice,
    tables_query,
)

SHOWN = 25  # lines of a breakdown on the page; the CSV has all
SIGNALS = 30
MONTH_NAMES = list(month_abbr)[1:]


@dataclass(slots=True)
class Year:
    """A line of the table of months. cells: net results by month, None: no trade."""

    year: int
    cells: list[MonthRow | None] = field(default_factory=lambda: [None] * 12)

    @property
    def net(self) -> Decimal:
        return sum((cell.net for cell in self.cells if cell), Decimal(0))

    @property
    def trades(self) -> int:
        return sum(cell.trades for cell in self.cells if cell)


@dataclass(frozen=True, slots=True)
class Part:
    """A line of a breakdown. label: for people; query: the value that the filter takes."""

    label: str
    query: str
    row: SumsRow


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A table of parts. more: how many lines only the CSV has. filters: its parameter, if any."""

    kind: str
    title: str
    head: str
    parts: list[Part]
    more: int
    filters: str = ""


@tenants_only
def results(request: HttpRequest) -> HttpResponse:
    """The results of one book over the chosen period."""
    choice = result_choice(current_user(request), request.GET)
    return page(request, "results.html", **_context(request, choice), filters=request.GET)


@tenants_only
def month(request: HttpRequest, *, year: int, month: int) -> HttpResponse:
    """One month, laid out for paper."""
    if not (2000 <= year <= 2100 and 1 <= month <= 12):
        raise Http404
    period = period_of(Kind.MONTH, date(year, month, 1))
    choice = result_choice(current_user(request), request.GET, period=period)
    return page(request, "results_month.html", **_context(request, choice))


@tenants_only
def definitions(request: HttpRequest) -> HttpResponse:
    """What each figure means."""
    return page(request, "results_definitions.html", definitions=DEFINITIONS)


@tenants_only
def execution(request: HttpRequest) -> HttpResponse:
    """Each signal's execution against the median of all persons who traded it."""
    choice = result_choice(current_user(request), request.GET)
    text = request.GET.get("before", "")
    before = int(text) if _is_id(text) else None
    found, sums = list[SignalExecution](), None
    if choice.key is not None:
        found = executions(choice.key, choice.scope, before=before, limit=SIGNALS + 1)
        sums = execution_report(choice.key, choice.scope)
    return page(
        request, "results_execution.html", choice=choice, execution=sums, signals=found[:SIGNALS],
        more=found[SIGNALS - 1].signal_id if len(found) > SIGNALS else None, others=OTHERS,
        csv_query=tables_query(request.GET, choice.period),
    )  # fmt: skip


@tenants_only
def export(request: HttpRequest, *, table: str) -> HttpResponse:
    """Download a table as CSV, streamed."""
    user = current_user(request)
    if table not in TABLES:
        raise Http404
    choice = result_choice(user, request.GET)
    report = choice.report()
    rows: Iterator[Row] = iter(())
    if report is not None:
        rows = table_rows(table, report, user, feeds=report.feeds)
    return csv_file(rows, name=f"{table}-{choice.period.start}-{choice.period.end}")


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 18


def _context(request: HttpRequest, choice: ResultChoice) -> dict[str, Any]:
    """Return the template variables of a report; those of an empty page without an account.

    csv_query: that of its tables.
    """
    report = choice.report()
    context: dict[str, Any] = {
        "choice": choice, "report": report, "kinds": list(Kind),
        "csv_query": tables_query(request.GET, choice.period),
    }  # fmt: skip
    if report is None:
        return context
    equity, drawdown = _charts(report)
    feeds = feed_choices(current_user(request), report)
    return {
        **context,
        "feed_choices": feeds,
        "equity_chart": equity,
        "drawdown_chart": drawdown,
        "net_chart": _net_chart(report),
        "years": _years(report.months),
        "month_names": MONTH_NAMES,
        "breakdowns": _breakdowns(report),
        "zone": choice.scope.zone,
        "feed_name": feeds.get(choice.scope.feed_id or 0, ""),
    }


def _years(months: list[MonthRow]) -> list[Year]:
    years: dict[int, Year] = {}
    for row in months:
        years.setdefault(row.year, Year(row.year)).cells[row.month - 1] = row
    return sorted(years.values(), key=lambda year: -year.year)


def _breakdowns(report: Report) -> list[Breakdown]:
    accounts = {str(account.id): account.name for account in report.accounts}
    labels: dict[str, dict[str, str]] = {
        "feed": {str(pk): name for pk, name in report.feeds.items()},
        "pair": {},
        "account": accounts,
        "hour": {str(hour): f"{hour:02}:00 to {hour:02}:59" for hour in range(24)},
    }
    titles = {"feed": "By feed", "pair": "By pair", "account": "By account", "hour": "By hour"}
    heads = {"feed": "Feed", "pair": "Pair", "account": "Account", "hour": "Closed between"}
    return [
        Breakdown(
            kind, titles[kind], heads[kind],
            [Part(labels[kind].get(row.key, row.key), row.key, row) for row in rows[:SHOWN]],
            max(len(rows) - SHOWN, 0),
            "" if kind == "hour" else kind,
        )
        for kind, rows in report.trades.breakdowns.items()
        if rows
    ]  # fmt: skip


def _charts(report: Report) -> tuple[ResultChart | None, ResultChart | None]:
    """Return the charts of equity and drawdown; None where there are fewer than two days."""
    book, currency = report.book, report.key.currency
    if book is None or not book.days:
        return None, None
    came: dict[date, list[tuple[Decimal, str]]] = defaultdict(list)
    for day in book.days:
        for amount, word in ((day.deposits, "deposit"), (day.added, "account added"),
                             (-day.withdrawals, "withdrawal")):  # fmt: skip
            if amount:
                came[day.day].append((amount, word))
    flows = [
        (day, f"{day:%-d %b}: {word} {money_text(abs(amount), currency)}", amount > 0)
        for day, listed in came.items()
        for amount, word in listed
    ]
    last = next((day.equity for day in reversed(book.days) if day.equity is not None), None)
    equity = day_chart(
        [(day.day, day.equity) for day in book.days],
        description=f"Equity at the end of each trading day, last {money_text(last, currency)}; "
        f"{len(flows)} deposits, withdrawals and added accounts.",
        flows=flows,
    )
    deepest = book.statistics.max_drawdown.value
    drawdown = day_chart(
        [(day.day, day.below_peak) for day in book.days],
        description=f"Drawdown, at most {number((deepest or Decimal(0)) * 100, 2)} %.",
        is_fraction=True,
    )
    return equity, drawdown


def _net_chart(report: Report) -> ResultChart | None:
    return day_chart(
        [(day.day, day.total) for day in report.days],
        description="Net result of closed trades: "
        f"{gain_amount(report.trades.sums.total, report.key.currency)}.",
    )
