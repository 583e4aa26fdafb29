"""Loss limits of presets and subscriptions, and the pauses that they cause."""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from common.db.row_faults import FieldConstraints
from common.fields import AmountField, ChoiceField
from common.money import plain
from connections.models.accounts import ExecutionConnection
from connections.models.presets import TradingPreset
from connections.models.subscriptions import Subscription


class LossWindow(models.TextChoices):
    """The time in which a loss counts. Those without "to date" roll, by full hours."""

    DAY = "DAY", "the last 24 hours"
    DATE = "DATE", "the trading day"
    WEEK = "WEEK", "the last 7 days"
    WEEK_TO_DATE = "WEEK_TO_DATE", "the week to date"
    MONTH = "MONTH", "the last 30 days"
    MONTH_TO_DATE = "MONTH_TO_DATE", "the month to date"
    QUARTER = "QUARTER", "the last 91 days"
    QUARTER_TO_DATE = "QUARTER_TO_DATE", "the quarter to date"
    YEAR = "YEAR", "the last 365 days"
    YEAR_TO_DATE = "YEAR_TO_DATE", "the year to date"
    LIFETIME = "LIFETIME", "all time"


class LossMeasure(models.TextChoices):
    """What is compared with the maximum."""

    BALANCE = "BALANCE", "Fall of the balance"
    BALANCE_TO_EQUITY = "BALANCE_TO_EQUITY", "Fall from balance to equity"
    EQUITY = "EQUITY", "Fall of the equity"
    REALIZED_LOSS = "REALIZED_LOSS", "Loss of closed trades"
    LOSING_STREAK = "LOSING_STREAK", "Losing trades in a row"


class LossBasis(models.TextChoices):
    """The value of the window from which balance or equity falls."""

    OPENING = "OPENING", "its first value"
    PEAK = "PEAK", "its highest value"


class LossUnit(models.TextChoices):
    """The unit of a loss limit's maximum."""

    AMOUNT = "AMOUNT", "Account currency"
    PERCENT = "PERCENT", "Percent"
    TRADES = "TRADES", "Trades"


class LossAction(models.TextChoices):
    """What happens when a loss limit is reached."""

    PAUSE = "PAUSE", "Pause entries"
    PAUSE_AND_CLOSE = "PAUSE_AND_CLOSE", "Pause entries and close all positions"


class ResumeRule(models.TextChoices):
    """When entries resume."""

    NEXT_WINDOW = "NEXT_WINDOW", "When the window ends"
    BY_HAND = "BY_HAND", "By hand"


class LossLimitQuerySet(models.QuerySet["LossLimit"]):
    """Queries for loss limits."""

    def owned_by(self, user_id: int | None) -> Self:
        """Limits of a user's presets and of subscriptions that have not ended, without the copies
        of paper twins; None: of the operators' shared presets."""
        of_preset = Q(preset__in=TradingPreset.objects.filter(user=user_id))
        if user_id is None:
            return self.filter(of_preset)
        accounts = ExecutionConnection.objects.owned_by(user_id)
        live = Subscription.objects.filter(connection__in=accounts, archived_at=None, twin_of=None)
        return self.filter(of_preset | Q(subscription__in=live))


