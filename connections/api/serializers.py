"""Serializers of connections and presets."""

from collections.abc import Collection, Mapping
from typing import Any

from django.db.models import IntegerField, Model, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.db.trials import trial_errors
from common.errors import InvalidInputError
from common.names import one_line
from common.reason_codes import Code
from common.web.api_fields import (
    Amount,
    StrictModelSerializer,
    StrictSerializer,
    WholeNumber,
    error_details,
    invalid,
    known_zone,
)
from connections import services
from connections.models import (
    MAX_AGGREGATION_MS,
    SIZE_FIELDS,
    AccountSnapshot,
    ConnectionHealth,
    DataConnection,
    DecisionProvider,
    ExecutionConnection,
    SizingMode,
    TradingPreset,
)
from connections.selectors import count_open_items, missing_worker_message
from connections.symbol_filter import read_patterns
from connections.trading_sessions import read_sessions
from signals.models import Feed
from users.api_fields import FreshFactorMixin


class OwnRowField(serializers.PrimaryKeyRelatedField[Any]):
    """Refers to a row that the caller may use; any other is reported as not existing.

    The view's context has `usable`: it returns the rows of a model that the caller may use.
    """

    def __init__(self, *, model: type[Model], **kwargs: Any) -> None:
        self.model = model
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Any:
        """Return the row. Raises ValidationError for a number in other digits than plain ones."""
        if isinstance(self.model._meta.pk, IntegerField):
            data = WholeNumber().to_internal_value(data)
        return super().to_internal_value(data)

    def get_queryset(self) -> QuerySet[Any]:
        """Return the rows that the caller may use."""
        usable = self.context.get("usable")
        rows: QuerySet[Any] = usable(self.model) if usable else self.model._default_manager.none()
        return rows


class FeedBySlug(serializers.SlugRelatedField[Feed]):
    """A feed that the caller may see, by its slug."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(slug_field="slug", **kwargs)

    def get_queryset(self) -> QuerySet[Feed]:
        """Return the feeds that the caller may see."""
        usable = self.context.get("usable")
        rows: QuerySet[Feed] = usable(Feed) if usable else Feed.objects.none()
        return rows


class CheckSerializer(StrictSerializer):
    """A check of a connection test."""

    name = serializers.CharField(read_only=True)
    result = serializers.ChoiceField(choices=["ok", "warn", "fail"], read_only=True)
    detail = serializers.CharField(read_only=True)
    hint = serializers.CharField(read_only=True)


class HealthSerializer(StrictModelSerializer[ConnectionHealth]):
    """The health of a connection."""

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
    """The account as the broker last reported it, in the account's currency."""

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
class Secrets(FreshFactorMixin, serializers.DictField):
    """Write-only names and values."""

    child = serializers.CharField(max_length=4000, trim_whitespace=False)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"write_only": True, "allow_empty": False, **kwargs})


class CredentialsSerializer(StrictSerializer):
    """The broker's credentials, for example {"login": "…", "password": "…"}."""

    credentials = Secrets()


class WorkerSerializer(StrictSerializer):
    """The worker of an account whose broker needs a session."""

    queue = serializers.CharField(read_only=True)
    runs = serializers.BooleanField(read_only=True)
    waits_for = serializers.CharField(
        read_only=True, help_text="What must be started if none is running: orders wait for it."
    )


IDENTITY = ("type", "account", "exchange_name", "as_administrator")
"""The fields that say which account a connection is: they cannot be changed."""


