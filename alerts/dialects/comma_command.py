"""Comma commands as PineConnector's users write them: `licence,buy,EURUSD,sl=20,tp=40`. Pure.

Levels without a unit are pips for pairs of major currencies, where no price looks like that. Where
a number could be a price as well as pips, it is refused; sl_pips, sl_price and sl_pct are clear.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from alerts.dialects.comma_levels import require_clear_price, take_levels
from alerts.dialects.comma_refusals import REFUSED
from alerts.dialects.hidden_secrets import HIDDEN
from alerts.dialects.option_values import require_one_value, require_size
from alerts.grammar.bare_entry import is_clear_entry
from alerts.grammar.mapping import AlertMapping
from alerts.grammar.reading import (
    SIZING,
    AlertUpdate,
    Dialect,
    Distance,
    LevelForm,
    Note,
    Reading,
    ambiguous,
    excerpt,
    not_understood,
    require_entry_size,
    unread,
)
from alerts.grammar.targets import read_pips
from common.errors import InvalidInputError
from common.money import read_decimal
from common.reason_codes import Code
from common.units import AssetClass
from signals.models import Action, Direction
from signals.reading.draft import Target
from signals.symbols import asset_class, read_symbol

BUY, SELL = Direction.BUY, Direction.SELL
_MARKET = {"buy": BUY, "long": BUY, "bull": BUY, "bullish": BUY,
           "sell": SELL, "short": SELL, "bear": SELL, "bearish": SELL}  # fmt: skip
_CLEAR = {"long", "short", "bull", "bullish", "bear", "bearish"}
_PENDING = {"buylimit": (BUY, "LIMIT"), "selllimit": (SELL, "LIMIT"),
            "buystop": (BUY, "STOP"), "sellstop": (SELL, "STOP")}  # fmt: skip
_CLOSE = {"closelong": BUY, "closeshort": SELL, "closelongshort": None}
# A close of the one side and an entry of the other: the side of the entry.
_REVERSAL = {"closelongsell": SELL, "closelongopenshort": SELL,
             "closeshortbuy": BUY, "closeshortopenlong": BUY}  # fmt: skip
_CANCEL = {"cancellong": BUY, "cancelshort": SELL}
_MODIFY = {"newsltplong": BUY, "newsltpshort": SELL}
COMMANDS = {*_MARKET, *_PENDING, *_CLOSE, "closeall", *_REVERSAL, *_CANCEL, *_MODIFY}
_LICENCE = re.compile(rf"[0-9]{{8,20}}|[A-Za-z0-9-]{{16,60}}|{HIDDEN}", re.ASCII)
_SIZES = frozenset({
    "vol_lots", "vol_dollar", "vol_pct", "vol_pct_bal_loss", "vol_pct_eq_loss",
    "vol_pct_bal_margin", "lots",
})  # fmt: skip
_IGNORED = {
    **dict.fromkeys(("risk", *sorted(_SIZES)), SIZING), "secret": "the address is the secret here",
}  # fmt: skip
_RULES = {"betrigger": "break_even_profit", "beoffset": "break_even_offset",
          "trailtrig": "trailing_activation", "traildist": "trailing_distance",
          "trailstep": "trailing_step"}  # fmt: skip
WRITE = "Write it like “licence,buy,EURUSD,sl_pips=20,tp_pips=40”."


def is_comma_command(text: str) -> bool:
    """Whether a text is a licence or a command, then more after a comma."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) < 2 or "\n" in text.strip():
        return False
    first, second = parts[0].lower(), parts[1].lower()
    is_licence = parts[0] == HIDDEN or any(letter.isdigit() for letter in first)
    has_licence = bool(_LICENCE.fullmatch(parts[0])) and is_licence
    return first in COMMANDS or (has_licence and bool(re.fullmatch("[a-z]+", second, re.ASCII)))


