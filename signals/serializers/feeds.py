"""Feeds and their tokens as the API reads and returns them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from rest_framework import serializers

from common.errors import InvalidInputError
from common.names import one_line
from common.permissions import Right, may, require
from common.reason_codes import Code
from common.web.api_fields import StrictModelSerializer, StrictSerializer, UtcDateTime, invalid
from signals.feeds.alert_rules import read_sources, read_symbols
from signals.feeds.services import approval_after, token_end
from signals.models import Feed, FeedToken
from signals.symbols import CURRENCY

ALERT_RULES = ("alerts_per_minute", "alert_symbols", "alert_sources", "alerts_signed_only")


class FeedSerializer(StrictModelSerializer[Feed]):
    """A named stream of signals."""

    row_rules = True

    owner = serializers.CharField(source="owner.username", read_only=True)
    is_mine = serializers.SerializerMethodField(help_text="Whether you may publish in it.")

    class Meta:
        model = Feed
        fields = (
            "slug",
            "name",
            "description",
            "owner",
            "is_mine",
            "is_public",
            "is_approved",
            "approved_by_owner",
            "max_signal_notional",
            "max_signal_currency",
            "max_price_deviation_percent",
            "max_level_deviation_percent",
            "record_is_public",
            "alerts_per_minute",
            "alert_symbols",
            "alert_sources",
            "alerts_signed_only",
            "archived_at",
            "created_at",
        )
        read_only_fields = ("approved_by_owner", "archived_at", "created_at")
        extra_kwargs = {
            "slug": {"required": False, "help_text": "Made from the name unless given."},
            "max_signal_notional": {"positive": True},
            "max_price_deviation_percent": {"positive": True},
            "max_level_deviation_percent": {"positive": True},
            "is_approved": {"help_text": "Its signals need no further approval. Set by operators."},
        }

    def unsaved_row(self, values: dict[str, Any]) -> Feed:
        """Return the feed with the changes, and with what they change of its approval."""
        row = super().unsaved_row(values)
        if self.instance is not None:
            for name, value in approval_after(self.instance, values).items():
                setattr(row, name, value)
        return row

    def to_representation(self, feed: Feed) -> dict[str, Any]:
        """Leave out how alerts are guarded, except for those who may publish in the feed."""
        shown: dict[str, Any] = super().to_representation(feed)
        if not self.get_is_mine(feed):
            for name in ALERT_RULES:
                shown.pop(name, None)
        return shown

    def get_is_mine(self, feed: Feed) -> bool:
        user = self.context["request"].user
        return may(user, Right.PUBLISH, owner_id=feed.owner_id)

    def validate_is_approved(self, value: bool) -> bool:
        require(self.context["request"].user, Right.APPROVE)
        return value

    def validate_max_signal_currency(self, value: str) -> str:
        code = value.strip().upper()
        if code and not CURRENCY.fullmatch(code):
            detail = f"{code!r} is not the code of a currency such as USD."
            raise serializers.ValidationError(detail, code=str(Code.FIELD_INVALID))
        return code

    def validate_alert_symbols(self, value: list[str]) -> list[str]:
        return _read(read_symbols, value)

    def validate_alert_sources(self, value: list[str]) -> list[str]:
        return _read(read_sources, value)

    def validate_slug(self, value: str) -> str:
        if self.instance is not None and value != self.instance.slug:
            detail = "The slug cannot be changed: the addresses for alerts contain it."
            raise serializers.ValidationError(detail, code=str(Code.FIELD_INVALID))
        return value


def _read(read: Callable[[list[str]], list[str]], value: list[str]) -> list[str]:
    try:
        return read(value)
    except InvalidInputError as error:
        raise invalid(error.code, error.detail) from error


class RotateFeedTokenSerializer(StrictSerializer):
    """How long the old token works beside the new one."""

    old_ends_at = UtcDateTime(
        allow_null=True, help_text="Until when the old token works. Null: it is revoked at once."
    )


class FeedTokenSerializer(StrictModelSerializer[FeedToken]):
    """An alert token. Its secret is shown once, in the response that creates it."""

    signed = serializers.SerializerMethodField(help_text="Alerts must carry a signature.")

    class Meta:
        model = FeedToken
        fields = ("id", "name", "prefix", "signed", "created_at", "expires_at", "revoked_at")
        read_only_fields = fields

    def get_signed(self, token: FeedToken) -> bool:
        return bool(token.signing_key)


class NewFeedTokenSerializer(StrictSerializer):
    """A new alert token."""

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        """Return the end. Raises ValidationError if it has passed or is after the key's."""
        try:
            return token_end(value, by=self.context["request"].user)
        except InvalidInputError as error:
            raise invalid(error.code, error.detail) from error

    name = serializers.CharField(max_length=100, default="alerts", validators=[one_line])
    expires_at = UtcDateTime(default=None, allow_null=True)
    signed = serializers.BooleanField(default=False)


class CreatedFeedTokenSerializer(StrictSerializer):
    """A new alert token with its secrets, which are never shown again."""

    token = FeedTokenSerializer(read_only=True)
    secret = serializers.CharField(read_only=True)
    signing_key = serializers.CharField(read_only=True, help_text="Empty unless signed.")
    path = serializers.CharField(read_only=True, help_text="The path to post alerts to.")
