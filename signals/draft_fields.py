"""Name every field of a draft that is carried out, so that a preview hides none. Pure."""

from collections.abc import Iterator
from dataclasses import fields
from decimal import Decimal
from typing import Any

from common.money import plain
from common.stop_rules import RULE_DISTANCES
from signals.draft import SignalDraft
from signals.symbols import rule_unit_word, slippage_unit

# Those that a preview shows in its own way, and units, which stand beside their numbers.
_APART = {
    "action", "pair", "direction", "order_type", "open_price", "stop_price", "sl", "targets",
    "external_id", "note", "refers_to", "refers_to_external_id", "sent_at", "feed", "symbol_field",
    "max_spread_unit", "max_slippage_unit", "stop_rule_unit",
}  # fmt: skip
_UNITS = {"max_spread": "max_spread_unit", "max_slippage_pips": "max_slippage_unit"}


def further_fields(draft: SignalDraft) -> Iterator[tuple[str, str]]:
    """Yield the other fields that a draft has: its stop rule, spread, condition, validity."""
    for one in fields(SignalDraft):
        value = getattr(draft, one.name)
        if one.name not in _APART and value != one.default:
            yield one.name, _text(draft, one.name, value)


def _text(draft: SignalDraft, name: str, value: Any) -> str:
    text = plain(value) if isinstance(value, Decimal) else str(value)
    if name in _UNITS:
        text += f" {slippage_unit(draft.pair, getattr(draft, _UNITS[name])).word}"
    elif name in RULE_DISTANCES:
        text += f" {rule_unit_word(draft.pair, draft.stop_rule_unit)}"
    return text.rstrip()
