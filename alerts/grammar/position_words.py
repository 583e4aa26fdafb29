"""Words about a position that mean several things: add, hedge, reverse, re-enter. Pure.

A feed's trades have no common size or stop, so each of these words could be another order. They are
refused with these readings, wherever they stand.
"""

from collections.abc import Iterable

from alerts.grammar.lexicon import LEXICON, Kind, Token
from alerts.grammar.reading import ambiguous, excerpt, not_understood
from common.errors import InvalidInputError

_MEANINGS = {word: one for one in LEXICON["meanings"] for word in one["words"]}


def refuse_unclear_words(tokens: Iterable[Token]) -> None:
    """Raise InvalidInputError for a text with such a word."""
    for token in tokens:
        if token.kind is Kind.WORD and (error := unclear_word(token.text)):
            raise error


def unclear_word(text: str) -> InvalidInputError | None:
    """Return the error for a word with several meanings; None: it is none of them."""
    found = _MEANINGS.get(text.lower())
    if found is None:
        return None
    if found["readings"]:
        return ambiguous(excerpt(text), *found["readings"], field="action", write=found["write"])
    return not_understood(found["subject"], found["write"])
