"""Objects that state an order's side and no position: `{"ticker": …, "action": "buy"}`. Pure.

The order could open a trade or end one. A stop and a target, both as prices and each on its side,
are an entry's: of an exit they would lie the other way round. It is still refused while the feed
has a trade open on the other side, which it could be meant to reverse.
"""

from collections.abc import Mapping
from typing import Any

from alerts.grammar.reading import ambiguous
from common.errors import InvalidInputError
from signals.reading.strict_json import JsonObject

_STOPS, _TARGETS = ("sl", "stop_loss"), ("tp", "take_profit", "targets")
_PRICES = {"stopLoss": ("stopPrice", "price"), "takeProfit": ("limitPrice", "price")}


def has_both_levels(parsed: Mapping[str, Any]) -> bool:
    """Whether an object states a stop and a target as prices."""
    return all(
        any(parsed.get(name) not in (None, "") for name in ours) or _has_price(parsed, theirs)
        for ours, theirs in ((_STOPS, "stopLoss"), (_TARGETS, "takeProfit"))
    )


def _has_price(parsed: Mapping[str, Any], name: str) -> bool:
    level = parsed.get(name)
    return isinstance(level, Mapping) and any(
        level.get(price) not in (None, "") for price in _PRICES[name]
    )


def as_entry(parsed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an object with its action as the direction of an entry, without changing it."""
    entry = JsonObject({name: value for name, value in parsed.items() if name != "action"})
    entry["direction"] = str(parsed["action"]).strip().upper()
    entry.duplicates = parsed.duplicates if isinstance(parsed, JsonObject) else ()
    return entry


def only_a_side(action: str) -> InvalidInputError:
    """Return the error for an object with buy or sell and nothing else."""
    opens, closes = ("long", "short") if action == "buy" else ("short", "long")
    return ambiguous(
        f"action {action} alone", f"open a {opens} trade", f"close a {closes} one", field="action",
        write=f'Send "sentiment" with it ({opens}, or flat for a close), or action enter_{opens} '
        f"or exit_{closes}.",
    )  # fmt: skip
