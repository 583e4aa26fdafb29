"""REST API of statistics, breakdowns and execution of results, and of each table as a stream."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.api import RANGE, RangeView
from analytics.quality.signals import OTHERS
from analytics.results.closed_trades import BREAKDOWNS, Scope, SumsRow
from analytics.results.exports import TABLES, Row, table_rows
from analytics.results.reports import BookKey, Report, ReportAccount, books, report, report_accounts
from analytics.results.statistics import Figure
from analytics.streams import (
    FORMAT,
    ONLY_STREAMED,
    STREAMED,
    is_streamed,
    stream,
    streamed,
    streamed_alone,
)
from common.reason_codes import Code
from common.web.api_fields import Amount, StrictSerializer, invalid
from common.web.streaming import StreamedResponse
from connections.api.connections import own_connections
from signals.selectors import feed_id_of
from users.api import caller
from users.models import User
from users.tenancy import for_all_tenants

_FILTERS = [
    *RANGE,
    OpenApiParameter("feed", str, description="Only trades of this feed, by its slug."),
    OpenApiParameter("pair", str, description="Only trades of this pair."),
    OpenApiParameter(
        "book", str, description="Only this currency: USD, or USD-paper for paper money."
    ),
]


class FigureSerializer(StrictSerializer):
    """A statistic; if it is not defined, `value` is null and `why` states the reason."""

    value = Amount(allow_null=True)
    why = serializers.CharField()


class SumsSerializer(StrictSerializer):
    """Closed trades of a part, net of commission and swap, in the book's currency."""

    key = serializers.CharField(help_text="Feed or account id, pair, hour; '' of the total.")
    name = serializers.CharField()
    trades = serializers.IntegerField()
    wins = serializers.IntegerField()
    losses = serializers.IntegerField()
    gross_profit = Amount()
    gross_loss = Amount(help_text="A positive number.")
    net = Amount()
    win_rate = FigureSerializer()
    profit_factor = FigureSerializer()
    expectancy = FigureSerializer()
    average_seconds = FigureSerializer()
    commission = Amount()
    swap = Amount(help_text="As brokers booked it: below 0 if it was charged.")
    trades_with_swap = serializers.IntegerField(help_text="Number of trades with a swap.")
    spread = Amount(help_text="Part of the net result. Of `trades_with_spread` trades.")
    trades_with_spread = serializers.IntegerField()
    slippage = Amount(help_text="Part of the net result, + is worse.")
    trades_with_slippage = serializers.IntegerField()


class ReturnsSerializer(StrictSerializer):
    """Time-weighted returns of the accounts' equity: deposits and withdrawals change none."""

    total = FigureSerializer()
    max_drawdown = FigureSerializer()
    volatility = FigureSerializer()
    sharpe = FigureSerializer()
    sortino = FigureSerializer()
    annual = FigureSerializer()
    calmar = FigureSerializer()
    days = serializers.IntegerField()


class EquitySerializer(StrictSerializer):
    """opening + added + deposits − withdrawals + result = closing."""

    opening = Amount()
    added = Amount(help_text="First equity of accounts that were added in the period.")
    deposits = Amount()
    withdrawals = Amount()
    result = Amount()
    closing = Amount()
    other = Amount(allow_null=True, help_text="Interest and what else nothing explains.")
    without_deposits = serializers.ListField(
        child=serializers.UUIDField(),
        help_text="Accounts whose brokers do not list deposits and withdrawals: those that are"
        " not entered by hand count as results.",
    )
    gaps = serializers.IntegerField(help_text="How often readings of whole days are missing.")
    until = serializers.DateTimeField(allow_null=True)


