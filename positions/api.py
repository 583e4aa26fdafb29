"""Positions over HTTP, read-only. Closing one creates an order: api/trading/orders.py."""

from decimal import Decimal
from typing import Any

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.money import plain, to_stored
from common.stop_rules import RULE_FIELDS
from common.web.api_fields import Amount, StrictModelSerializer, UtcDateTime
from common.web.filters import MomentFilter
from positions.figures import LevelFigures, PositionFigures
from positions.models import ExecutionPosition, StopRule

WITH_PRICE = (
    "current_price", "price_time", "unrealized_pnl", "exit_blocker", "moved", "stop_distance",
    "target_distance", "in_r",
)  # fmt: skip
"""The fields that need `with_prices`."""
WITH_FIRST_STOP = ("in_r", "stop_in_r", "target_in_r")
"""The fields that need `first_stop`, the stop of the entry."""
WITH_CURRENCY = (*WITH_PRICE, *WITH_FIRST_STOP, "stop_result", "target_result")
"""The fields that need the account's currency."""


class StopRuleSerializer(StrictModelSerializer[StopRule]):
    """The break-even and trailing rule of a position, as it was when the position opened."""

    last_move = serializers.CharField(
        source="move_text", read_only=True, help_text="What the rule did last, and why."
    )
    waits_for_atr = serializers.BooleanField(
        read_only=True,
        help_text="It does nothing yet: its distances are in ATR, and there are too few prices.",
    )

    class Meta:
        model = StopRule
        fields = (
            "break_even_origin",
            *RULE_FIELDS[:3],
            "break_even_unit",
            "break_even_done",
            "trailing_origin",
            *RULE_FIELDS[3:6],
            "trailing_unit",
            "atr",
            "waits_for_atr",
            "min_seconds",
            "water_mark",
            "water_mark_at",
            "resumes_beyond",
            "moves",
            "moved_at",
            "moved_by",
            "moved_from",
            "moved_to",
            "last_move",
        )
        read_only_fields = fields


