"""How orders, their log and drift are read over HTTP."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

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
from execution.reconciliation import presentation as drift_words
from execution.reconciliation.decisions import actions_of

ACTIONS = [decision.value.lower() for decision in Decision if decision]
LIFECYCLES = [
    "RECEIVED",
    "VALIDATED",
    "CLOSED",
    *(status for status in Status.values if status not in ("PENDING", "SUBMITTING")),
]


def lifecycle_of(order: Any) -> str:
    """Return what other systems call an order's state: RECEIVED, VALIDATED, …, CLOSED.

    `order` is annotated with `position_closed`: whether the position that it opened, or helped to
    close, is closed.
    """
    if order.position_closed and order.filled_quantity > 0:
        return "CLOSED"
    status = str(order.status)
    return {"PENDING": "RECEIVED", "SUBMITTING": "VALIDATED"}.get(status, status)


class FillSerializer(StrictModelSerializer[Fill]):
    """One execution at the broker. commission: in its own currency; '' is the account's."""

    commission_converted = Amount(
        read_only=True, allow_null=True,
        help_text="In the account's currency; null: no rate was quoted, and no sum contains it.",
    )  # fmt: skip

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
    """Since when an order waits, on its row or derived with its reason."""

    def get_attribute(self, instance: Order) -> datetime | None:
        return reason_of(instance).since


class OrderSerializer(StrictModelSerializer[Order]):
    """One leg of a signal on one account. quantity: base units; prices: quote currency."""

    number = serializers.SerializerMethodField()
    connection_name = serializers.CharField(source="connection.name", read_only=True)
    lifecycle = serializers.SerializerMethodField()
    reason = serializers.SerializerMethodField(help_text="Why it is in this state.")
    waiting_since = WaitingSince(
        read_only=True, allow_null=True,
        help_text="Since when it waits for what `reason` says; PENDING only.",
    )  # fmt: skip
    slippage = Amount(
        source="slippage_pips", read_only=True, allow_null=True,
        help_text="Signed, + is worse; in slippage_unit.",
    )  # fmt: skip
    slippage_pips = serializers.SerializerMethodField(help_text="If its unit is pips.")

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
        return f"O-{order.pk}"

    def get_slippage_pips(self, order: Order) -> str | None:
        is_in_pips = order.slippage_pips is not None and order.slippage_unit == "PIPS"
        return plain(order.slippage_pips) if is_in_pips else None

    @extend_schema_field(serializers.ChoiceField(choices=LIFECYCLES))
    def get_lifecycle(self, order: Order) -> str:
        return lifecycle_of(order)

    @extend_schema_field(Reason(allow_null=True))
    def get_reason(self, order: Order) -> dict[str, str] | None:
        return reason(reason_of(order).code, order.status)


class OneOrderSerializer(OrderSerializer):
    """One order with its executions."""

    fills = FillSerializer(many=True, read_only=True)

    class Meta:
        model = Order
        fields = (*OrderSerializer.Meta.fields, "fills")
        read_only_fields = fields


class ChangeOrderSerializer(StrictSerializer):
    """New levels for what the order opened, or its end. null removes a level."""

    stop_loss = Amount(required=False, allow_null=True, positive=True)
    take_profit = Amount(required=False, allow_null=True, positive=True)
    status = serializers.ChoiceField(choices=[Status.CANCELLED.value], required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse to do two different things, or none."""
        if not attrs or ("status" in attrs and len(attrs) > 1):
            raise serializers.ValidationError("Send new levels, or status CANCELLED; not both.")
        return attrs


class ChangePositionSerializer(StrictSerializer):
    """New levels of a position. null removes a level."""

    stop_loss = Amount(required=False, allow_null=True, positive=True)
    take_profit = Amount(required=False, allow_null=True, positive=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse to do nothing."""
        if not attrs:
            raise serializers.ValidationError("Send stop_loss, take_profit or both.")
        return attrs


class CloseSerializer(StrictSerializer):
    """How much of what was opened is closed."""

    fraction = Amount(required=False, positive=True, help_text="Above 0, at most 1 (all).")


class ManySerializer(StrictSerializer):
    """Which ones: of a connection, of a signal. Operators must say which, or `all`."""

    connection = serializers.UUIDField(required=False)
    signal = WholeNumber(required=False, min_value=1)
    all = serializers.BooleanField(required=False, default=False)


class ManyDoneSerializer(StrictSerializer):
    """What was asked for. What had ended meanwhile is left out."""

    ids = serializers.ListField(child=serializers.IntegerField(), read_only=True)
    count = serializers.IntegerField(read_only=True)


class LogSerializer(StrictModelSerializer[ExecutionLog]):
    """One line of the append-only journal."""

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
        return reason(line.code, line.status)


class DriftSerializer(StrictModelSerializer[DriftItem]):
    """A difference between us and a broker: its evidence, and what was or can be decided."""

    reason = serializers.SerializerMethodField()
    connection_name = serializers.CharField(source="connection.name", read_only=True)
    summary = serializers.SerializerMethodField(
        help_text="Which position or order it is about, and what the two sides hold."
    )
    actions = serializers.SerializerMethodField(help_text="What can be decided about it now.")

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
        return drift_words.summary(item)

    @extend_schema_field(serializers.ListField(child=serializers.ChoiceField(ACTIONS)))
    def get_actions(self, item: DriftItem) -> list[str]:
        return [decision.value.lower() for decision in actions_of(item)]

    @extend_schema_field(Reason(allow_null=True))
    def get_reason(self, item: DriftItem) -> dict[str, str] | None:
        return reason(item.kind)


class AdoptSerializer(StrictSerializer):
    """The levels that an adopted trade gets, in place of those that the broker holds."""

    stop_loss = Amount(required=False, positive=True)
    take_profit = Amount(required=False, positive=True)


class RelinkSerializer(StrictSerializer):
    """What it really is: an order or a position of the same connection. Not for levels."""

    order = WholeNumber(required=False, min_value=1)
    position = WholeNumber(required=False, min_value=1)


class IgnoreSerializer(StrictSerializer):
    """Why the difference is left as it is."""

    reason = serializers.CharField(max_length=200)


class CompareSerializer(StrictSerializer):
    """Which connection; all that one may see without it."""

    connection = serializers.UUIDField(required=False)


class CompareDoneSerializer(StrictSerializer):
    """How many connections are compared next."""

    count = serializers.IntegerField(read_only=True)
