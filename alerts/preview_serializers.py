"""How the API takes a text to read, and shows how it is read."""

from typing import Any

from rest_framework import serializers

from alerts.reading import read_mapping
from common.errors import InvalidInputError
from common.web.api_fields import Json, StrictSerializer, invalid
from signals.reading.strict_json import MAX_BYTES


class AlertTextSerializer(StrictSerializer):
    """The body of an alert, as its sender would post it."""

    text = serializers.CharField(max_length=MAX_BYTES, trim_whitespace=False, allow_blank=True)


class AlertMappingSerializer(StrictSerializer):
    """A feed's mapping for alerts (docs/alerts.md)."""

    mapping = Json(help_text="paths, symbols, sides, ignore, entry_price, distances.")

    def validate_mapping(self, value: dict[str, Any]) -> dict[str, Any]:
        try:
            read_mapping(value)
        except InvalidInputError as error:
            raise invalid(error.code, error.detail) from error
        return value


class AlertFieldSerializer(serializers.Serializer[Any]):
    """A field as it is understood."""

    name = serializers.CharField()
    value = serializers.CharField()


class AlertNoteSerializer(serializers.Serializer[Any]):
    """A part without an effect, and why."""

    text = serializers.CharField()
    reason = serializers.CharField()


class AlertFaultSerializer(serializers.Serializer[Any]):
    """Why it is refused, and what to send instead."""

    code = serializers.CharField()
    field = serializers.CharField()
    detail = serializers.CharField()
    hint = serializers.CharField()


class AlertReadingSerializer(serializers.Serializer[Any]):
    """How an alert is read."""

    dialect = serializers.CharField(help_text="Empty: it cannot be read.")
    fields = AlertFieldSerializer(many=True)  # type: ignore[assignment]  # a field's name
    notes = AlertNoteSerializer(many=True, help_text="What has no effect, and why.")
    effect = serializers.CharField(help_text="What it would do now; empty if it is refused.")
    errors = AlertFaultSerializer(many=True)  # type: ignore[assignment]  # likewise
