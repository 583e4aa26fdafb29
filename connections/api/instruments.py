"""The instruments of an account's broker, with the hours of their markets."""

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.clocks import market_now
from common.web.api_fields import StrictModelSerializer, StrictSerializer, UtcDateTime
from connections.market_hours import HoursSource
from connections.models import Instrument


class MarketStateSerializer(StrictSerializer):
    """Whether a symbol's market is open. Times: market time."""

    as_of = UtcDateTime(help_text="Market time.")
    is_open = serializers.BooleanField(
        allow_null=True, help_text="null: not known, so `market_hours_only` denies nothing."
    )
    opens_at = UtcDateTime(allow_null=True, help_text="The next opening of a closed market.")
    closes_at = UtcDateTime(
        allow_null=True, help_text="The next close of an open market; null: not known, or never."
    )
    source = serializers.ChoiceField(  # type: ignore[assignment]  # a field of this name
        choices=[one.value for one in HoursSource],
        help_text="BROKER states them; EXCHANGE: its calendar; WEEK of currencies and metals; "
        "ALWAYS: coins; UNKNOWN.",
    )
    calendar = serializers.CharField(allow_blank=True, help_text="The exchange's, such as XNYS.")
    known_until = UtcDateTime(
        allow_null=True,
        help_text="Until when the source states hours; in the past: they could not be renewed.",
    )


class InstrumentSerializer(StrictModelSerializer[Instrument]):
    """A symbol of a broker: its steps, and its market's hours. Quantities: base units."""

    market = serializers.SerializerMethodField()

    class Meta:
        model = Instrument
        fields = (
            "symbol", "pair", "is_preferred", "digits", "pip", "tick", "quantity_min",
            "quantity_step", "quantity_max", "contract_size", "stops_level",
            "freeze_level", "market",
            "read_at",
        )  # fmt: skip
        read_only_fields = fields
        extra_kwargs = {
            "read_at": {"help_text": "When the broker last listed it so. Machine time."},
            "stops_level": {"help_text": "Least distance of stops from the price."},
            "freeze_level": {"help_text": "Nearer to the price nothing can be changed. 0: none."},
        }

    @extend_schema_field(MarketStateSerializer)
    def get_market(self, instrument: Instrument) -> dict[str, Any]:
        """Return the state of its market."""
        state = {"as_of": market_now(), **asdict(instrument.market)}
        return dict(MarketStateSerializer(state).data)
