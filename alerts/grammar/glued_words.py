"""Symbols to which a missing gap has glued another word: `EURUSD:NOW`, `XAUUSD2345`. Pure.

Read as one symbol, the first would be an entry in ServiceNow, the second one without its price.
"""

import re
from collections.abc import Collection

from alerts.grammar.lexicon import WORDS
from common.errors import InvalidInputError
from signals.symbols import is_currency_or_metal, is_exchange, known_pair

_VOCABULARY = WORDS - {"usdt"}
_JOINT = re.compile("([/:._-])")
# With a price or a chart's length behind it: XAUUSD2345, EURUSD1H.
_PRICED = re.compile(r"(?P<pair>[A-Za-z]{6,9})[0-9][0-9.]*[A-Za-z]?", re.ASCII)
_ORDERED = re.compile(
    r"(?P<pair>[A-Za-z0-9]{3,12}?)(?:now|market|cmp|limit|stop|buy|sell|long|short|sl|tp[0-9]?|entry)",
    re.ASCII | re.IGNORECASE,
)
_CHART = re.compile("[0-9]{1,2}[mhdw]|[mhdw][0-9]{1,2}", re.ASCII | re.IGNORECASE)
_LONG = 6
_DATE = re.compile("[0-9]{6}", re.ASCII)  # of a contract: BTCUSDT_260327


def is_glued(text: str, words: Collection[str]) -> bool:
    """Whether a word is a symbol and something else. words: in capitals, that are no symbols."""
    head, *rest = _JOINT.split(text)
    if not rest:
        match = _PRICED.fullmatch(text) or _ORDERED.fullmatch(text)
        return match is not None and not _is_pair(text) and _is_pair(match["pair"])
    if (match := _PRICED.fullmatch(head)) and _is_pair(match["pair"]):
        return True
    if head.lower() in _VOCABULARY and len(rest[1]) >= _LONG and _is_pair(rest[1]):
        return rest[0] != ":"  # LIMIT/EURUSD; a label's colon stays one
    if rest[0] == ":" and is_exchange(head):
        return False  # NYSE:NOW
    parts = list(zip(rest[::2], rest[1::2], strict=True))
    is_other = any(
        part.upper() in words
        or part.lower() in _VOCABULARY
        or _is_number(joint, part)
        or _CHART.fullmatch(part)
        for joint, part in parts
    )
    joint, tail = parts[0]
    is_settled = is_currency_or_metal(tail) or tail.upper().startswith("USD")
    return is_other or (joint == ":" and _is_pair(head) and not is_settled)


def _is_number(joint: str, part: str) -> bool:
    return part.isdigit() and not (joint in "-_" and _DATE.fullmatch(part))


def _is_pair(text: str) -> bool:
    try:
        return bool(known_pair(text))
    except InvalidInputError:
        return False
