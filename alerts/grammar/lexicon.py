"""The words that texts of signals are made of, as `lexicon.toml` has them. The list is closed:
a text with any other word is refused, which is why a denial or a report is never read as a signal.
"""

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / name).read_text("utf-8"))


LEXICON, BOUNDS = _read("lexicon.toml"), _read("bounds.toml")


class Kind(StrEnum):
    """What a word is."""

    BUY = "buy"
    SELL = "sell"
    LIMIT = "limit"
    STOP_ORDER = "stop order"
    STOP_LIMIT = "stop limit"
    MARKET = "market"
    ENTRY = "entry"
    SL = "sl"
    STOP = "stop"  # the stop loss, or a stop order
    TP = "tp"
    SYMBOL = "symbol"
    NUMBER = "number"
    PERCENT = "percent"
    PIPS = "pips"
    OPEN_END = "open"  # a target without a price
    SIZE = "size"
    LEVERAGE = "leverage"
    RISK = "risk"
    RATIO = "ratio"
    LABEL = "label"
    FILLER = "filler"
    DECOR = "decoration"
    MARK = "mark"
    LINE = "line"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Token:
    """A part of a text. index: of a target or an entry. pair: of a symbol. is_money: a number with
    a $."""

    kind: Kind
    text: str
    pair: str = ""
    index: int = 0
    is_money: bool = False


PHRASES: dict[tuple[str, ...], Kind] = {
    tuple(phrase.split()): Kind[kind.upper()]
    for language in LEXICON["words"].values()
    for kind, phrases in language.items()
    for phrase in phrases
}
LONGEST = max(map(len, PHRASES))
WORDS = frozenset(word for phrase in PHRASES for word in phrase)
PREFIXED = {("buy", "limit"): (Kind.BUY, Kind.LIMIT), ("sell", "limit"): (Kind.SELL, Kind.LIMIT),
            ("buy", "stop"): (Kind.BUY, Kind.STOP_ORDER),
            ("sell", "stop"): (Kind.SELL, Kind.STOP_ORDER)}  # fmt: skip
GLUED: dict[str, str] = LEXICON["glued"]
NOT_SYMBOLS = frozenset(LEXICON["symbols"]["words"])


def emoji(*names: str) -> frozenset[str]:
    """Return the emoji of these groups."""
    return frozenset("".join(LEXICON["emoji"][name] for name in names))


def refused(name: str) -> frozenset[str]:
    """Return the words of a group that are refused by name."""
    return frozenset(LEXICON["refused"][name])
