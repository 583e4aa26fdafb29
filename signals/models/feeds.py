"""Feeds, the tokens that alerts are posted with, and the alerts that were carried out."""

from decimal import Decimal

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp
from common.db.row_faults import FieldConstraints
from common.fields import AmountField
from common.names import NameField

# A misplaced point is a factor of ten, which is 900 %.
DEFAULT_PRICE_DEVIATION = Decimal(50)
DEFAULT_LEVEL_DEVIATION = Decimal(400)
DEFAULT_ALERTS_PER_MINUTE, MAX_ALERTS_PER_MINUTE = 120, 6_000


class Feed(FieldConstraints, models.Model):
    """A named stream of signals with an owner. Manual orders are signals of a private feed."""

    slug = models.SlugField(max_length=60, unique=True)
    name = NameField(max_length=200)
    description = models.TextField(blank=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="feeds")
    is_public = models.BooleanField(
        default=True, help_text="Tenants may find it and subscribe to it."
    )
    is_approved = models.BooleanField(
        default=False,
        help_text="Its signals need no further approval; otherwise each waits for an operator.",
    )
    approved_by_owner = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="The approval is the owner's own: it covers the owner's accounts only.",
    )
    max_signal_notional = AmountField(
        null=True, blank=True,
        help_text="Notional of a signal's entries on all accounts together. Empty: no limit.",
    )  # fmt: skip
    max_signal_currency = models.CharField(
        max_length=10, blank=True, default="", db_default="",
        help_text="The currency of that limit, such as USD.",
    )  # fmt: skip
    max_price_deviation_percent = AmountField(
        null=True, blank=True, default=DEFAULT_PRICE_DEVIATION,
        db_default=DEFAULT_PRICE_DEVIATION,
        help_text="How far a signal's entry prices may be from the market when it is published, in"
        " percent of the smaller of both. Empty: they are not compared.",
    )  # fmt: skip
    max_level_deviation_percent = AmountField(
        null=True, blank=True, default=DEFAULT_LEVEL_DEVIATION,
        db_default=DEFAULT_LEVEL_DEVIATION,
        help_text="The same for stop and targets: 400 is a fifth to five times the market. Empty:"
        " they are not compared.",
    )  # fmt: skip
    alert_mapping = models.JSONField(
        default=dict, blank=True, db_default=models.Value({}, models.JSONField()),
        help_text="How its alerts are read: paths, symbols and words (docs/alerts.md#mapping).",
    )  # fmt: skip
    record_is_public = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Its record has a page that needs no sign-in, as long as the feed is public.",
    )
    alerts_per_minute = models.PositiveIntegerField(
        default=DEFAULT_ALERTS_PER_MINUTE,
        db_default=DEFAULT_ALERTS_PER_MINUTE,
        help_text="How many alerts its addresses accept each minute.",
    )
    alert_symbols = ArrayField(
        models.CharField(max_length=20), blank=True, default=list, db_default=[],
        help_text="Pairs in which alerts may open trades, such as EUR/USD. Empty: all. Alerts that"
        " close are accepted whatever is listed.",
    )  # fmt: skip
    alert_sources = ArrayField(
        models.CharField(max_length=43), blank=True, default=list, db_default=[],
        help_text="Network addresses from which alerts are accepted, such as 203.0.113.0/24;"
        " tradingview stands for those that TradingView publishes. Empty: all.",
    )  # fmt: skip
    alerts_signed_only = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Only addresses whose alerts must be signed are accepted.",
    )
    archived_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    CONSTRAINT_FIELDS = {
        "feed_signal_limit_has_currency": "max_signal_notional",
        "own_approval_is_private": "is_public",
    }

    class Meta:
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(
                condition=Q(alerts_per_minute__gte=1)
                & Q(alerts_per_minute__lte=MAX_ALERTS_PER_MINUTE),
                name="feed_alerts_per_minute",
                violation_error_message=(
                    f"Alerts per minute are from 1 to {MAX_ALERTS_PER_MINUTE:,}."
                ),
            ),
            models.CheckConstraint(
                condition=(
                    Q(max_price_deviation_percent__isnull=True)
                    | Q(max_price_deviation_percent__gt=0)
                )
                & (
                    Q(max_level_deviation_percent__isnull=True)
                    | Q(max_level_deviation_percent__gt=0)
                ),
                name="feed_deviations_gt_0",
                violation_error_message="Maximum deviations are above 0, or empty.",
            ),
            models.CheckConstraint(
                condition=Q(max_signal_notional__isnull=True, max_signal_currency="")
                | Q(max_signal_notional__isnull=False, max_signal_notional__gt=0)
                & ~Q(max_signal_currency=""),
                name="feed_signal_limit_has_currency",
                violation_error_message=(
                    "Max signal notional is above 0 and has a currency, or both are empty."
                ),
            ),
            models.CheckConstraint(
                condition=Q(approved_by_owner=False) | Q(is_approved=True, is_public=False),
                name="own_approval_is_private",
            ),
        ]  # triggers withdraw approvals: migrations/sql/approval.sql

    def __str__(self) -> str:
        return self.name

    @property
    def reaches_admins(self) -> bool:
        """Whether admin-owned accounts take its signals: only if an operator approved the feed."""
        return self.is_approved and not self.approved_by_owner


class FeedToken(models.Model):
    """A secret in the address that alerts are posted to. Only its hash is stored."""

    feed = models.ForeignKey(Feed, models.CASCADE, related_name="tokens")
    name = NameField(max_length=100, default="alerts")
    prefix = models.CharField(max_length=12, unique=True)
    secret_hash = models.CharField(max_length=64)
    signing_key = models.CharField(
        max_length=64,
        blank=True,
        default="",
        editable=False,
        help_text="Alerts must be signed with it. It is of no use without the token itself.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    made_with = models.ForeignKey(
        "users.ApiKey",
        models.CASCADE,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        help_text="The API key that it was made with: it opens nothing once that is revoked.",
    )

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class ReceivedAlert(models.Model):
    """An alert that was carried out, even if there was nothing to do. Stored for a week.

    It is recognised if it is sent again, and alerts that were sent before it and arrive later are
    checked against it. So is a close of a feed's trades by a call that found none (`closing.py`).
    """

    feed = models.ForeignKey(Feed, models.CASCADE, related_name="received_alerts")
    key = models.CharField(max_length=64)
    pair = models.CharField(max_length=20, blank=True, default="", db_default="")
    change = models.CharField(
        max_length=7,
        help_text="entry, add, reduce, reverse, flat or close; open or modify of a signal.",
    )
    ended_side = models.CharField(
        max_length=4, blank=True, default="", db_default="",
        help_text="Side of the earlier trades that it ended or made smaller: BUY, SELL, BOTH.",
    )  # fmt: skip
    summary = models.CharField(max_length=300)
    signal_ids = ArrayField(models.BigIntegerField(), default=list)
    sent_at = models.DateTimeField(null=True, help_text="By its sender's clock.")
    received_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        indexes = [
            models.Index(fields=["feed", "key"], name="received_alert_key"),
            models.Index(fields=["feed", "pair", "sent_at"], name="received_alert_sequence"),
            models.Index(fields=["received_at"], name="received_alert_received"),
        ]

    def __str__(self) -> str:
        return self.summary
