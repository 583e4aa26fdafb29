"""What callers send: new signals, OCO pairs, and which trades to close."""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from rest_framework import serializers

from common.stop_rules import MAX_TARGET, UNIT_CHOICES
from common.units import CHOICES
from common.web.api_fields import Amount, StrictSerializer, UtcDateTime, error_details
from signals.models import (
    ATR_CHOICES,
    Action,
    AfterState,
    Direction,
    OrderType,
    RiskCategory,
    TimeInForce,
)
from signals.publishing.closing import LONGEST_EXTERNAL_ID, TradeSelection, selection_errors
from signals.publishing.oco import LONGEST_EXTERNAL_ID as LONGEST_PAIR_ID
from signals.reading.intake import MAX_VALIDITY_SECONDS
from signals.serializers.signals import TargetSerializer
from signals.slicing import MAX_SLICES, MAX_VARIATION, MIN_SLICES, AtEnd, CatchUp, ExecutionStyle


class NewSignalSerializer(StrictSerializer):
    """A signal to send; alerts and files have the same fields."""

    feed = serializers.SlugField(help_text="The feed's slug.")
    action = serializers.ChoiceField(choices=Action.choices, default=Action.OPEN)
    symbol = serializers.CharField(
        required=False, help_text="EUR/USD, EURUSD, FX:EURUSD, NASDAQ:AAPL. Required to OPEN."
    )
    direction = serializers.ChoiceField(
        choices=Direction.choices, required=False, help_text="Required to OPEN."
    )
    order_type = serializers.ChoiceField(choices=OrderType.choices, default=OrderType.MARKET)
    open_price = Amount(
        required=False, allow_null=True, help_text="A limit order's price; MODIFY: its new one."
    )
    stop_price = Amount(
        required=False,
        allow_null=True,
        help_text="Trigger of a stop, stop-limit or if-touched order.",
    )
    trail_distance = Amount(
        required=False, allow_null=True,
        help_text="TRAILING_STOP: how far it follows, in quote currency. Send one of the four.",
    )  # fmt: skip
    trail_pips = Amount(required=False, allow_null=True, help_text="The same in pips.")
    trail_percent = Amount(
        required=False, allow_null=True,
        help_text="The same in percent of the price from which it follows; below 100.",
    )  # fmt: skip
    trail_atr = Amount(
        required=False, allow_null=True,
        help_text="The same in average true ranges (ATR) of the last 14 candles.",
    )  # fmt: skip
    trail_atr_minutes = serializers.ChoiceField(
        choices=ATR_CHOICES, required=False, allow_null=True,
        help_text="Length of these candles. Left out: 60.",
    )  # fmt: skip
    activation_price = Amount(
        required=False, allow_null=True,
        help_text="TRAILING_STOP: it follows from when the market is here. Left out: at once.",
    )  # fmt: skip
    not_before = UtcDateTime(
        required=False, allow_null=True, help_text="The entry works from this time on."
    )
    after_signal = serializers.IntegerField(
        required=False, allow_null=True,
        help_text="Id of an OPEN signal of the feed: the entry works on an account once that signal"
        " has there become what `after_state` states, and ends if it cannot any more.",
    )  # fmt: skip
    after_signal_external_id = serializers.CharField(
        required=False, help_text="That signal by its sender's id, instead of after_signal."
    )
    after_state = serializers.ChoiceField(
        choices=AfterState.choices, required=False, help_text="Required with a signal."
    )
    close_at = UtcDateTime(
        required=False, allow_null=True,
        help_text="The position is closed then; an entry that still works ends. MODIFY changes it.",
    )  # fmt: skip
    close_after_seconds = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=MAX_VALIDITY_SECONDS,
        help_text="The position is closed so long after its first fill. With both: the earlier.",
    )  # fmt: skip
    close_when_signal = serializers.IntegerField(
        required=False, allow_null=True,
        help_text="Id of another OPEN signal of the feed: the position is closed on an account once"
        " that signal has there become what `close_when_state` states. MODIFY sets it, too.",
    )  # fmt: skip
    close_when_signal_external_id = serializers.CharField(
        required=False, help_text="That signal by its sender's id, instead of close_when_signal."
    )
    close_when_state = serializers.ChoiceField(
        choices=AfterState.choices, required=False,
        help_text="Required with close_when_signal; as `after_state`.",
    )  # fmt: skip
    sl = Amount(required=False, allow_null=True, help_text="Stop loss.")
    tp = Amount(required=False, allow_null=True, help_text="Shorthand for a single target.")
    targets = TargetSerializer(many=True, required=False, help_text="At most 10.")
    close_fraction = Amount(required=False, help_text="CLOSE: the share of what is open.")
    time_in_force = serializers.ChoiceField(choices=TimeInForce.choices, default=TimeInForce.GTC)
    valid_until = UtcDateTime(
        required=False, allow_null=True,
        help_text="Nothing is sent later, and an entry that still works ends. A MODIFY sets another"
        " time for entries that have not filled.",
    )  # fmt: skip
    valid_for = serializers.IntegerField(
        required=False, help_text="The same in seconds from now, instead of valid_until."
    )
    max_slippage = Amount(
        required=False,
        allow_null=True,
        help_text="How much worse an entry at market may be filled.",
    )
    max_slippage_unit = serializers.ChoiceField(
        choices=CHOICES, required=False,
        help_text="Left out: pips of currencies and metals, basis points (0.01 %) of all else.",
    )  # fmt: skip
    max_slippage_pips = Amount(
        required=False, allow_null=True,
        help_text="max_slippage in pips; for currencies and metals only.",
    )  # fmt: skip
    max_spread = Amount(
        required=False, allow_null=True,
        help_text="Accounts whose prices have a larger spread do not enter. 0: only without one.",
    )  # fmt: skip
    max_spread_unit = serializers.ChoiceField(
        choices=CHOICES, required=False,
        help_text="Left out: pips of currencies and metals, basis points (0.01 %) of all else.",
    )  # fmt: skip
    break_even_target = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=MAX_TARGET,
        help_text="Move the stop to the entry price after so many targets.",
    )  # fmt: skip
    break_even_profit = Amount(
        required=False, allow_null=True,
        help_text="Move the stop to the entry price at this profit. 0: never.",
    )  # fmt: skip
    break_even_offset = Amount(
        required=False, allow_null=True, help_text="How far beyond the entry price."
    )
    trailing_distance = Amount(
        required=False, allow_null=True,
        help_text="How far the stop follows behind the best price. 0: it does not trail.",
    )  # fmt: skip
    trailing_step = Amount(
        required=False, allow_null=True, help_text="The least move. Left out: one pip."
    )
    trailing_activation = Amount(
        required=False, allow_null=True, help_text="The profit from which the stop trails."
    )
    stop_rule_unit = serializers.ChoiceField(
        choices=UNIT_CHOICES, required=False,
        help_text="Left out: pips of currencies and metals, basis points (0.01 %) of all else.",
    )  # fmt: skip
    execution_style = serializers.ChoiceField(
        choices=ExecutionStyle.choices, required=False,
        help_text="The entry is sent in slices over duration_seconds. TWAP: equal ones; VWAP: by"
        " the usual volume.",
    )  # fmt: skip
    duration_seconds = serializers.IntegerField(
        required=False, help_text="From the first slice to the end; at least 10 for each slice."
    )
    slice_count = serializers.IntegerField(
        required=False, help_text=f"{MIN_SLICES} to {MAX_SLICES}."
    )
    slice_variation = Amount(
        required=False,
        allow_null=True,
        help_text=f"Percent, 0 to {MAX_VARIATION}: random sizes and times.",
    )
    price_limit = Amount(
        required=False, allow_null=True,
        help_text="No slice is sent while the market is beyond this price. In a MODIFY: for slices"
        " that are not sent yet.",
    )  # fmt: skip
    catch_up = serializers.ChoiceField(
        choices=CatchUp.choices, required=False,
        help_text="What was not sent: CATCH_UP (default), the next slices send it; SKIP.",
    )  # fmt: skip
    at_end = serializers.ChoiceField(
        choices=AtEnd.choices, required=False,
        help_text="What is left at the end: LEAVE (default), or MARKET.",
    )  # fmt: skip
    strategy_id = serializers.CharField(required=False, max_length=64)
    trade_plan_id = serializers.CharField(required=False, max_length=64)
    risk_category = serializers.ChoiceField(
        choices=RiskCategory.choices, default=RiskCategory.NORMAL
    )
    provider_quantity = Amount(required=False, allow_null=True, help_text="Base units.")
    provider_equity = Amount(
        required=False, allow_null=True, help_text="What you had; in provider_currency."
    )
    provider_currency = serializers.CharField(
        required=False, max_length=10, help_text="The currency of provider_equity: USD."
    )
    external_id = serializers.CharField(
        required=False,
        max_length=100,
        help_text="Your own id. A repetition with it is the same signal.",
    )
    note = serializers.CharField(required=False, max_length=500)
    refers_to = serializers.IntegerField(
        required=False, help_text="MODIFY, CLOSE: the id of the OPEN signal in the same feed."
    )
    refers_to_external_id = serializers.CharField(required=False, max_length=100)
    time = UtcDateTime(required=False, help_text="When it was sent.")


