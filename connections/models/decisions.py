"""Decision providers: who may reject or scale an entry before it is sent, and news calendars."""

from __future__ import annotations

import uuid
from decimal import Decimal

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q

from common import units
from common.db.row_faults import FieldConstraints
from common.fields import AmountField, ChoiceField
from common.names import NameField
from common.time_zones import zone_fault
from connections import trading_sessions
from connections.decision_urls import check_url
from users.keys.setters import ended_with


class Impact(models.TextChoices):
    """How much a news event usually moves the market."""

    LOW = "LOW", "Low"
    MEDIUM = "MEDIUM", "Medium"
    HIGH = "HIGH", "High"


class NewsCalendar(models.Model):
    """An imported calendar of news events. It covers the time from its first event to its last."""

    name = NameField(max_length=100)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+",
        help_text="Empty: an operators' calendar that all users may use.",
    )  # fmt: skip
    starts_at = models.DateTimeField(null=True, editable=False)
    ends_at = models.DateTimeField(null=True, editable=False)
    event_count = models.IntegerField(default=0, db_default=0, editable=False)
    imported_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class NewsEvent(models.Model):
    """One news event. Market time."""

    calendar = models.ForeignKey(
        NewsCalendar, models.CASCADE, related_name="events", db_index=False
    )
    at = models.DateTimeField()
    currency = models.CharField(max_length=10)
    impact = ChoiceField(max_length=6, choices=Impact)
    title = NameField(max_length=200)

    class Meta:
        ordering = ("at", "id")
        indexes = [models.Index(fields=["calendar", "at"], name="news_event_of_calendar")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.currency} {self.title}"


class ProviderKind(models.TextChoices):
    """How a provider decides."""

    RULES = "RULES", "Rules"
    HTTP = "HTTP", "Your own web service"
    PACKAGE = "PACKAGE", "Installed package"


class FailRule(models.TextChoices):
    """What happens to an entry about which the provider gave no valid answer."""

    CLOSED = "CLOSED", "Deny the entry"
    OPEN = "OPEN", "Trade as if there were no provider"


