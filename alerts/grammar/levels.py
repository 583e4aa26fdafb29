"""Whether the levels of a text fit together, so that a typing error is not traded. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from alerts.grammar.level_support import near_any
from alerts.grammar.lexicon import BOUNDS
from alerts.grammar.reading import ambiguous
from common.errors import InvalidInputError
from common.money import plain
from common.reason_codes import Code
from common.units import AssetClass
from signals.models import Direction
from signals.symbols import asset_class

# How many times the highest of a text's prices may be the lowest one.
_NARROW, _WIDE = Decimal("1.5"), Decimal(3)


# Between which prices a symbol trades, very roughly: SL 20 of EUR/USD is rather 20 pips.
_ANY = Decimal("Infinity")
_MAJORS = {"EUR", "USD", "GBP", "CHF", "AUD", "NZD", "CAD"}
_MAGNITUDES: dict[str, tuple[Decimal | int, Decimal | int]] = {
    name: (low, most[0] if most else _ANY) for name, (low, *most) in BOUNDS["prices"].items()
}
_UNKNOWN: tuple[Decimal | int, Decimal | int] = (0, _ANY)
_IN_DOLLARS = {"", "USD", "USDT", "USDC", "EUR", "GBP", "JPY"}


def magnitude(pair: str) -> tuple[Decimal | int, Decimal | int]:
    """Return between which prices a symbol trades, very roughly."""
    base, _, quote = pair.partition("/")
    if base in _MAJORS and quote in _MAJORS:
        return Decimal("0.2"), 5
    if base in _MAJORS and quote == "JPY":
        return 55, 400
    return _MAGNITUDES.get(base, _UNKNOWN) if quote in _IN_DOLLARS else _UNKNOWN


def require_magnitude(pair: str, prices: Iterable[Decimal]) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for a number that is rather a distance."""
    low, high = magnitude(pair)
    for price in prices:
        if not low <= price <= high:
            shown = plain(price)
            raise ambiguous(
                f"{shown} of {pair}", f"the price {shown}", f"a distance of {shown}", field="sl",
                write=f"Write the price in full, or “{shown} pips”.",
            )  # fmt: skip


def _spread(pair: str) -> Decimal:
    is_narrow = asset_class(pair) in (AssetClass.FX, AssetClass.METAL)
    return _NARROW if is_narrow else _WIDE


def require_near(pair: str, prices: Iterable[Decimal], known: Iterable[Decimal]) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for a new level that is near no price of its trade:
    “move SL to 20” is rather 20 pips. known: prices of the trade, and of the market."""
    references, prices = list(known), list(prices)
    require_magnitude(pair, prices)
    for price in prices:
        if near_any(pair, price, references):
            continue
        shown = plain(price)
        reference = plain(references[0]) if references else "no known price"
        raise ambiguous(
            f"{shown} for a trade in {pair} at {reference}", f"the price {shown}",
            f"a distance of {shown}", field="sl",
            write="Write the price in full. A level that far away is published with the form or "
            "the API.",
        )  # fmt: skip


def require_plausible(
    pair: str,
    side: Direction,
    entry: Decimal | None,
    document: Mapping[str, Any],
    targets: list[Decimal],
) -> None:
    """Raise InvalidInputError ALERT_CONTRADICTORY for levels that are far apart or not in order."""
    prices = [*targets]
    if entry is not None:
        prices.append(entry)
    if "sl" in document:
        prices.append(Decimal(document["sl"]))
    if prices and max(prices) > min(prices) * _spread(pair):
        detail = (
            f"{plain(min(prices))} and {plain(max(prices))} are too far apart for one trade in "
            f"{pair}: check each digit. Levels that far away are published with the form or the "
            "API (docs/alerts.md#levels)."
        )
        raise InvalidInputError(Code.ALERT_CONTRADICTORY, detail, field="sl")
    require_magnitude(pair, prices)
    in_order = sorted(targets, reverse=side == Direction.SELL)
    if targets != in_order or len(set(targets)) != len(targets):
        shown = ", ".join(map(plain, in_order))
        detail = f"A {side.lower()} reaches its targets in the order {shown}: write them so, once."
        raise InvalidInputError(Code.ALERT_CONTRADICTORY, detail, field="targets")
