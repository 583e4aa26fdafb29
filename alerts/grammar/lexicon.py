"""The words that texts of signals are made of, as `lexicon.toml` has them, and their kinds. Pure.

The list is closed: a text with any other word is refused, which is why a denial or a report is
never read as a signal.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from alerts.grammar.notation import Grammar, rules_of


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


def pattern(group: str, name: str) -> re.Pattern[str]:
    """Return what finds the phrases of a group; %name% in one of them is a part of the group."""
    text = "|".join(LEXICON[group][name])
    for part, body in LEXICON[group].get("parts", {}).items():
        text = text.replace(f"%{part}%", body)
    return re.compile(text, re.IGNORECASE)


def refused(name: str) -> frozenset[str]:
    """Return the words of a group that are refused by name."""
    return frozenset(LEXICON["refused"][name])


_UNITS = {"lot", "lots", "contracts", "units", "qty", "quantity"}
_LEVERS, _MODES = {"leverage", "lev"}, {"cross", "isolated"}
_FRAME_LABELS = {"timeframe", "time frame", "tf"}
_RISK_WORDS = {"low", "medium", "moderate", "high"}
# What a number behind it can count: “signal 128”.
NAMES = {"signal", "signals", "trade", "alert", "new signal", "new trade", "signalid", "order",
         "signal alert", "gold signal"}  # fmt: skip
PIPS = re.compile(r"([0-9]+(?:\.[0-9]+)?)pips?", re.IGNORECASE)
_POINTS = re.compile(r"([0-9]+(?:\.[0-9]+)?)p(?:ts?|oints?)?", re.IGNORECASE)
_CHART = re.compile("[mhd][0-9]{1,2}|[1-9][hd]", re.ASCII | re.IGNORECASE)
_FRAME = re.compile("[1-9][0-9]{0,2}(m|min|h|d|w)", re.ASCII | re.IGNORECASE)
MOST_MINUTES = 1440  # of a chart's candle: a day

NUMBERS = ("ONE", "DIGIT", "TEN", "WHOLE", "DECIMAL")
CLASSES = {
    "NUMBER": NUMBERS,
    "SMALL": ("ONE", "DIGIT"),
    "INTEGER": NUMBERS[:4],
    "COUNT": ("ONE", "DIGIT", "TEN"),
    "SIDE": ("BUY", "SELL"),
    "LEVEL": ("SL", "STOP", "TP", "TP_N"),
    "TARGET": ("TP", "TP_N"),
    "NOW": ("MARKET", "MARKET_WORD"),
    "DESCRIPTION": ("DECOR", "NAME", "CHART", "SYMBOL"),
    "AFTER": ("LINE", "(", ","),
}
ENTRY = Grammar(rules_of((Path(__file__).parent / "entry.grammar").read_text("utf-8")), CLASSES)
END = Token(Kind.LINE, "\n")


def kinds_of(tokens: Sequence[Token]) -> list[str]:
    """Return the kind of each word, and the end of a line behind them."""
    return [*map(kind_of, tokens), "LINE"]


def kind_of(token: Token) -> str:
    """Return the kind of a word."""
    kind, text = token.kind, token.text.lower()
    match kind:
        case Kind.MARK | Kind.FILLER:
            return text
        case Kind.NUMBER:
            return _number(text)
        case Kind.TP:
            return "TP_N" if token.index else "TP"
        case Kind.ENTRY:
            return "ENTRY_N" if token.index > 1 else text if text == "between" else "ENTRY"
        case Kind.LEVERAGE:
            return "LEVER" if text in _LEVERS else "MODE" if text in _MODES else "TIMES"
        case Kind.SIZE:
            return "UNIT" if text in _UNITS else "MARGIN" if text == "margin" else "SIZE"
        case Kind.LABEL:
            return "FRAME_LABEL" if text in _FRAME_LABELS else "LABEL"
        case Kind.MARKET:
            return "MARKET_WORD" if text == "market" else "MARKET"
        case Kind.DECOR:
            return _description(text)
        case Kind.WORD:
            return _word(token.text)
    return kind.name


def _number(text: str) -> str:
    if not text.isdigit() or text[0] == "0":
        return "DECIMAL"
    short = ("", "ONE" if text == "1" else "DIGIT", "TEN")
    return short[len(text)] if len(text) < len(short) else "WHOLE"


def _description(text: str) -> str:
    if text in NAMES:
        return "NAME"
    return "LISTED" if text.startswith("#") else "CHART" if _CHART.fullmatch(text) else "DECOR"


def _word(text: str) -> str:
    lower = text.lower()
    if lower in ENTRY.letters:  # quoted in the grammar
        return lower
    if PIPS.fullmatch(lower):
        return "PIPS_OF"
    if lower in _RISK_WORDS:
        return "RISK_WORD"
    return "FRAME" if is_frame(text) else "POINTS_OF" if _POINTS.fullmatch(lower) else "WORD"


def is_frame(text: str) -> bool:
    """Whether a text is the length of a chart's candles: 4h, or 240 minutes."""
    return bool(_FRAME.fullmatch(text)) or (text.isdigit() and 0 < int(text) <= MOST_MINUTES)


_TIMES = re.compile(r"[0-9]{1,3}(\.[0-9])?x|x[0-9]{1,3}", re.ASCII | re.IGNORECASE)


def is_multiple(text: str) -> bool:
    """Whether a word is a leverage, `10x`."""
    return bool(_TIMES.fullmatch(text))