class ConnectionSerializer(StrictModelSerializer[ExecutionConnection]):
    """One broker account."""

    preset = OwnRowField(model=TradingPreset, required=False, allow_null=True)
    data_connection = OwnRowField(model=DataConnection, required=False, allow_null=True)
    own_prices = serializers.BooleanField(
        write_only=True,
        required=False,
        help_text="True: use the prices of the account's own broker. `data_connection` becomes that"
        " source, which is created if there is none yet.",
    )
    credentials = Secrets(
        required=False,
        help_text="They replace all stored ones. A change of a setting that decides where they are"
        " sent, such as the server, needs them again: 400 CREDENTIALS_NEEDED.",
    )
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
        help_text="Null for an account that any worker can serve."
    )
    open_count = serializers.SerializerMethodField(
        help_text="Positions, and orders that are or may be at the broker. They are monitored, and"
        " the account is read, even if the connection is switched off."
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
            "aggregation_ms",
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
        extra_kwargs = {"aggregation_ms": {"max_value": MAX_AGGREGATION_MS}}

    def get_has_credentials(self, row: ExecutionConnection) -> bool:
        """Return whether credentials are stored."""
        return bool(row.sealed_credentials)

    def get_health_word(self, row: ExecutionConnection) -> str:
        """Return the state in one word."""
        return row.get_health_status(row.health)

    def get_open_count(self, row: ExecutionConnection) -> int:
        """Return how many items are open in the account."""
        return count_open_items(row)

    @extend_schema_field(WorkerSerializer(allow_null=True))
    def get_worker(self, row: ExecutionConnection) -> Any:
        """Return the worker of the account's lane; None if it needs none."""
        missing = missing_worker_message(row)
        worker = {"queue": row.lane, "runs": not missing, "waits_for": missing}
        return WorkerSerializer(worker).data if row.lane else None

    @extend_schema_field(SnapshotSerializer(allow_null=True))
    def get_snapshot(self, row: ExecutionConnection) -> Any:
        """Return the account's last snapshot; None if it was never read."""
        snapshot = getattr(row, "snapshot", None)
        return SnapshotSerializer(snapshot).data if snapshot else None

    def faults_together(self, values: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
        """Return conflicting fields and changes of fields that identify the connection.

        With them, or with fields that could not be read, also what the service would refuse.
        """
        found: dict[str, Any] = {}
        if values.get("own_prices") and "data_connection" in values:
            detail = "Send own_prices or data_connection, not both."
            found["own_prices"] = invalid(Code.FIELD_INVALID, detail).detail
        for name in IDENTITY if self.instance is not None else ():
            if name in values:
                found[name] = invalid(Code.FIELD_UNKNOWN, "It cannot be changed here.").detail
        if not found and not failed:
            return {}
        return error_details(self._refusals(values), failed) | found

    def _refusals(self, values: Mapping[str, Any]) -> list[InvalidInputError]:
        """Return what the service would refuse of the fields that could be read."""
        row, by = self.instance, self.context["request"].user
        others = {"own_prices", "as_administrator", "is_active"}
        if row is not None:
            others |= {*IDENTITY}
        sent = {name: value for name, value in values.items() if name not in others}
        if row is not None:
            return trial_errors(lambda: services.update_connection(row.pk, by=by, **sent))
        if not {"name", "type", "account"} <= sent.keys():
            return []
        return trial_errors(lambda: services.create_connection(by=by, user=by, **sent))


class PaperAccountSerializer(StrictSerializer):
    """A paper account that is opened, funded and tested at once."""

    name = serializers.CharField(
        validators=[one_line],
        required=False,
        max_length=100,
        help_text="Empty: a free one, such as Paper USD.",
    )
    currency = serializers.CharField(
        required=False, max_length=10,
        help_text=f"One of {', '.join(services.PAPER_BALANCES)}; USD by default.",
    )  # fmt: skip
    balance = WholeNumber(
        required=False,
        help_text="One of "
        + "; ".join(
            f"{', '.join(map(str, offered))} {currency}"
            for currency, offered in services.PAPER_BALANCES.items()
        )
        + ". By default the second one.",
    )


class PresetSerializer(StrictModelSerializer[TradingPreset]):
    """Sizing and limits of trades. Percentages are numbers such as "1.5"."""

    is_shared = serializers.SerializerMethodField(
        help_text="It belongs to the operators, and all users may use it."
    )
    max_slippage = Amount(
        source="max_slippage_pips", required=False, allow_null=True,
        help_text="The maximum slippage of a market entry, in slippage_unit.",
    )  # fmt: skip
    slippage_alert_threshold = Amount(
        source="slippage_alert_threshold_pips", required=False,
        help_text="An alert is sent for a larger slippage in either direction; in slippage_unit.",
    )  # fmt: skip
    max_slippage_pips = Amount(
        required=False, allow_null=True, help_text="The older name of max_slippage."
    )
    slippage_alert_threshold_pips = Amount(
        required=False, help_text="The older name of slippage_alert_threshold."
    )
    decision_provider = OwnRowField(
        model=DecisionProvider, required=False, allow_null=True,
        help_text="May reject or scale each entry before it is sent.",
    )  # fmt: skip

    class Meta:
        model = TradingPreset
        exclude = ("user",)
        read_only_fields = ("created_at",)

    def get_is_shared(self, preset: TradingPreset) -> bool:
        """Return whether the preset belongs to the operators."""
        return preset.user_id is None

    def validate_allowed_symbols(self, value: list[str]) -> list[str]:
        """Return the symbols in their canonical spelling. Raises an error for each other text."""
        patterns, errors = read_patterns(value)
        if errors:
            raise serializers.ValidationError(errors, code=str(Code.FIELD_INVALID))
        return patterns

    def validate_trading_sessions(self, value: list[str]) -> list[str]:
        """Return the sessions in their usual spelling. Raises an error for each other text."""
        sessions, errors = read_sessions(value)
        if errors:
            raise serializers.ValidationError(errors, code=str(Code.FIELD_INVALID))
        return sessions

    def validate_trading_day_zone(self, value: str) -> str:
        """Return the time zone. Raises if it is unknown."""
        return known_zone(value)

    def validate_decision_provider(self, value: DecisionProvider | None) -> DecisionProvider | None:
        """Return the provider. Raises if the preset's other users may not use it."""
        is_shared = value is None or value.user_id is None
        owner_id = self.instance.user_id if self.instance else self.context.get("owner_id")
        if not is_shared and value is not None and value.user_id != owner_id:
            detail = "This provider belongs to another user."
            raise serializers.ValidationError(detail, code=str(Code.FIELD_INVALID))
        return value

    row_rules = True

    def faults_together(self, values: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
        """Return the faults of the whole preset, with the changes."""
        found = super().faults_together(values, failed)
        found.pop("sizing_mode", None)  # the field that is missing is named instead
        if "sizing_mode" in failed:
            return found
        return found | _missing_numbers(self.unsaved_row(values))

    def unsaved_row(self, values: dict[str, Any]) -> TradingPreset:
        """Return the preset with its owner."""
        row = super().unsaved_row(values)
        row.user_id = self.instance.user_id if self.instance else self.context.get("owner_id")
        return row


def _missing_numbers(preset: TradingPreset) -> dict[str, Any]:
    """Return an error for each number that the preset's mode needs and that is missing."""
    mode = SizingMode(preset.sizing_mode)
    return {
        name: invalid(Code.FIELD_REQUIRED, f"{mode} needs {name}.").detail
        for name in SIZE_FIELDS.get(mode, ())
        if getattr(preset, name) is None
    }
