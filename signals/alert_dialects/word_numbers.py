"""Numbers that may belong to the word before them: “signal 15”, “TF: 240”, “H1 15”. Pure.

They are not the price of an entry. The length of a chart's candles is whole and small, 1.0850 is no
word's number, and 2350 only that of a signal.
"""

import re

from common.errors import InvalidInputError
from signals.alert_dialects.reading import ambiguous
from signals.alert_dialects.vocabulary import Kind, Token

FRAMES = ("timeframe", "time frame", "tf")
NAMES_OF_NUMBER = {"signal", "signals", "trade", "alert", "new signal", "new trade", "id", "order",
                   "signal alert", "gold signal"}  # fmt: skip
_FRAME = re.compile("[1-9][0-9]{0,2}(m|min|h|d|w)", re.ASCII | re.IGNORECASE)
_MOST_MINUTES = 1440
_PRICED = (
    Kind.LIMIT, Kind.STOP_ORDER, Kind.STOP_LIMIT, Kind.MARKET, Kind.ENTRY,
)  # fmt: skip
_BESIDE = (Kind.SYMBOL, Kind.BUY, Kind.SELL)


def is_frame(text: str) -> bool:
    """Whether a text is the length of a chart's candles: 4h, or 240 minutes."""
    return bool(_FRAME.fullmatch(text)) or (text.isdigit() and 0 < int(text) <= _MOST_MINUTES)


def number_of_word(before: Token, text: str, *, is_aside: bool) -> InvalidInputError | None:
    """Return the error for a number that may belong to the word before it; None: it is the price.

    is_aside: it is in parentheses.
    """
    word, kind = before.text, before.kind
    if kind in _PRICED or word == "execution" or (kind in _BESIDE and not is_aside):
        return None
    is_of_signal = text.isdigit() and word in NAMES_OF_NUMBER
    if not (kind is Kind.LABEL or is_of_signal or (text.isdigit() and is_frame(text))):
        return None
    return ambiguous(
        f"“{word} ({text})”" if is_aside else f"“{word} {text}”", f"the price {text}",
        f"a number of “{word}”", field="open_price",
        write=f"Write “@ {text}” for a price, or leave it out.",
    )  # fmt: skip
