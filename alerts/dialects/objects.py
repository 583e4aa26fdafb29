"""JSON objects: our own fields, `ticker/action/sentiment` objects, and those of a feed's mapping.

They become objects of our own fields, so that one reader validates them all. Pure.
"""

from collections.abc import Mapping
from typing import Any

from alerts.dialects.bot_objects import is_bot_object, read_bot_object
from alerts.dialects.mapped_object import read_mapped_object, require_no_duplicate, value_at
from alerts.dialects.nested_strategy import is_nested_strategy, read_nested_strategy
from alerts.dialects.object_words import in_our_words
from alerts.dialects.order_objects import read_order_object
from alerts.dialects.side_objects import as_entry, has_both_levels, only_a_side
from alerts.grammar.mapping import AlertMapping
from alerts.grammar.reading import Dialect, LevelForm, Reading

# Names that only the objects of other services have.
_FOREIGN = {
    "sentiment", "quantity", "quantityType", "signalPrice", "orderType", "limitPrice", "stopPrice",
    "takeProfit", "stopLoss", "interval", "extras", "tv_instrument", "tv_exchange", "bot_uuid",
    "secret", "max_lag", "trigger_price", "strategy_info", "order", "timestamp",
}  # fmt: skip
_POSITIONS = {"market_position", "prev_market_position", "position_size"}
# Of an object that says no more than its side.
_ONLY_SIDE = {"ticker", "symbol", "pair", "currency_pair", "action", "price", "time", "timenow"}
_WORDS = {"exit", "cancel", "enter_long", "enter_short", "exit_long", "exit_short"}


def read_object(parsed: Mapping[str, Any], mapping: AlertMapping) -> Reading:
    """Return an object in our own fields. Raises InvalidInputError."""
    if mapping.paths and all(
        value_at(parsed, mapping.paths[name]) is not None for name in ("symbol", "side")
    ):
        require_no_duplicate(parsed)
        return read_mapped_object(parsed, mapping)
    if is_bot_object(parsed):
        require_no_duplicate(parsed)
        return read_bot_object(parsed, mapping)
    if is_nested_strategy(parsed):
        require_no_duplicate(parsed)
        return read_nested_strategy(parsed, mapping)
    is_ours = not {"direction", "side", "order_type", "refers_to"}.isdisjoint(parsed)
    parsed = in_our_words(parsed)
    action = str(parsed.get("action") or "").strip().lower()
    if is_ours or not (_FOREIGN & set(parsed) or action in _WORDS):
        is_side_only = action in ("buy", "sell") and not _POSITIONS & set(parsed)
        if is_side_only and not is_ours and has_both_levels(parsed):
            parsed = as_entry(parsed)
        elif is_side_only and not is_ours and _ONLY_SIDE.issuperset(parsed):
            require_no_duplicate(parsed)
            raise only_a_side(action)
        return Reading(
            Dialect.OWN, _with_symbol(parsed, mapping), needs_time=not is_side_only,
            level_form=LevelForm.FIELD,
        )  # fmt: skip
    require_no_duplicate(parsed)
    return read_order_object(parsed, action, mapping)


def _with_symbol(parsed: Mapping[str, Any], mapping: AlertMapping) -> Mapping[str, Any]:
    """Return our own object with the feed's pair for its word of a symbol."""
    for name in ("ticker", "symbol", "currency_pair", "pair"):
        text = parsed.get(name)
        if isinstance(text, str) and (pair := mapping.symbol_of(text)) != text:
            changed = type(parsed)(parsed)  # type: ignore[call-arg]  # keeps its duplicate keys
            if hasattr(parsed, "duplicates"):
                changed.duplicates = parsed.duplicates  # type: ignore[attr-defined]
            changed[name] = pair  # type: ignore[index]
            return changed
    return parsed
