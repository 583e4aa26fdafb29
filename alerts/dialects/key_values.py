"""`key=value` lines as AutoView's users write them, and Alertatron's command blocks. Pure.

One command is read. What depends on a position that only an exchange knows (a sell that could end a
holding or open a short trade) is refused.
"""

import re
from typing import Any

from alerts.dialects.option_values import require_one_value, require_size
from alerts.grammar.mapping import AlertMapping
from alerts.grammar.reading import (
    SIZING,
    AlertUpdate,
    Dialect,
    LevelForm,
    Note,
    Reading,
    ambiguous,
    excerpt,
    not_understood,
    require_entry_size,
    unread,
)
from common.errors import InvalidInputError
from common.money import read_decimal
from common.reason_codes import Code
from signals.models import Direction
from signals.symbols import read_symbol

_PAIR = re.compile(r"[A-Za-z]{1,12}=[^\s=]{1,60}", re.ASCII)
_IGNORED = {
    "e": "accounts choose where they trade", "a": "accounts choose where they trade",
    "q": SIZING, "l": SIZING, "u": SIZING, "leverage": SIZING, "amount": SIZING,
}  # fmt: skip
_TYPES = {"market": "MARKET", "limit": "LIMIT"}
_SIDES = {"long": Direction.BUY, "buy": Direction.BUY, "short": Direction.SELL}
WRITE_LINE = "Write one command like “e=oanda s=eurusd b=long t=market q=1”."
_BLOCK = re.compile(
    r"[A-Za-z][A-Za-z0-9_-]{0,40}\((?P<symbol>[A-Za-z0-9/_.:-]{3,30})\)\s*"
    r"\{\s*(?P<name>[A-Za-z]+)\((?P<options>[^(){}]*)\)\s*;?\s*\}\s*(?P<tag>#[A-Za-z]{1,20})?",
    re.ASCII,
)
WRITE_BLOCK = "Write one command like “Keys(BTCUSDT) { market(side=buy, amount=1); }”."


def is_key_value(text: str) -> bool:
    """Whether a text is made of key=value words, with a symbol among them."""
    words = text.split()
    if len(words) < 2 or not all("=" in word or word in "|&" for word in words):
        return False
    return any(word.lower().startswith("s=") for word in words)


def read_key_value(text: str, mapping: AlertMapping) -> Reading:
    """Return what an AutoView command says. Raises InvalidInputError."""
    if any(mark in text.strip() for mark in ("\n", "|", "&")):
        raise not_understood("It has several commands.", f"Send one alert each. {WRITE_LINE}")
    options: dict[str, str] = {}
    for word in text.split():
        if not _PAIR.fullmatch(word):
            raise not_understood(f"{excerpt(word)} is not key=value.", WRITE_LINE)
        name, _, value = word.partition("=")
        if name.lower() in options:
            raise InvalidInputError(Code.DUPLICATE_KEY, f"{name}= is there twice.", field=name)
        require_one_value(name.lower(), value, f"Put a space between two options. {WRITE_LINE}")
        options[name.lower()] = value
    _require_sizes(options)
    notes = [Note(f"{name}=", _IGNORED[name]) for name in _IGNORED if options.pop(name, None)]
    symbol = mapping.symbol_of(options.pop("s"))
    if close := options.pop("c", ""):
        return _ended(close, symbol, options, notes)
    document = _entry(symbol, options)
    return Reading(
        Dialect.KEY_VALUE, document, notes=tuple(notes), may_end=True, level_form=LevelForm.PRICE
    )


def _ended(close: str, symbol: str, options: dict[str, str], notes: list[Note]) -> Reading:
    """Return a close (c=position) or a cancel (c=order) of a symbol."""
    book = options.pop("b", "").lower()
    if options.pop("t", "market").lower() != "market":
        raise not_understood("A close is made at market.", "Leave t= out.", field="order_type")
    _refuse(options)
    sides = {"long": Direction.BUY, "short": Direction.SELL, "": None}
    if book not in sides:
        raise ambiguous(
            f"b={book} of a close", f"the {book} trade", f"a trade that a {book} ends",
            field="direction", write="Write b=long or b=short.",
        )  # fmt: skip
    side = sides[book]
    if close.lower() == "order":
        update = AlertUpdate(pair=read_symbol(symbol), side=side, cancels=True)
        return Reading(Dialect.KEY_VALUE, update=update, notes=tuple(notes))
    if close.lower() != "position":
        raise not_understood(f"c={excerpt(close)} is not order or position.", WRITE_LINE)
    _require_no_size(notes)
    document = {"action": "CLOSE", "symbol": symbol} | ({"direction": side.value} if side else {})
    return Reading(Dialect.KEY_VALUE, document, notes=tuple(notes))


def _no_fixed_price(name: str, value: str, field: str) -> InvalidInputError:
    if "%" in value:
        return ambiguous(
            f"{name}={value}", f"{value} of the price", f"{value} of the margin with leverage",
            field=field, write=f"Work the price out, and write it behind {name}=@.",
        )  # fmt: skip
    return ambiguous(
        f"{name}={value}", f"the price {value}", f"a distance of {value}", field=field,
        write=f"Write a fixed price behind {name}=@, and work it out from a distance.",
    )  # fmt: skip


def _require_no_size(notes: list[Note]) -> None:
    """Raise InvalidInputError for a close with a size, which is no share of a position."""
    if sized := [note.text for note in notes if note.text in ("q=", "amount=")]:
        raise ambiguous(
            f"{sized[0]} of a close", "a close of that much", "a close of everything",
            field=sized[0].rstrip("="),
            write='Leave it out to close everything, or send JSON with close_fraction.',
        )  # fmt: skip


