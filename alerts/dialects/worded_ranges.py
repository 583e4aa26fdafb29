"""Ranges in words: `1.0845 to 1.0850`, `from 1.0845 to 1.0850`, and `5x to 10x`. Pure.

“Sell gold from 2350 to 2330” can be the way that the price is to go. Beside a stop and a target it
is the place of the entry; else the words stay as they are, and the text is refused.
"""

from alerts.dialects.tokens import is_multiple
from alerts.dialects.vocabulary import Kind, Token

_BEFORE = (Kind.SYMBOL, Kind.BUY, Kind.SELL, Kind.ENTRY, Kind.LIMIT, Kind.MARKET)
_DASH = Token(Kind.MARK, "-")
_ENTRY_WORDS = {"from", "@", ":", "zone", "range", "at"}


def with_ranges(tokens: list[Token]) -> list[Token]:
    """Return the tokens of an entry with a dash for the “to” of a range of leverage or price."""
    tokens = _with_leverage(tokens)
    kinds = {token.kind for token in tokens}
    places = [place for place, token in enumerate(tokens) if token.text.lower() == "to"]
    has_levels = {Kind.SL, Kind.TP} <= kinds and bool(kinds & {Kind.BUY, Kind.SELL})
    if not has_levels or len(places) != 1 or not _is_of_entry(tokens, places[0]):
        return tokens
    place = places[0]
    is_from = tokens[place - 2].text.lower() == "from"
    return [*tokens[: place - 2 if is_from else place - 1], tokens[place - 1], _DASH,
            *tokens[place + 1 :]]  # fmt: skip


def _with_leverage(tokens: list[Token]) -> list[Token]:
    ends = (Kind.NUMBER, Kind.LEVERAGE)
    return [
        _DASH
        if token.text.lower() == "to" and before.kind in ends and is_multiple(after.text)
        else token
        for before, token, after in zip(
            [_DASH, *tokens], tokens, [*tokens[1:], _DASH], strict=False
        )
    ]


def _is_of_entry(tokens: list[Token], place: int) -> bool:
    """Whether prices are on both sides of a “to”, where the price of an entry stands."""
    if not 2 <= place < len(tokens) - 1:
        return False
    if tokens[place - 1].kind is not Kind.NUMBER or tokens[place + 1].kind is not Kind.NUMBER:
        return False
    before = tokens[place - 2]
    is_entry = before.kind in _BEFORE or before.text.lower() in _ENTRY_WORDS
    labels = (Kind.SL, Kind.TP, Kind.STOP)
    return is_entry and not any(one.kind in labels for one in tokens[max(0, place - 4) : place])
