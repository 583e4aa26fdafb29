"""How connections, presets, subscriptions and halts are written and read over HTTP."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.api_fields import (
    Amount,
    StrictModelSerializer,
    StrictSerializer,
    invalid,
    known_zone,
)
from common.reason_codes import Code
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    DataConnection,
    ExecutionConnection,
    SizingMode,
    TradingPreset,
)
from connections.selectors import count_open_items, missing_worker_hint
from signals.models import Feed
from users.session_factor import require_fresh

NUMBER_OF_MODE = {
    SizingMode.FIXED: "fixed_quantity",
    SizingMode.PERCENT_BALANCE: "percent_of_balance",
    SizingMode.FIXED_AMOUNT: "fixed_amount",
    SizingMode.RISK_PERCENT: "risk_percent",
}


class OwnRelated(serializers.PrimaryKeyRelatedField[Any]):
    """Refers to a row that the caller may use; another's is as unknown as one that is not there."""

    def __init__(self, *, model: type[Model], **kwargs: Any) -> None:
        self.model = model
        super().__init__(**kwargs)

    def get_queryset(self) -> QuerySet[Any]:
        usable = self.context.get("usable")
        rows: QuerySet[Any] = usable(self.model) if usable else self.model._default_manager.none()
        return rows


class FeedBySlug(serializers.SlugRelatedField[Feed]):
    """A feed that the caller may see, by its slug."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(slug_field="slug", **kwargs)

    def get_queryset(self) -> QuerySet[Feed]:
        usable = self.context.get("usable")
        rows: QuerySet[Feed] = usable(Feed) if usable else Feed.objects.none()
        return rows


class CheckSerializer(StrictSerializer):
    """One named line of a connection test."""

    name = serializers.CharField(read_only=True)
    result = serializers.ChoiceField(choices=["ok", "warn", "fail"], read_only=True)
    detail = serializers.CharField(read_only=True)
    hint = serializers.CharField(read_only=True)


class HealthSerializer(StrictModelSerializer[ConnectionHealth]):
    """How the connection is doing."""

    last_test = CheckSerializer(many=True, read_only=True)

    class Meta:
        model = ConnectionHealth
        fields = (
            "status",
            "last_error",
            "last_error_at",
            "last_tested_at",
            "last_connected_at",
            "last_used_at",
            "last_test",
            "test_requested_at",
            "consecutive_failures",
            "circuit_open_until",
            "reconciled_at",
        )
        read_only_fields = fields


class SnapshotSerializer(StrictModelSerializer[AccountSnapshot]):
    """The account as the broker last told it, in the account's currency."""

    class Meta:
        model = AccountSnapshot
        fields = (
            "currency",
            "balance",
            "equity",
            "margin_used",
            "free_margin",
            "leverage",
            "position_mode",
            "read_at",
        )
        read_only_fields = fields


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
class Secrets(serializers.DictField):
    """Names and values that go in and never come out. A browser that sends them is asked for its
    second factor again, whichever serializer has the field."""

    child = serializers.CharField(max_length=4000, trim_whitespace=False)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"write_only": True, "allow_empty": False, **kwargs})

    def to_internal_value(self, data: Any) -> Any:
        if request := self.context.get("request"):
            require_fresh(request)
        return super().to_internal_value(data)


class CredentialsSerializer(StrictSerializer):
    """The broker's credentials, for example {"login": "…", "password": "…"}."""

    credentials = Secrets()


class WorkerSerializer(StrictSerializer):
    """The one worker that speaks to an account whose broker needs a session."""

    queue = serializers.CharField(read_only=True)
    runs = serializers.BooleanField(read_only=True)
    waits_for = serializers.CharField(
        read_only=True, help_text="What must be started where none runs: orders wait for it."
    )


