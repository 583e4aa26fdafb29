"""Filters that the lists of all rooms share."""

from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django_filters import fields, rest_framework

DETAIL = "It must be a time with its zone, like 2026-11-20T12:00:00Z."


class MomentField(fields.IsoDateTimeField):  # type: ignore[misc]  # django-filter has no types
    """A time that the database can be asked for: one that UTC has, whatever its own zone."""

    def strptime(self, value: Any, format: Any) -> Any:  # Django's name
        try:
            moment: datetime = super().strptime(value, format)
            return moment.astimezone(UTC)
        except OverflowError as error:
            raise ValidationError(DETAIL, code="invalid") from error


class MomentFilter(rest_framework.IsoDateTimeFilter):  # type: ignore[misc]
    """`?…_after=2026-11-20T12:00:00Z`."""

    field_class = MomentField