class StatisticsSerializer(StrictSerializer):
    """Results of one book: the accounts of a currency, with real or with paper money."""

    book = serializers.CharField()
    currency = serializers.CharField()
    is_paper = serializers.BooleanField()
    total = SumsSerializer()
    longest_wins = serializers.IntegerField()
    longest_losses = serializers.IntegerField()
    current_streak = serializers.IntegerField(help_text="Below 0: losses.")
    closed_drawdown = Amount()
    unconverted_fees = serializers.DictField(child=Amount())
    returns = ReturnsSerializer(allow_null=True, help_text="null with a feed or a pair.")
    equity = EquitySerializer(allow_null=True, help_text="null with a feed or a pair.")
    corrected_trades = serializers.IntegerField()
    recomputed_at = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField()


class BreakdownSerializer(StrictSerializer):
    """The parts of one book; their sums are the total's."""

    book = serializers.CharField()
    currency = serializers.CharField()
    by = serializers.ChoiceField(choices=BREAKDOWNS)
    parts = SumsSerializer(many=True)
    until = serializers.DateTimeField()


class MonthSerializer(StrictSerializer):
    """The trades that closed in one month, net of commission and swap."""

    year = serializers.IntegerField(help_text="The year, in trading days.")
    month = serializers.IntegerField(help_text="1 to 12.")
    trades = serializers.IntegerField()
    wins = serializers.IntegerField()
    net = Amount()


class MonthsSerializer(StrictSerializer):
    """The months of one book, the oldest first."""

    book = serializers.CharField()
    currency = serializers.CharField()
    months = MonthSerializer(many=True)
    until = serializers.DateTimeField()


