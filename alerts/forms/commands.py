"""Comma commands, key=value lines and command blocks, by the table `fields.toml`. Pure.

One command is read. Where a number could be a price as well as pips, or an order open a trade as
well as end one, it is refused with both readings.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from alerts.forms.envelopes import HIDDEN
from alerts.forms.fields import Command, Form, Order, Value
from alerts.grammar.levels import apart, looks_like_distance
from alerts.grammar.mapping import AlertMapping
from alerts.grammar.reading import AlertUpdate, Dialect, Distance, Reading, Unit, refusal
from alerts.grammar.targets import read_pips
from alerts.grammar.text_entry import is_clear_entry
from common.money import plain, read_decimal
from common.stop_rules import RULE_DISTANCES
from common.units import AssetClass
from signals.models import Direction
from signals.reading.draft import Target
from signals.symbols import asset_class

COMMA = Form("comma", mark="=")
KEY_VALUE, BLOCK = Form("key_value", mark="="), Form("block", mark="=")
_LICENCE = re.compile(rf"[0-9]{{8,20}}|(?=.*[0-9])[A-Za-z0-9-]{{16,60}}|{HIDDEN}", re.ASCII)
_BLOCK = re.compile(
    r"[A-Za-z][A-Za-z0-9_-]{0,40}\((?P<symbol>[A-Za-z0-9/_.:-]{3,30})\)\s*"
    r"\{\s*(?P<name>[A-Za-z]+)\((?P<options>[^(){}]*)\)\s*;?\s*\}\s*(?:#[A-Za-z]{1,20})?",
    re.ASCII,
)
_IS_BLOCK = re.compile(r"\s*[A-Za-z][A-Za-z0-9_ -]{0,40}\([^()\n]{1,40}\)\s*\{", re.ASCII)
_MAJORS = {"EUR", "USD", "GBP", "CHF", "AUD", "NZD", "CAD"}  # whose prices are 0.3 to 3
_LEAST_PIPS, _NEAR = Decimal(5), Decimal("0.05")


def is_comma_command(text: str) -> bool:
    """Whether a text is a licence or a command, then more after a comma."""
    first, comma, rest = (part.strip() for part in text.partition(","))
    if not comma or "\n" in text.strip():
        return False
    word = rest.partition(",")[0].strip().lower()
    has_licence = bool(_LICENCE.fullmatch(first) and re.fullmatch("[a-z]+", word, re.ASCII))
    return first.lower() in COMMA.commands or has_licence


def read_comma_command(text: str, mapping: AlertMapping) -> Reading:
    """Return what a comma command says. Raises InvalidInputError."""
    parts = [part.strip() for part in text.strip().split(",")]
    if parts[0].lower() not in COMMA.commands:
        parts = parts[1:]  # the licence: the address is the secret here
    word, symbol = parts[0].lower(), parts[1] if len(parts) > 1 else ""
    if word in COMMA.refused:
        raise refusal("command_not_carried_out", word=word, refused=COMMA.refused[word])
    if word not in COMMA.commands:
        known = ", ".join(sorted(COMMA.commands))
        raise refusal("no_command", part=parts[0], known=known)
    stated = COMMA.read(COMMA.options(parts[2:]))
    order = Order(Dialect.COMMA_COMMAND, word, COMMA.commands[word], symbol, stated, mapping)
    if word == "closeall":
        if symbol.lower() not in ("", word):
            raise refusal("closeall_of_symbol", symbol=symbol)
        order.symbol = ""
    elif not symbol:
        raise refusal("command_without_symbol", write=COMMA.write)
    return read_order(order)


def is_key_value(text: str) -> bool:
    """Whether a text is made of key=value words, with a symbol among them."""
    words = text.split()
    if len(words) < 2 or not all("=" in word or word in "|&" for word in words):
        return False
    return any(word.lower().startswith("s=") for word in words)


def read_key_value(text: str, mapping: AlertMapping) -> Reading:
    """Return what an AutoView command says. Raises InvalidInputError."""
    if any(mark in text.strip() for mark in "\n|&"):
        raise refusal("several_commands", write=KEY_VALUE.write)
    options = KEY_VALUE.options(text.split())
    stated = KEY_VALUE.read(options)
    kind, close = str(stated.take("order_type") or "").lower(), stated.take("close")
    book = dict(options).get("b", "").lower()
    word = f"c={str(close).lower()}" if close else f"t={kind}"
    command = KEY_VALUE.commands.get(word)
    if close and kind not in ("", "market"):
        raise refusal("close_at_limit")
    if close and book == "buy":
        raise refusal("close_of_buy")
    if not close and not book:
        raise refusal("no_key_value_side", write=KEY_VALUE.write)
    if command is None:
        known = ", ".join(KEY_VALUE.commands)
        raise refusal("no_key_value_command", word=word, shown=known, write=KEY_VALUE.write)
    side = stated.take("side")
    command = command._replace(side=Direction(side) if side else None)
    symbol = str(stated.take("symbol"))
    return read_order(Order(Dialect.KEY_VALUE, word, command, symbol, stated, mapping))


def is_command_block(text: str) -> bool:
    """Whether a text is `Keys(SYMBOL) { … }`."""
    return bool(_IS_BLOCK.match(text))


def read_command_block(text: str, mapping: AlertMapping) -> Reading:
    """Return what a command block says. Raises InvalidInputError."""
    match = _BLOCK.fullmatch(text.strip())
    if match is None:
        raise refusal("no_block", write=BLOCK.write)
    word = match["name"].lower()
    command = BLOCK.commands.get(word)
    if command is None:
        raise refusal("unknown_block_command", word=word, write=BLOCK.write)
    stated = BLOCK.read(BLOCK.options(filter(None, map(str.strip, match["options"].split(",")))))
    if command.action == "CANCEL" and stated.take("which") not in (None, "all"):
        raise refusal("cancel_of_some", write=BLOCK.write)
    if command.action == "OPEN" and (position := stated.take("position")) is not None:
        if read_decimal(position, field="position_size") or command.order_type != "MARKET":
            raise refusal("position_of_block", word=word, position=position)
        command = Command("CLOSE")
    elif command.action == "OPEN":
        if (side := stated.take("side")) is None:
            raise refusal("block_without_side", write=BLOCK.write)
        command = command._replace(side=Direction(side))
    order = Order(Dialect.COMMAND_BLOCK, word, command, match["symbol"], stated, mapping)
    return read_order(order)


def read_order(order: Order) -> Reading:
    """Return what a command does. Raises InvalidInputError."""
    action, side = order.command.action, order.command.side
    if action == "CANCEL":
        order.stated.refuse_rest()
        update = AlertUpdate(pair=order.pair, side=side, cancels=True)
        return Reading(order.dialect, update=update, notes=tuple(order.stated.notes))
    if action == "CLOSE":
        order.stated.require_no_size("a close")
        which = {"symbol": order.symbol} if order.symbol else {"all": True}
        document = {"action": "CLOSE", **which} | ({"direction": side.value} if side else {})
        return order.reading(document)
    levels, distances = _take_levels(order)
    if action == "MODIFY":
        return _modified(order, levels, distances)
    if action == "REVERSE":
        return _reversed(order, levels, distances)
    return _entry(order, levels, distances)


def _entry(order: Order, levels: dict[str, str], distances: tuple[Distance, ...]) -> Reading:
    kind, side = order.command.order_type, order.command.side
    document = {"action": "OPEN", "symbol": order.symbol, "direction": side, "order_type": kind}
    document |= levels
    if price := order.stated.values.pop("price", None):
        _require_clear_price(order, price, levels)
        document["stop_price" if kind == "STOP" else "open_price"] = _fixed(price)
    document |= _rules(order)
    reading = order.reading(document, distances=distances)
    is_comma = order.dialect is Dialect.COMMA_COMMAND
    is_bare = order.command.is_bare and not (is_comma and is_clear_entry(reading))
    return replace(reading, may_end=is_bare)  # “sell” is also what ends a long position


def _reversed(order: Order, levels: dict[str, str], distances: tuple[Distance, ...]) -> Reading:
    """Return the order of a strategy that ends the one side and begins the other."""
    if distances:
        raise refusal("reversed", word=order.word)
    sides = ("long", "short") if order.command.side is Direction.BUY else ("short", "long")
    document = {
        "ticker": order.symbol, "action": str(order.command.side).lower(),
        "market_position": sides[0], "prev_market_position": sides[1], **levels, **_rules(order),
    }  # fmt: skip
    return order.reading(document, needs_time=False)


def _modified(order: Order, levels: dict[str, str], distances: tuple[Distance, ...]) -> Reading:
    """Return the new levels of an open trade, which must be prices."""
    if distances or not levels:
        raise refusal("modified")
    order.stated.refuse_rest()
    numbers = {name: Decimal(text) for name, text in levels.items()}
    targets = (Target(numbers["tp"], Decimal(1)),) if "tp" in numbers else ()
    update = AlertUpdate(
        pair=order.pair, side=order.command.side, sl=numbers.get("sl"), targets=targets
    )
    return Reading(order.dialect, update=update, notes=tuple(order.stated.notes))


def _fixed(one: Value) -> str:
    """Return a price that is behind an @ where its form needs one. Raises ALERT_AMBIGUOUS."""
    if one.unit == "AT" and not one.value.startswith("@"):
        other = f"{one.value} of the price or margin" if "%" in one.value else "a distance"
        raise refusal("price_or_distance", field=one.key, key=one.key, value=one.value, other=other)
    return str(one.value).removeprefix("@")


def _require_clear_price(order: Order, one: Value, levels: Mapping[str, str]) -> None:
    """Raise ALERT_AMBIGUOUS for a price of a market order, and for a number of a comma command that
    may be pips from the market. A level near it, or a decimal, shows that it is a price."""
    kind = order.command.order_type
    if kind == "MARKET":
        raise refusal("price_of_market_order", word=order.word, value=one.value)
    number = read_decimal(_fixed(one), field="price", positive=True)
    if order.dialect is not Dialect.COMMA_COMMAND:
        return
    is_like_level = any(apart(number, Decimal(text)) <= _NEAR for text in levels.values())
    is_large = _is_of_majors(order.pair) and number >= _LEAST_PIPS
    if is_large or (looks_like_distance(order.pair, number) and not is_like_level):
        raise refusal("price_or_pips", value=one.value)


def _take_levels(order: Order) -> tuple[dict[str, str], tuple[Distance, ...]]:
    """Return the levels that are prices, and those that are distances."""
    prices, distances, guessed = dict[str, str](), [], []
    for level in ("sl", "tp"):
        one = order.stated.values.pop(level, None)
        if one is None:
            continue
        text = _fixed(one)
        number = read_decimal(text, field=level, positive=True)
        unit = {"AT": "PRICE", "ANY": ""}.get(one.unit, one.unit)
        if not unit:
            guessed.append(level)
            unit = _unit(level, text, order)
        if unit == "PRICE":
            prices[level] = text
        else:
            number = read_pips(text, level) if one.key.endswith("_pips") else number
            distances.append(Distance(level, number, Unit(unit)))
    if len(guessed) == 2 and prices and distances:  # one setting is for both
        raise refusal("take_levels")
    return prices, tuple(distances)


def _is_of_majors(pair: str) -> bool:
    return set(pair.split("/")) <= _MAJORS


def _unit(level: str, text: str, order: Order) -> str:
    """Return the unit of a level that is sent without one. Raises ALERT_AMBIGUOUS."""
    if order.mapping.distances:
        return order.mapping.distances
    number = Decimal(text)
    shown = plain(number)
    if _is_of_majors(order.pair):
        if number >= _LEAST_PIPS:
            return "PIPS"
        if len(text.partition(".")[2]) >= 3 and Decimal("0.3") <= number < 3:
            return "PRICE"
    raise refusal("unit_of_level", field=level, level=level, shown=shown, pair=order.pair)


def _rules(order: Order) -> dict[str, str]:
    """Return the stop rule and the spread filter. Raises InvalidInputError for pips of a symbol
    that has none, and for what may be a price."""
    found = {}
    for name in (*RULE_DISTANCES, "max_spread"):
        if (one := order.stated.values.pop(name, None)) is None:
            continue
        if asset_class(order.pair) is not AssetClass.FX:
            raise refusal(
                "pips_of_symbol", field=one.key, key=one.key, text=one.value, pair=order.pair
            )
        if read_decimal(one.value, field=one.key):
            read_pips(one.value, one.key)
        found[name] = one.value
    units = {"max_spread_unit": "PIPS"} if "max_spread" in found else {}
    has_rule = len(found) > len(units)
    return found | units | ({"stop_rule_unit": "PIPS"} if has_rule else {})
