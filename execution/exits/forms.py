"""The form that closes a position, and what closing does, for the console and the portal."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms

from common.web.confirmation import Consequence
from common.web.formatting import gain_amount, join_first, number


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
            "entries. It can only reduce the position, never open one. What is above the broker's "
            "largest order is divided into several.",
        ),
        Consequence("validated", _result(position, currency)),
        Consequence("safe", "Its stop stays active until the close is filled."),
    ]


def close_all_consequences(positions: Sequence[tuple[Any, str, str]]) -> list[Consequence]:
    """Return what closing several positions will do.

    positions: each from `with_prices`, with the name and the currency of its account.
    """
    pairs = Counter(f"{position.pair} at {account}" for position, account, _ in positions)
    listed = join_first([f"{name} ({count})" for name, count in sorted(pairs.items())], 6)
    return [
        Consequence(
            "submitting",
            f"Sends a market order for each of them, ahead of all entries: {listed}. An order can "
            "only reduce its position, never open one. What is above the broker's largest order is "
            "divided into several.",
        ),
        Consequence("validated", _results(positions)),
        Consequence("safe", "Each stop stays active until its close is filled."),
        Consequence(
            "skipped",
            "Entries that are not filled yet stay. To cancel those too, pause trading and choose "
            "to cancel them.",
        ),
    ]


def _results(positions: Sequence[tuple[Any, str, str]]) -> str:
    """Return the estimated result by currency; positions without a price are counted apart."""
    totals: dict[str, Decimal] = {}
    for position, _, currency in positions:
        if position.unrealized_pnl is not None:
            totals[currency] = totals.get(currency, Decimal(0)) + position.unrealized_pnl
    unpriced = sum(position.unrealized_pnl is None for position, _, _ in positions)
    missing = f" {unpriced} of them have no price now and are not counted." if unpriced else ""
    if not totals:
        return "Their price sources have no price now, so the result cannot be estimated."
    amounts = " and ".join(gain_amount(total, name) for name, total in sorted(totals.items()))
    return (
        f"At the latest prices they would make about {amounts}, before commission.{missing} The "
        "actual prices may differ."
    )


def _result(position: Any, currency: str) -> str:
    if position.unrealized_pnl is None:
        return "Its price source has no price now, so the result cannot be estimated."
    return (
        f"Closing all of it at the price of {position.price_time:%H:%M:%S} UTC would make "
        f"about {gain_amount(position.unrealized_pnl, currency)}, before commission. The actual "
        "price may differ."
    )
