from collections.abc import Collection, Mapping
from typing import Any

from common.reason_codes import Code
from common.stop_rules import RULE_FIELDS
from common.web.api_fields import (
    Amount,
    StrictModelSerializer,
    UtcDateTime,
    WholeNumber,
    error_details,
    invalid,
)
from connections.api.serializers import FeedBySlug, OwnRowField
from connections.entry_limits import ENTRY_LIMITS
from connections.models import ExecutionConnection, Subscription, SubscriptionRoute
from connections.services import MAX_SHARE, RouteAccount, route_errors, subscription_errors


def checked_symbol_map(value: Any) -> dict[str, str]:
    """Return a symbol map if its values are texts of a valid length. Raises ValidationError."""
    symbols: dict[str, Any] = value if isinstance(value, dict) else {"": None}
    if not all(isinstance(symbol, str) and 0 < len(symbol) <= 40 for symbol in symbols.values()):
        raise invalid(Code.FIELD_INVALID, "It maps pairs to the broker's symbols, as texts.")
    return symbols


class RouteAccountSerializer(StrictModelSerializer[SubscriptionRoute]):
    """An account of a route, and its part of the signals with the policy SHARE."""

    connection = OwnRowField(model=ExecutionConnection)
    share = WholeNumber(default=1, min_value=0, max_value=MAX_SHARE)

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
            *(name for name in ENTRY_LIMITS if name != "max_slippage_pips"),
            *RULE_FIELDS,
            "archived_at",
            "created_at",
        )
        read_only_fields = ("is_paused", "archived_at", "created_at")
        validators: list[Any] = []  # not unique: subscribing again reopens an ended one

    def validate_symbol_map(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the map if its values are texts of a valid length."""
        return checked_symbol_map(value)

    def faults_together(self, values: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
        """Return changes of the connection or feed, and the faults of what the service checks."""
        found: dict[str, Any] = {}
        for name in ("connection", "feed") if self.instance is not None else ():
            if name in values:
                found[name] = invalid(Code.FIELD_UNKNOWN, "It cannot be changed.").detail
        connection = self.instance.connection if self.instance else values.get("connection")
        if connection is None:
            return found
        feed = values.get("feed")
        row = self.instance or Subscription(connection=connection)
        if self.instance is None and feed is not None:
            row.feed_id = feed.pk
        errors = subscription_errors(row, values, self.context["request"].user)
        if not {"route", "route_policy"} & set(failed) and (route := route_of(values)):
            errors += route_errors(row, **route)
        return error_details(errors, failed) | found


def route_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `set_route` that a body contains."""
    route: dict[str, Any] = {}
    if "route_policy" in values:
        route["policy"] = values["route_policy"]
    if "routes" in values:
        route["accounts"] = [
            RouteAccount(
                account["connection"].pk, account.get("share", 1), account.get("symbol_map", {})
            )
            for account in values["routes"]
        ]
    return route
