"""A feed's own mapping for alerts: where a JSON has its fields, and what the sender's words mean.

It is stored on the feed as JSON (`Feed.alert_mapping`). `read_mapping` is the only way in.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from alerts.grammar.decoration import forbidding
from alerts.grammar.symbols import without_suffix
from alerts.grammar.words import meaningful, turning
from common.errors import InvalidInputError, raise_all
from common.reason_codes import Code
from signals.models import Action, Direction
from signals.symbols import read_pair

MAX_ENTRIES = 200
MAX_WORD = 60
PATHS = (
    "symbol", "side", "price", "sl", "tp", "time", "external_id", "close_fraction", "note",
)  # fmt: skip
_PATH = re.compile(r"[A-Za-z0-9_-]{1,60}(\.[A-Za-z0-9_-]{1,60}){0,7}", re.ASCII)


class SideWord(StrEnum):
    """What a sender's word for the side can mean."""

    BUY = "BUY"
    SELL = "SELL"
    CLOSE = "CLOSE"
    CLOSE_BUY = "CLOSE_BUY"
    CLOSE_SELL = "CLOSE_SELL"

    @property
    def fields(self) -> dict[str, str]:
        """The action and the direction in our own fields."""
        if self in (SideWord.BUY, SideWord.SELL):
            return {"action": Action.OPEN.value, "direction": self.value}
        side = {SideWord.CLOSE_BUY: Direction.BUY, SideWord.CLOSE_SELL: Direction.SELL}.get(self)
        return {"action": Action.CLOSE.value} | ({"direction": side.value} if side else {})


@dataclass(frozen=True, slots=True)
class AlertMapping:
    """A feed's mapping. Words are upper-case.

    entry_price: how the price of a text is entered: LIMIT (not worse than it) or MARKET.
    distances: what sl=20 of a comma command is: PIPS, PERCENT, PRICE; '': by its size.
    """

    paths: Mapping[str, str] = field(default_factory=dict)
    symbols: Mapping[str, str] = field(default_factory=dict)
    sides: Mapping[str, SideWord] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    entry_price: str = "LIMIT"
    distances: str = ""

    def symbol_of(self, text: str) -> str:
        """Return what the feed means by a symbol: its own pair, else the text, without the suffix
        of a broker."""
        own = self.symbols.get(text.strip().upper())
        return without_suffix(text) if own is None else own


NO_MAPPING = AlertMapping()
CHOICES = {"entry_price": ("LIMIT", "MARKET"), "distances": ("", "PIPS", "PERCENT", "PRICE")}


def read_mapping(data: Any) -> AlertMapping:
    """Return a mapping as it is stored or sent. Raises InvalidInputError with all faults."""
    if not isinstance(data, Mapping):
        raise _fault("alert_mapping", "A mapping is an object: { … }.")
    if not data:
        return NO_MAPPING
    faults = [
        _fault(str(name)[:60], f"A mapping has no {str(name)[:60]!r}.")
        for name in data
        if name not in ("paths", "symbols", "sides", "ignore", *CHOICES)
    ]
    paths = _words(data, "paths", faults)
    for name, path in paths.items():
        if name not in PATHS:
            faults.append(_fault("paths", f"{name!r} is not one of {', '.join(PATHS)}."))
        elif not _PATH.fullmatch(path):
            faults.append(_fault("paths", f"{path!r} is not a path such as order.symbol."))
    if paths and not {"symbol", "side"} <= set(paths):
        faults.append(_fault("paths", "Give the paths of symbol and side."))
    symbols = {word.upper(): pair for word, pair in _words(data, "symbols", faults).items()}
    for word, pair in symbols.items():
        try:
            symbols[word] = read_pair(pair)
        except InvalidInputError as error:
            faults.append(_fault("symbols", error.detail))
    sides = {word.upper(): side.upper() for word, side in _words(data, "sides", faults).items()}
    known = ", ".join(SideWord)
    faults += [
        _fault("sides", f"{side!r} is not one of {known}.")
        for side in sides.values()
        if side not in SideWord.__members__
    ]
    faults += [
        _fault("sides", f"{word!r} has {found!r}: no word for a side can deny or doubt.")
        for word in sides
        if (found := turning(word))
    ]
    faults += _opposed(sides)
    ignore = _ignored(data.get("ignore", []), faults)
    chosen = {name: data.get(name, options[0]) for name, options in CHOICES.items()}
    for name, value in chosen.items():
        if value not in CHOICES[name]:
            options = ", ".join(option or "empty" for option in CHOICES[name])
            faults.append(_fault(name, f"It is one of {options}."))
    raise_all(faults)
    words = {word: SideWord(side) for word, side in sides.items()}
    return AlertMapping(paths, symbols, words, ignore, **chosen)


def _opposed(sides: Mapping[str, str]) -> list[InvalidInputError]:
    """Return a fault for each of our own words that would mean its opposite."""
    plain = {"BUY": "BUY", "LONG": "BUY", "SELL": "SELL", "SHORT": "SELL"}
    return [
        _fault("sides", f"{word} cannot mean {sides[word]}: texts already use the word.")
        for word, meaning in plain.items()
        if sides.get(word, meaning) in ("BUY", "SELL") and sides.get(word, meaning) != meaning
    ]


def _fault(name: str, detail: str) -> InvalidInputError:
    return InvalidInputError(Code.FIELD_INVALID, detail, field=name)


def _words(data: Mapping[str, Any], name: str, faults: list[InvalidInputError]) -> dict[str, str]:
    """Return an object of texts; faults are added if it is not one."""
    value = data.get(name, {})
    if not isinstance(value, Mapping) or len(value) > MAX_ENTRIES:
        faults.append(_fault(name, f"It is an object with at most {MAX_ENTRIES} texts."))
        return {}
    words = {}
    for word, meaning in value.items():
        texts = (word, meaning)
        if not all(isinstance(text, str) and 0 < len(text.strip()) <= MAX_WORD for text in texts):
            faults.append(_fault(name, f"Words have 1 to {MAX_WORD} characters."))
            return {}
        words[word.strip()] = meaning.strip()
    return words


def _ignored(value: Any, faults: list[InvalidInputError]) -> tuple[str, ...]:
    """Return the phrases to leave out; one that can turn a signal round is a fault."""
    is_texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if not is_texts or len(value) > MAX_ENTRIES:
        faults.append(_fault("ignore", f"It is a list of at most {MAX_ENTRIES} texts."))
        return ()
    phrases = tuple(phrase.strip() for phrase in value if phrase.strip())
    for phrase in phrases:
        if len(phrase) < 4 or len(phrase) > 200 or any(letter.isdigit() for letter in phrase):
            faults.append(_fault("ignore", "A phrase has 4 to 200 characters and no digits."))
        elif found := meaningful(phrase) or forbidding(phrase):
            detail = f"{phrase[:40]!r} has {found!r}, which can change a signal."
            faults.append(_fault("ignore", detail))
    return phrases