class OcoLegSerializer(NewSignalSerializer):
    """A leg of an OCO pair: an entry whose order_type is not MARKET."""

    feed = None  # type: ignore[assignment]  # these stand beside the legs
    symbol = None  # type: ignore[assignment]
    external_id = None  # type: ignore[assignment]
    order_type = serializers.ChoiceField(choices=OrderType.choices, help_text="Not MARKET.")


class NewOcoPairSerializer(StrictSerializer):
    """Two entries of one symbol, of which each account sends at most one."""

    feed = serializers.SlugField(help_text="The feed's slug.")
    symbol = serializers.CharField(help_text="EUR/USD, EURUSD, FX:EURUSD, NASDAQ:AAPL.")
    external_id = serializers.CharField(
        required=False, max_length=LONGEST_PAIR_ID,
        help_text="Your own id. The legs get it with `:1` and `:2` appended.",
    )  # fmt: skip
    legs = OcoLegSerializer(many=True, help_text="Exactly two.")


class CloseTradesSerializer(StrictSerializer):
    """Which of a feed's open trades to close; empty: all of them."""

    symbol = serializers.CharField(
        required=False, allow_blank=True, help_text="Only trades in this symbol."
    )
    direction = serializers.ChoiceField(
        choices=Direction.choices, required=False, help_text="Only trades that bought, or sold."
    )
    close_fraction = Amount(required=False, help_text="The share of what is open; default 1.")
    external_id = serializers.CharField(
        required=False,
        max_length=LONGEST_EXTERNAL_ID,
        help_text="Your own id. A repetition with it closes nothing that was opened since.",
    )
    dry_run = serializers.BooleanField(
        required=False, default=False,
        help_text="Publish nothing; return the OPEN signals of the trades that it would close now.",
    )  # fmt: skip

    def faults_together(self, values: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
        """Return the faults of the selection."""
        return error_details(selection_errors(selection_of(values)), failed)


def selection_of(values: Mapping[str, Any]) -> TradeSelection:
    """Return which trades a body names."""
    fraction = values.get("close_fraction", Decimal(1))
    return TradeSelection(values.get("symbol", ""), values.get("direction"), fraction)
