"""Whether the levels of a text fit together, so that a typing error is not traded. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from common.errors import InvalidInputError
from common.money import plain
from common.reason_codes import Code
from common.units import AssetClass
from signals.models import Direction
from signals.symbols import asset_class

# How many times the highest of a text's prices may be the lowest one.
_NARROW, _WIDE = Decimal("1.5"), Decimal(3)


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
    is_narrow = asset_class(pair) in (AssetClass.FX, AssetClass.METAL)
    most = _NARROW if is_narrow else _WIDE
    if prices and max(prices) > min(prices) * most:
        detail = (
            f"{plain(min(prices))} and {plain(max(prices))} are too far apart for one trade in "
            f"{pair}: check each digit. Levels that far away are sent as JSON (docs/alerts.md)."
        )
        raise InvalidInputError(Code.ALERT_CONTRADICTORY, detail, field="sl")
    in_order = sorted(targets, reverse=side == Direction.SELL)
    if targets != in_order or len(set(targets)) != len(targets):
        shown = ", ".join(map(plain, in_order))
        detail = f"A {side.lower()} reaches its targets in the order {shown}: write them so, once."
        raise InvalidInputError(Code.ALERT_CONTRADICTORY, detail, field="targets")
