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
from common.permissions import Right, require
from common.reason_codes import Code
from common.web.api_fields import Amount, StrictSerializer, invalid
from common.web.api_views import ApiView
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


class ExecutionSlippageSerializer(StrictSerializer):
    """Slippage of the fills whose expected price is known; + is worse."""

    measured = serializers.IntegerField(help_text="Fills whose slippage is known.")
    average = Amount(allow_null=True, help_text="The mean.")
    deviation = Amount(allow_null=True, help_text="Of the sample (n − 1).")
    p50 = Amount(allow_null=True, help_text="Percentiles are to within 2.5 %.")
    p95 = Amount(allow_null=True, help_text="What 95 % do not exceed.")
    largest = Amount(allow_null=True, help_text="Of the absolute values.")


class ExecutionLatencySerializer(StrictSerializer):
    """Milliseconds of market orders."""

    p50 = Amount(allow_null=True, help_text="The median.")
    p95 = Amount(allow_null=True, help_text="What 95 % do not exceed.")
    p99 = Amount(allow_null=True, help_text="What 99 % do not exceed.")


def _money(text: str) -> serializers.DictField:
    return serializers.DictField(child=Amount(), help_text=f"{text}, by account currency.")


class ExecutionFiguresSerializer(StrictSerializer):
    """The figures of all orders of a scope, or of one value of a part."""

    value = serializers.CharField(help_text="Of a part: a broker type, symbol, account id …")
    name = serializers.CharField(help_text="The value for people: an account's name, for one.")
    orders = serializers.IntegerField(
        help_text="Orders that were written, whatever became of them."
    )
    sent = serializers.IntegerField(help_text="Orders that reached a broker.")
    filled = serializers.IntegerField(help_text="At least in part.")
    cancelled = serializers.IntegerField(help_text="Cancelled without a fill.")
    expired = serializers.IntegerField(help_text="Expired without a fill.")
    rejected = serializers.IntegerField(help_text="Rejected by the broker.")
    unknown = serializers.IntegerField(help_text="Not known yet whether the broker has them.")
    working = serializers.IntegerField(help_text="At the broker, nothing filled yet.")
    skipped = serializers.IntegerField(help_text="Of accounts that could not trade.")
    denied = serializers.IntegerField(help_text="Denied by our own rules.")
    failed = serializers.IntegerField(help_text="Proven not sent.")
    unsent = serializers.IntegerField(help_text="Waiting, or ended before they were sent.")
    fill_rate = Amount(allow_null=True, help_text="Of the orders that were sent.")
    cancelled_share = Amount(allow_null=True, help_text="Cancelled or expired, of those sent.")
    rejected_share = Amount(allow_null=True, help_text="Rejected, of those sent.")
    slippage_pips = ExecutionSlippageSerializer()
    slippage_bps = ExecutionSlippageSerializer()
    limited = serializers.IntegerField(help_text="Filled, with a slippage limit.")
    beyond_limit = serializers.IntegerField(help_text="With a fill beyond that limit.")
    to_wire_ms = ExecutionLatencySerializer(help_text="Written → sent.")
    to_fill_ms = ExecutionLatencySerializer(help_text="Sent → filled.")
    commission = _money("Commission")
    missed = serializers.IntegerField(help_text="Sent or failed entries that filled nothing.")
    missed_priced = serializers.IntegerField(help_text="Of which others' result is known.")
    missed_cost = _money("What these would have earned as others did")


class InstallationStatisticsSerializer(StrictSerializer):
    """Entries and exits together."""

    total_orders = serializers.IntegerField(help_text="Orders that were written.")
    sent_orders = serializers.IntegerField(help_text="Those that reached a broker.")
    filled_orders = serializers.IntegerField(help_text="Filled at least in part.")
    cancelled_orders = serializers.IntegerField(help_text="Cancelled or expired without a fill.")
    rejected_orders = serializers.IntegerField(help_text="Rejected by the broker.")
    fill_rate = Amount(allow_null=True, help_text="Filled, of those sent.")
    avg_slippage_pips = Amount(allow_null=True, help_text="The mean; + is worse.")
    slippage_deviation_pips = Amount(allow_null=True, help_text="Of the sample (n − 1).")
    max_slippage_pips = Amount(allow_null=True, help_text="Of the absolute values.")
    total_commission = _money("Commission")


class ExecutionPartSerializer(StrictSerializer):
    """The values of one part, those with most fills first."""

    part = serializers.CharField(
        help_text="By what the orders are divided: broker, symbol, hour, type, account or place."
    )
    lines = ExecutionFiguresSerializer(many=True)
    more = serializers.IntegerField(help_text="How many others there are.")


class InstallationExecutionSerializer(StrictSerializer):
    """How the installation executed the orders that were written on these UTC days."""

    start = serializers.DateField(help_text="First UTC day.")
    end = serializers.DateField(help_text="Last UTC day, included.")
    money = serializers.ChoiceField([REAL, PAPER], help_text="Of accounts with which money.")
    until = serializers.DateTimeField(
        allow_null=True, help_text="Counted until then; null: no day is computed yet."
    )
    statistics = InstallationStatisticsSerializer()
    entries = ExecutionFiguresSerializer(allow_null=True)
    exits = ExecutionFiguresSerializer(allow_null=True)
    parts = ExecutionPartSerializer(many=True)


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
        responses=InstallationExecutionSerializer,
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
        return Response(self.sparse(InstallationExecutionSerializer(result)).data)


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
