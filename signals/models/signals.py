"""Signals, with their invariants as database constraints."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from common import units
from common.db.functions import ClockTimestamp
from common.db.row_faults import FieldConstraints
from common.fields import AmountField, ChoiceField
from common.stop_rules import StopRuleFields, describe_stop_rule, stop_rule_checks
from common.units import Unit
from signals.models.choices import (
    AT_MARKET_FROM_STOP,
    ATR_CHOICES,
    ATR_MINUTES,
    LIMITED,
    TRAIL_FIELDS,
    TRIGGERED,
    Action,
    AfterState,
    Approval,
    Direction,
    OrderType,
    Origin,
    RiskCategory,
    TimeInForce,
    exit_condition_text,
)
from signals.models.feeds import Feed
from signals.slicing import SLICING_CONSTRAINTS, SlicedEntry
from signals.symbols import rule_unit_word, slippage_unit


def _has_one_trail() -> Q:
    """Return the condition that a trailing stop has one distance, and other types have none."""
    is_trailing = Q(order_type=OrderType.TRAILING_STOP)
    none = Q(activation_price__isnull=True)
    one = Q()
    for name in TRAIL_FIELDS:
        others = {f"{other}__isnull": True for other in TRAIL_FIELDS if other != name}
        highest = Q(trail_percent__lt=100) if name == "trail_percent" else Q()
        given = Q(**{f"{name}__isnull": False, f"{name}__gt": 0, **others}) & highest
        one |= is_trailing & given
        none &= Q(**{f"{name}__isnull": True})
    return one | (~is_trailing & none)


class SignalQuerySet(models.QuerySet["Signal"]):
    """Queries for signals."""

    def published(self) -> Self:
        return self.filter(published_at__isnull=False)

    def waiting(self) -> Self:
        """Approved, not published, not cancelled."""
        return self.filter(
            approval=Approval.APPROVED, published_at__isnull=True, cancelled_at__isnull=True
        )


class Signal(FieldConstraints, StopRuleFields, SlicedEntry):
    """An instruction to OPEN, MODIFY or CLOSE. Prices in quote currency, times in market time."""

    feed = models.ForeignKey(Feed, models.PROTECT, related_name="signals", db_index=False)
    action = ChoiceField(max_length=6, choices=Action, default=Action.OPEN)
    refers_to = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="followers", db_index=False
    )
    currency_pair = models.CharField(max_length=20, help_text="Canonical, for example EUR/USD.")
    direction = ChoiceField(max_length=4, choices=Direction)
    order_type = ChoiceField(max_length=16, choices=OrderType, default=OrderType.MARKET)
    open_price = AmountField(
        null=True, blank=True, help_text="Limit price; for market orders the provider's price."
    )
    stop_price = AmountField(
        null=True, blank=True, help_text="Trigger of a stop, stop-limit or if-touched order."
    )
    trail_distance = AmountField(
        null=True, blank=True, help_text="How far a trailing stop follows, in quote currency."
    )
    trail_pips = AmountField(null=True, blank=True, help_text="The same in pips.")
    trail_percent = AmountField(
        null=True, blank=True, help_text="The same in percent of the price from which it follows."
    )
    trail_atr = AmountField(
        "trail ATR", null=True, blank=True,
        help_text="The same in average true ranges (ATR) of the last 14 candles.",
    )  # fmt: skip
    trail_atr_minutes = models.SmallIntegerField(
        "trail ATR minutes", null=True, blank=True,
        choices=ATR_CHOICES,
        help_text="Length of these candles. Empty: an hour.",
    )  # fmt: skip
    activation_price = AmountField(
        null=True, blank=True,
        help_text="A trailing stop follows from when the market is here; empty: at once.",
    )  # fmt: skip
    not_before = models.DateTimeField(
        null=True, blank=True, help_text="The entry works from this time on; empty: at once."
    )
    after_signal = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="+", db_index=False,
        help_text="The entry works on an account once that has done with this signal what is next.",
    )  # fmt: skip
    after_state = ChoiceField(
        max_length=16, choices=AfterState, blank=True, default="", db_default="",
        help_text="What must have become of that signal on the account.",
    )  # fmt: skip
    close_at = models.DateTimeField(
        null=True, blank=True,
        help_text="The position is closed at this time; an entry that still works then ends.",
    )  # fmt: skip
    close_after_seconds = models.IntegerField(
        null=True, blank=True, help_text="The position is closed so long after its first fill."
    )
    close_when_signal = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="+", db_index=False,
        help_text="The position is closed on an account once that has done with this signal what is"
        " next; an entry that still works then ends.",
    )  # fmt: skip
    close_when_state = ChoiceField(
        max_length=16, choices=AfterState, blank=True, default="", db_default="",
        help_text="What must have become of that signal on the account.",
    )  # fmt: skip
    sl = AmountField("stop loss", null=True, blank=True)
    target_prices = ArrayField(AmountField(), default=list, blank=True)
    target_fractions = ArrayField(AmountField(), default=list, blank=True)
    is_reversal = models.BooleanField(
        default=False, db_default=False,
        help_text="CLOSE: its sender opens the other side with it.",
    )  # fmt: skip
    close_fraction = AmountField(
        default=Decimal(1), help_text="CLOSE: the share of what is open, 1 = all."
    )
    time_in_force = ChoiceField(max_length=3, choices=TimeInForce, default=TimeInForce.GTC)
    valid_until = models.DateTimeField(null=True, blank=True)
    max_slippage_pips = AmountField("max slippage", null=True, blank=True, help_text="In its unit.")
    max_slippage_unit = ChoiceField(
        max_length=7, choices=units.CHOICES, blank=True, default="", db_default="",
        help_text="Empty: pips of currencies and metals, basis points (0.01 %) of all else.",
    )  # fmt: skip
    max_spread = AmountField(
        null=True, blank=True,
        help_text="In its unit. Accounts whose prices have a larger spread do not enter.",
    )  # fmt: skip
    max_spread_unit = ChoiceField(
        max_length=7, choices=units.CHOICES, blank=True, default="", db_default="",
        help_text="Empty: pips of currencies and metals, basis points (0.01 %) of all else.",
    )  # fmt: skip
    strategy_id = models.CharField(max_length=64, blank=True)
    trade_plan_id = models.CharField(max_length=64, blank=True)
    risk_category = ChoiceField(max_length=6, choices=RiskCategory, default=RiskCategory.NORMAL)
    provider_quantity = AmountField(null=True, blank=True, help_text="Base units.")
    provider_equity = AmountField(null=True, blank=True, help_text="In the provider's currency.")
    provider_currency = models.CharField(
        max_length=10, blank=True, default="", db_default="",
        help_text="The currency of the provider's equity, for example USD.",
    )  # fmt: skip
    external_id = models.CharField(max_length=100, null=True, blank=True)  # NULL: has none
    content_hash = models.CharField(max_length=64, blank=True)
    origin = ChoiceField(max_length=5, choices=Origin, default=Origin.HAND)
    oco_group = models.UUIDField(
        null=True, blank=True, editable=False,
        help_text="Shared by the two legs of an OCO pair: one cancels the other.",
    )  # fmt: skip
    note = models.CharField(max_length=500, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    approval = ChoiceField(max_length=8, choices=Approval, default=Approval.PENDING)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    approved_at = models.DateTimeField(null=True, blank=True)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    published_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(
        null=True, editable=False, help_text="When it was sent, by its sender's clock."
    )
    market_bid = AmountField(null=True, editable=False)
    market_ask = AmountField(null=True, editable=False)
    market_at = models.DateTimeField(
        null=True, editable=False,
        help_text="Of the newest quote when it was published, market clock.",
    )  # fmt: skip
    market_source = models.BigIntegerField(
        null=True, editable=False, help_text="The price source of that quote."
    )
    marks = ArrayField(
        models.CharField(max_length=20), default=list, db_default=[], editable=False,
        help_text="What its publication came too late for; docs/records.md.",
    )  # fmt: skip
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
                condition=Q(max_spread__isnull=True) | Q(max_spread__gte=0),
                name="signal_spread_gte_0",
                violation_error_message="Max spread is 0 or more, or empty.",
            ),
            models.CheckConstraint(
                condition=(Q(provider_quantity__isnull=True) | Q(provider_quantity__gt=0))
                & (Q(provider_equity__isnull=True) | Q(provider_equity__gt=0)),
                name="provider_figures_gt_0",
                violation_error_message="The provider's quantity and equity are above 0, or empty.",
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
                condition=~Q(order_type__in=LIMITED) | Q(open_price__isnull=False),
                name="limit_has_price",
            ),
            models.CheckConstraint(
                condition=~Q(order_type__in=TRIGGERED) | Q(stop_price__isnull=False),
                name="stop_has_price",
            ),
            models.CheckConstraint(  # `levels_on_the_right_side` compares it with the limit
                condition=~Q(order_type=OrderType.STOP_LIMIT)
                | Q(sl__isnull=True)
                | Q(direction=Direction.BUY, sl__lt=F("stop_price"))
                | Q(direction=Direction.SELL, sl__gt=F("stop_price")),
                name="sl_behind_trigger",
            ),
            models.CheckConstraint(
                condition=~Q(time_in_force=TimeInForce.GTD) | Q(valid_until__isnull=False),
                name="gtd_has_end",
            ),
            models.CheckConstraint(
                condition=_has_one_trail(),
                name="trailing_has_one_distance",
                violation_error_message="A trailing stop, and no other order, has one distance.",
            ),
            models.CheckConstraint(
                condition=Q(trail_atr_minutes__isnull=True)
                | Q(trail_atr__isnull=False, trail_atr_minutes__in=ATR_MINUTES),
                name="trail_atr_minutes_of_atr",
            ),
            models.CheckConstraint(
                condition=Q(activation_price__isnull=True) | Q(activation_price__gt=0),
                name="activation_price_gt_0",
            ),
            models.CheckConstraint(
                condition=~Q(refers_to=F("id")) | Q(refers_to__isnull=True), name="not_itself"
            ),
            models.CheckConstraint(
                condition=Q(oco_group__isnull=True)
                | Q(action=Action.OPEN, execution_style="") & ~Q(order_type=OrderType.MARKET),
                name="oco_leg_is_held",
            ),
            models.CheckConstraint(
                condition=Q(not_before__isnull=True, after_signal__isnull=True, after_state="")
                | Q(action=Action.OPEN, oco_group__isnull=True)
                & (
                    Q(after_signal__isnull=True, after_state="")
                    | Q(after_signal__isnull=False, after_state__in=AfterState.values)
                ),
                name="condition_of_entry",
                violation_error_message="A condition has a signal and a state, and is an entry's.",
            ),
            models.CheckConstraint(
                condition=(Q(close_at__isnull=True) | ~Q(action=Action.CLOSE))
                & (
                    Q(close_after_seconds__isnull=True)
                    | Q(action=Action.OPEN, close_after_seconds__gt=0)
                ),
                name="time_exit_of_entry",
                violation_error_message="Close after seconds is above 0 and of an entry.",
            ),
            models.CheckConstraint(
                condition=Q(close_when_signal__isnull=True, close_when_state="")
                | ~Q(action=Action.CLOSE)
                & Q(close_when_signal__isnull=False, close_when_state__in=AfterState.values),
                name="exit_condition_is_whole",
                violation_error_message="A condition of the exit has a signal and a state.",
            ),
            *stop_rule_checks("signal"),
            *SLICING_CONSTRAINTS,
        ]  # the sides of levels: a CHECK with ALL(array), in the migration
        indexes = [
            models.Index(fields=["feed", "-published_at"], name="signal_feed_published"),
            models.Index(fields=["feed", "-id"], name="signal_of_feed"),
            models.Index(fields=["refers_to"], name="signal_refers_to"),
            models.Index(
                fields=["oco_group"], name="signal_oco", condition=Q(oco_group__isnull=False)
            ),
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
        price = self.entry_price
        at = f" {self.order_type.lower()}" + (f" {price.normalize():f}" if price else "")
        if self.order_type == OrderType.STOP_LIMIT and self.stop_price and price:
            at = f" stop {self.stop_price.normalize():f} limit {price.normalize():f}"
        if self.order_type == OrderType.TRAILING_STOP:
            at = f" trailing stop {self.trail}"
        verb = "" if self.action == Action.OPEN else f"{self.action.title()} "
        return f"{verb}{self.direction.title()} {self.currency_pair}{at}"

    @property
    def slippage_unit(self) -> Unit:
        """The unit of the slippage limit."""
        return slippage_unit(self.currency_pair, self.max_slippage_unit)

    @property
    def spread_unit(self) -> Unit:
        """The unit of the spread limit."""
        return slippage_unit(self.currency_pair, self.max_spread_unit)

    @property
    def stop_rule_text(self) -> str:
        """Its break-even and trailing rule for people; empty: it has none."""
        unit = self.stop_rule_unit
        return describe_stop_rule(self, rule_unit_word(self.currency_pair, unit))

    @property
    def number(self) -> str:
        """The signal's number for people: `S-2041`."""
        return f"S-{self.pk}"

    @property
    def has_condition(self) -> bool:
        """Whether its entries wait for a time or another signal before they work."""
        return self.not_before is not None or self.after_signal_id is not None

    @property
    def exit_condition_text(self) -> str:
        """What closes its positions besides levels and times, for people; empty: nothing does."""
        return exit_condition_text(self.close_when_signal_id, self.close_when_state)

    @property
    def time_exit_text(self) -> str:
        """When its positions are closed by time, for people; empty: they are not."""
        parts = [f"at {self.close_at:%Y-%m-%d %H:%M:%S} UTC"] if self.close_at else []
        if self.close_after_seconds:
            parts.append(f"{self.close_after_seconds} s after the first fill")
        return ", or ".join(parts)

    @property
    def condition_text(self) -> str:
        """What its entries wait for before they work, for people; empty: for nothing."""
        parts = [f"not before {self.not_before:%Y-%m-%d %H:%M:%S} UTC"] if self.not_before else []
        if self.after_signal_id is not None:
            state = AfterState(self.after_state).label.lower()
            parts.append(f"after S-{self.after_signal_id}: {state}")
        return ", ".join(parts)

    @property
    def other_leg(self) -> Signal | None:
        """The other leg of its OCO pair; None: it is not of one."""
        if self.oco_group is None:
            return None
        return Signal.objects.filter(oco_group=self.oco_group).exclude(pk=self.pk).first()

    @property
    def is_published(self) -> bool:
        return self.published_at is not None

    @property
    def entry_price(self) -> Decimal | None:
        """The price that stop and targets are compared with; None: any market price."""
        price: Decimal | None
        is_stop = self.order_type in AT_MARKET_FROM_STOP
        price = self.stop_price if is_stop else self.open_price
        return price

    @property
    def trail(self) -> str:
        """How far a trailing stop follows, with its unit; empty for other types."""
        units_of = {
            "trail_distance": "", "trail_pips": " pips", "trail_percent": " %", "trail_atr": " ATR",
        }  # fmt: skip
        values = ((getattr(self, name), unit) for name, unit in units_of.items())
        return next((f"{value.normalize():f}{unit}" for value, unit in values if value), "")

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
