"""REST API of results and execution quality."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from analytics import selectors
from common.clocks import market_now
from common.reason_codes import Code
from common.web.api_fields import Amount, StrictSerializer, invalid
from common.web.api_views import ApiView
from connections.api.connections import own_connections
from connections.trading_day import latest_date
from users.api import caller

MAXRANGE = timedelta(days=3660)
RANGE = [
    OpenApiParameter("from", date, description="First trading day; default: 30 days ago."),
    OpenApiParameter("to", date, description="Last trading day, included; default: today's."),
    OpenApiParameter(
        "connection", UUID, description="Only this connection; default: all of yours."
    ),
]


class RangeSerializer(serializers.Serializer[Any]):
    """Trading days and, optionally, one of the caller's connections."""

    start = serializers.DateField(required=False)
    end = serializers.DateField(required=False)
    connection = serializers.UUIDField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Fill in defaults; raise ValidationError for a reversed or too long range."""
        end = attrs.setdefault("end", latest_date(market_now()))
        start = attrs.setdefault("start", end - timedelta(days=30))
        if start > end:
            error = invalid(Code.FIELD_INVALID, "from is after to.")
            raise serializers.ValidationError({"from": error.detail})
        if end - start > MAXRANGE:
            error = invalid(Code.FIELD_INVALID, f"At most {MAXRANGE.days} days.")
            raise serializers.ValidationError({"from": error.detail})
        return attrs


class TotalsSerializer(StrictSerializer):
    """Results of one connection's closed trades, in its account's currency, net of commission and
    swap."""

    connection = serializers.UUIDField()
    currency = serializers.CharField()
    trades = serializers.IntegerField()
    wins = serializers.IntegerField()
    losses = serializers.IntegerField()
    win_rate = Amount(allow_null=True)
    gross_profit = Amount()
    gross_loss = Amount(help_text="A positive number.")
    profit_factor = Amount(allow_null=True)
    commission = Amount(help_text="Without the fees for which no rate was quoted.")
    swap = Amount(help_text="As brokers booked it: below 0 if it was charged.")
    unconverted_fees = serializers.DictField(
        child=Amount(), help_text="Those fees, by currency. No figure here contains them."
    )
    total_pnl = Amount()
    max_drawdown = Amount(help_text="A positive number.")
    average_duration_seconds = Amount(allow_null=True)
    until = serializers.DateTimeField(help_text="What was closed until then is counted.")


class CurvePointSerializer(StrictSerializer):
    """The end of one trading day."""

    day = serializers.DateField()
    trades = serializers.IntegerField()
    pnl = Amount()
    total = Amount(help_text="The sum of net results since the curve's start.")
    below_peak = Amount()


class CurveSerializer(StrictSerializer):
    """The running result of all accounts of one currency."""

    currency = serializers.CharField()
    points = CurvePointSerializer(many=True)
    until = serializers.DateTimeField(help_text="What was closed until then is counted.")


class QualitySerializer(StrictSerializer):
    """Execution quality of the entries of one broker type and pair; null: of all together.

    Slippage in slippage_unit, + is worse; basis points if the orders have several units.
    """

    kind = serializers.CharField(allow_null=True)
    pair = serializers.CharField(allow_null=True)
    candidates = serializers.IntegerField()
    sent = serializers.IntegerField()
    filled = serializers.IntegerField()
    denied = serializers.IntegerField()
    rejected = serializers.IntegerField()
    failed = serializers.IntegerField()
    unknown = serializers.IntegerField()
    measured = serializers.IntegerField()
    fill_rate = Amount(allow_null=True)
    slippage_unit = serializers.CharField(
        help_text="PIPS, TICKS, BPS or PERCENT; empty if no slippage is known."
    )
    slippage_avg = Amount(allow_null=True)
    slippage_p50 = Amount(allow_null=True)
    slippage_p95 = Amount(allow_null=True)
    to_wire_p50_ms = Amount(allow_null=True)
    to_wire_p99_ms = Amount(allow_null=True)
    to_fill_p50_ms = Amount(allow_null=True)
    to_fill_p99_ms = Amount(allow_null=True)


class RangeView(ApiView):
    """A view with the parameters `from`, `to` and `connection`."""

    def range(self, request: Request) -> tuple[date, date, Sequence[UUID]]:
        """Return the first day, the last day and the selected connections of the caller."""
        fields = {"from": "start", "to": "end", "connection": "connection"}
        query = {
            field: request.query_params[name]
            for name, field in fields.items()
            if request.query_params.get(name)
        }
        serializer = RangeSerializer(data=query)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        mine = own_connections(caller(request))
        if "connection" in data:
            mine = mine.filter(pk=data["connection"])
        else:
            mine = mine.filter(twin_of=None)  # paper twins are in no sum of one's accounts
        return data["start"], data["end"], list(mine.values_list("pk", flat=True))


class AnalyticsView(RangeView):
    """Results of each of your connections over trading days."""

    @extend_schema(
        parameters=RANGE,
        responses=TotalsSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """Trades, profit and drawdown, from the first trade of `from` to the last of `to`."""
        start, end, mine = self.range(request)
        until = market_now()
        currencies: dict[UUID, str | None] = {}
        if self.asks_for("currency"):
            rows = own_connections(caller(request)).values_list("pk", "snapshot__currency")
            currencies = dict(rows)
        asks_for_fees = self.asks_for("unconverted_fees")
        fees = selectors.unconverted_fees(mine, start, end) if asks_for_fees else {}
        results = [
            {
                **asdict(rollup),
                "unconverted_fees": fees.get(connection_id, {}),
                "connection": connection_id,
                "currency": currencies.get(connection_id) or "",
                "win_rate": rollup.win_rate,
                "profit_factor": rollup.profit_factor,
                "average_duration_seconds": rollup.average_duration_seconds,
                "total_pnl": rollup.total,
                "max_drawdown": rollup.drawdown,
                "until": until,
            }
            for connection_id, rollup in selectors.totals(mine, start, end).items()
        ]
        return Response(self.sparse(TotalsSerializer(results, many=True)).data)


class EquityView(RangeView):
    """The running result of your accounts."""

    @extend_schema(parameters=RANGE, responses=CurveSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The sum of results at the end of each trading day, for each account currency."""
        start, end, mine = self.range(request)
        until = market_now()
        curves = selectors.equity_curve(mine, start, end)
        results = [
            {
                "currency": currency,
                "points": [asdict(point) for point in points],
                "until": until,
            }
            for currency, points in curves.items()
        ]
        return Response(self.sparse(CurveSerializer(results, many=True)).data)


class ExecutionQualityView(RangeView):
    """How well your orders were executed."""

    @extend_schema(
        parameters=RANGE,
        responses=QualitySerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """Fill rate, slippage and latency: of all, then by broker type and pair (UTC days)."""
        start, end, mine = self.range(request)
        qualities = selectors.execution_quality(
            datetime.combine(start, time(), UTC),
            datetime.combine(end + timedelta(days=1), time(), UTC),
            connection_ids=mine,
        )
        results = [{**asdict(quality), "fill_rate": quality.fill_rate} for quality in qualities]
        return Response(self.sparse(QualitySerializer(results, many=True)).data)
