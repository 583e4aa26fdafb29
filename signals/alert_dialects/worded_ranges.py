"""Ranges of an entry in words, `1.0845 to 1.0850` and `from 1.0845 to 1.0850`. Pure.

“Sell gold from 2350 to 2330” can be the way that the price is to go. Beside a stop and a target it
is the place of the entry; else the words stay as they are, and the text is refused.
"""

from signals.alert_dialects.vocabulary import Kind, Token

_BEFORE = (Kind.SYMBOL, Kind.BUY, Kind.SELL, Kind.ENTRY, Kind.LIMIT)
_ENTRY_WORDS = {"from", "@", ":", "zone", "range", "at"}


def with_ranges(tokens: list[Token]) -> list[Token]:
    """Return the tokens of an entry with a dash for the “to” of its range."""
    kinds = {token.kind for token in tokens}
    places = [place for place, token in enumerate(tokens) if token.text.lower() == "to"]
    has_levels = {Kind.SL, Kind.TP} <= kinds and bool(kinds & {Kind.BUY, Kind.SELL})
    if not has_levels or len(places) != 1 or not _is_of_entry(tokens, places[0]):
        return tokens
    place = places[0]
    dash = Token(Kind.MARK, "-")
    is_from = tokens[place - 2].text.lower() == "from"
    return [*tokens[: place - 2 if is_from else place - 1], tokens[place - 1], dash,
            *tokens[place + 1 :]]  # fmt: skip


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
