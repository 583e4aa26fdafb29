"""Serializers of feeds and signals."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.api_fields import Amount, StrictModelSerializer, StrictSerializer, UtcDateTime
from common.money import plain
from common.permissions import Right, may, require
from common.reason_codes import Code
from common.stop_rules import MAX_TARGET, RULE_FIELDS, UNIT_CHOICES
from common.units import CHOICES, Unit
from signals.closing import LONGEST_EXTERNAL_ID
from signals.intake import MAX_VALIDITY_SECONDS
from signals.listings import reach_of_signal
from signals.models import (
    ATR_CHOICES,
    Action,
    AfterState,
    Direction,
    Feed,
    FeedToken,
    OrderType,
    RiskCategory,
    Signal,
    TimeInForce,
)
from signals.slicing import (
    MAX_SLICES,
    MAX_VARIATION,
    MIN_SLICES,
    STYLE_FIELDS,
    AtEnd,
    CatchUp,
    ExecutionStyle,
)
from signals.symbols import CURRENCY


class FeedSerializer(StrictModelSerializer[Feed]):
    """A named stream of signals."""

    owner = serializers.CharField(source="owner.username", read_only=True)
    is_mine = serializers.SerializerMethodField(help_text="Whether you may publish in it.")

    class Meta:
        model = Feed
        fields = (
            "slug",
            "name",
            "description",
            "owner",
            "is_mine",
            "is_public",
            "is_approved",
            "approved_by_owner",
            "max_signal_notional",
            "max_signal_currency",
            "max_price_deviation_percent",
            "max_level_deviation_percent",
            "archived_at",
            "created_at",
        )
        read_only_fields = ("approved_by_owner", "archived_at", "created_at")
        extra_kwargs = {
            "slug": {"required": False, "help_text": "Made from the name unless given."},
            "is_approved": {"help_text": "Its signals need no further approval. Set by operators."},
        }

    def get_is_mine(self, feed: Feed) -> bool:
        user = self.context["request"].user
        return may(user, Right.PUBLISH, owner_id=feed.owner_id)

    def validate_is_approved(self, value: bool) -> bool:
        require(self.context["request"].user, Right.APPROVE)
        return value

    def validate_max_signal_currency(self, value: str) -> str:
        code = value.strip().upper()
        if code and not CURRENCY.fullmatch(code):
            detail = f"{code!r} is not the code of a currency such as USD."
            raise serializers.ValidationError(detail, code=str(Code.FIELD_INVALID))
        return code

    def validate_slug(self, value: str) -> str:
        if self.instance is not None and value != self.instance.slug:
            detail = "The slug cannot be changed: the addresses for alerts contain it."
            raise serializers.ValidationError(detail, code=str(Code.FIELD_INVALID))
        return value


class FeedTokenSerializer(StrictModelSerializer[FeedToken]):
    """An alert token. Its secret is shown once, in the response that creates it."""

    signed = serializers.SerializerMethodField(help_text="Alerts must carry a signature.")

    class Meta:
        model = FeedToken
        fields = ("id", "name", "prefix", "signed", "created_at", "expires_at", "revoked_at")
        read_only_fields = fields

    def get_signed(self, token: FeedToken) -> bool:
        return bool(token.signing_key)


class NewFeedTokenSerializer(StrictSerializer):
    """A new alert token."""

    name = serializers.CharField(max_length=100, default="alerts")
    expires_at = UtcDateTime(default=None, allow_null=True)
    signed = serializers.BooleanField(default=False)


class CreatedFeedTokenSerializer(StrictSerializer):
    """A new alert token with its secrets, which are never shown again."""

    token = FeedTokenSerializer(read_only=True)
    secret = serializers.CharField(read_only=True)
    signing_key = serializers.CharField(read_only=True, help_text="Empty unless signed.")
    path = serializers.CharField(read_only=True, help_text="The path to post alerts to.")


class TargetSerializer(StrictSerializer):
    """Close `fraction` of the position at `price`."""

    price = Amount(positive=True)
    fraction = Amount(positive=True)


class SignalTotalSerializer(StrictSerializer):
    """What all accounts together have entered for a signal: filled, or what may still fill."""

    total = Amount(read_only=True, help_text="In `currency`.")
    maximum = Amount(read_only=True, help_text="The feed's `max_signal_notional`.")
    currency = serializers.CharField(read_only=True)
    unconverted = serializers.DictField(
        child=Amount(), read_only=True,
        help_text="Amounts that `total` lacks, by currency: no price source quotes a rate now.",
    )  # fmt: skip
    as_of = UtcDateTime(read_only=True)


class ReachSerializer(StrictSerializer):
    """How many of the active accounts that take the feed list the symbol."""

    followers = serializers.IntegerField(read_only=True)
    listing = serializers.IntegerField(read_only=True)
    unread = serializers.IntegerField(
        read_only=True, help_text="Their broker's list has not been read yet."
    )
    sentence = serializers.CharField(read_only=True)


class SignalSerializer(StrictModelSerializer[Signal]):
    """An instruction to OPEN, MODIFY or CLOSE. Prices in quote currency, times in market time."""

    feed = serializers.SlugRelatedField[Feed](slug_field="slug", read_only=True)
    number = serializers.CharField(read_only=True)
    targets = serializers.SerializerMethodField()
    tp = Amount(read_only=True, allow_null=True, help_text="The first target's price.")
    is_published = serializers.BooleanField(read_only=True)
    max_slippage = Amount(source="max_slippage_pips", read_only=True, allow_null=True)
    max_slippage_unit = serializers.SerializerMethodField(help_text="PIPS, TICKS, BPS or PERCENT.")
    max_slippage_pips = serializers.SerializerMethodField(help_text="If its unit is pips.")
    max_spread_unit = serializers.SerializerMethodField(help_text="PIPS, TICKS, BPS or PERCENT.")
    other_leg = serializers.SerializerMethodField(
        help_text="The id of the other leg of its OCO pair, else null."
    )
    candidate_count = serializers.SerializerMethodField(
        help_text="How many accounts it was sent to; for the feed's owner and operators."
    )
    symbol_reach = serializers.SerializerMethodField(
        help_text="How many accounts could trade the symbol of an OPEN signal that is not yet "
        "published; for the feed's owner and operators, null in lists."
    )

    class Meta:
        model = Signal
        fields = (
            "id",
            "number",
            "feed",
            "action",
            "refers_to",
            "currency_pair",
            "direction",
            "order_type",
            "open_price",
            "stop_price",
            "trail_distance",
            "trail_pips",
            "trail_percent",
            "trail_atr",
            "trail_atr_minutes",
            "activation_price",
            "not_before",
            "after_signal",
            "after_state",
            "close_at",
            "close_after_seconds",
            "close_when_signal",
            "close_when_state",
            "sl",
            "tp",
            "targets",
            "close_fraction",
            "time_in_force",
            "valid_until",
            "max_slippage",
            "max_slippage_unit",
            "max_slippage_pips",
            "max_spread",
            "max_spread_unit",
            *RULE_FIELDS,
            *STYLE_FIELDS,
            "strategy_id",
            "trade_plan_id",
            "risk_category",
            "provider_quantity",
            "provider_equity",
            "provider_currency",
            "external_id",
            "note",
            "origin",
            "oco_group",
            "other_leg",
            "approval",
            "is_published",
            "published_at",
            "cancelled_at",
            "candidate_count",
            "symbol_reach",
            "created_at",
        )
        read_only_fields = fields

    def get_other_leg(self, signal: Signal) -> int | None:
        other = signal.other_leg
        return None if other is None else other.pk

    @extend_schema_field(TargetSerializer(many=True))
    def get_max_slippage_unit(self, signal: Signal) -> str:
        return signal.slippage_unit.value

    def get_max_spread_unit(self, signal: Signal) -> str:
        return signal.spread_unit.value

    def get_max_slippage_pips(self, signal: Signal) -> str | None:
        if signal.max_slippage_pips is None or signal.slippage_unit is not Unit.PIPS:
            return None
        return plain(signal.max_slippage_pips)

    def get_targets(self, signal: Signal) -> list[dict[str, str]]:
        return [
            {"price": plain(price), "fraction": plain(fraction)}
            for price, fraction in signal.targets
        ]

    def get_candidate_count(self, signal: Signal) -> int | None:
        return signal.candidate_count if self._is_managed(signal) else None

    @extend_schema_field(ReachSerializer(allow_null=True))
    def get_symbol_reach(self, signal: Signal) -> dict[str, Any] | None:
        is_draft = signal.action == Action.OPEN and not signal.is_published
        is_one = not isinstance(self.parent, serializers.ListSerializer)
        if not (is_one and is_draft and self._is_managed(signal)):
            return None
        return dict(ReachSerializer(reach_of_signal(signal)).data)

    def _is_managed(self, signal: Signal) -> bool:
        user = self.context["request"].user
        return bool(user.is_operator or signal.feed.owner_id == user.pk)


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
        help_text="No slice is sent while the market is beyond this price.",
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
        required=False, max_length=98,
        help_text="Your own id. The legs get it with `:1` and `:2` appended.",
    )  # fmt: skip
    legs = OcoLegSerializer(many=True, help_text="Exactly two.")


class OcoPairSerializer(StrictSerializer):
    """An OCO pair: its two signals."""

    oco_group = serializers.UUIDField(read_only=True)
    legs = SignalSerializer(many=True, read_only=True)


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


class ClosedTradesSerializer(StrictSerializer):
    """The CLOSE signals that were published, one for each trade; with `dry_run` the OPEN signals of
    the trades that would be closed.
    """

    signals = SignalSerializer(many=True)
    skipped = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="Trades that the feed has closed before, and that accounts still hold.",
    )


class ReasonCountSerializer(StrictSerializer):
    """How many accounts would not get an order at once, and why."""

    outcome = serializers.ChoiceField(choices=["waiting", "skipped", "not_listed", "denied"])
    code = serializers.CharField(
        source="name",
        allow_blank=True,
        help_text="Empty: reasons of the accounts, which only their owners may see.",
    )
    sentence = serializers.CharField()
    hint = serializers.CharField(allow_blank=True)
    connections = serializers.IntegerField()


class SizesSerializer(StrictSerializer):
    """The range of quantities that would be sent, in base units. kind: the broker type; empty:
    all."""

    kind = serializers.CharField(source="broker_type", allow_blank=True)
    connections = serializers.IntegerField()
    smallest = Amount()
    median = Amount()
    largest = Amount()


class PreviewSerializer(StrictSerializer):
    """The candidates of a signal by outcome, if it were published now."""

    as_of = UtcDateTime(help_text="Market time.")
    candidates = serializers.IntegerField()
    sent = serializers.IntegerField()
    waiting = serializers.IntegerField()
    skipped = serializers.IntegerField()
    not_listed = serializers.IntegerField(help_text="Their broker does not list the symbol.")
    denied = serializers.IntegerField()
    is_wrong_for_all = serializers.BooleanField(
        help_text="No account could take it as it is; sending it is refused."
    )
    correlated = serializers.IntegerField(
        help_text="Those that would get an order, with a warning about correlated exposure. 0 if "
        "the sizes are not yours to see."
    )
    reasons = ReasonCountSerializer(many=True)
    sizes = SizesSerializer(many=True)


class OcoPreviewSerializer(StrictSerializer):
    """The candidates of each leg of an OCO pair by outcome, in the order of the legs."""

    legs = PreviewSerializer(many=True)
