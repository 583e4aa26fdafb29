"""REST API of how the whole installation executes, for operators."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.utils.timezone import now as machine_clock
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.installation.figures import Figures, Scope, installation_report
from analytics.models import ExecutionDay
from common.api_fields import Amount, StrictSerializer, invalid
from common.api_views import ApiView
from common.permissions import Right, require
from common.reason_codes import Code
from users.api import caller

MOST = timedelta(days=366)
ENTRIES, EXITS = "entries", "exits"
REAL, PAPER = "real", "paper"
PARTS = [part for part in ExecutionDay.Part if part != ExecutionDay.Part.ALL]


class ScopeSerializer(serializers.Serializer[Any]):
    """UTC days, whose money, and which orders are divided into parts."""

    start = serializers.DateField(required=False)
    end = serializers.DateField(required=False)
    money = serializers.ChoiceField([REAL, PAPER], default=REAL)
    of = serializers.ChoiceField([ENTRIES, EXITS], default=ENTRIES)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Fill in defaults; raise ValidationError for a reversed or too long range."""
        end = attrs.setdefault("end", machine_clock().date())
        start = attrs.setdefault("start", end - timedelta(days=29))
        if start > end:
            error = invalid(Code.FIELD_INVALID, "from is after to.")
            raise serializers.ValidationError({"from": error.detail})
        if end - start >= MOST:
            error = invalid(Code.FIELD_INVALID, f"At most {MOST.days} days.")
            raise serializers.ValidationError({"from": error.detail})
        return attrs


class SlippageSerializer(StrictSerializer):
    """Slippage of the fills whose expected price is known; + is worse."""

    measured = serializers.IntegerField()
    average = Amount(allow_null=True)
    deviation = Amount(allow_null=True, help_text="Of the sample (n − 1).")
    p50 = Amount(allow_null=True, help_text="Percentiles are to within 2.5 %.")
    p95 = Amount(allow_null=True)
    largest = Amount(allow_null=True, help_text="Of the absolute values.")


class LatencySerializer(StrictSerializer):
    """Milliseconds of market orders."""

    p50 = Amount(allow_null=True)
    p95 = Amount(allow_null=True)
    p99 = Amount(allow_null=True)


def _money(text: str) -> serializers.DictField:
    return serializers.DictField(child=Amount(), help_text=f"{text}, by account currency.")


class FiguresSerializer(StrictSerializer):
    """The figures of all orders of a scope, or of one value of a part."""

    value = serializers.CharField(help_text="Of a part: a broker type, symbol, account id …")
    name = serializers.CharField(help_text="The value for people: an account's name, for one.")
    orders = serializers.IntegerField()
    sent = serializers.IntegerField()
    filled = serializers.IntegerField(help_text="At least in part.")
    cancelled = serializers.IntegerField(help_text="Without a fill, as are the next five.")
    expired = serializers.IntegerField()
    rejected = serializers.IntegerField()
    unknown = serializers.IntegerField()
    working = serializers.IntegerField()
    skipped = serializers.IntegerField()
    denied = serializers.IntegerField()
    failed = serializers.IntegerField()
    unsent = serializers.IntegerField(help_text="Waiting, or ended before they were sent.")
    fill_rate = Amount(allow_null=True, help_text="Of the orders that were sent.")
    cancelled_share = Amount(allow_null=True, help_text="Cancelled or expired, of those sent.")
    rejected_share = Amount(allow_null=True)
    slippage_pips = SlippageSerializer()
    slippage_bps = SlippageSerializer()
    limited = serializers.IntegerField(help_text="Filled, with a slippage limit.")
    beyond_limit = serializers.IntegerField(help_text="With a fill beyond that limit.")
    to_wire_ms = LatencySerializer(help_text="Written → sent.")
    to_fill_ms = LatencySerializer(help_text="Sent → filled.")
    commission = _money("Commission")
    missed = serializers.IntegerField(help_text="Sent or failed entries that filled nothing.")
    missed_priced = serializers.IntegerField(help_text="Of which others' result is known.")
    missed_cost = _money("What these would have earned as others did")


