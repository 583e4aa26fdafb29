"""What to write instead of a word of an entry that is not understood. Pure.

The advice to leave a word out is only for words without which the signal is the same.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from alerts.grammar.lexicon import PHRASES, WORDS, refused
from alerts.grammar.numbers import without_k
from alerts.grammar.reading import ambiguous, excerpt, not_understood
from alerts.grammar.turning_words import meaningful, turning
from common.errors import InvalidInputError
from common.units import AssetClass
from signals.symbols import asset_class, is_asset, known_pair, needs_currency

WRITE = "Write it like “BUY EURUSD @ 1.0850 SL 1.0800 TP1 1.0900 TP2 1.0950”."
WRITE_UPDATE = "Write “close EURUSD”, “close half EURUSD” or “cancel EURUSD” about an open trade."
_POINTS = {"point", "points", "pts", "pt"}
_VOCABULARY = sorted(WORDS)
_INSTRUCTIONS, _CHOICES, _FOREIGN = map(refused, ("instructions", "choices", "foreign"))
_LEAST_LETTERS, _LIKENESS = 4, 0.8  # of a typing error
_GLUED_TARGET = re.compile(
    "tp([1-9])([0-9]+(?:[.][0-9]+)?|[.][1-9][0-9]+)", re.ASCII | re.IGNORECASE
)
_SHORT_TARGET = re.compile("t([1-9])", re.ASCII | re.IGNORECASE)
_LABEL_AND_POINT = re.compile(r"(tp|sl)\.([0-9]{2,})", re.ASCII | re.IGNORECASE)
_STOP_OF_SEVERAL = re.compile("(?:sl|stop)[1-9]", re.ASCII | re.IGNORECASE)
_ORDINAL = re.compile("1st|2nd|3rd|first|second|third|final", re.ASCII | re.IGNORECASE)


def unknown_word(
    text: str, others: Iterable[str], *, has_symbol: bool, is_beside_side: bool
) -> InvalidInputError:
    """Return the error for a word that is not understood. others: all such words of the text.

    One that can turn the signal round is named first. has_symbol: whether the text has one.
    """
    if match := _GLUED_TARGET.fullmatch(text):
        return ambiguous(
            excerpt(text), f"a target at {match[1]}{match[2]}",
            f"target {match[1]} at {match[2].removeprefix('.')}", field="targets",
            write="Write a space or a colon before the price.",
        )  # fmt: skip
    if match := _SHORT_TARGET.fullmatch(text):
        return not_understood(
            f"{excerpt(text)} is not understood.", f"Write “TP{match[1]}: …” for a target.",
            field="targets",
        )  # fmt: skip
    if match := _LABEL_AND_POINT.fullmatch(text):
        return not_understood(
            f"{excerpt(text)} is not understood.", f"Write “{match[1].upper()} {match[2]}”."
        )
    if error := foreign_word(text) or _unread_part(text):
        return error
    if price := without_k(text):
        return not_understood(f"{excerpt(text)} is no price that is read.", f"Write {price}.")
    if turned := next((one for one in others if turning(one) and not _asset(one)), ""):
        return not_understood(
            f"{excerpt(turned)} can deny, delay or report: without it this would be another "
            "message, so do not just leave it out.",
            f"Send the signal alone, when it is to be executed. {WRITE}",
        )
    if not has_symbol and (_asset(text) or (is_beside_side and not _meant(text))):
        return _symbol(text)
    if meant := _meant(text):
        return not_understood(
            f"{excerpt(text)} is not understood.", f"Did you mean {meant.upper()}? {WRITE}"
        )
    if text.lower() in _INSTRUCTIONS | _CHOICES:
        return _not_to_leave_out(text)
    if meaningful(text):
        return _not_to_leave_out(text)
    return not_understood(
        f"{excerpt(text)} is not understood.",
        "Leave it out if the signal is the same without it, or add it to what the feed's mapping "
        f"ignores. {WRITE}",
    )


def _not_to_leave_out(text: str) -> InvalidInputError:
    return not_understood(
        f"{excerpt(text)} is not understood, and can change what the signal says: do not just "
        "leave it out.", WRITE_UPDATE if text.lower() in _INSTRUCTIONS else WRITE,
    )  # fmt: skip


def _unread_part(text: str) -> InvalidInputError | None:
    """Return the error for a part that has another form here: points, a second stop, an ordinal."""
    if text.lower() in _POINTS:
        return ambiguous(
            excerpt(text), "pips", "points, a tenth of that", "whole points of an index",
            field="sl", write="Write the price, or “20 pips” of a currency pair.",
        )  # fmt: skip
    if _STOP_OF_SEVERAL.fullmatch(text):
        return not_understood(
            f"{excerpt(text)} numbers several stops.", "Write one “SL 1.0800”.", field="sl"
        )
    if text.lower() == "ticket":
        return not_understood(
            f"{excerpt(text)} is read at the beginning of a line, with its number.",
            "Write “Ticket: 123456” in a line of its own.",
        )  # fmt: skip
    if _ORDINAL.fullmatch(text):
        return not_understood(
            f"{excerpt(text)} is no number that is read.",
            "Number targets as “TP1 1.0900 TP2 1.0950”; send one message for each entry.",
        )  # fmt: skip
    return None


def foreign_word(text: str) -> InvalidInputError | None:
    """Return the error for a word of another language for buying or selling; None: it is none."""
    if text.lower() not in _FOREIGN:
        return None
    return not_understood(
        f"{excerpt(text)} is not English.",
        "If it is your word for BUY or SELL, set it among the words of the feed's mapping "
        "(docs/alerts.md#mapping).", field="direction",
    )  # fmt: skip


def _meant(text: str) -> str:
    """Return the word of the vocabulary of which this is a typing error; '' if there is none."""
    word = text.lower()
    if len(word) < _LEAST_LETTERS or not word.isalpha():
        return ""
    if word in _VOCABULARY:  # only in a phrase: “take profit”
        return min((" ".join(one) for one in PHRASES if word in one), key=len)
    near = [one for one in _VOCABULARY if abs(len(one) - len(word)) <= 1]
    return next(iter(get_close_matches(word, near, n=1, cutoff=_LIKENESS)), "")


def _asset(text: str) -> str:
    """Return the name in capitals of what is traded: BTC, US30; '' for another word."""
    name = text.lstrip("#$").upper()
    return name if is_asset(name) or _listed(name) else ""


def _listed(name: str) -> str:
    try:
        return known_pair(name)
    except InvalidInputError:
        return ""


def _symbol(text: str) -> InvalidInputError:
    """Return the error for a word that is rather the symbol, in a form that is not read."""
    name = _asset(text)
    if (pair := _listed(name)) and not needs_currency(name):
        return not_understood(
            f"{excerpt(text)} can also be a word.", f"Write {pair}.", field="symbol"
        )
    if name:
        is_coin = asset_class(f"{name}/USD") is AssetClass.CRYPTO
        return not_understood(
            f"{excerpt(text)} is no symbol with one meaning.",
            f"Write the pair, like {name}/USDT." if is_coin else "Write the pair, like EUR/USD.",
            field="symbol",
        )
    return not_understood(
        f"{excerpt(text)} is not understood as a symbol.",
        "Write the pair, like BTC/USDT or EUR/USD, or a share's exchange, like NASDAQ:AAPL.",
        field="symbol",
    )
