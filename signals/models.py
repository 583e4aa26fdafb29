"""Feeds, alert tokens and signals, with their invariants as database constraints."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from common import units
from common.db_functions import ClockTimestamp
from common.fields import AmountField
from common.units import Unit
from signals.symbols import slippage_unit


class Feed(models.Model):
    """A named stream of signals with an owner. Manual orders are signals of a private feed."""

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
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
    archived_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = [
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
    name = models.CharField(max_length=100, default="alerts")
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
    checked against it.
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


class Action(models.TextChoices):
    OPEN = "OPEN"
    MODIFY = "MODIFY"
    CLOSE = "CLOSE"


class Direction(models.TextChoices):
    BUY = "BUY"
    SELL = "SELL"


class OrderType(models.TextChoices):
    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"


class TimeInForce(models.TextChoices):
    GTC = "GTC", "Good till cancelled"
    DAY = "DAY", "Day"
    IOC = "IOC", "Immediate or cancel"
    FOK = "FOK", "Fill or kill"


class Approval(models.TextChoices):
    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"


class RiskCategory(models.TextChoices):
    SMALL = "small"
    NORMAL = "normal"
    LARGE = "large"


class Origin(models.TextChoices):
    HAND = "HAND", "By hand"
    API = "API", "API"
    ALERT = "ALERT", "Alert"
    FILE = "FILE", "File"
    DRIFT = "DRIFT", "Adopted from a broker"


class SignalQuerySet(models.QuerySet["Signal"]):
    """Queries for signals."""

    def published(self) -> Self:
        """Published signals."""
        return self.filter(published_at__isnull=False)

    def waiting(self) -> Self:
        """Approved, not published, not cancelled."""
        return self.filter(
            approval=Approval.APPROVED, published_at__isnull=True, cancelled_at__isnull=True
        )


class Signal(models.Model):
    """An instruction to OPEN, MODIFY or CLOSE. Prices in quote currency, times in market time."""

    feed = models.ForeignKey(Feed, models.PROTECT, related_name="signals")
    action = models.CharField(max_length=6, choices=Action, default=Action.OPEN)
    refers_to = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="followers"
    )
    currency_pair = models.CharField(max_length=20, help_text="Canonical, for example EUR/USD.")
    direction = models.CharField(max_length=4, choices=Direction)
    order_type = models.CharField(max_length=6, choices=OrderType, default=OrderType.MARKET)
    open_price = AmountField(
        null=True, blank=True, help_text="Limit price; for market orders the provider's price."
    )
    stop_price = AmountField(null=True, blank=True, help_text="Trigger of a stop order.")
    sl = AmountField("stop loss", null=True, blank=True)
    target_prices = ArrayField(AmountField(), default=list, blank=True)
    target_fractions = ArrayField(AmountField(), default=list, blank=True)
    close_fraction = AmountField(
        default=Decimal(1), help_text="CLOSE: the share of what is open, 1 = all."
    )
    time_in_force = models.CharField(max_length=3, choices=TimeInForce, default=TimeInForce.GTC)
    valid_until = models.DateTimeField(null=True, blank=True)
    max_slippage_pips = AmountField("max slippage", null=True, blank=True, help_text="In its unit.")
    max_slippage_unit = models.CharField(
        max_length=7, choices=units.CHOICES, blank=True, default="", db_default="",
        help_text="Empty: pips of currencies and metals, basis points (0.01 %) of all else.",
    )  # fmt: skip
    strategy_id = models.CharField(max_length=64, blank=True)
    trade_plan_id = models.CharField(max_length=64, blank=True)
    risk_category = models.CharField(
        max_length=6, choices=RiskCategory, default=RiskCategory.NORMAL
    )
    provider_quantity = AmountField(null=True, blank=True, help_text="Base units.")
    provider_equity = AmountField(null=True, blank=True)
    external_id = models.CharField(max_length=100, null=True, blank=True)  # NULL: has none
    content_hash = models.CharField(max_length=64, blank=True)
    origin = models.CharField(max_length=5, choices=Origin, default=Origin.HAND)
    note = models.CharField(max_length=500, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    approval = models.CharField(max_length=8, choices=Approval, default=Approval.PENDING)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    approved_at = models.DateTimeField(null=True, blank=True)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    published_at = models.DateTimeField(null=True, blank=True)
    cancelled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    cancelled_at = models.DateTimeField(null=True, blank=True)
    candidate_count = models.IntegerField(null=True, blank=True)
    reaches_admins = models.BooleanField(
        default=True,
        db_default=True,
        editable=False,
        help_text="Whether its feed did when it was published.",
    )
    owner_only = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="When it was published, only its feed's owner had approved it, for the owner's"
        " own accounts.",
    )
    created_at = models.DateTimeField(db_default=ClockTimestamp())

    objects = SignalQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(fields=["feed", "external_id"], name="one_external_id"),
            models.CheckConstraint(
                condition=Q(open_price__isnull=True) | Q(open_price__gt=0), name="open_price_gt_0"
            ),
            models.CheckConstraint(
                condition=Q(stop_price__isnull=True) | Q(stop_price__gt=0), name="stop_price_gt_0"
            ),
            models.CheckConstraint(condition=Q(sl__isnull=True) | Q(sl__gt=0), name="sl_gt_0"),
            models.CheckConstraint(
                condition=Q(close_fraction__gt=0, close_fraction__lte=1), name="close_fraction_0_1"
            ),
            models.CheckConstraint(
                condition=Q(max_slippage_pips__isnull=True) | Q(max_slippage_pips__gte=0),
                name="signal_slippage_gte_0",
            ),
            models.CheckConstraint(
                condition=Q(action=Action.OPEN) | Q(refers_to__isnull=False),
                name="follower_refers",
            ),
            models.CheckConstraint(
                condition=Q(published_at__isnull=True) | Q(approval=Approval.APPROVED),
                name="published_is_approved",
            ),
            models.CheckConstraint(
                condition=~Q(order_type=OrderType.LIMIT) | Q(open_price__isnull=False),
                name="limit_has_price",
            ),
            models.CheckConstraint(
                condition=~Q(order_type=OrderType.STOP) | Q(stop_price__isnull=False),
                name="stop_has_price",
            ),
            models.CheckConstraint(
                condition=~Q(refers_to=F("id")) | Q(refers_to__isnull=True), name="not_itself"
            ),
        ]  # the sides of levels: a CHECK with ALL(array), in the migration
        indexes = [
            models.Index(fields=["feed", "-published_at"], name="signal_feed_published"),
            models.Index(fields=["refers_to"], name="signal_refers_to"),
            models.Index(
                fields=["feed", "currency_pair", "direction", "-published_at"],
                name="signal_opened_trades",
                condition=Q(action=Action.OPEN, published_at__isnull=False),
            ),
            models.Index(
                fields=["published_at"],
                name="signal_published_closes",
                condition=Q(action=Action.CLOSE, published_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        price = self.stop_price if self.order_type == OrderType.STOP else self.open_price
        at = f" {self.order_type.lower()}" + (f" {price.normalize():f}" if price else "")
        verb = "" if self.action == Action.OPEN else f"{self.action.title()} "
        return f"{verb}{self.direction.title()} {self.currency_pair}{at}"

    @property
    def slippage_unit(self) -> Unit:
        """The unit of the slippage limit."""
        return slippage_unit(self.currency_pair, self.max_slippage_unit)

    @property
    def number(self) -> str:
        """The signal's number for people: `S-2041`."""
        return f"S-{self.pk}"

    @property
    def is_published(self) -> bool:
        """Whether it is published."""
        return self.published_at is not None

    @property
    def entry_price(self) -> Decimal | None:
        """The price that stop and targets are compared with; None: any market price."""
        price: Decimal | None
        price = self.stop_price if self.order_type == OrderType.STOP else self.open_price
        return price

    @property
    def targets(self) -> list[tuple[Decimal, Decimal]]:
        """(price, fraction of the position) in the order in which they are taken."""
        return list(zip(self.target_prices, self.target_fractions, strict=True))

    @property
    def tp(self) -> Decimal | None:
        """The shorthand for a single target: its price."""
        return self.target_prices[0] if self.target_prices else None

    def is_past(self, now: datetime) -> bool:
        """Whether `valid_until` has passed at market time `now`."""
        return self.valid_until is not None and self.valid_until <= now