class ComparedSerializer(StrictSerializer):
    """My execution beside the median of all persons who traded the same signals with the same kind
    of money, real or paper; null: too few others."""

    book = serializers.CharField()
    currency = serializers.CharField()
    signals = serializers.IntegerField()
    compared = serializers.IntegerField()
    better = serializers.IntegerField()
    worse = serializers.IntegerField()
    least_others = serializers.IntegerField()
    slippage_money = Amount(allow_null=True)
    signals_with_slippage = serializers.IntegerField(
        help_text="Of how many signals `slippage_money` is known: it is the sum of these."
    )
    bps = Amount(allow_null=True)
    compared_bps = Amount(allow_null=True, help_text="Mine, over the compared signals.")
    median_bps = Amount(allow_null=True)
    to_sent_ms = Amount(allow_null=True)
    median_to_sent_ms = Amount(allow_null=True)
    to_fill_ms = Amount(allow_null=True)
    median_to_fill_ms = Amount(allow_null=True)
    computed_at = serializers.DateTimeField(allow_null=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for: a report for each book."""

    user: User
    mine: list[ReportAccount]
    reports: list[Report]


class _ReportView(RangeView):
    """A view of reports with the parameters of `_FILTERS`."""

    renderer_classes: Sequence[type[BaseRenderer]] = (JSONRenderer, *STREAMED)

    def asked(self, request: Request) -> Asked:
        """Return the reports. Raises ValidationError for a parameter that names nothing."""
        start, end, ids = self.range(request)
        user = caller(request)
        mine = report_accounts(own_connections(user))
        chosen = [account for account in mine if account.id in set(ids)]
        by_book = books(chosen)
        if name := request.query_params.get("book"):
            by_book = {key: listed for key, listed in by_book.items() if key.slug == name}
        scope = _scope_of(request, start=start, end=end)
        return Asked(user, mine, [
            report(key, listed, scope([a.id for a in listed]))
            for key, listed in by_book.items()
        ])  # fmt: skip

    def stream(self, request: Request, asked: Asked, table: str) -> StreamedResponse:
        """Return a table of the only book as a stream. Raises ValidationError for several."""
        if len(asked.reports) > 1:
            names = ", ".join(made.key.slug for made in asked.reports)
            error = invalid(Code.FIELD_INVALID, f"A table has one currency: choose of {names}.")
            raise serializers.ValidationError({"book": error.detail})
        found: Iterator[Row] = iter(())
        for made in asked.reports:
            found = table_rows(table, made, asked.user, feeds=made.feeds)
        return stream(request, found, name=table)


def _scope_of(request: Request, *, start: Any, end: Any) -> Any:
    pair = request.query_params.get("pair", "").strip().upper()[:20] or None
    slug, zone = request.query_params.get("feed"), caller(request).time_zone or "UTC"
    feed_id = None
    if slug:
        with for_all_tenants():  # a feed that was left is hidden, but its trades are the caller's
            feed_id = feed_id_of(slug) or 0  # none has this id: no trade

    def scope(ids: Sequence[Any]) -> Scope:
        return Scope(ids, start, end, zone, feed_id, pair)

    return scope


def _figure(figure: Figure) -> dict[str, Any]:
    return {"value": figure.value, "why": figure.why}


def _sums(row: SumsRow, names: Mapping[str, str]) -> dict[str, Any]:
    s = row.sums
    return {
        "key": row.key, "name": row.feed_name or names.get(row.key, row.key), "trades": s.trades,
        "wins": s.wins, "losses": s.losses, "gross_profit": s.gross_profit,
        "gross_loss": s.gross_loss, "net": s.total, "win_rate": _figure(s.win_rate),
        "profit_factor": _figure(s.profit_factor), "expectancy": _figure(s.expectancy),
        "average_seconds": _figure(s.average_seconds), "commission": s.commission,
        "swap": s.swap, "trades_with_swap": row.with_swap,
        "spread": row.spread, "trades_with_spread": row.with_spread, "slippage": row.slippage,
        "trades_with_slippage": row.with_slippage,
    }  # fmt: skip


def _book(key: BookKey) -> dict[str, Any]:
    return {"book": key.slug, "currency": key.currency}


class StatisticsView(_ReportView):
    """Statistics of your results, for each currency."""

    renderer_classes = (JSONRenderer,)

    @extend_schema(
        parameters=_FILTERS,
        responses=StatisticsSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """Trades, streaks, costs, equity and ratios; each undefined figure states why."""
        found = [self._statistics(made) for made in self.asked(request).reports]
        return Response(self.sparse(StatisticsSerializer(found, many=True)).data)

    def _statistics(self, made: Report) -> dict[str, Any]:
        """Return what is asked for; nothing else is read."""
        shown = {**_book(made.key), "is_paper": made.key.is_paper, "until": made.until}
        for names, part in (
            (_OF_TRADES, _trades_part), (("returns",), _returns_part), (("equity",), _equity_part),
        ):  # fmt: skip
            if self.asks_for(*names):
                shown |= part(made)
        return shown


_OF_TRADES = (
    "total", "longest_wins", "longest_losses", "current_streak", "closed_drawdown",
    "unconverted_fees", "corrected_trades", "recomputed_at",
)  # fmt: skip


def _trades_part(made: Report) -> dict[str, Any]:
    trades = made.trades
    return {
        "total": _sums(trades.total, {}), "longest_wins": trades.streaks.wins,
        "longest_losses": trades.streaks.losses, "current_streak": trades.streaks.current,
        "closed_drawdown": trades.run.drawdown, "unconverted_fees": trades.fees,
        "corrected_trades": trades.total.corrected, "recomputed_at": trades.total.corrected_at,
    }  # fmt: skip


def _returns_part(made: Report) -> dict[str, Any]:
    if made.book is None:
        return {"returns": None}
    names = ("total", "max_drawdown", "volatility", "sharpe", "sortino", "annual", "calmar")
    found = made.book.statistics
    return {"returns": {n: _figure(getattr(found, n)) for n in names} | {"days": found.days}}


def _equity_part(made: Report) -> dict[str, Any]:
    book = made.book
    if book is None:
        return {"equity": None}
    sums = ("opening", "added", "deposits", "withdrawals", "result", "closing", "until")
    equity = {name: getattr(book, name) for name in sums}
    equity |= {"other": made.other, "gaps": len(book.gaps)}
    equity["without_deposits"] = [account.id for account in made.without_flows]
    return {"equity": equity}


class BreakdownView(_ReportView):
    """Your results by feed, pair, account or hour."""

    @extend_schema(
        parameters=[
            *_FILTERS, FORMAT,
            OpenApiParameter("by", str, enum=list(BREAKDOWNS), description="Default: feed."),
        ],
        responses=streamed(BreakdownSerializer(many=True)),
    )  # fmt: skip
    def get(self, request: Request) -> Response | StreamedResponse:
        """The parts of each currency, the largest result first; hours are of your time zone."""
        by = request.query_params.get("by", "feed")
        if by not in BREAKDOWNS:
            error = invalid(Code.FIELD_INVALID, f"One of {', '.join(BREAKDOWNS)}.")
            raise serializers.ValidationError({"by": error.detail})
        asked = self.asked(request)
        if is_streamed(request):
            return self.stream(request, asked, by)
        names = {str(account.id): account.name for account in asked.mine}
        found = []
        for made in asked.reports:
            rows = made.trades.breakdowns[by] if self.asks_for("parts") else ()
            parts = [_sums(row, names) for row in rows]
            found.append({**_book(made.key), "by": by, "until": made.until, "parts": parts})
        return Response(self.sparse(BreakdownSerializer(found, many=True)).data)


class MonthsView(_ReportView):
    """Your results by month."""

    @extend_schema(
        parameters=[
            *(one for one in _FILTERS if one.name not in ("from", "to")), FORMAT,
        ],
        responses=streamed(MonthsSerializer(many=True)),
    )  # fmt: skip
    def get(self, request: Request) -> Response | StreamedResponse:
        """Each month with a closed trade, of all time, by currency; months of trading days."""
        asked = self.asked(request)
        if is_streamed(request):
            return self.stream(request, asked, "months")
        found = []
        for made in asked.reports:
            months = made.months if self.asks_for("months") else ()
            found.append({**_book(made.key), "months": months, "until": made.until})
        return Response(self.sparse(MonthsSerializer(found, many=True)).data)


class ComparedView(_ReportView):
    """Your execution against the median of all persons who traded the same signals."""

    @extend_schema(
        parameters=[*_FILTERS, FORMAT],
        responses=streamed(ComparedSerializer(many=True)),
    )
    def get(self, request: Request) -> Response | StreamedResponse:
        """The aggregate of each currency; CSV and JSON lines have each signal."""
        asked = self.asked(request)
        if is_streamed(request):
            return self.stream(request, asked, "execution")
        found = [
            {**_book(made.key), **(_compared(made) if self.asks_for(*_OF_EXECUTION) else {})}
            for made in asked.reports
        ]
        return Response(self.sparse(ComparedSerializer(found, many=True)).data)


_OF_EXECUTION = tuple(set(ComparedSerializer().fields) - {"book", "currency"})


def _compared(made: Report) -> dict[str, Any]:
    e = made.execution
    return {
        "signals": e.signals, "compared": e.compared,
        "better": e.better, "worse": e.worse, "least_others": OTHERS,
        "slippage_money": e.cost, "signals_with_slippage": e.with_cost, "bps": e.bps,
        "compared_bps": e.mine_bps,
        "median_bps": e.all_bps, "to_sent_ms": e.to_wire,
        "median_to_sent_ms": e.all_to_wire, "to_fill_ms": e.to_fill,
        "median_to_fill_ms": e.all_to_fill, "computed_at": e.computed_at,
    }  # fmt: skip


class ExportView(_ReportView):
    """A table of your results as CSV or JSON lines."""

    is_only_streamed = True
    renderer_classes = (*STREAMED, JSONRenderer)

    @extend_schema(
        parameters=[
            *_FILTERS,
            ONLY_STREAMED,
            OpenApiParameter("table", str, OpenApiParameter.PATH, enum=list(TABLES)),
        ],
        responses=streamed_alone(),
    )  # fmt: skip
    def get(self, request: Request, table: str) -> StreamedResponse:
        """A table of your results: trades, days, months, parts by feed, pair, account or hour,
        equity, costs or execution."""
        if table not in TABLES:
            raise NotFound
        return self.stream(request, self.asked(request), table)
