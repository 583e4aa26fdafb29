"""Maintenance windows that operators enter, in addition to those that brokers publish."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from brokers.maintenance_windows import EVERY_DAY, Window
from brokers.registry import broker_types
from common.time_zones import zone_fault

WEEK_MINUTES = 7 * 1440


class MaintenanceWindow(models.Model):
    """A time in which a broker may not answer. Empty fields match everything."""

    class Weekday(models.IntegerChoices):
        """The days of a week, as Python numbers them."""

        MONDAY = 0
        TUESDAY = 1
        WEDNESDAY = 2
        THURSDAY = 3
        FRIDAY = 4
        SATURDAY = 5
        SUNDAY = 6

    broker_type = models.CharField(max_length=20, blank=True, help_text="Empty: all broker types.")
    exchange_name = models.CharField("exchange", max_length=40, blank=True)
    host = models.CharField(max_length=120, blank=True, help_text="As listed in Broker hosts.")
    weekday = models.SmallIntegerField(
        choices=Weekday, null=True, blank=True, help_text="Empty: every day, or on the date."
    )
    on_date = models.DateField("only on", null=True, blank=True)
    starts_at = models.TimeField(help_text="Local time of the zone.")
    zone = models.CharField(max_length=60, default="UTC", help_text="For example Europe/Berlin.")
    minutes = models.PositiveIntegerField()
    is_closed = models.BooleanField(
        "entries wait for its end",
        default=True,
        help_text="If not set, entries wait only while the account does not answer.",
    )
    note = models.CharField(max_length=200, help_text="Shown to the owners of the accounts.")
    is_active = models.BooleanField("active", default=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(minutes__gte=1, minutes__lte=WEEK_MINUTES),
                name="window_has_a_length",
                violation_error_message="At least a minute and at most a week.",
            ),
            models.CheckConstraint(
                condition=Q(weekday=None) | Q(on_date=None),
                name="window_weekday_or_date",
                violation_error_message="Either a weekday or a date.",
            ),
        ]

    def __str__(self) -> str:
        return self.note

    def clean(self) -> None:
        """Raise ValidationError for an unknown broker type or time zone."""
        errors = {}
        if self.broker_type and self.broker_type not in broker_types():
            errors["broker_type"] = f"One of {', '.join(broker_types())}."
        if fault := zone_fault(self.zone):
            errors["zone"] = fault
        if errors:
            raise ValidationError(errors)

    def as_window(self) -> Window:
        """Return the window for `brokers.maintenance_windows`. A date overrides weekdays."""
        return Window(
            broker_type=self.broker_type,
            exchange_name=self.exchange_name,
            host=self.host.lower(),
            weekdays=EVERY_DAY if self.weekday is None else frozenset({self.weekday}),
            on=self.on_date,
            start=self.starts_at,
            zone=self.zone,
            minutes=self.minutes,
            closed=self.is_closed,
            note=self.note,
        )
