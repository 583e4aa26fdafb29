"""JSON objects: our own fields, and those of other services and of a feed's mapping. Pure.

They become objects of our own fields, so that one reader validates them all.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from alerts.forms.fields import NOTHING, TABLE, Command, Form
from alerts.forms.order_objects import (
    ORDER,
    POSITIONS,
    TARGETS,
    fault,
    has_both_levels,
    items_of,
    read_order_object,
    require_no_duplicate,
    symbol_of_object,
)
from alerts.grammar.mapping import AlertMapping
from alerts.grammar.numbers import equal_parts
from alerts.grammar.reading import Dialect, LevelForm, Note, Reading, excerpt, refusal
from alerts.grammar.text_entry import is_clear_entry
from common.money import plain
from signals.models import Action
from signals.reading.strict_json import JsonObject

TEMPLATE, BOT = Form("template"), Form("bot")
_MARKS = frozenset(TABLE["object"]["marks"])
_SPELLINGS = TABLE["own"]["values"]
_ONLY_SIDE = {"ticker", "symbol", "pair", "currency_pair", "action", "price", "time", "timenow"}
_NUMBERED = re.compile(r"(?:tp|take_profit)_?([1-9])", re.ASCII | re.IGNORECASE)
_MONEY = {"USDT", "USDC", "BUSD", "FDUSD", "TUSD", "DAI", "USD", "EUR", "GBP"}  # quotes of coins


def read_object(parsed: Mapping[str, Any], mapping: AlertMapping) -> Reading:
    """Return an object in our own fields. Raises InvalidInputError."""
    if mapping.paths and all(
        _at(parsed, mapping.paths[name]) is not None for name in ("symbol", "side")
    ):
        return _mapped(parsed, mapping)
    if "message_type" in parsed:
        return _bot(parsed, mapping)
    if not any(parsed.get(name) for name in ("ticker", "symbol", "pair", "tv_instrument")):
        for name in ("code", "qv_user_id"):  # of WunderTrading and QuantLynk
            if name in parsed:
                raise refusal("object", field=name, key=name, write=ORDER.write)
    strategy = parsed.get("strategy")
    if isinstance(strategy, Mapping) and "order_action" in strategy:
        return _template(parsed, mapping)
    is_ours = not {"direction", "side", "order_type", "refers_to"}.isdisjoint(parsed)
    parsed = _in_our_words(parsed)
    action = str(parsed.get("action") or "").strip().lower()
    command = ORDER.commands.get(action, Command(""))
    is_order = not _MARKS.isdisjoint(parsed) or command.action in ("OPEN", "CANCEL", "CLOSE")
    if not is_ours and is_order and (action != "close" or not _MARKS.isdisjoint(parsed)):
        return read_order_object(parsed, action, command, mapping)
    return _own(parsed, action, mapping, is_ours=is_ours)


def _own(
    parsed: Mapping[str, Any], action: str, mapping: AlertMapping, *, is_ours: bool
) -> Reading:
    is_side_only = action in ("buy", "sell") and not set(POSITIONS) & set(parsed)
    if is_side_only and not is_ours and has_both_levels(parsed):
        entry = _like(parsed, {name: parsed[name] for name in parsed if name != "action"})
        parsed = _like(parsed, {**entry, "direction": action.upper()})
    elif is_side_only and not is_ours and _ONLY_SIDE.issuperset(parsed):
        require_no_duplicate(parsed)
        opens, closes = ("long", "short") if action == "buy" else ("short", "long")
        raise refusal("own", action=action, opens=opens, closes=closes)
    for name in ("ticker", "symbol", "currency_pair", "pair"):
        text = parsed.get(name)
        if isinstance(text, str) and (pair := mapping.symbol_of(text)) != text:
            parsed = _like(parsed, {**parsed, name: pair})
            break
    return Reading(Dialect.OWN, parsed, needs_time=not is_side_only, level_form=LevelForm.FIELD)


def _like(parsed: Mapping[str, Any], values: Mapping[str, Any]) -> JsonObject:
    """Return an object with other values, and the same duplicate keys."""
    changed = JsonObject(values)
    changed.duplicates = parsed.duplicates if isinstance(parsed, JsonObject) else ()
    return changed


def _in_our_words(parsed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an object with our own words for its action, side, type and list of targets."""
    changes: dict[str, Any] = {}
    for name in ("action", "direction", "side"):
        value = parsed.get(name)
        words = _SPELLINGS["action" if name == "action" else "side"]
        if isinstance(value, str) and (word := words.get(value.strip().lower())):
            changes[name] = word
    if "action" in changes and not _all_missing(parsed, "direction", "side"):
        changes = {}  # an action and a side: they may differ
    left_out = set[str]()
    kind = parsed.get("type")
    if str(kind).lower() in ("market", "limit", "stop") and _all_missing(parsed, "order_type"):
        changes["order_type"] = str(kind).upper()
        left_out.add("type")
    if prices := _target_prices(parsed):
        shares = map(plain, equal_parts(len(prices)))
        changes["targets"] = [
            {"price": price, "fraction": share} for price, share in zip(prices, shares, strict=True)
        ]
        left_out |= {"tp", "take_profit", *filter(_NUMBERED.fullmatch, parsed)}
    return _like(parsed, {n: v for n, v in parsed.items() if n not in left_out} | changes)


