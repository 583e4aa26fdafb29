"""Fields and base classes for the serializers of all apps: strict input, exact output.

Decimals are strings without trailing zeros, never JSON numbers, which readers turn into floats.
Times are ISO 8601 in UTC. Unknown fields are rejected, because their sender expects an effect.
"""

import copy
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, TypeVar, cast

from django.db import models
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from common.db.row_changes import change_row
from common.db.row_faults import row_faults
from common.errors import InvalidInputError
from common.fields import AmountField
from common.money import plain, read_decimal
from common.reason_codes import Code
from common.time_zones import zone_fault
from common.web.deprecation import Deprecation
from common.web.formatting import hint, sentence

M = TypeVar("M", bound=models.Model)
_AMOUNT: dict[str, Any] = {
    "type": "string",
    "format": "decimal",
    "pattern": r"^-?\d{1,20}(\.\d{1,18})?$",
    "example": "1.386",
}


def invalid(code: Code, detail: str = "") -> serializers.ValidationError:
    """Return the error to raise in a serializer for a reason code."""
    return serializers.ValidationError(detail or code.sentence, code=str(code))


def error_details(
    errors: Iterable[InvalidInputError], failed: Collection[str] = ()
) -> dict[str, list[serializers.ErrorDetail]]:
    """Return errors by field, as a serializer has them.

    failed: fields that could not be read. They have a fault already, so that others are left out.
    """
    found: dict[str, list[serializers.ErrorDetail]] = {}
    for error in errors:
        if error.field not in failed:
            detail = serializers.ErrorDetail(error.detail, code=str(error.code))
            found.setdefault(error.field or "non_field_errors", []).append(detail)
    return found


@extend_schema_field(_AMOUNT)
class Amount(serializers.Field[Decimal, Any, str, Any]):
    """Money, a price or a quantity as text: "1.386". positive: it must be above 0."""

    def __init__(self, *, positive: bool = False, **kwargs: Any) -> None:
        self.positive = positive
        for name in ("max_digits", "decimal_places", "min_value", "max_value"):
            kwargs.pop(name, None)  # ModelSerializer derives these; read_decimal checks them
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Decimal:
        try:
            return read_decimal(data, positive=self.positive)
        except InvalidInputError as error:
            raise invalid(error.code, error.detail) from error

    def to_representation(self, value: Decimal) -> str:
        return plain(value)


class WholeNumber(serializers.IntegerField):
    """A whole number in ASCII digits; `1_000` and full-width digits are rejected."""

    def to_internal_value(self, data: Any) -> int:
        text = str(data) if isinstance(data, int | str) and not isinstance(data, bool) else ""
        if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 19:
            raise invalid(Code.NUMBER_MALFORMED, "It must be a whole number.")
        return int(text)


class UtcDateTime(serializers.DateTimeField):
    """A time with its zone. A time without a zone is rejected."""

    def to_internal_value(self, value: Any) -> datetime:
        try:
            if not isinstance(value, str) or not value.isascii():
                raise ValueError(value)
            time = datetime.fromisoformat(value)
            if time.tzinfo is None:
                raise ValueError(value)
            return time.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            detail = "It must be a time with its zone, like 2026-11-20T12:00:00Z."
            raise invalid(Code.FIELD_INVALID, detail) from error

    def to_representation(self, value: datetime) -> str:
        """Return the time in UTC, whatever the time zone of the request."""
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


