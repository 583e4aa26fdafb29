"""Filters for the API lists of all apps."""

from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django_filters import fields, rest_framework

DETAIL = "It must be a time with its zone, like 2026-11-20T12:00:00Z."


class MomentField(fields.IsoDateTimeField):  # type: ignore[misc]  # django-filter has no types
    """A time that can be converted to UTC."""

    def strptime(self, value: Any, format: Any) -> Any:  # Django's name
        """Return the time in UTC. Raises ValidationError if UTC cannot represent it."""
        try:
            moment: datetime = super().strptime(value, format)
            return moment.astimezone(UTC)
        except OverflowError as error:
            raise ValidationError(DETAIL, code="invalid") from error


class MomentFilter(rest_framework.IsoDateTimeFilter):  # type: ignore[misc]
    """A filter such as `?created_after=2026-11-20T12:00:00Z`."""

    field_class = MomentField
