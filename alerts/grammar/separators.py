"""Which mark separates decimals in a text, and which thousands: its clear numbers show it. Pure.

`17,350` alone could be 17.35 or 17350. Beside `17,580.5` the commas of its writer separate
thousands; beside `189,00` or `1,0850` they separate decimals. `2.345,50` shows both at once. Where
a text shows two habits, or none, its numbers stay as they are, and unclear ones are refused.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import islice

from alerts.grammar.levels import magnitude
from alerts.grammar.lexicon import Kind, Token
from alerts.grammar.numbers import may_be_in_thousands
from alerts.grammar.tokens import is_multiple

_SIZES = {Kind.SIZE, Kind.LEVERAGE, Kind.RISK, Kind.RATIO}

_FAR = 10  # how far below a symbol's prices a number must be to be none of them
_COMMA_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+", re.ASCII)
_COMMA_AND_POINT = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+\.[0-9]+", re.ASCII)
_DECIMAL_COMMA = re.compile(r"(?:0|[1-9][0-9]*),[0-9]+", re.ASCII)
_CLEAR_DECIMAL_COMMA = re.compile(r"[1-9][0-9]*,0(?:[0-9]|[0-9]{3,})?|0,[0-9]+|[1-9],[0-9]{4,}")
_POINT_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?:\.[0-9]{3})+", re.ASCII)
_POINT_AND_COMMA = re.compile(r"[1-9][0-9]{0,2}(?:\.[0-9]{3})+,[0-9]{1,2}", re.ASCII)


def with_clear_numbers(tokens: list[Token]) -> list[Token]:
    """Return the tokens with those numbers written as in English that the habit makes clear.

    Prices show it and follow it; a size may be copied from elsewhere.
    """
    prices = {place for place, token in enumerate(tokens) if _is_price(tokens, place)}
    texts = [tokens[place].text for place in sorted(prices)]
    pairs = [token.pair for token in tokens if token.kind is Kind.SYMBOL]
    rewrite = _habit(texts, in_thousands=all(map(may_be_in_thousands, pairs)))
    if rewrite is None and pairs and _are_only_thousands(texts, pairs):
        rewrite = _without_commas
    if rewrite is None:
        return tokens
    return [
        replace(token, text=rewrite(token.text)) if place in prices else token
        for place, token in enumerate(tokens)
    ]


def _is_price(tokens: list[Token], place: int) -> bool:
    """Whether a number is of no size, leverage or risk: `lot 0.10`, `0.10 lots`. In `66,000 | 10x`
    the leverage has its own number."""
    if tokens[place].kind is not Kind.NUMBER:
        return False
    before = next(_words(tokens, range(place - 1, -1, -1)), None)
    after = list(islice(_words(tokens, range(place + 1, len(tokens))), 2))
    is_unit = bool(after) and after[0].kind in _SIZES and not is_multiple(after[0].text)
    is_unit &= [one.kind for one in after[1:]] != [Kind.NUMBER]
    return not (is_unit or (before is not None and before.kind in _SIZES))


def _are_only_thousands(texts: list[str], pairs: list[str]) -> bool:
    """Whether 43,000 is no price of these symbols with a decimal comma, and one with thousands: a
    bitcoin at 43 is not sold."""
    unclear = [text for text in texts if _COMMA_THOUSANDS.fullmatch(text)]
    for low, high in map(magnitude, pairs):
        for text in unclear:
            as_decimal, as_whole = (
                Decimal(text.replace(",", ".", 1).replace(",", "")),
                Decimal(text.replace(",", "")),
            )
            if as_decimal * _FAR >= low or not low <= as_whole <= high:
                return False
    return True


def _words(tokens: list[Token], places: range) -> Iterator[Token]:
    """Yield the tokens at these places, without marks."""
    return (tokens[place] for place in places if tokens[place].kind is not Kind.MARK)


def _habit(texts: list[str], *, in_thousands: bool) -> Callable[[str], str] | None:
    """Return how to write a number of the one habit that a text shows; None: none, or several.

    in_thousands: whether its symbol may be quoted so, and 2.345,50 be a price.
    """
    has_english = any(map(_COMMA_AND_POINT.fullmatch, texts))
    has_continental = any(map(_POINT_AND_COMMA.fullmatch, texts)) and in_thousands
    has_decimal_comma = any(map(_CLEAR_DECIMAL_COMMA.fullmatch, texts))
    if has_english and not (has_continental or has_decimal_comma):
        return _without_commas
    if has_continental and not has_english:
        return _without_points
    if has_decimal_comma and not has_english:
        return _with_point
    return None


def _without_commas(text: str) -> str:
    return text.replace(",", "") if _COMMA_THOUSANDS.fullmatch(text) else text


def _without_points(text: str) -> str:
    if _POINT_AND_COMMA.fullmatch(text) or _POINT_THOUSANDS.fullmatch(text):
        text = text.replace(".", "")
    return _with_point(text)


def _with_point(text: str) -> str:
    is_decimal = _DECIMAL_COMMA.fullmatch(text) and len(text.partition(",")[2]) != 3
    return text.replace(",", ".") if is_decimal else text
