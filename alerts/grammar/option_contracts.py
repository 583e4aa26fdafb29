"""Posts about options: “BUY SPY 600 PUT @ 2.10”, “AAPL 200C 1/16”, “BTO”. Pure.

No broker is sent an option. Read without these words, the post would be an order for the share
itself at the price of the option, so its advice is never to leave one out.
"""

import re

from alerts.grammar.lexicon import Kind, Token, refused
from alerts.grammar.reading import excerpt, not_understood

_WORDS = refused("options")
_DAYS = re.compile("[0-9]{1,3}dte", re.ASCII | re.IGNORECASE)  # to expiry
_CONTRACT = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[Cc]|CE|PE|P)", re.ASCII)
_LABELS = (Kind.SL, Kind.STOP, Kind.TP)  # “SL 30P” are points
_KINDS = {"put", "ce", "pe"}  # behind a strike; else “put SL at BE”, or a share


def refuse_options(tokens: list[Token]) -> None:
    """Raise InvalidInputError for a text with a word of an option."""
    before = Token(Kind.LINE, "")
    for token in tokens:
        is_behind_strike = token.text.lower() in _KINDS and before.kind is Kind.NUMBER
        is_contract = _CONTRACT.fullmatch(token.text) and before.kind not in _LABELS
        if token.kind is Kind.WORD and (
            is_behind_strike
            or is_contract
            or token.text.lower() in _WORDS
            or _DAYS.fullmatch(token.text)
        ):
            raise not_understood(
                f"{excerpt(token.text)} can name an option, and options are not traded: do not "
                "just leave it out.",
                "Write BUY or SELL, the symbol and its own price if the symbol itself is to be "
                "traded.", field="symbol",
            )  # fmt: skip
        before = before if token.kind is Kind.MARK else token
