"""The break-even and trailing rule of a position. `positions.models` exports it."""

from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp
from common.fields import AmountField, ChoiceField
from common.money import plain
from common.stop_rules import ATR, UNIT_CHOICES, describe_break_even, describe_trailing
from signals.symbols import rule_unit_word

DEFAULT_MIN_SECONDS = 5


class RuleOrigin(models.TextChoices):
    """Where a rule comes from."""

    NONE = "", "No rule"
    SIGNAL = "SIGNAL", "The signal"
    SUBSCRIPTION = "SUBSCRIPTION", "The subscription"
    PRESET = "PRESET", "The preset"
    OWNER = "OWNER", "Set by hand"


class StopRule(models.Model):
    """The rule that moves a position's stop: as it was when the position opened, or set by hand.

    Distances are in their units, all prices in quote currency. Times are machine time.
    """

    position = models.OneToOneField(
        "positions.ExecutionPosition", models.CASCADE, primary_key=True, related_name="stop_rule"
    )
    break_even_origin = ChoiceField(
        max_length=12, choices=RuleOrigin, blank=True, default="", db_default=""
    )
    break_even_target = models.SmallIntegerField(null=True)
    break_even_profit = AmountField(null=True)
    break_even_offset = AmountField(null=True)
    break_even_unit = ChoiceField(
        max_length=7, choices=UNIT_CHOICES, blank=True, default="", db_default=""
    )
    break_even_done = models.BooleanField(default=False, db_default=False)
    trailing_origin = ChoiceField(
        max_length=12, choices=RuleOrigin, blank=True, default="", db_default=""
    )
    trailing_distance = AmountField(null=True)
    trailing_step = AmountField(null=True)
    trailing_activation = AmountField(null=True)
    trailing_unit = ChoiceField(
        max_length=7, choices=UNIT_CHOICES, blank=True, default="", db_default=""
    )
    atr = AmountField(
        null=True,
        help_text="The average true range that counts, if a distance is in ATR; empty: not known.",
    )
    min_seconds = models.SmallIntegerField(
        default=DEFAULT_MIN_SECONDS,
        db_default=DEFAULT_MIN_SECONDS,
        help_text="Least time between two moves.",
    )
    known_stop = AmountField(null=True, help_text="The stop when the rule was judged last.")
    water_mark = AmountField(null=True, help_text="The best price that the rule has recorded.")
    water_mark_at = models.DateTimeField(null=True)
    resumes_beyond = AmountField(
        null=True,
        help_text="A person or a signal has set the stop; trailing goes on beyond this price.",
    )
    due_at = models.DateTimeField(
        null=True, help_text="When it is judged again without a new price."
    )
    moves = models.IntegerField(default=0, db_default=0)
    moved_at = models.DateTimeField(null=True)
    moved_by = models.CharField(max_length=10, blank=True, default="", db_default="")
    moved_from = AmountField(null=True)
    moved_to = AmountField(null=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(break_even_target__isnull=False)
                | Q(break_even_profit__isnull=False)
                | Q(trailing_distance__gt=0),
                name="stop_rule_has_effect",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"], name="stop_rule_due", condition=Q(due_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"rule of P-{self.position_id}"

    @property
    def break_even_text(self) -> str:
        """The break-even rule for people; empty: there is none."""
        return describe_break_even(
            self.break_even_target,
            self.break_even_profit,
            self.break_even_offset,
            self._word(self.break_even_unit),
        )

    @property
    def trailing_text(self) -> str:
        """The trailing rule for people; empty: there is none."""
        return describe_trailing(
            self.trailing_distance,
            self.trailing_step,
            self.trailing_activation,
            self._word(self.trailing_unit),
        )

    @property
    def waits_for_atr(self) -> bool:
        """Whether it does nothing yet, since there are too few prices for an ATR."""
        return self.atr is None and ATR in (self.break_even_unit, self.trailing_unit)

    @property
    def move_text(self) -> str:
        """What its last move was, for people; empty: it has not moved the stop."""
        if self.moved_at is None:
            return ""
        kind = "Break-even" if self.moved_by == "BREAK_EVEN" else "Trailing"
        before = plain(self.moved_from) or "none"
        return f"{kind} moved the stop from {before} to {plain(self.moved_to)}"

    def _word(self, unit: str) -> str:
        return rule_unit_word(self.position.pair, unit)
