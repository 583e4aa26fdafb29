"""Words about a position that mean several things: add, hedge, reverse, re-enter. Pure.

A feed's trades have no common size or stop, so each of these words could be another order. They are
refused with these readings, wherever they stand.
"""

import re
from collections.abc import Iterable

from alerts.dialects.reading import ambiguous, excerpt, not_understood
from alerts.dialects.vocabulary import Kind, Token
from common.errors import InvalidInputError

_SECOND_TRADE = "a second trade beside the open one"
_MORE = "more of the open one, with its stop and targets"
_NEW_ENTRY = "Send an entry of its own, with its stop: “BUY EURUSD @ 1.0820 SL 1.0800”."
_MEANINGS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("add|adds|adding|added", (_SECOND_TRADE, _MORE), _NEW_ENTRY),
    ("average|averaging|avg|dca|pyramid|pyramiding|martingale|double|doubling|layer|layers",
     (_SECOND_TRADE, _MORE), _NEW_ENTRY),
    ("scale|scaling", ("entries or exits in several steps", "one entry or exit now"),
     "Send one message for each entry; write “close half” for an exit."),
    ("re-?enter|re-?entry|re-?open|re-?buy|re-?sell",
     ("the last signal again, with its levels", "a new entry at the market"), _NEW_ENTRY),
    ("hedge|hedges|hedging",
     ("a trade on the other side beside the open one", "a close of the open one"),
     "Write “close EURUSD” for the one, send an entry of its own for the other."),
    ("reverse|reverses|reversing|flip|flips|flipping|switch",
     ("a close of the open trade", "a close and a new trade on the other side"),
     "Write “close EURUSD”, and send the new entry as a message of its own."),
    ("above|below|over|under",
     ("an order that waits for that price", "a condition, or a view of the chart"),
     "Write “BUY STOP @ 1.0900” or “BUY LIMIT @ 1.0800” for an order."),
)  # fmt: skip
_UNSUPPORTED = {
    "trailing": ("A text sets no trailing stop.", "Send JSON with trailing_distance."),
    "breakout": (
        "A breakout entry could fill at the price, or only once the price has left it.",
        "Write “BUY STOP EURUSD @ 1.0900” for an order beyond the market.",
    ),
}


def refuse_unclear_words(tokens: Iterable[Token]) -> None:
    """Raise InvalidInputError for a text with such a word."""
    for token in tokens:
        if token.kind is Kind.WORD and (error := unclear_word(token.text)):
            raise error


def unclear_word(text: str) -> InvalidInputError | None:
    """Return the error for a word with several meanings; None: it is none of them."""
    word = text.lower()
    for words, readings, write in _MEANINGS:
        if re.fullmatch(words, word):
            return ambiguous(excerpt(text), *readings, field="action", write=write)
    if word in _UNSUPPORTED:
        return not_understood(*_UNSUPPORTED[word])
    return None