class PositionSerializer(StrictModelSerializer[ExecutionPosition]):
    """A position that a signal's entry opened on a connection.

    quantity: base units still open. Prices: quote currency. Profit: account currency, gross of
    commission and swap. swap: below 0 if it was charged. unconverted_fees: fees without a
    conversion rate, by currency; part of no total.
    """

    number = serializers.SerializerMethodField()
    is_open = serializers.BooleanField(read_only=True)
    connection_name = serializers.CharField(source="connection.name", read_only=True)
    stop_loss = Amount(source="sl", read_only=True, allow_null=True)
    take_profit = Amount(source="tp", read_only=True, allow_null=True)
    sl_guardian = serializers.CharField(
        source="stop_guardian", read_only=True,
        help_text="Who executes the stop now. BROKER: the broker has confirmed that it holds it;"
        " ENGINE: we monitor it; empty: there is no stop.",
    )  # fmt: skip
    tp_guardian = serializers.CharField(
        source="target_guardian",
        read_only=True,
        help_text="Who executes the target now, as for the stop.",
    )
    broker_stop_loss = Amount(
        source="broker_sl", read_only=True, allow_null=True,
        help_text="The stop that the broker has confirmed; null while it was only sent.",
    )  # fmt: skip
    broker_take_profit = Amount(
        source="broker_tp", read_only=True, allow_null=True,
        help_text="The target that the broker has confirmed.",
    )  # fmt: skip
    levels_reported_at = UtcDateTime(
        read_only=True, allow_null=True,
        help_text="When the broker last reported which levels it holds; null: not since they were"
        " sent.",
    )  # fmt: skip
    current_price = Amount(
        read_only=True, allow_null=True, help_text="The price at which it could be closed now."
    )
    unrealized_pnl = Amount(read_only=True, allow_null=True)
    price_time = UtcDateTime(read_only=True, allow_null=True)
    stop_rule = StopRuleSerializer(
        source="rule", read_only=True, allow_null=True,
        help_text="The rule that moves its stop; null: there is none.",
    )  # fmt: skip
    distance_unit = serializers.SerializerMethodField(
        help_text="The unit of `moved` and of distances: PIPS for currencies and metals, else BPS."
    )
    moved = serializers.SerializerMethodField(
        help_text="How far the price is from the entry price; + is a gain. Null without a price."
    )
    in_r = serializers.SerializerMethodField(
        help_text="The same in R. 1 R is the distance from the entry price to the stop of the"
        " entry; null if it had none."
    )
    stop_distance = serializers.SerializerMethodField(
        help_text="From the price to the stop; below 0 once the price has passed it."
    )
    target_distance = serializers.SerializerMethodField(help_text="The same for the target.")
    stop_result = serializers.SerializerMethodField(
        help_text="What closing all that is open at the stop would make, account currency, gross."
    )
    target_result = serializers.SerializerMethodField(help_text="The same at the target.")
    stop_in_r = serializers.SerializerMethodField(help_text="The gain at the stop, in R.")
    target_in_r = serializers.SerializerMethodField(help_text="The gain at the target, in R.")
    exit_blocker = serializers.CharField(
        read_only=True,
        help_text="Why it cannot be closed now (a reason code); empty if it can.",
    )
    levels_frozen_at = UtcDateTime(
        read_only=True, allow_null=True,
        help_text="Since when a change of its levels waits: the price is within the broker's freeze"
        " level.",
    )  # fmt: skip
    unprotected_since = UtcDateTime(
        read_only=True, allow_null=True, help_text="Since when it should have a stop and has none."
    )
    unprotected_seconds = Amount(
        source="seconds_without_stop", read_only=True,
        help_text="Total time without its stop.",
    )  # fmt: skip

    class Meta:
        model = ExecutionPosition
        fields = (
            "id",
            "number",
            "entry_leg",
            "connection",
            "connection_name",
            "signal",
            "pair",
            "symbol",
            "side",
            "is_open",
            "exit_blocker",
            "quantity",
            "reserved",
            "opened_quantity",
            "entry_price",
            "stop_loss",
            "take_profit",
            "sl_guardian",
            "tp_guardian",
            "broker_stop_loss",
            "broker_take_profit",
            "levels_reported_at",
            "stop_rule",
            "levels_frozen_at",
            "unprotected_since",
            "unprotected_seconds",
            "unprotected_reason",
            "current_price",
            "price_time",
            "unrealized_pnl",
            "distance_unit",
            "moved",
            "in_r",
            "stop_distance",
            "stop_result",
            "stop_in_r",
            "target_distance",
            "target_result",
            "target_in_r",
            "realized_pnl",
            "commission",
            "swap",
            "unconverted_fees",
            "close_reason",
            "broker_position_id",
            "opened_at",
            "close_at",
            "close_when_signal",
            "close_when_state",
            "close_when_over",
            "closed_at",
        )
        read_only_fields = fields

    def get_number(self, position: ExecutionPosition) -> str:
        return f"P-{position.pk}"

    def get_distance_unit(self, position: ExecutionPosition) -> str:
        """Return the unit of distances."""
        return str(_figures(position).unit)

    @extend_schema_field(Amount(allow_null=True))
    def get_moved(self, position: ExecutionPosition) -> str | None:
        """Return how far the price has moved in its favour."""
        return _shown(_figures(position).moved)

    @extend_schema_field(Amount(allow_null=True))
    def get_in_r(self, position: ExecutionPosition) -> str | None:
        """Return the gain at the price, in R."""
        return _shown(_figures(position).in_r)

    @extend_schema_field(Amount(allow_null=True))
    def get_stop_distance(self, position: ExecutionPosition) -> str | None:
        """Return the distance to the stop."""
        level = _level(position, position.sl, is_stop=True)
        return _shown(level.distance if level else None)

    @extend_schema_field(Amount(allow_null=True))
    def get_target_distance(self, position: ExecutionPosition) -> str | None:
        """Return the distance to the target."""
        level = _level(position, position.tp, is_stop=False)
        return _shown(level.distance if level else None)

    @extend_schema_field(Amount(allow_null=True))
    def get_stop_result(self, position: ExecutionPosition) -> str | None:
        """Return the result at the stop."""
        level = _level(position, position.sl, is_stop=True)
        return _shown(level.result if level else None)

    @extend_schema_field(Amount(allow_null=True))
    def get_target_result(self, position: ExecutionPosition) -> str | None:
        """Return the result at the target."""
        level = _level(position, position.tp, is_stop=False)
        return _shown(level.result if level else None)

    @extend_schema_field(Amount(allow_null=True))
    def get_stop_in_r(self, position: ExecutionPosition) -> str | None:
        """Return the gain at the stop, in R."""
        level = _level(position, position.sl, is_stop=True)
        return _shown(level.in_r if level else None)

    @extend_schema_field(Amount(allow_null=True))
    def get_target_in_r(self, position: ExecutionPosition) -> str | None:
        """Return the gain at the target, in R."""
        level = _level(position, position.tp, is_stop=False)
        return _shown(level.in_r if level else None)


def _figures(position: Any) -> PositionFigures:
    """Return the figures of a position; one that was read without price or first stop has none."""
    price = getattr(position, "current_price", None) if position.is_open else None
    currency = position.connection.account_currency
    return PositionFigures(position, price, getattr(position, "first_stop", None), currency)


def _level(position: Any, price: Decimal | None, *, is_stop: bool) -> LevelFigures | None:
    """Return the figures of a level of an open position; None: it has none."""
    if price is None or not position.is_open:
        return None
    return _figures(position).level(price, is_stop=is_stop)


def _shown(value: Decimal | None) -> str | None:
    return None if value is None else plain(to_stored(value))


class PositionFilter(filters.FilterSet):  # type: ignore[misc]  # the library has no types
    """Positions by connection, signal, pair, side, state and times."""

    open = filters.BooleanFilter(
        method="only_open", label="True: open positions; false: closed ones."
    )
    opened_after = MomentFilter(field_name="opened_at", lookup_expr="gte")
    closed_after = MomentFilter(field_name="closed_at", lookup_expr="gte")

    class Meta:
        model = ExecutionPosition
        fields = ("connection", "signal", "pair", "side", "close_reason")

    def only_open(self, queryset: Any, _name: str, value: bool) -> Any:
        return queryset.filter(quantity__gt=0) if value else queryset.filter(quantity=0)
