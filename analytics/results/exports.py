"""Tables of results as CSV, row by row, so that a long one is never in memory at once.

Numbers are plain decimals with a point, times UTC. A text that a spreadsheet would take for a
formula gets an apostrophe in front.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from analytics.results.closed_trades import SumsRow, trades_after
from analytics.results.reports import Report, executions
from analytics.results.statistics import Figure
from common.money import plain
from common.web.csv_text import inert
from users.models import User
from users.tenancy import for_all_tenants, on_behalf_of

CHUNK = 500
TABLES = (
    "statistics", "trades", "days", "months", "feed", "pair", "account", "hour", "equity", "costs",
    "execution",
)  # fmt: skip
"""The tables that can be downloaded, by their name in addresses."""
Cell = str | int | Decimal | date | datetime | UUID | Figure | None
Row = Sequence[Cell]

_SUMS = (
    "trades", "wins", "losses", "win_rate", "gross_profit", "gross_loss", "net", "profit_factor",
    "expectancy", "average_seconds", "commission", "swap", "trades_with_swap", "spread",
    "trades_with_spread", "slippage", "trades_with_slippage",
)  # fmt: skip


class _Line:
    """A file for `csv.writer` that keeps one line."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text


def csv_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Return the rows as lines of CSV, the first with a mark that spreadsheets read as UTF-8."""
    line = _Line()
    writer = csv.writer(line)
    first = "\ufeff"
    for row in rows:
        writer.writerow([cell(value) for value in row])
        yield first + line.text
        first = ""


def cell(value: Cell) -> str:
    """Return a value as text; an unknown one is empty."""
    if isinstance(value, Figure):
        value = value.value
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, str):
        return inert(value)
    return str(value)


def fees_text(fees: Mapping[str, str]) -> str:
    """Return the fees for which no rate was quoted, in one cell."""
    return " ".join(f"{amount} {name}" for name, amount in fees.items())


def table_rows(
    table: str, report: Report, user: User, *, feeds: Mapping[int, str]
) -> Iterator[Row]:
    """Return the rows of a table, its header first. feeds: their names.

    It is read after the request's transaction has ended, and opens its own. table: of TABLES.
    """
    currency = report.key.currency
    match table:
        case "trades":
            return _trades(report, user, feeds)
        case "execution":
            return _executions(report, user)
        case "days":
            head: Row = ("day", "trades", "wins", "net", "total", "currency")
            days = report.days
            return iter(
                [head, *((d.day, d.trades, d.wins, d.net, d.total, currency) for d in days)]
            )
        case "months":
            head = ("year", "month", "trades", "wins", "net", "currency")
            return iter([head, *((*month, currency) for month in report.months)])
        case "equity":
            return iter(_equity(report))
        case "costs":
            return iter(_costs(report))
        case "statistics":
            return iter(_statistics(report))
    names = _names(table, report, feeds)
    parts = report.trades.breakdowns[table]
    head = (table, *_SUMS, "currency")
    return iter([head, *((names.get(r.key, r.key), *_sums(r), currency) for r in parts)])


def _names(table: str, report: Report, feeds: Mapping[int, str]) -> dict[str, str]:
    if table == "account":
        return {str(account.id): account.name for account in report.accounts}
    return {str(pk): name for pk, name in feeds.items()} if table == "feed" else {}


def _sums(row: SumsRow) -> Row:
    s = row.sums
    return (
        s.trades, s.wins, s.losses, s.win_rate, s.gross_profit, s.gross_loss, s.total,
        s.profit_factor, s.expectancy, s.average_seconds, s.commission,
        s.swap, row.with_swap,
        row.spread if row.with_spread else None, row.with_spread,
        row.slippage if row.with_slippage else None, row.with_slippage,
    )  # fmt: skip


def _trades(report: Report, user: User, feeds: Mapping[int, str]) -> Iterator[Row]:
    names = {account.id: account.name for account in report.accounts}
    yield (
        "position", "account", "signal", "feed", "pair", "side", "quantity", "entry_price",
        "opened_at", "closed_at", "closed_by", "gross", "commission", "swap", "net", "currency",
        "spread", "slippage", "fees_not_included",
    )  # fmt: skip
    after, after_id = datetime(2000, 1, 1, tzinfo=UTC), 0
    while True:
        with on_behalf_of(user), for_all_tenants():
            chunk = trades_after(report.scope, after, after_id, limit=CHUNK)
        for t in chunk:
            yield (
                f"P-{t.id}", names.get(t.connection_id, ""), f"S-{t.signal_id}",
                feeds.get(t.feed_id, ""), t.pair, t.side, t.quantity, t.entry_price, t.opened_at,
                t.closed_at, t.close_reason, t.gross, t.commission, t.swap, t.net,
                report.key.currency, t.spread, t.slippage, fees_text(t.unconverted_fees),
            )  # fmt: skip
        if len(chunk) < CHUNK:
            return
        after, after_id = chunk[-1].closed_at, chunk[-1].id


def _executions(report: Report, user: User) -> Iterator[Row]:
    yield (
        "signal", "published_at", "pair", "side", "accounts", "unit", "slippage", "slippage_median",
        "bps", "bps_median", "slippage_money", "currency", "to_sent_ms", "to_sent_ms_median",
        "to_fill_ms", "to_fill_ms_median", "other_persons", "median_computed_at",
    )  # fmt: skip
    before: int | None = None
    while True:
        with on_behalf_of(user):
            chunk = executions(report.key, report.scope, before=before, limit=CHUNK)
        for e in chunk:
            yield (
                e.number, e.published_at, e.pair, e.side, e.accounts, e.unit, e.slippage,
                e.all_slippage, e.bps, e.all_bps, e.cost, report.key.currency, e.to_wire,
                e.all_to_wire, e.to_fill, e.all_to_fill, e.others or None, e.computed_at,
            )  # fmt: skip
        if len(chunk) < CHUNK:
            return
        before = chunk[-1].signal_id


def _equity(report: Report) -> list[Row]:
    head: Row = (
        "day", "equity", "deposits", "withdrawals", "added", "return", "below_peak", "full_day",
        "currency",
    )  # fmt: skip
    days = report.book.days if report.book else ()
    return [head, *(
        (d.day, d.equity, d.deposits, d.withdrawals, d.added, d.value, d.below_peak,
         "yes" if d.is_full else "no", report.key.currency)
        for d in days
    )]  # fmt: skip


def _costs(report: Report) -> list[Row]:
    total = report.trades.total
    currency = report.key.currency
    lines: list[Row] = [("cost", "amount", "currency", "known_of_trades", "trades")]
    lines.append(("commission", total.commission, currency, total.trades, total.trades))
    lines.append(("swap", -total.swap, currency, total.trades, total.trades))
    spread = total.spread if total.with_spread else None
    lines.append(("spread", spread, currency, total.with_spread, total.trades))
    slippage = total.slippage if total.with_slippage else None
    lines.append(("slippage", slippage, currency, total.with_slippage, total.trades))
    other = None if report.other is None else -report.other
    lines.append(("interest and other", other, currency, None, None))
    lines += [("fees without a rate", fee, name, None, None)
              for name, fee in report.trades.fees.items()]  # fmt: skip
    return lines


def _statistics(report: Report) -> list[Row]:
    """Return each figure of the page Results: its name, its value, and why it has none."""
    run, streaks, sums = report.trades.run, report.trades.streaks, report.trades.sums
    currency = report.key.currency
    figures: list[tuple[str, Cell, str]] = [
        ("trades", sums.trades, ""), ("wins", sums.wins, ""), ("losses", sums.losses, ""),
        ("net", sums.total, currency), ("gross_profit", sums.gross_profit, currency),
        ("gross_loss", sums.gross_loss, currency), ("win_rate", sums.win_rate, ""),
        ("profit_factor", sums.profit_factor, ""), ("expectancy", sums.expectancy, currency),
        ("average_win", sums.average_win, currency), ("average_loss", sums.average_loss, currency),
        ("best", run.best, currency), ("worst", run.worst, currency),
        ("average_seconds", sums.average_seconds, ""), ("longest_streak_won", streaks.wins, ""),
        ("longest_streak_lost", streaks.losses, ""), ("drawdown_money", run.drawdown, currency),
    ]  # fmt: skip
    if report.book:
        r = report.book.statistics
        figures += [
            ("return", r.total, ""), ("return_annual", r.annual, ""),
            ("max_drawdown", r.max_drawdown, ""), ("volatility", r.volatility, ""),
            ("sharpe", r.sharpe, ""), ("sortino", r.sortino, ""), ("calmar", r.calmar, ""),
            ("full_days", r.days, ""),
        ]  # fmt: skip
    head: Row = ("figure", "value", "currency", "not_defined_because")
    return [head, *(
        (name, value, unit, value.why if isinstance(value, Figure) else "")
        for name, value, unit in figures
    )]  # fmt: skip
