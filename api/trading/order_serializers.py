"""Orders as the API returns them: executions, trigger, decision, slices and changes."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from analytics.orders.end_times import end_of
from analytics.orders.figures import figures_of
from analytics.orders.reasons import reason_of
from analytics.orders.slices import slice_result
from api.trading.refusals import RefusalReason, refusal
from common.money import plain
from common.web.api_fields import (
    Amount,
    Reason,
    StrictModelSerializer,
    StrictSerializer,
    UtcDateTime,
    reason,
)
from execution.models import (
    EntryChange,
    EntryDecision,
    Fill,
    Order,
    OrderTrigger,
    Status,
    trigger_of,
)

LIFECYCLES = [
    "RECEIVED",
    "VALIDATED",
    "CLOSED",
    *(status for status in Status.values if status not in ("PENDING", "SUBMITTING")),
]


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
            "swap",
            "time",
            "inferred",
        )
        read_only_fields = fields


class WaitingSince(UtcDateTime):
    """The time since which an order waits, stored or derived from its reason."""

    def get_attribute(self, instance: Order) -> datetime | None:
        """Return the time; None if the order does not wait."""
        return reason_of(instance).since


class TriggerSerializer(StrictModelSerializer[OrderTrigger]):
    """What Fillcast holds an entry for that its broker does not take."""

    class Meta:
        model = OrderTrigger
        fields = (
            "kind",
            "sent_as",
            "level",
            "distance",
            "activation_price",
            "active_since",
            "is_armed",
            "armed_at",
            "fired_at",
            "fired_price",
        )
        read_only_fields = fields


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
    emulated = serializers.SerializerMethodField(
        help_text="Whether Fillcast holds it, or held it, until its condition holds or its trigger"
        " fires; or it is GTD at a broker without GTD, so that Fillcast ends it."
    )
    ends_at = serializers.SerializerMethodField(
        help_text="Until when it works, market time; null if no end is set or it has ended."
    )
    ended_by = serializers.SerializerMethodField(
        help_text="Who ends it at `ends_at`: BROKER if that was given the end, else FILLCAST."
    )
    trigger = serializers.SerializerMethodField(help_text="Of an emulated order, else null.")

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
            "emulated",
            "trigger",
            "awaits_condition",
            "has_exit_condition",
            "oco_group",
            "oco_fired",
            "aggregate_id",
            "quantity",
            "unrounded_quantity",
            "limit_price",
            "stop_price",
            "trail_distance",
            "stop_loss",
            "take_profit",
            "own_stop_loss",
            "own_take_profit",
            "own_valid_until",
            "close_fraction",
            "expires_at",
            "ends_at",
            "ended_by",
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

    def get_emulated(self, order: Order) -> bool:
        """Return whether it has a trigger of ours, waits for a condition, or is ended by us."""
        return order.awaits_condition or trigger_of(order) is not None or order.has_emulated_end

    @extend_schema_field(UtcDateTime(allow_null=True))
    def get_ends_at(self, order: Order) -> str | None:
        """Return until when it works."""
        end = end_of(order)
        return None if end is None else UtcDateTime().to_representation(end.at)

    @extend_schema_field(serializers.ChoiceField(choices=["BROKER", "FILLCAST"], allow_null=True))
    def get_ended_by(self, order: Order) -> str | None:
        """Return who ends it."""
        end = end_of(order)
        if end is None:
            return None
        return "BROKER" if end.by_broker else "FILLCAST"

    @extend_schema_field(TriggerSerializer(allow_null=True))
    def get_trigger(self, order: Order) -> dict[str, Any] | None:
        """Return its trigger."""
        trigger = trigger_of(order)
        return None if trigger is None else dict(TriggerSerializer(trigger).data)

    def get_slippage_pips(self, order: Order) -> str | None:
        """Return the slippage if its unit is pips."""
        is_in_pips = order.slippage_pips is not None and order.slippage_unit == "PIPS"
        return plain(order.slippage_pips) if is_in_pips else None

    @extend_schema_field(serializers.ChoiceField(choices=LIFECYCLES))
    def get_lifecycle(self, order: Order) -> str:
        """Return the lifecycle state."""
        return lifecycle_of(order)

    @extend_schema_field(RefusalReason(allow_null=True))
    def get_reason(self, order: Order) -> dict[str, Any] | None:
        """Return the code, sentence and hint of the reason, with the figures of a denial."""
        return refusal(reason_of(order).code, order.status, figures_of(order))


class EntryDecisionSerializer(StrictModelSerializer[EntryDecision]):
    """What the preset's decision provider answered about an entry, and what it was given.

    factor: null if there was no valid answer; `failure` and `detail` then state why.
    """

    market = serializers.DictField(read_only=True)

    class Meta:
        model = EntryDecision
        fields = (
            "provider_name", "factor", "reason", "failure", "detail", "latency_ms", "asked_at",
            "answered_at", "asked_count", "market",
        )  # fmt: skip
        read_only_fields = fields


class SliceSerializer(StrictModelSerializer[Order]):
    """One slice of an entry. quantity: planned, or sent."""

    class Meta:
        model = Order
        fields = (
            "id", "leg", "status", "due_at", "quantity", "filled_quantity", "avg_fill_price",
        )  # fmt: skip
        read_only_fields = fields


class SlicePlanSerializer(StrictSerializer):
    """The entry in slices that an order is a part of. Prices: quote currency; times: market."""

    execution_style = serializers.CharField(source="plan.style", read_only=True)
    state = serializers.ChoiceField(choices=["RUNNING", "FILLED", "ENDED"], read_only=True)
    ended_by = serializers.CharField(
        read_only=True, allow_null=True, help_text="The reason, if something ended it early."
    )
    planned = Amount(source="plan.quantity", read_only=True, help_text="Base units.")
    filled = Amount(read_only=True, help_text="Base units.")
    average = Amount(read_only=True, allow_null=True, help_text="Price of what has filled.")
    arrival_price = Amount(source="plan.arrival_price", read_only=True)
    market_average = Amount(
        read_only=True, allow_null=True, help_text="The market's mid price, weighted by time."
    )
    market_vwap = Amount(
        read_only=True, allow_null=True, help_text="The same, weighted by the number of quotes."
    )
    market_until = UtcDateTime(
        source="market.until", read_only=True, help_text="Until when the market's averages count."
    )
    market_is_final = serializers.BooleanField(
        source="market.is_final", read_only=True,
        help_text="Whether the market's averages are stored, after the end; else they change.",
    )  # fmt: skip
    market_minutes = serializers.IntegerField(
        source="market.minutes", read_only=True,
        help_text="How many minutes of the time had prices; 0: the averages are null.",
    )  # fmt: skip
    market_of_minutes = serializers.IntegerField(
        source="market.of_minutes", read_only=True, help_text="Of how many."
    )
    against_arrival = Amount(read_only=True, allow_null=True, help_text="+ is worse.")
    against_market = Amount(read_only=True, allow_null=True, help_text="+ is worse.")
    against_vwap = Amount(read_only=True, allow_null=True, help_text="+ is worse.")
    profile_days = serializers.IntegerField(
        source="plan.profile_days", read_only=True, allow_null=True,
        help_text="Days of a VWAP's volume profile; 0: none was known, so its slices are equal.",
    )  # fmt: skip
    starts_at = UtcDateTime(source="plan.starts_at", read_only=True)
    ends_at = UtcDateTime(source="plan.ends_at", read_only=True)
    slices = SliceSerializer(many=True, read_only=True)


class EntryChangeSerializer(StrictModelSerializer[EntryChange]):
    """A change of an entry's terms, or the levels of its position. Open until `done_at` is set."""

    reason = serializers.SerializerMethodField(help_text="Why it was not done.")

    class Meta:
        model = EntryChange
        fields = (
            "state",
            "reason",
            "detail",
            "quantity",
            "limit_price",
            "stop_price",
            "stop_loss",
            "take_profit",
            "old_quantity",
            "old_limit_price",
            "old_stop_price",
            "old_stop_loss",
            "old_take_profit",
            "valid_until",
            "old_valid_until",
            "requested_at",
            "done_at",
        )
        read_only_fields = fields

    @extend_schema_field(Reason(allow_null=True))
    def get_reason(self, change: EntryChange) -> dict[str, str] | None:
        """Return the code with its sentence and hint."""
        return reason(change.code)