def read_comma_command(text: str, mapping: AlertMapping) -> Reading:
    """Return what a comma command says. Raises InvalidInputError."""
    parts = [part.strip() for part in text.strip().split(",")]
    if parts[0].lower() not in COMMANDS:
        parts = parts[1:]  # the licence: the address is the secret here
    command = parts[0].lower()
    if command in REFUSED:
        raise not_understood(f"{command} cannot be carried out here.", REFUSED[command])
    if command not in COMMANDS:
        known = ", ".join(sorted(COMMANDS))
        raise not_understood(f"{excerpt(parts[0])} is no command.", f"Known are: {known}.")
    options = _options(parts[2:])
    if command in _CLOSE and (sizes := sorted(_SIZES & options.keys())):
        raise ambiguous(
            f"{sizes[0]}= of {command}", "a close of that much", "a close of everything",
            field=sizes[0],
            write="Leave it out to close everything, or send JSON with close_fraction.",
        )  # fmt: skip
    for name in ("risk", *sorted(_SIZES)):
        require_size(name, options.get(name, ""))
        require_entry_size(name, options.get(name, ""))
    notes = [Note(f"{name}=", _IGNORED[name]) for name in _IGNORED if options.pop(name, None)]
    if command == "closeall":
        if len(parts) > 1 and parts[1].lower() not in ("", command):
            raise ambiguous(
                f"closeall with {excerpt(parts[1])}", "a close of that symbol", "a close of all",
                field="symbol", write="Write “closeall,” for all symbols, else closelong.",
            )  # fmt: skip
        _refuse_options(options, "comment")
        return _reading({"action": "CLOSE", "all": True}, options, notes)
    if len(parts) < 2 or not parts[1]:
        raise not_understood("It has no symbol.", WRITE, field="symbol")
    symbol = mapping.symbol_of(parts[1])
    pair = read_symbol(symbol)
    if command in _CANCEL:
        _refuse_options(options)
        update = AlertUpdate(pair=pair, side=_CANCEL[command], cancels=True)
        return Reading(Dialect.COMMA_COMMAND, update=update, notes=tuple(notes))
    if command in _CLOSE:
        _refuse_options(options, "comment")
        side = _CLOSE[command]
        document = {"action": "CLOSE", "symbol": symbol} | (
            {"direction": side.value} if side else {}
        )
        return _reading(document, options, notes)
    levels, distances = take_levels(options, pair, mapping)
    if command in _MODIFY:
        _refuse_options(options)
        return _modified(pair, _MODIFY[command], levels, distances, notes)
    if command in _REVERSAL:
        return _reversed(command, symbol, options, levels, distances, notes)
    return _entry(command, symbol, options, levels, distances, notes)


def _entry(
    command: str,
    symbol: str,
    options: dict[str, str],
    levels: dict[str, str],
    distances: tuple[Distance, ...],
    notes: list[Note],
) -> Reading:
    """Return the entry of buy, sellstop and their like."""
    side, kind = _PENDING.get(command) or (_MARKET[command], "MARKET")
    document: dict[str, Any] = {
        "action": Action.OPEN.value, "symbol": symbol, "direction": side.value, "order_type": kind,
    } | levels  # fmt: skip
    price = _pending_price(options)
    if price is not None:
        document["stop_price" if kind == "STOP" else "open_price"] = price
        require_clear_price(command, kind, price, read_symbol(symbol), levels)
    document |= _rules(options, read_symbol(symbol))
    _refuse_options(options, "comment")
    reading = _reading(document, options, notes, distances)
    # “sell” is also what a strategy sends when it ends its long position.
    is_bare = command not in _CLEAR and not is_clear_entry(reading)
    return replace(reading, may_end=is_bare)


