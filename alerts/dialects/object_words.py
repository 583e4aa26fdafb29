"""Other words for the fields and values of an object, each with one meaning: `side: long`. Pure."""

import re
from collections.abc import Mapping
from decimal import ROUND_DOWN, Context, Decimal
from typing import Any

from common.money import plain
from signals.reading.strict_json import JsonObject

_ACTIONS = {
    **dict.fromkeys(("long", "open_long", "openlong", "enterlong", "go_long"), "enter_long"),
    **dict.fromkeys(("short", "open_short", "openshort", "entershort", "go_short"), "enter_short"),
    **dict.fromkeys(("close_long", "closelong", "exitlong"), "exit_long"),
    **dict.fromkeys(("close_short", "closeshort", "exitshort"), "exit_short"),
}
_SIDES = {"long": "BUY", "short": "SELL"}
_TYPES = {"market", "limit", "stop"}
_NUMBERED = re.compile(r"(?:tp|take_profit)_?([1-9])", re.ASCII | re.IGNORECASE)
_PARTS, _PLACE = Context(prec=40, rounding=ROUND_DOWN), Decimal("1e-18")
_TARGETS = ("tp", "take_profit", "targets", "takeProfit")


def in_our_words(parsed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an object with our own words for its action, side, type and list of targets."""
    changes: dict[str, Any] = {}
    for name, words in (("action", _ACTIONS), ("direction", _SIDES), ("side", _SIDES)):
        value = parsed.get(name)
        if isinstance(value, str) and (word := words.get(value.strip().lower())):
            changes[name] = word
    if "action" in changes and any(_has(parsed, name) for name in ("direction", "side")):
        changes = {}  # an action and a side: they may differ
    left_out = set[str]()
    kind = parsed.get("type")
    if isinstance(kind, str) and kind.lower() in _TYPES and not _has(parsed, "order_type"):
        changes["order_type"] = kind.upper()
        left_out.add("type")
    if prices := _target_prices(parsed):
        changes["targets"] = _equal_parts(prices)
        left_out |= {"tp", "take_profit", *filter(_NUMBERED.fullmatch, parsed)}
    if not changes:
        return parsed
    ours = JsonObject({n: v for n, v in parsed.items() if n not in left_out} | changes)
    ours.duplicates = parsed.duplicates if isinstance(parsed, JsonObject) else ()
    return ours


def _has(parsed: Mapping[str, Any], name: str) -> bool:
    return parsed.get(name) is not None


def _target_prices(parsed: Mapping[str, Any]) -> list[Any]:
    """Return the prices of `tp1`, `tp2` … or of a list in `tp`; none for anything else."""
    stated = [name for name in _TARGETS if _has(parsed, name)]
    numbered = {
        int(match[1]): parsed[name]
        for name in parsed if (match := _NUMBERED.fullmatch(name)) and _has(parsed, name)
    }  # fmt: skip
    if not stated and numbered and sorted(numbered) == list(range(1, len(numbered) + 1)):
        return [numbered[index] for index in sorted(numbered)]
    if not numbered and len(stated) == 1 and isinstance(listed := parsed[stated[0]], list):
        is_plain = all(isinstance(price, int | str | Decimal) for price in listed)
        return listed if stated[0] != "takeProfit" and is_plain else []
    return []


def _equal_parts(prices: list[Any]) -> list[dict[str, Any]]:
    """Return targets with equal shares, the last one with the rest, as in texts."""
    part = _PARTS.quantize(_PARTS.divide(Decimal(1), Decimal(len(prices))), _PLACE)
    shares = [*[part] * (len(prices) - 1), 1 - part * (len(prices) - 1)]
    return [
        {"price": price, "fraction": plain(share)}
        for price, share in zip(prices, shares, strict=True)
    ]
