"""How price sources are read over HTTP, and switched."""

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.api_fields import StrictModelSerializer, StrictSerializer
from connections.market_data.source_status import is_fully_visible, source_status
from connections.models import DataConnection, SourceHealth
from users.api import caller

PAIRS = serializers.ListField(child=serializers.CharField())


class SourceStatusSerializer(StrictSerializer):
    """The present state of a price source."""

    state = serializers.CharField(source="label", read_only=True)
    is_well = serializers.BooleanField(
        read_only=True, help_text="False: somebody must act, see `remedy`."
    )
    message = serializers.CharField(read_only=True, help_text="What is wrong; may be empty.")
    remedy = serializers.CharField(read_only=True, help_text="What to do; may be empty.")


class DataConnectionSerializer(StrictModelSerializer[DataConnection]):
    """Where prices come from."""

    broker_connection = serializers.SerializerMethodField(
        help_text="The id of your account whose broker tells them; null: none of yours does."
    )
    is_shared = serializers.SerializerMethodField(help_text="The operators', for everybody's use.")
    status = serializers.SerializerMethodField()
    last_price_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="When the last price came in."
    )
    error_code = serializers.CharField(
        source="health.error_code", default="", read_only=True, help_text="A reason code, or empty."
    )
    failing_since = serializers.DateTimeField(
        source="health.failing_since", default=None, read_only=True, allow_null=True
    )
    pairs = serializers.SerializerMethodField(
        help_text="What a broker's stream follows; empty where the source is another's."
    )
    missing = serializers.SerializerMethodField(
        help_text="What it follows and has no usable price of; empty where the source is another's."
    )

    class Meta:
        model = DataConnection
        fields = (
            "id", "name", "kind", "is_active", "is_shared", "broker_connection", "status",
            "last_price_at",
            "error_code", "failing_since", "pairs", "missing", "created_at",
        )  # fmt: skip
        read_only_fields = tuple(name for name in fields if name != "is_active")

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_broker_connection(self, source: DataConnection) -> Any:
        teller: Any = source.broker_connection  # None: another's, which row-level security keeps
        user = caller(self.context["request"])
        is_mine = teller is not None and (user.is_operator or teller.owner_id == user.pk)
        return teller.pk if is_mine else None

    def get_is_shared(self, source: DataConnection) -> bool:
        return source.user_id is None

    @extend_schema_field(PAIRS)
    def get_pairs(self, source: DataConnection) -> list[str]:
        return state.pairs if (state := self._state(source)) else []

    @extend_schema_field(PAIRS)
    def get_missing(self, source: DataConnection) -> list[str]:
        return state.missing if (state := self._state(source)) else []

    def _state(self, source: DataConnection) -> SourceHealth | None:
        """How it fares in detail, for who may read that."""
        user = caller(self.context["request"])
        return getattr(source, "health", None) if is_fully_visible(source, user) else None

    @extend_schema_field(SourceStatusSerializer)
    def get_status(self, source: DataConnection) -> Any:
        user = caller(self.context["request"])
        return SourceStatusSerializer(source_status(source, datetime.now(UTC), reader=user)).data
