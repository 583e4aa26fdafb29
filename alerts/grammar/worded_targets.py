"""Targets that are labelled “Take”, as a stop is “Stop”: `Take: 1.0900`, `Take 1: 1.0900`. Pure.

“Take half” and “take 1:2” are about an open trade or a ratio, and stay as they are.
"""

from dataclasses import replace

from alerts.grammar.lexicon import Kind, Token

_LEAST_DIGITS = 3  # of a price behind a number: 1:2 and 1:10 are ratios


def with_takes(tokens: list[Token]) -> list[Token]:
    """Return the tokens of an entry with a target for each “take” that labels a price."""
    kinds = {token.kind for token in tokens}
    if not (kinds & {Kind.BUY, Kind.SELL} and kinds & {Kind.SL, Kind.STOP}):
        return tokens
    ahead = [*tokens, *[Token(Kind.LINE, "")] * 3]
    return [
        replace(token, kind=Kind.TP, text="tp") if _is_label(*ahead[place : place + 4]) else token
        for place, token in enumerate(tokens)
    ]


def _is_label(word: Token, first: Token, second: Token, third: Token) -> bool:
    """Whether these begin with “take:” or “take 1:”, and a price."""
    if word.kind is not Kind.WORD or word.text.lower() != "take":
        return False
    if first.text in (":", "="):
        return second.kind is Kind.NUMBER
    is_numbered = first.text in set("123456789") and second.text in (":", "=")
    return is_numbered and third.kind is Kind.NUMBER and len(third.text) >= _LEAST_DIGITS