class ConnectionSerializer(StrictModelSerializer[ExecutionConnection]):
    """One broker account."""

    preset = OwnRelated(model=TradingPreset, required=False, allow_null=True)
    data_connection = OwnRelated(model=DataConnection, required=False, allow_null=True)
    own_prices = serializers.BooleanField(
        write_only=True,
        required=False,
        help_text="True: the account's own broker tells its prices. `data_connection` becomes that"
        " source, which is made where there is none yet.",
    )
    credentials = Secrets(required=False)
    has_credentials = serializers.SerializerMethodField()
    as_administrator = serializers.BooleanField(
        write_only=True,
        required=False,
        help_text="Operators: an administrator's own account, which takes every signal.",
    )
    is_admin_owned = serializers.BooleanField(read_only=True)
    health_word = serializers.SerializerMethodField(
        help_text="archived, inactive, paused, untested, error, resting, stale or healthy."
    )
    health = HealthSerializer(read_only=True)
    worker = serializers.SerializerMethodField(
        help_text="Null for an account that any worker can speak to."
    )
    open_count = serializers.SerializerMethodField(
        help_text="Positions, and orders that are at the broker or may be. They are watched, and"
        " the account is read, where the connection is switched off, too."
    )
    snapshot = serializers.SerializerMethodField()

    class Meta:
        model = ExecutionConnection
        fields = (
            "id",
            "name",
            "type",
            "exchange_name",
            "account",
            "is_admin_owned",
            "as_administrator",
            "credentials",
            "has_credentials",
            "is_active",
            "is_paused",
            "auto_correct",
            "settings",
            "preset",
            "data_connection",
            "own_prices",
            "health_word",
            "health",
            "worker",
            "open_count",
            "snapshot",
            "created_at",
            "archived_at",
        )
        read_only_fields = ("is_paused", "created_at", "archived_at")

    def get_has_credentials(self, row: ExecutionConnection) -> bool:
        return bool(row.sealed_credentials)

    def get_health_word(self, row: ExecutionConnection) -> str:
        return row.get_health_status(row.health)

    def get_open_count(self, row: ExecutionConnection) -> int:
        return count_open_items(row)

    @extend_schema_field(WorkerSerializer(allow_null=True))
    def get_worker(self, row: ExecutionConnection) -> Any:
        missing = missing_worker_hint(row)
        said = {"queue": row.lane, "runs": not missing, "waits_for": missing}
        return WorkerSerializer(said).data if row.lane else None

    @extend_schema_field(SnapshotSerializer(allow_null=True))
    def get_snapshot(self, row: ExecutionConnection) -> Any:
        snapshot = getattr(row, "snapshot", None)
        return SnapshotSerializer(snapshot).data if snapshot else None

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse to change what a connection is."""
        if attrs.get("own_prices") and "data_connection" in attrs:
            detail = "Say own_prices or data_connection, not both."
            error = invalid(Code.FIELD_INVALID, detail)
            raise serializers.ValidationError({"own_prices": error.detail})
        fixed = ("type", "account", "exchange_name", "credentials", "as_administrator")
        for name in fixed if self.instance is not None else ():
            if name in attrs:
                raise serializers.ValidationError(
                    {name: [invalid(Code.FIELD_UNKNOWN, "It cannot be changed here.").detail[0]]}  # type: ignore[index]
                )
        return attrs


class PresetSerializer(StrictModelSerializer[TradingPreset]):
    """How large a trade may be. Percents are numbers such as "1.5"."""

    is_shared = serializers.SerializerMethodField(help_text="The operators', for everybody's use.")
    max_slippage = Amount(
        source="max_slippage_pips", required=False, allow_null=True,
        help_text="How much worse an entry at market may be filled, in slippage_unit.",
    )  # fmt: skip
    slippage_alert_threshold = Amount(
        source="slippage_alert_threshold_pips", required=False,
        help_text="Beyond it, either way, an alert is sent; in slippage_unit.",
    )  # fmt: skip
    max_slippage_pips = Amount(
        required=False, allow_null=True, help_text="The older name of max_slippage."
    )
    slippage_alert_threshold_pips = Amount(
        required=False, help_text="The older name of slippage_alert_threshold."
    )

    class Meta:
        model = TradingPreset
        exclude = ("user",)
        read_only_fields = ("created_at",)

    def get_is_shared(self, preset: TradingPreset) -> bool:
        return preset.user_id is None

    def validate_trading_day_zone(self, value: str) -> str:
        return known_zone(value)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Judge the whole preset by the database's own constraints, before they refuse it."""
        merged = self.instance or TradingPreset()
        judged = TradingPreset(
            **{
                field.attname: attrs.get(field.name, getattr(merged, field.attname))
                for field in TradingPreset._meta.concrete_fields
                if not field.is_relation and not field.primary_key
            }
        )
        needed = NUMBER_OF_MODE[SizingMode(judged.sizing_mode)]
        if getattr(judged, needed) is None:
            error = invalid(Code.FIELD_REQUIRED, f"{judged.sizing_mode} needs {needed}.")
            raise serializers.ValidationError({needed: error.detail})
        try:
            judged.validate_constraints()
        except ValidationError as broken:
            raise serializers.ValidationError(_broken(broken)) from broken
        return attrs


def _broken(error: ValidationError) -> Any:
    detail = " ".join(error.messages)
    return invalid(Code.FIELD_INVALID, detail).detail
