"""What callers send to change, cancel and close, and what an action reaches."""

from collections.abc import Collection
from decimal import Decimal
from typing import Any

from rest_framework import serializers

from api.trading.order_changes import LEVELS, TERMS, apply_change
from api.trading.scopes import scope_errors
from common.db.trials import trial_errors
from common.reason_codes import Code
from common.stop_rules import OFFSET_UNITS, UNIT_CHOICES
from common.web.api_fields import (
    Amount,
    StrictSerializer,
    UtcDateTime,
    WholeNumber,
    error_details,
    invalid,
)
from execution.changes.position_levels import level_errors
from execution.changes.position_trailing import trailing_errors
from execution.models import Status
from positions.owner_rules import Trailing


class ChangeOrderSerializer(StrictSerializer):
    """New price, quantity or levels of an entry that has not filled; or new levels of the position
    that the order opened (null: no level); or the status CANCELLED.
    """

    quantity = Amount(
        required=False, positive=True, help_text="Base units, all of it: what has filled included."
    )
    limit_price = Amount(required=False, positive=True)
    stop_price = Amount(required=False, positive=True, help_text="At which it is triggered.")
    stop_loss = Amount(
        required=False, allow_null=True, positive=True,
        help_text="Of the open position, or of that which the entry will open. null: no stop; only"
        " of an open position.",
    )  # fmt: skip
    take_profit = Amount(
        required=False, allow_null=True, positive=True,
        help_text="The next target, as for the stop. Several targets: the later ones stay.",
    )  # fmt: skip
    valid_until = UtcDateTime(
        required=False,
        help_text="When the entry ends, if it has not filled by then. One that its broker ends"
        " (GTD) cannot be prolonged there.",
    )
    status = serializers.ChoiceField(choices=[Status.CANCELLED.value], required=False)

    def faults_together(self, values: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
        """Return what the order cannot be changed to."""
        order, by = self.context["order"], self.context["request"].user
        kept = {name: value for name, value in values.items() if name in TERMS | LEVELS}
        errors = trial_errors(lambda: apply_change(order, kept, by=by)) if kept else []
        return error_details(errors, failed)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raise ValidationError for an empty request, or a cancellation with other changes."""
        if attrs and any(attrs.keys() <= kind for kind in (TERMS | LEVELS, {"status"})):
            return attrs
        detail = "Send a price, quantity, levels or valid_until; or status CANCELLED alone."
        raise serializers.ValidationError(detail)


class ChangePositionSerializer(StrictSerializer):
    """New levels of a position. null: no level."""

    stop_loss = Amount(required=False, allow_null=True, positive=True)
    take_profit = Amount(required=False, allow_null=True, positive=True)

    def faults_together(self, values: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
        """Return which levels the position cannot have."""
        levels = dict.fromkeys(LEVELS & set(failed)) | values  # as if there were none
        return error_details(level_errors(self.context["position"], levels), failed)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raise ValidationError for an empty request."""
        if not attrs:
            raise serializers.ValidationError("Send stop_loss, take_profit or both.")
        return attrs


class CloseSerializer(StrictSerializer):
    """How much to close: a fraction of the opened quantity, or a quantity; neither: all of it."""

    fraction = Amount(required=False, positive=True, help_text="Above 0, at most 1 (all).")
    quantity = Amount(
        required=False, positive=True,
        help_text="Base units, in place of a fraction; floored to the broker's step. All of it if"
        " what it would leave is below the broker's smallest quantity.",
    )  # fmt: skip

    def validate_fraction(self, value: Decimal) -> Decimal:
        """Return the fraction. Raises ValidationError if it is above 1."""
        if value > 1:
            raise invalid(Code.FIELD_INVALID, "The fraction must be above 0 and at most 1.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raise ValidationError for both at once."""
        if len(attrs) > 1:
            raise serializers.ValidationError("Send a fraction or a quantity, not both.")
        return attrs


class BreakEvenSerializer(StrictSerializer):
    """Where the stop goes: the entry price, or beyond it on the side of the profit."""

    offset = Amount(
        required=False, default=Decimal(0), help_text="How far beyond the entry price; 0 or more."
    )
    unit = serializers.ChoiceField(
        choices=OFFSET_UNITS, required=False, default="",
        help_text="Of the offset. Empty: pips for currencies and metals, basis points for the"
        " rest.",
    )  # fmt: skip

    def validate_offset(self, value: Decimal) -> Decimal:
        """Return the offset. Raises ValidationError if it is below 0."""
        if value < 0:
            raise invalid(Code.FIELD_INVALID, "The offset must be 0 or more.")
        return value


class TrailingSerializer(StrictSerializer):
    """How the stop trails from now on. Distances are in one unit."""

    distance = Amount(positive=True, help_text="How far it follows behind the best price.")
    step = Amount(
        required=False, allow_null=True, positive=True,
        help_text="The least move. Empty: one pip.",
    )  # fmt: skip
    activation = Amount(
        required=False, allow_null=True, help_text="The profit from which it trails."
    )
    unit = serializers.ChoiceField(
        choices=UNIT_CHOICES, required=False, default="",
        help_text="Empty: pips for currencies and metals, basis points for the rest.",
    )  # fmt: skip

    def faults_together(self, values: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
        """Return what is wrong with the values that could be read."""
        if "distance" not in values:
            return {}
        return error_details(trailing_errors(Trailing(**values)), failed)


class ManySerializer(StrictSerializer):
    """Which ones: those that fit all that you send. Operators must send a choice, or `all`."""

    connection = serializers.UUIDField(required=False)
    signal = WholeNumber(required=False, min_value=1)
    feed = serializers.CharField(required=False, max_length=50, help_text="Its slug.")
    symbol = serializers.CharField(
        required=False, max_length=40, help_text="Written as in a signal, such as EURUSD."
    )
    broker_type = serializers.CharField(
        required=False, max_length=20, help_text="Of the accounts, such as `mt5`."
    )
    user = WholeNumber(required=False, min_value=1, help_text="The accounts' owner.")
    all = serializers.BooleanField(required=False, default=False)
    dry_run = serializers.BooleanField(
        required=False, default=False,
        help_text="Change nothing; return the orders or positions that it would reach now.",
    )  # fmt: skip

    def faults_together(self, values: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
        """Return which of the names are unknown."""
        return error_details(scope_errors(values, self.context["request"].user), failed)


class HaltImpactSerializer(serializers.Serializer[Any]):
    """What is live now and would be touched, of the accounts that you may see."""

    waiting = serializers.IntegerField(help_text="Entries that were not sent.")
    held = serializers.IntegerField(
        help_text="Of these, those that wait for a trigger or a condition."
    )
    slices = serializers.IntegerField(
        help_text="Of these, later slices of entries that have begun."
    )
    working = serializers.IntegerField(help_text="Entries that were sent and have not ended.")
    exits = serializers.IntegerField(help_text="Exit orders that have not ended.")
    positions = serializers.IntegerField(help_text="Open positions.")
    open_amounts = serializers.DictField(
        child=Amount(), help_text="Open positions at their entry price, by account currency."
    )
    working_amounts = serializers.DictField(
        child=Amount(), help_text="What the working entries may still fill, by account currency."
    )
    queued_amounts = serializers.DictField(
        child=Amount(),
        help_text="The entries that are next to be sent and have a size, by account currency. Most"
        " get theirs right before they are sent.",
    )
    held_amounts = serializers.DictField(
        child=Amount(),
        help_text="Those that wait for a trigger or a condition and have a size, likewise.",
    )
    slice_amounts = serializers.DictField(child=Amount(), help_text="The later slices, likewise.")


class ManyDoneSerializer(StrictSerializer):
    """What was requested. Orders and positions that had ended meanwhile are left out.

    ids: of the orders that are cancelled, or of the exit orders that close; with `dry_run` of what
    it would reach: orders or positions. count: orders that are cancelled or positions that are
    closed, which may have several exit orders each; with `dry_run` as many as would be.
    """

    not_always = ("impact",)
    ids = serializers.ListField(child=serializers.IntegerField(), read_only=True)
    count = serializers.IntegerField(read_only=True)
    dry_run = serializers.BooleanField(read_only=True)
    impact = HaltImpactSerializer(
        read_only=True,
        required=False,
        help_text="With `dry_run`: all that is live there, also what is ending already.",
    )