@extend_schema_field(OpenApiTypes.OBJECT)
class Json(serializers.JSONField):
    """A JSON object. Whole numbers in it stay numbers; others become text, digit for digit."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise invalid(Code.FIELD_INVALID, "It must be a JSON object.")
        return super().to_internal_value(_to_plain(data))


def _to_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _to_plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_to_plain(inner) for inner in value]
    if isinstance(value, str) and type(value) is not str:  # the text of a JSON number
        return int(value) if value.lstrip("-").isdigit() and len(value) < 16 else str(value)
    return value


class StrictFields(serializers.Serializer[Any]):
    """Rejects unknown fields, each by its name, beside all other faults.

    Also if a field cannot be read, the others are checked together (`faults_together`), so that a
    caller gets all faults at once. deprecated_fields: those that will be removed, by name.
    """

    deprecated_fields: ClassVar[Mapping[str, Deprecation]] = {}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)
        errors: dict[str, Any] = _unknown_fields(self, data)
        values: dict[str, Any] = {}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as unread:
            errors |= cast("dict[str, Any]", unread.detail)
        if errors:
            errors |= self._further_faults(data, set(errors))
            raise serializers.ValidationError(errors)
        return values

    def _further_faults(self, data: Mapping[str, Any], failed: set[str]) -> dict[str, Any]:
        """Return what is wrong with the fields that could be read."""
        if type(self).faults_together is StrictFields.faults_together:
            return {}
        kept = {name: data[name] for name in data if name not in failed}
        is_partial, self.partial = self.partial, True
        try:
            values = super().to_internal_value(kept)
        except serializers.ValidationError:
            return {}  # they are only readable together with the others
        finally:
            self.partial = is_partial
        found = self.faults_together(values, failed)
        return {name: fault for name, fault in found.items() if name not in failed}

    def faults_together(self, values: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
        """Return the faults of the fields together, by field.

        failed: fields that could not be read, and are not in the values.
        """
        return {}


def _unknown_fields(serializer: serializers.Serializer[Any], data: Mapping[str, Any]) -> Any:
    writable = {name for name, field in serializer.fields.items() if not field.read_only}
    detail = serializers.ErrorDetail("This cannot be set here.", code=str(Code.FIELD_UNKNOWN))
    return {
        str(name).encode(errors="replace").decode(): [detail]
        for name in data
        if name not in writable
    }


class StrictSerializer(StrictFields):
    """A serializer that rejects unknown fields."""


class StrictModelSerializer(StrictFields, serializers.ModelSerializer[M]):
    """A model's serializer with our fields for amounts, whole numbers, times and JSON."""

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        AmountField: Amount,
        models.DateTimeField: UtcDateTime,
        models.JSONField: Json,
        models.IntegerField: WholeNumber,
        models.BigIntegerField: WholeNumber,
        models.SmallIntegerField: WholeNumber,
        models.PositiveIntegerField: WholeNumber,
        models.PositiveBigIntegerField: WholeNumber,
        models.PositiveSmallIntegerField: WholeNumber,
        models.AutoField: WholeNumber,
        models.BigAutoField: WholeNumber,
    }

    row_rules = False
    """Whether the rules of the model and its constraints are checked, as `row_faults` does."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a row that its rules and constraints do not allow, with all faults."""
        if errors := self.faults_together(attrs, ()):
            raise serializers.ValidationError(errors)
        return attrs

    def faults_together(self, values: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
        """Return the faults of the row as it would be stored."""
        if not self.row_rules:
            return {}
        sources = {name: str(field.source) for name, field in self.fields.items()}
        found = row_faults(
            self.unsaved_row(values), failed={sources.get(name, name) for name in failed}
        )
        sent = cast("dict[str, Any]", self.initial_data)
        by_use = sorted(
            sources, key=lambda name: name in sent
        )  # of two names, the one that is used
        names = {sources[name]: name for name in by_use}
        return {
            names.get(name, name) or "non_field_errors": [
                serializers.ErrorDetail(" ".join(texts), code=str(Code.FIELD_INVALID))
            ]
            for name, texts in found.items()
        }

    def unsaved_row(self, values: dict[str, Any]) -> M:
        """Return the row with these values, which is not stored."""
        model = cast("type[M]", self.Meta.model)
        row = cast("M", copy.copy(self.instance)) if self.instance is not None else model()
        columns = {field.name for field in row._meta.concrete_fields}
        for name, value in values.items():
            if name in columns:
                setattr(row, name, value)
        return row

    def update(self, instance: M, validated_data: Any) -> M:
        """Write only the fields that were sent. Rows with further rules have services."""
        return change_row(instance, validated_data)


class Reason(StrictSerializer):
    """A reason: a stable code, a sentence, and what to do about it."""

    code = serializers.CharField(read_only=True)
    sentence = serializers.CharField(read_only=True)
    hint = serializers.CharField(read_only=True)


def reason(code: str, status: str = "") -> dict[str, str] | None:
    """Return a reason code with its sentence and hint; None without a code.

    status: the order's status, if it is the reason of an order.
    """
    if not code:
        return None
    return {"code": code, "sentence": sentence(code, status), "hint": hint(code, status)}


def known_zone(name: str) -> str:
    """Return a time zone's name. Raises ValidationError if there is no such zone."""
    if fault := zone_fault(name):
        raise invalid(Code.FIELD_INVALID, fault)
    return name


def validated_body(
    serializer: type[StrictSerializer], request: Request, **context: Any
) -> dict[str, Any]:
    """Return the request's body as this serializer reads it. Raises DRF's ValidationError.

    context: what the serializer needs to judge fields beside those that cannot be read.
    """
    body = serializer(data=request.data, context={"request": request, **context})
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)