def _reversed(
    command: str,
    symbol: str,
    options: dict[str, str],
    levels: dict[str, str],
    distances: tuple[Distance, ...],
    notes: list[Note],
) -> Reading:
    """Return the order of a strategy that ends the one side and begins the other."""
    if distances:
        raise not_understood(
            f"{command} with levels in pips or percent is not read.",
            "Send sl_price= and tp_price=, or the close and the entry as two alerts.", field="sl",
        )  # fmt: skip
    side = _REVERSAL[command]
    after, before = ("long", "short") if side is BUY else ("short", "long")
    document: dict[str, Any] = {
        "ticker": symbol, "action": side.lower(), "market_position": after,
        "prev_market_position": before,
    } | levels | _rules(options, read_symbol(symbol))  # fmt: skip
    _refuse_options(options, "comment")
    if comment := options.get("comment"):
        document["note"] = comment
    return Reading(
        Dialect.COMMA_COMMAND, document, notes=tuple(notes), needs_time=False,
        level_form=LevelForm.PRICE,
    )  # fmt: skip


def _rules(options: dict[str, str], pair: str) -> dict[str, str]:
    """Take the stop rule and the spread filter out of the options; return them in our fields.

    Raises InvalidInputError for pips of a symbol that has none, and for what may be a price.
    """
    for name in (*_RULES, "spread"):
        if name not in options:
            continue
        if asset_class(pair) is not AssetClass.FX:
            raise ambiguous(
                f"{name}={options[name]} of {pair}", "that many pips", "that many points",
                f"a distance of {options[name]} in its price", field=name,
                write=f"Leave {name} out, or send our own JSON with stop_rule_unit "
                "(docs/trailing.md).",
            )  # fmt: skip
        if Decimal(0) != read_decimal(options[name], field=name):
            read_pips(options[name], name)
    rules = {_RULES[name]: options.pop(name) for name in _RULES if name in options}
    if rules:
        rules["stop_rule_unit"] = "PIPS"
    if spread := options.pop("spread", None):
        rules |= {"max_spread": spread, "max_spread_unit": "PIPS"}
    return rules


def _pending_price(options: dict[str, str]) -> str | None:
    """Take the price of an entry out of the options."""
    given = [name for name in ("price", "entry_price", "pending") if name in options]
    if len(given) > 1:
        raise not_understood(f"{given[0]}= and {given[1]}= are both there.", "Send one price.")
    return options.pop(given[0]) if given else None


def _options(parts: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        name, value = name.strip().lower(), value.strip().strip('"')
        if not equals or not value:
            raise not_understood(f"{excerpt(part)} is not name=value.", WRITE)
        if name in options:
            raise InvalidInputError(Code.DUPLICATE_KEY, f"{name}= is there twice.", field=name[:60])
        require_one_value(name, value, f"Put a comma between two options. {WRITE}")
        options[name] = value
    return options


def _refuse_options(options: Mapping[str, str], *known: str) -> None:
    for name in options:
        if name not in known:
            raise unread(f"{name}=")


def _reading(
    document: dict[str, Any],
    options: Mapping[str, str],
    notes: list[Note],
    distances: tuple[Distance, ...] = (),
) -> Reading:
    if comment := options.get("comment"):
        document["note"] = comment
    return Reading(
        Dialect.COMMA_COMMAND, document, notes=tuple(notes), distances=distances,
        level_form=LevelForm.PRICE,
    )  # fmt: skip


def _modified(
    pair: str,
    side: Direction,
    levels: dict[str, str],
    distances: tuple[Distance, ...],
    notes: list[Note],
) -> Reading:
    """Return the new levels of an open trade, which must be prices."""
    if distances or not levels:
        detail = "New levels of an open trade are prices: send sl_price= or tp_price=."
        raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="sl")
    numbers = {name: Decimal(text) for name, text in levels.items()}
    targets = (Target(numbers["tp"], Decimal(1)),) if "tp" in numbers else ()
    update = AlertUpdate(pair=pair, side=side, sl=numbers.get("sl"), targets=targets)
    return Reading(Dialect.COMMA_COMMAND, update=update, notes=tuple(notes))
