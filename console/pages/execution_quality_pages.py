"""How well the installation executes: over a range of days, and a month laid out for paper."""

from datetime import date, timedelta
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.dateparse import parse_date
from django.utils.timezone import now as machine_clock

from analytics.installation.figures import Scope, installation_report
from analytics.results.periods import Kind, period_of
from console.pages.page_helpers import View, page

MOST_DAYS = 366
DAY = timedelta(days=1)
UNITS = {"bps": "basis points", "pips": "pips"}


def show(request: HttpRequest) -> HttpResponse:
    """The figures of the chosen UTC days; without a choice of the last thirty."""
    today = machine_clock().date()
    problems: list[str] = []
    end = _day(request, "to", today, problems)
    start = _day(request, "from", min(end, today) - 29 * DAY, problems)
    if not problems and start > end:
        problems.append("The first day is after the last one: swap them.")
    if not problems and (end - start).days >= MOST_DAYS:
        problems.append(f"At most {MOST_DAYS} days: choose a later first day.")
    ranges = [
        (label, start_, today)
        for label, start_ in (
            ("Today", today), ("7 days", today - 6 * DAY), ("30 days", today - 29 * DAY),
            ("This year", date(today.year, 1, 1)),
        )
    ]  # fmt: skip
    if problems:
        start, end = today - 29 * DAY, today
    return page(
        request, "execution_quality.html", "Execution quality", problems=problems,
        ranges=ranges, month=today, **_context(request, start, end),
    )  # fmt: skip


def month(request: HttpRequest, year: int, month: int) -> HttpResponse:
    """One month, laid out for paper."""
    if not (2000 <= year <= 2100 and 1 <= month <= 12):
        raise Http404
    period = period_of(Kind.MONTH, date(year, month, 1))
    title = f"Execution quality, {period.label}"
    return page(
        request, "execution_quality_month.html", title, period=period,
        **_context(request, period.start, period.end),
    )  # fmt: skip


def _context(request: HttpRequest, start: date, end: date) -> dict[str, Any]:
    is_paper = request.GET.get("money") == "paper"
    of_exits = request.GET.get("of") == "exits"
    unit = request.GET.get("unit", "")
    unit = unit if unit in UNITS else "bps"
    report = installation_report(Scope(start, end, is_paper), of_exits=of_exits)
    shown = report.exits if of_exits else report.entries
    return {
        "report": report, "shown": shown, "statistics": report.statistics, "unit": unit,
        "unit_name": UNITS[unit], "of_exits": of_exits, "is_paper": is_paper,
        "start": start, "end": end,
    }  # fmt: skip


def _day(request: HttpRequest, name: str, default: date, problems: list[str]) -> date:
    """Return a day of the query; a text that is none becomes a problem."""
    text = request.GET.get(name, "").strip()
    if not text:
        return default
    try:
        found = parse_date(text)
    except ValueError:  # the 31st of February
        found = None
    if found is None or not 2000 <= found.year <= 2100:
        problems.append(f"“{text[:20]}” is no day: write it as 2026-03-31.")
        return default
    return found


URLS: tuple[tuple[str, str, View], ...] = (
    ("console/execution/", "console_execution", show),
    ("console/execution/<int:year>/<int:month>/", "console_execution_month", month),
)