class DecisionProvider(FieldConstraints, models.Model):
    """May reject or scale the entries of presets before they are sent. Exits never ask it.

    RULES uses the rules below; HTTP asks `url`; PACKAGE calls the installed package `entry_point`.
    """

    CONSTRAINT_FIELDS = {
        "decision_atr_in_order": "min_atr_percent",
        "decision_http_has_url": "secret",
        "decision_package_has_name": "entry_point",
    }

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = NameField(max_length=100)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+",
        help_text="Empty: an operators' provider that all users may use.",
    )  # fmt: skip
    kind = ChoiceField(max_length=7, choices=ProviderKind, default=ProviderKind.RULES)
    on_failure = ChoiceField(
        max_length=6, choices=FailRule, default=FailRule.CLOSED,
        help_text="If there is no valid answer in time, or a rule lacks its data.",
    )  # fmt: skip
    timeout_seconds = AmountField(
        default=Decimal(2), help_text="How long an answer may take: 0.1 to 5 s."
    )
    max_age_seconds = models.IntegerField(
        default=10, help_text="An answer that is older when the order is sent is asked for again."
    )
    candle_minutes = models.IntegerField(
        default=15, help_text="Length of a candle of average true range (ATR) and trend."
    )
    broken_rule_factor = AmountField(
        default=Decimal(0),
        help_text="What a broken rule makes of the size: 0 rejects the entry, 0.5 is half.",
    )
    max_spread = AmountField(null=True, blank=True, help_text="In its unit. Empty: no rule.")
    max_spread_unit = ChoiceField(
        max_length=7, choices=units.CHOICES, blank=True, default="",
        help_text="Empty: pips for currencies and metals, basis points (0.01 %) for the rest.",
    )  # fmt: skip
    max_spread_percentile = AmountField(
        null=True, blank=True,
        help_text="Percent of the last 24 hours' minutes that had no wider spread.",
    )  # fmt: skip
    min_atr_percent = AmountField(
        null=True, blank=True, help_text="Of 14 candles, in percent of the price."
    )
    max_atr_percent = AmountField(null=True, blank=True, help_text="The same, at most.")
    sessions = ArrayField(
        models.CharField(max_length=trading_sessions.MAX_LENGTH), default=list, blank=True,
        help_text="Such as MON-FRI 08:00-17:00; separated by commas. Empty: always.",
    )  # fmt: skip
    session_zone = models.CharField(
        max_length=64, default="UTC", help_text="The time zone of the sessions."
    )
    calendar = models.ForeignKey(
        NewsCalendar, models.PROTECT, null=True, blank=True, related_name="providers"
    )
    news_impact = ChoiceField(
        max_length=6, choices=Impact, default=Impact.HIGH,
        help_text="Events of this impact and above count.",
    )  # fmt: skip
    news_minutes_before = models.IntegerField(default=15)
    news_minutes_after = models.IntegerField(default=15)
    url = models.CharField(max_length=500, blank=True, default="", help_text="https only.")
    secret_sealed = models.BinaryField(null=True, blank=True, editable=False)
    entry_point = models.CharField(
        max_length=100, blank=True, default="", help_text="Its name; `manage.py doctor` lists them."
    )
    made_with = models.ForeignKey(
        "users.ApiKey", models.CASCADE, null=True, blank=True, editable=False, related_name="+",
        help_text="The API key that named who is asked: they are not asked once it has ended.",
    )  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(
                condition=Q(timeout_seconds__gte=Decimal("0.1"), timeout_seconds__lte=5),
                name="decision_timeout_range",
                violation_error_message="The time-out is 0.1 to 5 seconds.",
            ),
            models.CheckConstraint(
                condition=Q(max_age_seconds__lte=60, max_age_seconds__gt=F("timeout_seconds")),
                name="decision_age_range",
                violation_error_message=(
                    "The maximum age is above the time-out and at most 60 seconds."
                ),
            ),
            models.CheckConstraint(
                condition=Q(candle_minutes__in=(1, 5, 15, 30, 60, 240)),
                name="decision_candle_minutes",
                violation_error_message="A candle has 1, 5, 15, 30, 60 or 240 minutes.",
            ),
            models.CheckConstraint(
                condition=Q(broken_rule_factor__gte=0, broken_rule_factor__lt=1),
                name="decision_factor_range",
                violation_error_message="The factor of a broken rule is 0 or more, and below 1.",
            ),
            models.CheckConstraint(
                condition=(Q(max_spread__isnull=True) | Q(max_spread__gte=0))
                & (
                    Q(max_spread_percentile__isnull=True)
                    | Q(max_spread_percentile__gte=0, max_spread_percentile__lte=100)
                )
                & (Q(min_atr_percent__isnull=True) | Q(min_atr_percent__gte=0))
                & (Q(max_atr_percent__isnull=True) | Q(max_atr_percent__gt=0)),
                name="decision_bounds_gte_0",
                violation_error_message=(
                    "Spread and ATR bounds are 0 or more, or empty; a percentile is at most 100."
                ),
            ),
            models.CheckConstraint(
                condition=Q(min_atr_percent__isnull=True)
                | Q(max_atr_percent__isnull=True)
                | Q(min_atr_percent__lte=F("max_atr_percent")),
                name="decision_atr_in_order",
                violation_error_message="The minimum of the ATR is not above its maximum.",
            ),
            models.CheckConstraint(
                condition=Q(
                    news_minutes_before__gte=0,
                    news_minutes_before__lte=1440,
                    news_minutes_after__gte=0,
                    news_minutes_after__lte=1440,
                ),
                name="decision_news_minutes",
                violation_error_message="Minutes before and after news are 0 to 1440.",
            ),
            models.CheckConstraint(
                condition=Q(sessions__len__lte=trading_sessions.MAX_SESSIONS),
                name="decision_sessions_count",
                violation_error_message=f"At most {trading_sessions.MAX_SESSIONS} sessions.",
            ),
            models.CheckConstraint(
                condition=~Q(kind="HTTP") | (~Q(url="") & Q(secret_sealed__isnull=False)),
                name="decision_http_has_url",
                violation_error_message="A web service needs its URL and its secret.",
            ),
            models.CheckConstraint(
                condition=~Q(kind="PACKAGE") | ~Q(entry_point=""),
                name="decision_package_has_name",
                violation_error_message="An installed package needs its entry point.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_foreign(self) -> bool:
        """Whether code that is not ours decides: it is sent the account's figures."""
        return self.kind != ProviderKind.RULES

    @property
    def ended_with_key(self) -> bool:
        """Whether the API key that named who is asked has ended, so that they are not asked."""
        return self.is_foreign and ended_with(self, "made_with")

    def clean(self) -> None:
        """Raise ValidationError for a zone, session, URL or calendar that cannot be used."""
        errors: dict[str, list[str]] = {}
        if unknown := zone_fault(self.session_zone):
            errors["session_zone"] = [unknown]
        self.sessions, unread = trading_sessions.read_sessions(self.sessions)
        if unread:
            errors["sessions"] = unread
        if self.kind == ProviderKind.HTTP and (fault := check_url(self.url)):
            errors["url"] = [fault]
        if self.calendar is not None and self.calendar.user_id not in (None, self.user_id):
            errors["calendar"] = ["This calendar belongs to another user."]
        if errors:
            raise ValidationError(errors)