def _all_missing(parsed: Mapping[str, Any], *names: str) -> bool:
    return all(parsed.get(name) is None for name in names)


def _target_prices(parsed: Mapping[str, Any]) -> list[Any]:
    """Return the prices of `tp1`, `tp2` … or of a list in `tp`; none for anything else."""
    stated = [name for name in (*TARGETS, "takeProfit") if parsed.get(name) is not None]
    numbered = {
        int(match[1]): value
        for name, value in parsed.items()
        if value is not None and (match := _NUMBERED.fullmatch(name))
    }
    if not stated and numbered and sorted(numbered) == list(range(1, len(numbered) + 1)):
        return [numbered[index] for index in sorted(numbered)]
    listed = parsed[stated[0]] if len(stated) == 1 and not numbered else None
    if not isinstance(listed, list) or stated[0] == "takeProfit":
        return []
    return listed if all(isinstance(price, int | str | Decimal) for price in listed) else []


def _template(parsed: Mapping[str, Any], mapping: AlertMapping) -> Reading:
    """Return a strategy's order. Raises InvalidInputError for one without both positions."""
    stated = TEMPLATE.read(items_of(parsed))
    for name in POSITIONS[:2]:
        if name not in stated.values:
            raise refusal("template", field=f"strategy.{name}")
    document = {"ticker": symbol_of_object(stated, mapping)}
    document |= {name: one.value for name, one in stated.values.items()}
    return Reading(
        Dialect.STRATEGY_OBJECT, document, notes=tuple(stated.notes), level_form=LevelForm.FIELD
    )


def _bot(parsed: Mapping[str, Any], mapping: AlertMapping) -> Reading:
    """Return the close that an object of a DCA bot says."""
    stated = BOT.read(items_of(parsed))
    pair, action = stated.take("ticker"), str(stated.take("action") or "")
    if action and action not in BOT.commands:
        raise refusal("action_of_bot", action=action, write=BOT.write)
    if not isinstance(pair, str):
        raise refusal("bot_without_pair")
    if not action:
        raise refusal("bot_start", pair=pair)
    document = {"action": "CLOSE", "symbol": mapping.symbol_of(_base_first(pair))}
    return Reading(Dialect.ORDER_OBJECT, document, notes=tuple(stated.notes))


def _base_first(pair: str) -> str:
    """Return a pair with its base first: these bots write USDT_BTC, and USDT_BTCUSDT for futures.

    Raises InvalidInputError ALERT_AMBIGUOUS for BTC_USDT, which may be in either order.
    """
    quote, underscore, base = pair.strip().upper().partition("_")
    if not underscore:
        return pair
    if base.removesuffix("_PERP").removesuffix("-PERP").endswith(quote) and base != quote:
        return base
    if base in _MONEY and quote not in _MONEY:
        raise refusal("base_first", pair=pair, quote=quote, base=base)
    return f"{base}/{quote}"


def _at(parsed: Any, path: str) -> Any:
    """Return the value at a path such as `order.legs.0.price`; None if there is none."""
    for name in path.split("."):
        if isinstance(parsed, Mapping):
            parsed = parsed.get(name)
        elif isinstance(parsed, list) and name.isdigit() and len(name) < 4:
            parsed = parsed[int(name)] if int(name) < len(parsed) else None
        else:
            return None
    return parsed


def _mapped(parsed: Mapping[str, Any], mapping: AlertMapping) -> Reading:
    """Return an object by the paths and words of the feed's mapping."""
    require_no_duplicate(parsed)
    values = {name: _at(parsed, path) for name, path in mapping.paths.items()}
    word = str(values.pop("side")).strip().upper()
    side = mapping.sides.get(word)
    if side is None:
        known = ", ".join(mapping.sides) or "none"
        detail = f"{excerpt(word)} is no side word of the feed's mapping ({known}): add it there."
        raise fault("side", detail)
    symbol = values.pop("symbol")
    document = {"symbol": mapping.symbol_of(symbol) if isinstance(symbol, str) else symbol}
    document |= side.fields
    is_open = side.fields["action"] == Action.OPEN
    unused = ("close_fraction",) if is_open else ("price", "sl", "tp")
    given = {name: value for name, value in values.items() if value not in NOTHING}
    notes = [Note(one, f"a {side.fields['action']} has none") for one in given if one in unused]
    document |= {name: value for name, value in given.items() if name not in unused}
    used = {path.split(".")[0] for path in mapping.paths.values()}
    notes += [Note(str(name)[:60], "no path leads there") for name in parsed if name not in used]
    reading = Reading(Dialect.MAPPED, document, notes=tuple(notes))
    # A feed with a word of its own for a close defines what its “sell” means.
    has_close = any(one.fields["action"] == Action.CLOSE for one in mapping.sides.values())
    is_bare = word in ("BUY", "SELL") and not has_close and not is_clear_entry(reading)
    return replace(reading, may_end=is_open and is_bare)