class LossLimit(FieldConstraints, models.Model):
    """A loss at which the entries of an account, or of one subscription, are paused.

    A preset's limit applies to each account with that preset. A subscription's limit pauses only
    the entries of its feed; of its own trades it counts only those of that feed.
    """

    CONSTRAINT_FIELDS = {
        "loss_limit_has_one_owner": "subscription",
        "loss_limit_maximum_range": "maximum",
        "loss_limit_unit_of_measure": "unit",
        "loss_limit_peak_of_balance_or_equity": "basis",
        "loss_limit_of_all_time_by_hand": "resume",
        "one_loss_limit_of_preset": "measure",
        "one_loss_limit_of_subscription": "measure",
    }

    preset = models.ForeignKey(
        TradingPreset, models.CASCADE, null=True, blank=True, related_name="loss_limits"
    )
    subscription = models.ForeignKey(
        Subscription, models.CASCADE, null=True, blank=True, related_name="loss_limits"
    )
    window = ChoiceField(max_length=15, choices=LossWindow, default=LossWindow.DATE)
    measure = ChoiceField(max_length=17, choices=LossMeasure, default=LossMeasure.EQUITY)
    basis = ChoiceField(
        "from", max_length=7, choices=LossBasis, default=LossBasis.OPENING, db_default="OPENING"
    )
    maximum = AmountField(help_text="The limit is reached at this value.")
    unit = ChoiceField(max_length=7, choices=LossUnit, default=LossUnit.PERCENT)
    action = ChoiceField(
        max_length=15, choices=LossAction, default=LossAction.PAUSE, db_default="PAUSE"
    )
    resume = ChoiceField(
        max_length=11, choices=ResumeRule, default=ResumeRule.NEXT_WINDOW, db_default="NEXT_WINDOW"
    )
    started_at = models.DateTimeField(
        null=True, blank=True,
        help_text="Market time; earlier losses and peaks do not count. Empty: all count.",
    )  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)

    objects = LossLimitQuerySet.as_manager()

    class Meta:
        ordering = ("id",)
        constraints = [
            models.CheckConstraint(
                condition=Q(preset__isnull=False, subscription__isnull=True)
                | Q(preset__isnull=True, subscription__isnull=False),
                name="loss_limit_has_one_owner",
                violation_error_message="Set the preset or the subscription, not both.",
            ),
            models.CheckConstraint(
                condition=Q(maximum__gt=0) & (~Q(unit="PERCENT") | Q(maximum__lte=100)),
                name="loss_limit_maximum_range",
                violation_error_message="Maximum is above 0, and at most 100 percent.",
            ),
            models.CheckConstraint(
                condition=Q(measure="LOSING_STREAK", unit="TRADES")
                | (~Q(measure="LOSING_STREAK") & ~Q(unit="TRADES")),
                name="loss_limit_unit_of_measure",
                violation_error_message=(
                    "Losing trades in a row have the unit trades; other measures have the account "
                    "currency or percent."
                ),
            ),
            models.CheckConstraint(
                condition=Q(basis="OPENING")
                | Q(measure__in=("BALANCE", "BALANCE_TO_EQUITY", "EQUITY")),
                name="loss_limit_peak_of_balance_or_equity",
                violation_error_message="Only balance and equity have a peak.",
            ),
            models.CheckConstraint(
                condition=~Q(window="LIFETIME") | Q(resume="BY_HAND"),
                name="loss_limit_of_all_time_by_hand",
                violation_error_message="A limit for all time ends no pause: resume by hand.",
            ),
            models.UniqueConstraint(
                fields=["preset", "window", "measure", "basis"],
                condition=Q(preset__isnull=False),
                name="one_loss_limit_of_preset",
                violation_error_message="The preset has a limit of this window and measure.",
            ),
            models.UniqueConstraint(
                fields=["subscription", "window", "measure", "basis"],
                condition=Q(subscription__isnull=False),
                name="one_loss_limit_of_subscription",
                violation_error_message="The subscription has a limit of this window and measure.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise ValidationError if a subscription's limit is looser than its preset's."""
        of_preset = self._of_preset()
        if of_preset is None or self.maximum is None:
            return
        stated = f"{plain(of_preset.maximum)} ({LossUnit(of_preset.unit).label.lower()})"
        if self.unit != of_preset.unit:
            raise ValidationError({"unit": f"The preset's limit is {stated}: use the same unit."})
        if self.maximum > of_preset.maximum:
            detail = f"The preset's limit is {stated}: a subscription's may only be tighter."
            raise ValidationError({"maximum": detail})

    def _of_preset(self) -> LossLimit | None:
        """The limit of the account's preset with the same window and measure, if there is one."""
        if self.subscription is None:
            return None
        preset_id = self.subscription.connection.preset_id
        same = {"window": self.window, "measure": self.measure, "basis": self.basis}
        return LossLimit.objects.filter(preset=preset_id, preset__isnull=False, **same).first()

    @property
    def owner_id(self) -> int | None:
        """The id of the user whose preset or subscription it limits; None: the operators'."""
        if self.subscription is not None:
            return self.subscription.connection.owner_id
        return self.preset.user_id if self.preset is not None else None

    @property
    def name(self) -> str:
        """What it limits: `Fall of the equity from its first value in the trading day`."""
        within = LossWindow(self.window).label
        if self.measure in (LossMeasure.REALIZED_LOSS, LossMeasure.LOSING_STREAK):
            return f"{LossMeasure(self.measure).label} in {within}"
        return f"{LossMeasure(self.measure).label} from {LossBasis(self.basis).label} in {within}"

    @property
    def sentence(self) -> str:
        """What it limits, at which value, and what it does then, for people."""
        unit = {LossUnit.PERCENT: "%", LossUnit.TRADES: "trades"}.get(
            LossUnit(self.unit), "in the account’s currency"
        )
        then = LossAction(self.action).label.lower()
        return f"{self.name}: at {plain(self.maximum)} {unit}, {then}"


class TradingPause(models.Model):
    """A pause of entries because a loss limit was reached. Exits go on. Times are market time.

    value, maximum: in the unit. until: when it ends by rule; empty: by hand only.
    """

    connection = models.ForeignKey(
        ExecutionConnection, models.CASCADE, related_name="trading_pauses", db_index=False
    )
    subscription = models.ForeignKey(
        Subscription, models.CASCADE, null=True, blank=True, related_name="trading_pauses",
        help_text="Empty: all entries of the account.",
    )  # fmt: skip
    limit = models.ForeignKey(LossLimit, models.SET_NULL, null=True, related_name="pauses")
    code = models.CharField(max_length=64)
    name = models.CharField(max_length=200, help_text="What was limited.")
    value = AmountField()
    maximum = AmountField()
    unit = ChoiceField(max_length=7, choices=LossUnit)
    detail = models.CharField(max_length=300)
    action = ChoiceField(max_length=15, choices=LossAction)
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    is_resumed_by_hand = models.BooleanField(default=False, db_default=False)

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "limit"],
                condition=Q(ended_at__isnull=True),
                name="one_pause_a_limit",
            ),
        ]
        indexes = [
            models.Index(fields=["connection", "ended_at"], name="pause_of_connection"),
            models.Index(fields=["until"], name="pause_due", condition=Q(ended_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.detail
