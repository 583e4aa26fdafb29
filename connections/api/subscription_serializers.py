"""Serializers of subscriptions."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from common.api_fields import (
    Amount,
    StrictModelSerializer,
    UtcDateTime,
    invalid,
)
from common.reason_codes import Code
from common.stop_rules import RULE_FIELDS, stop_rule_faults
from connections.api.serializers import FeedBySlug, OwnRowField
from connections.models import ExecutionConnection, Subscription, SubscriptionRoute
from connections.services import MAX_SHARE
from connections.services import SUBSCRIPTION_LIMITS as LIMITS


def checked_symbol_map(value: Any) -> dict[str, str]:
    """Return a symbol map if its values are texts of a valid length. Raises ValidationError."""
    symbols: dict[str, Any] = value if isinstance(value, dict) else {"": None}
    if not all(isinstance(symbol, str) and 0 < len(symbol) <= 40 for symbol in symbols.values()):
        raise invalid(Code.FIELD_INVALID, "It maps pairs to the broker's symbols, as texts.")
    return symbols


class RouteAccountSerializer(StrictModelSerializer[SubscriptionRoute]):
    """An account of a route, and its part of the signals with the policy SHARE."""

    connection = OwnRowField(model=ExecutionConnection)
    share = serializers.IntegerField(default=1, min_value=0, max_value=MAX_SHARE)

    class Meta:
        model = SubscriptionRoute
        fields = ("connection", "share", "symbol_map")

    def validate_symbol_map(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the map if its values are texts of a valid length."""
        return checked_symbol_map(value)


class SubscriptionSerializer(StrictModelSerializer[Subscription]):
    """A connection takes a feed's signals. Its own limits may only be tighter than the preset's."""

    connection = OwnRowField(model=ExecutionConnection)
    feed = FeedBySlug()
    expires_at = UtcDateTime(required=False, allow_null=True)
    route = RouteAccountSerializer(
        source="routes",
        many=True,
        required=False,
        help_text="The accounts of which one executes each signal, this one included. Of equally "
        "good ones the first is taken. Empty: this account alone.",
    )
    max_slippage = Amount(
        source="max_slippage_pips", required=False, allow_null=True, help_text="In slippage_unit."
    )

    class Meta:
        model = Subscription
        fields = (
            "id",
            "connection",
            "feed",
            "is_paused",
            "expires_at",
            "multiplier",
            "symbol_map",
            "directions",
            "priority",
            "route_policy",
            "route",
            "max_slippage",
            *(name for name in LIMITS if name != "max_slippage_pips"),
            *RULE_FIELDS,
            "archived_at",
            "created_at",
        )
        read_only_fields = ("is_paused", "archived_at", "created_at")
        validators: list[Any] = []  # not unique: subscribing again reopens an ended one

    def validate_symbol_map(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the map if its values are texts of a valid length."""
        return checked_symbol_map(value)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse changes of the connection or the feed."""
        for name in ("connection", "feed") if self.instance is not None else ():
            if name in attrs:
                error = invalid(Code.FIELD_UNKNOWN, "It cannot be changed.")
                raise serializers.ValidationError({name: error.detail})
        current = self.instance or Subscription()
        rule = {name: attrs.get(name, getattr(current, name)) for name in RULE_FIELDS}
        faults: dict[str, list[Any]] = {}
        for name, text in stop_rule_faults(rule):
            faults.setdefault(name, []).append(invalid(Code.FIELD_INVALID, text).detail[0])  # type: ignore[index]
        if faults:
            raise serializers.ValidationError(faults)
        return attrs