class InstallationStatisticsSerializer(StrictSerializer):
    """Entries and exits together."""

    total_orders = serializers.IntegerField()
    sent_orders = serializers.IntegerField()
    filled_orders = serializers.IntegerField()
    cancelled_orders = serializers.IntegerField()
    rejected_orders = serializers.IntegerField()
    fill_rate = Amount(allow_null=True)
    avg_slippage_pips = Amount(allow_null=True)
    slippage_deviation_pips = Amount(allow_null=True)
    max_slippage_pips = Amount(allow_null=True, help_text="Of the absolute values.")
    total_commission = _money("Commission")


class PartSerializer(StrictSerializer):
    """The values of one part, those with most fills first."""

    part = serializers.ChoiceField(PARTS)
    lines = FiguresSerializer(many=True)
    more = serializers.IntegerField(help_text="How many others there are.")


class InstallationSerializer(StrictSerializer):
    """How the installation executed the orders that were written on these UTC days."""

    start = serializers.DateField()
    end = serializers.DateField()
    money = serializers.ChoiceField([REAL, PAPER])
    until = serializers.DateTimeField(
        allow_null=True, help_text="Counted until then; null: no day is computed yet."
    )
    statistics = InstallationStatisticsSerializer()
    entries = FiguresSerializer(allow_null=True)
    exits = FiguresSerializer(allow_null=True)
    parts = PartSerializer(many=True)


class InstallationExecutionView(ApiView):
    """How well the whole installation executes."""

    @extend_schema(
        parameters=[
            OpenApiParameter("from", str, description="First UTC day; default: 29 days before to."),
            OpenApiParameter("to", str, description="Last UTC day, included; default: today."),
            OpenApiParameter("money", str, enum=[REAL, PAPER], description="Default: real."),
            OpenApiParameter(
                "of", str, enum=[ENTRIES, EXITS], description="Whose parts; default: entries."
            ),
        ],
        responses=InstallationSerializer,
    )
    def get(self, request: Request) -> Response:
        """Rates, slippage, latency, costs: of all, and by broker, symbol, hour, order type,
        account and place in the fan-out. For operators."""
        require(caller(request), Right.READ)
        names = {"from": "start", "to": "end", "money": "money", "of": "of"}
        query = {
            field: request.query_params[name]
            for name, field in names.items()
            if request.query_params.get(name)
        }
        asked = ScopeSerializer(data=query)
        asked.is_valid(raise_exception=True)
        chosen = asked.validated_data
        scope = Scope(chosen["start"], chosen["end"], is_paper=chosen["money"] == PAPER)
        parts = PARTS if self.asks_for("parts") else []
        report = installation_report(scope, parts=parts, of_exits=chosen["of"] == EXITS)
        result = {
            "start": scope.start,
            "end": scope.end,
            "money": chosen["money"],
            "until": report.until,
            "statistics": report.statistics,
            "entries": _figures(report.entries),
            "exits": _figures(report.exits),
            "parts": [
                {"part": one.part, "lines": list(map(_figures, one.lines)), "more": one.more}
                for one in report.parts
            ],
        }
        return Response(self.sparse(InstallationSerializer(result)).data)


def _figures(one: Figures | None) -> Mapping[str, Any] | None:
    if one is None:
        return None
    return {
        **one.row._asdict(),
        "name": one.label,
        "sent": one.sent,
        "fill_rate": one.fill_rate,
        "cancelled_share": one.cancelled_share,
        "rejected_share": one.rejected_share,
        "slippage_pips": asdict(one.pips),
        "slippage_bps": asdict(one.bps),
        "to_wire_ms": asdict(one.to_wire),
        "to_fill_ms": asdict(one.to_fill),
        "commission": dict[str, Decimal](one.commissions),
        "missed_cost": dict[str, Decimal](one.missed_costs),
    }
