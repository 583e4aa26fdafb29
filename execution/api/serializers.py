"""Serializers of orders, the execution log and drift items."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from common.api_fields import (
    Amount,
    Reason,
    StrictModelSerializer,
    StrictSerializer,
    UtcDateTime,
    WholeNumber,
    reason,
)
from common.money import plain
from execution.models import Decision, DriftItem, ExecutionLog, Fill, Order, Status
from execution.order_reasons import reason_of
from execution.reconciliation import presentation
from execution.reconciliation.decisions import actions_of

ACTIONS = [decision.value.lower() for decision in Decision if decision]
LIFECYCLES = [
    "RECEIVED",
    "VALIDATED",
    "CLOSED",
    *(status for status in Status.values if status not in ("PENDING", "SUBMITTING")),
]


def validated_body(serializer: type[StrictSerializer], request: Request) -> dict[str, Any]:
    """Return the request's body as this serializer reads it. Raises DRF's ValidationError."""
    body = serializer(data=request.data)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def lifecycle_of(order: Any) -> str:
    """Return an order's lifecycle state, from RECEIVED and VALIDATED to CLOSED.

    order: annotated with `position_closed` (see `orders_for`).
    """
    if order.position_closed and order.filled_quantity > 0:
        return "CLOSED"
    status = str(order.status)
    return {"PENDING": "RECEIVED", "SUBMITTING": "VALIDATED"}.get(status, status)


class FillSerializer(StrictModelSerializer[Fill]):
    """One execution at the broker.

    commission: in commission_currency; '' is the account's currency.
    """

    commission_converted = Amount(
        read_only=True,
        allow_null=True,
        help_text="In the account's currency. null: no rate was quoted, and no sum contains it.",
    )

    class Meta:
        model = Fill
        fields = (
            "broker_fill_id",
            "side",
            "quantity",
            "price",
            "commission",
            "commission_currency",
            "commission_rate",
            "commission_rate_at",
            "commission_converted",
            "fee_in_base",
            "time",
            "inferred",
        )
        read_only_fields = fields


class WaitingSince(UtcDateTime):
    """The time since which an order waits, stored or derived from its reason."""

    def get_attribute(self, instance: Order) -> datetime | None:
        """Return the time; None if the order does not wait."""
        return reason_of(instance).since


class OrderSerializer(StrictModelSerializer[Order]):
    """One order: a leg of a signal on one account.

    quantity: base units; prices: quote currency.
    """

    number = serializers.SerializerMethodField()
    connection_name = serializers.CharField(source="connection.name", read_only=True)
    lifecycle = serializers.SerializerMethodField()
    reason = serializers.SerializerMethodField(help_text="Why it is in this state.")
    waiting_since = WaitingSince(
        read_only=True,
        allow_null=True,
        help_text="Since when it waits for what `reason` states; PENDING only.",
    )
    slippage = Amount(
        source="slippage_pips",
        read_only=True,
        allow_null=True,
        help_text="Signed, + is worse; in slippage_unit.",
    )
    slippage_pips = serializers.SerializerMethodField(help_text="Null if its unit is not pips.")

    class Meta:
        model = Order
        fields = (
            "id",
            "number",
            "signal",
            "position",
            "connection",
            "connection_name",
            "leg",
            "status",
            "lifecycle",
            "reason",
            "detail",
            "waiting_since",
            "pair",
            "symbol",
            "side",
            "order_type",
            "time_in_force",
            "quantity",
            "limit_price",
            "stop_price",
            "stop_loss",
            "take_profit",
            "expected_price",
            "worst_price",
            "filled_quantity",
            "avg_fill_price",
            "commission",
            "unconverted_fees",
            "slippage",
            "slippage_unit",
            "slippage_pips",
            "risk",
            "margin",
            "attempt",
            "client_order_id",
            "broker_order_id",
            "created_at",
            "enqueued_at",
            "validated_at",
            "submitted_at",
            "acknowledged_at",
            "filled_at",
            "done_at",
        )
        read_only_fields = fields

    def get_number(self, order: Order) -> str:
        """Return the order's number as people see it: O-12."""
        return f"O-{order.pk}"

    def get_slippage_pips(self, order: Order) -> str | None:
        """Return the slippage if its unit is pips."""
        is_in_pips = order.slippage_pips is not None and order.slippage_unit == "PIPS"
        return plain(order.slippage_pips) if is_in_pips else None

    @extend_schema_field(serializers.ChoiceField(choices=LIFECYCLES))
    def get_lifecycle(self, order: Order) -> str:
        """Return the lifecycle state."""
        return lifecycle_of(order)

    @extend_schema_field(Reason(allow_null=True))
    def get_reason(self, order: Order) -> dict[str, str] | None:
        """Return the code, sentence and hint of the reason."""
        return reason(reason_of(order).code, order.status)


