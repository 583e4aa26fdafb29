"""Entries whose words could also be about the open trade. Pure.

“SELL EURUSD” opens a short trade, or ends a long one, and so does “SELL EURUSD @ 1.0900”: who ends
a trade states its price, too, or waits for it with a limit. LONG and SHORT, a stop, and a price
with a target show that it is an entry. Beside a share or “position” a price shows nothing.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from alerts.grammar.lexicon import Kind, Token
from alerts.grammar.numbers import read_number
from alerts.grammar.reading import SIZING, Note, Reading, ambiguous, excerpt
from common.errors import InvalidInputError

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
        raise _may_end(named, "a close of the one that is open")
    for note in (*reading.notes, *notes):
        if note.reason == SIZING and (share := _share(note.text)):
            raise _may_end(f"{share}% without a stop or target", "a close of that share")
    return replace(reading, may_end=is_bare)


def is_clear_entry(reading: Reading) -> bool:
    """Whether an entry's levels show that it opens a trade: a stop, or a target beyond its price.
    A target alone can be where a trade is to end."""
    document = reading.document
    if document.get("sl") is not None or any(one.level == "sl" for one in reading.distances):
        return True
    has_price = any(document.get(name) is not None for name in _PRICES)
    return has_price and any(document.get(name) is not None for name in ("targets", "tp"))


def _may_end(what: str, ending: str) -> InvalidInputError:
    return ambiguous(what, "an entry", ending, field="action", write=_WRITE)


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
