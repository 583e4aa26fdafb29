"""Signals as the API returns them, alone, as pairs and as closes."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.money import plain
from common.stop_rules import RULE_FIELDS
from common.units import Unit
from common.web.api_fields import Amount, StrictModelSerializer, StrictSerializer, UtcDateTime
from signals.checks.listings import reach_of_signal
from signals.models import Action, Feed, Signal
from signals.slicing import STYLE_FIELDS


class TargetSerializer(StrictSerializer):
    """Close `fraction` of the position at `price`."""

    price = Amount(positive=True)
    fraction = Amount(positive=True)


class SignalTotalSerializer(StrictSerializer):
    """What all accounts together have entered for a signal: filled, or what may still fill."""

    total = Amount(
        read_only=True, allow_null=True,
        help_text="In `currency`. Null for the feed's owner if it is that of fewer than 5 others.",
    )  # fmt: skip
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

    def get_max_slippage_unit(self, signal: Signal) -> str:
        return signal.slippage_unit.value

    def get_max_spread_unit(self, signal: Signal) -> str:
        return signal.spread_unit.value

    def get_max_slippage_pips(self, signal: Signal) -> str | None:
        if signal.max_slippage_pips is None or signal.slippage_unit is not Unit.PIPS:
            return None
        return plain(signal.max_slippage_pips)

    @extend_schema_field(TargetSerializer(many=True))
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


class OcoPairSerializer(StrictSerializer):
    """An OCO pair: its two signals."""

    oco_group = serializers.UUIDField(read_only=True)
    legs = SignalSerializer(many=True, read_only=True)


class ClosedTradesSerializer(StrictSerializer):
    """The CLOSE signals that were published, one for each trade; with `dry_run` the OPEN signals of
    the trades that would be closed.
    """

    signals = SignalSerializer(many=True)
    skipped = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="Trades that the feed has closed before, and that accounts still hold.",
    )
