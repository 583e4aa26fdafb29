"""Serializers of subscriptions and halts."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from common.api_fields import StrictModelSerializer, UtcDateTime, invalid
from common.reason_codes import Code
from connections.api.serializers import FeedBySlug, OwnRowField
from connections.models import ExecutionConnection, HaltMode, KillSwitch, Subscription
from users.models import User


class SubscriptionSerializer(StrictModelSerializer[Subscription]):
    """A connection takes a feed's signals."""

    connection = OwnRowField(model=ExecutionConnection)
    feed = FeedBySlug()
    expires_at = UtcDateTime(required=False, allow_null=True)

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
            "archived_at",
            "created_at",
        )
        read_only_fields = ("is_paused", "archived_at", "created_at")
        validators: list[Any] = []  # not unique: subscribing again reopens an ended one

    def validate_symbol_map(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the map if its values are texts of a valid length."""
        if not all(isinstance(symbol, str) and 0 < len(symbol) <= 40 for symbol in value.values()):
            raise invalid(Code.FIELD_INVALID, "It maps pairs to the broker's symbols, as texts.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse changes of the connection or the feed."""
        for name in ("connection", "feed") if self.instance is not None else ():
            if name in attrs:
                error = invalid(Code.FIELD_UNKNOWN, "It cannot be changed.")
                raise serializers.ValidationError({name: error.detail})
        return attrs


class KillSwitchSerializer(StrictModelSerializer[KillSwitch]):
    """A halt of trading. Released ones are history."""

    mode = serializers.ChoiceField(choices=HaltMode.choices)
    feed = FeedBySlug(required=False, allow_null=True)
    connection = OwnRowField(model=ExecutionConnection, required=False, allow_null=True)
    user = OwnRowField(model=User, required=False, allow_null=True, help_text="Default: yourself.")
    set_by = serializers.CharField(source="set_by.username", read_only=True, allow_null=True)
    epoch = serializers.IntegerField(
        source="epoch.number", read_only=True, allow_null=True, default=None,
        help_text="The database was restored, and this halt ends with that epoch. For operators.",
    )  # fmt: skip

    class Meta:
        model = KillSwitch
        fields = (
            "id",
            "scope",
            "mode",
            "feed",
            "user",
            "connection",
            "reason",
            "epoch",
            "set_by",
            "set_at",
            "released_at",
        )
        read_only_fields = ("set_at", "released_at")