class OneOrderSerializer(OrderSerializer):
    """One order with its executions, and with the entry in slices that it is a part of."""

    fills = FillSerializer(many=True, read_only=True)
    decision = serializers.SerializerMethodField(
        help_text="What its decision provider answered; null without one."
    )
    slice_plan = serializers.SerializerMethodField(help_text="null: it is no slice.")
    change = serializers.SerializerMethodField(
        help_text="The last change of its terms or levels; null: there was none."
    )

    class Meta:
        model = Order
        fields = (*OrderSerializer.Meta.fields, "fills", "decision", "slice_plan", "change")
        read_only_fields = fields

    @extend_schema_field(EntryDecisionSerializer(allow_null=True))
    def get_decision(self, order: Order) -> dict[str, Any] | None:
        """Return the stored answer about the order."""
        found = EntryDecision.objects.filter(order=order.pk).first()
        return None if found is None else dict(EntryDecisionSerializer(found).data)

    @extend_schema_field(EntryChangeSerializer(allow_null=True))
    def get_change(self, order: Order) -> dict[str, Any] | None:
        """Return the last change."""
        found = EntryChange.last_of(order.pk)
        return None if found is None else dict(EntryChangeSerializer(found).data)

    @extend_schema_field(SlicePlanSerializer(allow_null=True))
    def get_slice_plan(self, order: Order) -> dict[str, Any] | None:
        """Return the plan and what it has come to."""
        result = slice_result(order)
        return None if result is None else dict(SlicePlanSerializer(result).data)
