"""The form that closes a position, and what closing does, for the console and the portal."""

from typing import Any

from django import forms

from common.confirmation import Consequence
from common.formatting import number, signed


class CloseForm(forms.Form):
    """How much of a position to close."""

    fraction = forms.ChoiceField(
        label="How much",
        choices=[
            ("1", "All of it"),
            ("0.5", "Half of what was opened"),
            ("0.25", "A quarter of what was opened"),
        ],
    )


def close_consequences(position: Any, *, currency: str) -> list[Consequence]:
    """Return what closing will do. position: from `with_prices`; currency: of its account."""
    opposite = "buy" if position.side == "SELL" else "sell"
    free = number(position.quantity - position.reserved)
    return [
        Consequence(
            "submitting",
            f"Sends a market order to {opposite} up to {free} {position.symbol}, ahead of all "
            "entries. It can only reduce the position, never open one.",
        ),
        Consequence("validated", _result(position, currency)),
        Consequence("safe", "Its stop stays active until the close is filled."),
    ]


def _result(position: Any, currency: str) -> str:
    if position.unrealized_pnl is None:
        return "Its price source has no price now, so the result cannot be estimated."
    return (
        f"Closing all of it at the price of {position.price_time:%H:%M:%S} would make about "
        f"{signed(position.unrealized_pnl)} {currency}, before commission. The actual price may "
        "differ."
    )
