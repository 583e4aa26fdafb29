"""Which mark separates decimals in a text, and which thousands: its clear numbers show it. Pure.

`17,350` alone could be 17.35 or 17350. Beside `17,580.5` the commas of its writer separate
thousands; beside `189,00` or `1,0850` they separate decimals. `2.345,50` shows both at once. Where
a text shows two habits, or none, its numbers stay as they are, and unclear ones are refused.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from common.units import AssetClass
from signals.alert_dialects.vocabulary import Kind, Token
from signals.symbols import asset_class

_COMMA_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+", re.ASCII)
_COMMA_AND_POINT = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+\.[0-9]+", re.ASCII)
_DECIMAL_COMMA = re.compile(r"(?:0|[1-9][0-9]*),[0-9]+", re.ASCII)
_CLEAR_DECIMAL_COMMA = re.compile(r"[1-9][0-9]*,0(?:[0-9]|[0-9]{3,})?|0,[0-9]+|[1-9],[0-9]{4,}")
_POINT_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?:\.[0-9]{3})+", re.ASCII)
_POINT_AND_COMMA = re.compile(r"[1-9][0-9]{0,2}(?:\.[0-9]{3})+,[0-9]{1,2}", re.ASCII)


def with_clear_numbers(tokens: list[Token]) -> list[Token]:
    """Return the tokens with those numbers written as in English that the habit makes clear."""
    texts = [token.text for token in tokens if token.kind is Kind.NUMBER]
    rewrite = _habit(texts, has_currencies=_has_currencies(tokens))
    if rewrite is None:
        return tokens
    return [
        replace(token, text=rewrite(token.text)) if token.kind is Kind.NUMBER else token
        for token in tokens
    ]  # fmt: skip


def _habit(texts: list[str], *, has_currencies: bool) -> Callable[[str], str] | None:
    """Return how to write a number of the one habit that a text shows; None: none, or several."""
    has_english = any(map(_COMMA_AND_POINT.fullmatch, texts))
    has_continental = any(map(_POINT_AND_COMMA.fullmatch, texts)) and not has_currencies
    has_decimal_comma = any(map(_CLEAR_DECIMAL_COMMA.fullmatch, texts))
    if has_english and not (has_continental or has_decimal_comma):
        return _without_commas
    if has_continental and not has_english:
        return _without_points
    if has_decimal_comma and not has_english:
        return _with_point
    return None


def _has_currencies(tokens: list[Token]) -> bool:
    """Whether a text names a pair of currencies, of which hardly one is quoted in thousands."""
    return any(
        token.kind is Kind.SYMBOL and asset_class(token.pair) is AssetClass.FX for token in tokens
    )


def _without_commas(text: str) -> str:
    return text.replace(",", "") if _COMMA_THOUSANDS.fullmatch(text) else text


def _without_points(text: str) -> str:
    if _POINT_AND_COMMA.fullmatch(text) or _POINT_THOUSANDS.fullmatch(text):
        text = text.replace(".", "")
    return _with_point(text)


def _with_point(text: str) -> str:
    is_decimal = _DECIMAL_COMMA.fullmatch(text) and len(text.partition(",")[2]) != 3
    return text.replace(",", ".") if is_decimal else text
