"""Entries as people write them: `BUY EURUSD @ 1.0850 SL 1.0800 TP1 1.0900 TP2 1.0950`. Pure.

Every word must be understood. A price is a limit: the entry is not worse than it. Of a range the
edge that the market reaches first counts. Targets without shares get equal ones.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

from alerts.grammar.entry_price import read_entry_price
from alerts.grammar.levels import require_plausible
from alerts.grammar.lexicon import Kind, Token
from alerts.grammar.mapping import AlertMapping
from alerts.grammar.numbers import (
    EXACT,
    equal_parts,
    mixed_separators,
    read_number,
    thousands_with_point,
    with_clear_numbers,
)
from alerts.grammar.reading import ONE, SIZING, Dialect, Note, Reading, excerpt, refusal
from alerts.grammar.slots import Slots
from alerts.grammar.statements import read_statements
from alerts.grammar.symbols import is_any_word
from alerts.grammar.two_readings import require_one_reading
from common.errors import InvalidInputError
from common.money import plain
from signals.common_names import is_spoken, other_names
from signals.models import Action, Direction

_LEVELS = {"sl", "targets"}
_PRICES = {"open_price", "stop_price", "price"}
_CLEAR = {"long", "short", "open", "enter"}  # “short EURUSD”, “open sell”: always entries
_ENTRIES = {"entry", "entry price", "entry point", "entry zone", "entry range", "entry level"}
_TRADES = {"position", "trade"}
_WITHOUT_PRICE = _TRADES | {"order"}  # “sell order EURUSD @ 1.0900” is an entry
_LABELLED = {":", "=", "-", "size"}  # behind a label: “position: long”, “position size 2%”
_LEAST_SHARE = Decimal(10)  # a percent below it is a size, since it is too little to close
_WRITE = "Write “LONG …” or “SHORT …” to open a trade, “close …” or “close 50% …” to end one."


def with_doubt(reading: Reading, tokens: list[Token], notes: Iterable[Note]) -> Reading:
    """Return an entry, marked if it may end a trade that is open on the other side.

    notes: of the lines around it. Raises InvalidInputError ALERT_AMBIGUOUS if its own words say
    that it is about a trade that is there.
    """
    sides = [token.text.lower() for token in tokens if token.kind in (Kind.BUY, Kind.SELL)]
    if any(_CLEAR & set(words.split()) for words in sides):
        return reading
    has_entry = any(token.kind is Kind.ENTRY and token.text in _ENTRIES for token in tokens)
    is_bare = not (has_entry or is_clear_entry(reading))
    if reading.distances or _LEVELS & set(reading.document):
        return replace(reading, may_end=is_bare)
    has_price = bool(_PRICES & set(reading.document))
    if named := _named_trade(tokens, _TRADES if has_price else _WITHOUT_PRICE):
        raise refusal("may_end", what=named, ending="a close of the one that is open")
    for note in (*reading.notes, *notes):
        if note.reason == SIZING and (share := _share(note.text)):
            what = f"{share}% without a stop or target"
            raise refusal("may_end", what=what, ending="a close of that share")
    return replace(reading, may_end=is_bare)


def is_clear_entry(reading: Reading) -> bool:
    """Whether an entry's levels show that it opens a trade: a stop, or a target beyond its price.
    A target alone can be where a trade is to end."""
    document = reading.document
    if document.get("sl") is not None or any(one.level == "sl" for one in reading.distances):
        return True
    has_price = any(document.get(name) is not None for name in _PRICES)
    return has_price and any(document.get(name) is not None for name in ("targets", "tp"))


def _named_trade(tokens: list[Token], words: Collection[str]) -> str:
    """Return the first of these words in a line with a side or symbol, unless it is a label."""
    line: list[Token] = []
    for token in (*tokens, Token(Kind.LINE, "")):
        if token.kind is not Kind.LINE:
            line.append(token)
            continue
        is_about_it = any(one.kind in (Kind.BUY, Kind.SELL, Kind.SYMBOL) for one in line)
        for one, after in pairwise((*line, token)):
            if is_about_it and one.text.lower() in words and after.text.lower() not in _LABELLED:
                return excerpt(one.text)
        line = []
    return ""


def _share(size: str) -> str:
    """Return the number of a size in percent that could be a share of a trade; '' if there is
    none."""
    number, percent, _ = size.strip("'").partition("%")
    words = number.split()
    if not percent or not words or "risk" in size.lower():
        return ""
    try:
        return words[-1] if read_number(words[-1]) >= _LEAST_SHARE else ""
    except InvalidInputError:
        return words[-1]


def read_entry(
    tokens: list[Token], mapping: AlertMapping, trend: str = "", sent_at: str = ""
) -> Reading:
    """Return the entry that a text's tokens say. trend: the side to which its emoji point.

    Raises InvalidInputError.
    """
    tokens = with_clear_numbers(tokens)
    numbers = [token.text for token in tokens if token.kind is Kind.NUMBER]
    if error := mixed_separators(numbers):
        raise error
    parts = read_statements(tokens)
    side = _side(parts, trend)
    pair = _symbol(parts)
    if error := thousands_with_point(pair, parts.prices):
        raise error
    document: dict[str, Any] = {
        "action": Action.OPEN.value, "symbol": pair, "direction": side.value,
    }  # fmt: skip
    _require_symbol(parts)
    require_one_reading(tokens, parts)
    entry = read_entry_price(parts, pair, side)
    document |= _order(parts, entry, mapping)
    if parts.sl:
        document["sl"] = _text(read_number(parts.sl, field="sl"))
    targets = [
        (read_number(target.price, field="targets"), target) for target in parts.targets
        if target.price
    ]  # fmt: skip
    if targets:
        document["targets"] = list(_targets([price for price, _ in targets], parts))
    require_plausible(pair, side, entry, document, [price for price, _ in targets])
    if sent_at:
        document["time"] = sent_at
    notes = (*parts.notes, *_order_notes(document, parts))
    has_levels = bool(parts.sl or targets or parts.distances)
    return Reading(
        Dialect.TEXT, document, notes=notes, distances=tuple(parts.distances),
        levels_alone=has_levels and entry is None and Kind.MARKET not in parts.types,
    )  # fmt: skip


def _side(parts: Slots, trend: str) -> Direction:
    if not parts.sides and (parts.sl or parts.targets) and not parts.entry:
        raise refusal("levels_without_side")
    if not parts.sides:
        raise refusal("no_side")
    if len(set(parts.sides)) > 1:
        raise refusal("both_sides")
    side = parts.sides[0]
    if trend and trend != side:
        pointing = "up" if trend == Direction.BUY else "down"
        raise refusal("side_against_arrow", side=side, pointing=pointing)
    return side


def _symbol(parts: Slots) -> str:
    if not parts.pairs:
        raise refusal("no_symbol")
    pairs = _without_names(parts.pairs)
    if len(pairs) > 1:
        raise refusal("several_symbols", *pairs)
    return pairs[0]


def _require_symbol(parts: Slots) -> None:
    """Raise InvalidInputError for “BUY KOSPI NOW”, in which nothing shows a symbol: no price and no
    level. An upper-case word beside a side can be any word."""
    has_price = parts.entry or parts.sl or parts.targets or parts.distances
    if parts.word and not has_price and is_any_word(parts.word):
        raise refusal("word_or_symbol", word=parts.word)


def _without_names(pairs: list[str]) -> list[str]:
    """Return the symbols without a common name beside its pair, “Gold (XAUUSD)”."""
    bases = {base for base, slash, _ in (pair.partition("/") for pair in pairs) if slash}
    return [pair for pair in pairs if not _is_name_of(pair, bases)]


def _is_name_of(pair: str, bases: Set[str]) -> bool:
    base, slash, _ = pair.partition("/")
    return (not slash or is_spoken(base)) and bool(other_names(base) - {base} & bases)


def _order(parts: Slots, entry: Decimal | None, mapping: AlertMapping) -> dict[str, Any]:
    """Return the order type and its price."""
    kinds = set(parts.types)
    if Kind.STOP_LIMIT in kinds:
        raise refusal("stop_limit_in_text")
    if len(kinds) > 1:
        words = [kind.value for kind in dict.fromkeys(parts.types)]  # in the order of the text
        raise refusal("several_order_types", *words)
    if Kind.LIMIT in kinds or Kind.STOP_ORDER in kinds:
        word = "limit" if Kind.LIMIT in kinds else "stop"
        if entry is None:
            raise refusal("order_without_price", word=word)
        if word == "stop":
            return {"order_type": "STOP", "stop_price": _text(entry)}
        return {"order_type": "LIMIT", "open_price": _text(entry)}
    if entry is None:
        return {"order_type": "MARKET"}
    is_market = Kind.MARKET in kinds or mapping.entry_price == "MARKET"
    return {"order_type": "MARKET" if is_market else "LIMIT", "open_price": _text(entry)}


def _order_notes(document: Mapping[str, Any], parts: Slots) -> Iterator[Note]:
    if document["order_type"] == "MARKET" and document.get("open_price"):
        yield Note(document["open_price"], "the price is compared with the market, not ordered")
    if document["order_type"] == "LIMIT" and Kind.LIMIT not in parts.types:
        reason = "the entry is a limit order: at this price or better"
        yield Note(f"@ {document['open_price']}", reason, explains=True)


def _targets(prices: list[Decimal], parts: Slots) -> Iterator[dict[str, str]]:
    """Yield the targets with their shares, in the order of the text."""
    shares = [target.share for target in parts.targets if target.price]
    given = [share for share in shares if share]
    if given and len(given) < len(parts.targets):
        raise refusal("shares_of_some_targets")
    if given:
        fractions = [EXACT.divide(read_number(share), Decimal(100)) for share in given]
        if sum(fractions) != ONE:
            raise refusal("shares_or_gains")
    else:
        fractions = equal_parts(len(parts.targets))[: len(prices)]
    for price, fraction in zip(prices, fractions, strict=True):
        yield {"price": _text(price), "fraction": plain(fraction)}


def _text(number: Decimal) -> str:
    return f"{number:f}"  # with the decimals of the text: 150.00 is a price, 150 may be pips