class OneOrderSerializer(OrderSerializer):
    """One order with its executions."""

    fills = FillSerializer(many=True, read_only=True)

    class Meta:
        model = Order
        fields = (*OrderSerializer.Meta.fields, "fills")
        read_only_fields = fields


class ChangeOrderSerializer(StrictSerializer):
    """New levels for the position that the order opened, or its cancellation. null: no level."""

    stop_loss = Amount(required=False, allow_null=True, positive=True)
    take_profit = Amount(required=False, allow_null=True, positive=True)
    status = serializers.ChoiceField(choices=[Status.CANCELLED.value], required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raise ValidationError for an empty request, or one with levels and status."""
        if not attrs or ("status" in attrs and len(attrs) > 1):
            raise serializers.ValidationError("Send new levels or status CANCELLED, not both.")
        return attrs


class ChangePositionSerializer(StrictSerializer):
    """New levels of a position. null: no level."""

    stop_loss = Amount(required=False, allow_null=True, positive=True)
    take_profit = Amount(required=False, allow_null=True, positive=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raise ValidationError for an empty request."""
        if not attrs:
            raise serializers.ValidationError("Send stop_loss, take_profit or both.")
        return attrs


class CloseSerializer(StrictSerializer):
    """How much of the opened quantity to close."""

    fraction = Amount(required=False, positive=True, help_text="Above 0, at most 1 (all).")


class ManySerializer(StrictSerializer):
    """Which ones: of a connection, of a signal. Operators must send one of them, or `all`."""

    connection = serializers.UUIDField(required=False)
    signal = WholeNumber(required=False, min_value=1)
    all = serializers.BooleanField(required=False, default=False)


class ManyDoneSerializer(StrictSerializer):
    """What was requested. Orders and positions that had ended meanwhile are left out."""

    ids = serializers.ListField(child=serializers.IntegerField(), read_only=True)
    count = serializers.IntegerField(read_only=True)


class LogSerializer(StrictModelSerializer[ExecutionLog]):
    """One line of the append-only execution log."""

    reason = serializers.SerializerMethodField()

    class Meta:
        model = ExecutionLog
        fields = (
            "id",
            "at",
            "order_id",
            "signal_id",
            "connection_id",
            "status",
            "reason",
            "detail",
            "numbers",
        )
        read_only_fields = fields

    @extend_schema_field(Reason(allow_null=True))
    def get_reason(self, line: ExecutionLog) -> dict[str, str] | None:
        """Return the code, sentence and hint of the reason."""
        return reason(line.code, line.status)


class DriftSerializer(StrictModelSerializer[DriftItem]):
    """A difference between our rows and a broker: its evidence and decisions."""

    reason = serializers.SerializerMethodField()
    connection_name = serializers.CharField(source="connection.name", read_only=True)
    summary = serializers.SerializerMethodField(
        help_text="Which position or order it is about, and what both sides hold."
    )
    actions = serializers.SerializerMethodField(help_text="The decisions that are possible now.")

    class Meta:
        model = DriftItem
        fields = (
            "id",
            "kind",
            "reason",
            "summary",
            "connection",
            "connection_name",
            "order_id",
            "position_id",
            "key",
            "evidence",
            "state",
            "actions",
            "decision",
            "decided_by",
            "decided_at",
            "resolution",
            "found_at",
            "seen_at",
            "resolved_at",
        )
        read_only_fields = fields

    def get_summary(self, item: DriftItem) -> str:
        """Return what differs and how, in short."""
        return presentation.summary(item)

    @extend_schema_field(serializers.ListField(child=serializers.ChoiceField(ACTIONS)))
    def get_actions(self, item: DriftItem) -> list[str]:
        """Return the decisions that are possible now."""
        return [decision.value.lower() for decision in actions_of(item)]

    @extend_schema_field(Reason(allow_null=True))
    def get_reason(self, item: DriftItem) -> dict[str, str] | None:
        """Return the code, sentence and hint of the difference."""
        return reason(item.kind)


class AdoptSerializer(StrictSerializer):
    """Levels for an adopted trade, instead of the broker's."""

    stop_loss = Amount(required=False, positive=True)
    take_profit = Amount(required=False, positive=True)


class RelinkSerializer(StrictSerializer):
    """The order or position of the same connection that it belongs to. Empty for levels."""

    order = WholeNumber(required=False, min_value=1)
    position = WholeNumber(required=False, min_value=1)


class IgnoreSerializer(StrictSerializer):
    """Why the difference is ignored."""

    reason = serializers.CharField(max_length=200)


class CompareSerializer(StrictSerializer):
    """Which connection to compare; by default all that the caller may see."""

    connection = serializers.UUIDField(required=False)


class CompareDoneSerializer(StrictSerializer):
    """How many connections will be compared."""

    count = serializers.IntegerField(read_only=True)