def _entry(symbol: str, options: dict[str, str]) -> dict[str, Any]:
    book, kind = options.pop("b", "").lower(), options.pop("t", "").lower()
    if book == "sell":
        raise _unclear_sell("b=sell", "b=short, or c=position b=long to close")
    if book not in _SIDES:
        raise not_understood("It has no b=long or b=short.", WRITE_LINE, field="direction")
    if kind not in _TYPES:
        raise not_understood("It has no t=market or t=limit.", WRITE_LINE, field="order_type")
    document = {"action": "OPEN", "symbol": symbol, "direction": _SIDES[book].value,
                "order_type": _TYPES[kind]}  # fmt: skip
    for name, ours in (("fp", "open_price"), ("p", "open_price"), ("sl", "sl"), ("tp", "tp")):
        value = options.pop(name, None)
        if value is None:
            continue
        if not value.startswith("@") and name != "fp":
            raise _no_fixed_price(name, value, ours)
        if ours in document:
            raise InvalidInputError(Code.FIELD_INVALID, "Send fp= or p=, not both.", field=ours)
        document[ours] = value.removeprefix("@")
    if kind == "market" and "open_price" in document:
        raise _price_at_market(f"t=market with the price {document['open_price']}", "t=limit")
    _refuse(options)
    return document


def _price_at_market(what: str, limit: str) -> InvalidInputError:
    return ambiguous(
        what, "an entry at market", "an order at that price", field="open_price",
        write=f"Leave the price out, or write {limit}.",
    )  # fmt: skip


def _require_sizes(options: dict[str, str]) -> None:
    for name in ("q", "amount", "l", "leverage"):
        require_size(name, options.get(name, ""))
        require_entry_size(name, options.get(name, ""))


def _unclear_sell(what: str, write: str) -> InvalidInputError:
    return ambiguous(
        what, "open a short trade", "close a long one", field="direction", write=f"Write {write}."
    )


def _refuse(options: dict[str, str]) -> None:
    for name in options:
        raise unread(f"{name}=")


def is_command_block(text: str) -> bool:
    """Whether a text is `Keys(SYMBOL) { … }`."""
    return bool(re.match(r"\s*[A-Za-z][A-Za-z0-9_ -]{0,40}\([^()\n]{1,40}\)\s*\{", text, re.ASCII))


def read_command_block(text: str, mapping: AlertMapping) -> Reading:
    """Return what a command block says. Raises InvalidInputError."""
    match = _BLOCK.fullmatch(text.strip())
    if match is None:
        raise not_understood("It is not a block with one command.", WRITE_BLOCK)
    options: dict[str, str] = {}
    for part in filter(None, map(str.strip, match["options"].split(","))):
        name, equals, value = part.partition("=")
        name, value = name.strip().lower(), value.strip()
        if not equals or not value or name in options:
            raise not_understood(f"{excerpt(part)} is not one name=value.", WRITE_BLOCK)
        require_one_value(name, value, f"Put a comma between two options. {WRITE_BLOCK}")
        options[name] = value
    _require_sizes(options)
    notes = [Note(f"{name}=", _IGNORED[name]) for name in _IGNORED if options.pop(name, None)]
    symbol, name = mapping.symbol_of(match["symbol"]), match["name"].lower()
    if name == "cancel":
        if options.pop("which", "all") != "all":
            raise not_understood("Only which=all can be cancelled.", WRITE_BLOCK)
        _refuse(options)
        update = AlertUpdate(pair=read_symbol(symbol), cancels=True)
        return Reading(Dialect.COMMAND_BLOCK, update=update, notes=tuple(notes))
    if name not in _TYPES:
        raise not_understood(f"{excerpt(name)} cannot be carried out here.", WRITE_BLOCK)
    if "position" in options:
        return _target_position(symbol, name, options, notes)
    side = options.pop("side", "").lower()
    if side == "sell":
        raise _unclear_sell(
            "side=sell", "“SELL BTCUSDT NOW” to open a short trade, or market(position=0) to close"
        )
    if side != "buy":
        raise not_understood("It has no side=buy.", WRITE_BLOCK, field="direction")
    document = {"action": "OPEN", "symbol": symbol, "direction": "BUY", "order_type": _TYPES[name]}
    if offset := options.pop("offset", ""):
        if not offset.startswith("@"):
            raise not_understood(
                "An offset from the market is not a price.", "Write offset=@65000."
            )
        document["open_price"] = offset[1:]
        if name == "market":
            raise _price_at_market(f"market() with offset={offset}", "limit(…)")
    _refuse(options)
    return Reading(Dialect.COMMAND_BLOCK, document, notes=tuple(notes), may_end=True)


def _target_position(symbol: str, name: str, options: dict[str, str], notes: list[Note]) -> Reading:
    """Return the order to a position: 0 closes the symbol; else it ends long or short."""
    number = read_decimal(options.pop("position"), field="position_size")
    _refuse(options)
    if name != "market":
        raise not_understood("A position is taken at market.", WRITE_BLOCK, field="order_type")
    if not number:
        _require_no_size(notes)
        return Reading(
            Dialect.COMMAND_BLOCK, {"action": "CLOSE", "symbol": symbol}, notes=tuple(notes)
        )
    raise ambiguous(
        f"position={number}", "open a trade", "make one larger or smaller", field="position_size",
        write="Write market(side=buy, amount=1) to open, market(position=0) to close.",
    )  # fmt: skip
