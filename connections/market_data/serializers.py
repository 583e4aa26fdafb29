"""Serializers to read price sources and to switch them on and off."""

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.web.api_fields import StrictModelSerializer, StrictSerializer
from connections.market_data.source_status import is_fully_visible, source_status
from connections.models import DataConnection, SourceHealth
from users.api import caller

PAIRS = serializers.ListField(child=serializers.CharField())


class SourceStatusSerializer(StrictSerializer):
    """The current status of a price source."""

    state = serializers.CharField(source="label", read_only=True)
    is_well = serializers.BooleanField(
        read_only=True, help_text="False: action is needed, see `remedy`."
    )
    message = serializers.CharField(read_only=True, help_text="What is wrong; may be empty.")
    remedy = serializers.CharField(read_only=True, help_text="What to do; may be empty.")


class DataConnectionSerializer(StrictModelSerializer[DataConnection]):
    """A price source."""

    broker_connection = serializers.SerializerMethodField(
        help_text="The id of your account whose broker provides the prices; null: not your account."
    )
    is_shared = serializers.SerializerMethodField(
        help_text="It belongs to the operators, and all users may choose it."
    )
    status = serializers.SerializerMethodField()
    last_price_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="When the last price came in."
    )
    error_code = serializers.CharField(
        source="health.error_code",
        default="",
        allow_null=True,
        read_only=True,
        help_text="A reason code; null or empty: none.",
    )
    failing_since = serializers.DateTimeField(
        source="health.failing_since", default=None, read_only=True, allow_null=True
    )
    pairs = serializers.SerializerMethodField(
        help_text="The pairs that a broker's stream follows; empty if the source is not yours."
    )
    missing = serializers.SerializerMethodField(
        help_text="Followed pairs without a usable price; empty if the source is not yours."
    )

    fallback = serializers.PrimaryKeyRelatedField(
        queryset=DataConnection.objects.none(),
        allow_null=True,
        required=False,
        help_text="The source that is used while this one is silent or suspect; null: none.",
    )
    on_fallback = serializers.SerializerMethodField(
        help_text="The pairs that have the prices of a fallback now; empty if the source is not"
        " yours."
    )
    suspects = serializers.SerializerMethodField(
        help_text="The pairs of which a quote is suspect now and fires nothing; empty if the source"
        " is not yours."
    )

    class Meta:
        model = DataConnection
        fields = (
            "id", "name", "kind", "is_active", "is_shared", "broker_connection", "status",
            "last_price_at", "error_code", "failing_since", "pairs", "missing", "fallback",
            "on_fallback", "suspects", "created_at",
        )  # fmt: skip
        read_only_fields = tuple(name for name in fields if name not in ("is_active", "fallback"))

    def get_fields(self) -> dict[str, Any]:
        """Return the fields; a fallback is one of the sources that the caller may refer to."""
        fields: dict[str, Any] = super().get_fields()
        if "fallback" in fields and (usable := self.context.get("usable")) is not None:
            fields["fallback"].queryset = usable(DataConnection)
        return fields

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_broker_connection(self, source: DataConnection) -> Any:
        """Return the account's id if the caller may see the account."""
        account: Any = source.broker_connection  # None also if row-level security hides it
        user = caller(self.context["request"])
        is_mine = account is not None and (user.is_operator or account.owner_id == user.pk)
        return account.pk if is_mine else None

    def get_is_shared(self, source: DataConnection) -> bool:
        """Return whether the source belongs to the operators."""
        return source.user_id is None

    @extend_schema_field(PAIRS)
    def get_pairs(self, source: DataConnection) -> list[str]:
        """Return the followed pairs."""
        return health.pairs if (health := self._visible_health(source)) else []

    @extend_schema_field(PAIRS)
    def get_missing(self, source: DataConnection) -> list[str]:
        """Return the followed pairs without a usable price."""
        return health.missing if (health := self._visible_health(source)) else []

    @extend_schema_field(PAIRS)
    def get_on_fallback(self, source: DataConnection) -> list[str]:
        """Return the pairs that have the prices of a fallback now."""
        return health.on_fallback if (health := self._visible_health(source)) else []

    @extend_schema_field(PAIRS)
    def get_suspects(self, source: DataConnection) -> list[str]:
        """Return the pairs of which a quote is suspect now."""
        return health.suspects if (health := self._visible_health(source)) else []

    def _visible_health(self, source: DataConnection) -> SourceHealth | None:
        """Return the source's health if the caller may read it."""
        user = caller(self.context["request"])
        return getattr(source, "health", None) if is_fully_visible(source, user) else None

    @extend_schema_field(SourceStatusSerializer)
    def get_status(self, source: DataConnection) -> Any:
        """Return the source's status as the caller may see it."""
        user = caller(self.context["request"])
        return SourceStatusSerializer(source_status(source, datetime.now(UTC), reader=user)).data
