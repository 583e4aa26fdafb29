"""The number that a channel gives to a signal: “Signal No. 12”, “Trade ID: 4521”. Pure.

“No” is a number's word only before a number: “Signal: no” denies.
"""

import re

from alerts.grammar.kinds import NAMES
from alerts.grammar.lexicon import Kind, Token

_WORDS = {"no", "nr", "num", "number", "id", "ticket"}
_IDS = {"id", "ticket"}  # which say it alone
_GLUED = re.compile(r"(?:no|nr)\.([0-9]{1,12})", re.ASCII | re.IGNORECASE)  # “no.12”
_NUMBER = re.compile("#?[0-9]{1,12}", re.ASCII)
_MARKS = ".:#-"
_NAME, _ID = Token(Kind.DECOR, "signal"), Token(Kind.DECOR, "id")


def with_signal_numbers(tokens: list[Token]) -> list[Token]:
    """Return the tokens with “Signal #12” for such a number in a line of its own, or in front of a
    text that shows it: “Signal No. 12 BTCUSDT LONG”. “ID: 12” alone stays an ID."""
    found: list[Token] = []
    place = 0
    while place < len(tokens):
        starts_line = not found or found[-1].kind is Kind.LINE
        number, end = _number_of(tokens, place) if starts_line else ("", place)
        if number:
            is_named = tokens[place].text.lower() not in _IDS
            found += [_NAME if is_named else _ID, Token(Kind.DECOR, f"#{number}")]
            place = end
        else:
            found.append(tokens[place])
            place += 1
    return found


def _number_of(tokens: list[Token], start: int) -> tuple[str, int]:
    """Return the number that a line states, and the place behind it; '' for none."""
    place = start
    while place < len(tokens) and _is_name(tokens[place]):
        place += 1
    word = tokens[place].text.lower() if place < len(tokens) else ""
    glued = _GLUED.fullmatch(word)
    if not (glued or (word in _WORDS and (place > start or word in _IDS))):
        return "", start
    marked = place = place + 1
    while place < len(tokens) and tokens[place].text in tuple(_MARKS):
        place += 1
    number = glued[1] if glued else tokens[place].text if place < len(tokens) else ""
    if not _NUMBER.fullmatch(number):
        return "", start
    place = place if glued else place + 1
    is_line = place == len(tokens) or tokens[place].kind is Kind.LINE
    is_marked = glued or place > marked + 1 or (word != "no" and marked > start + 1)
    if not (is_line or (start == 0 and is_marked)):
        return "", start
    return number.removeprefix("#"), place


def _is_name(token: Token) -> bool:
    """Whether a word stands before the number of a signal: “VIP”, “signal”, “order”."""
    is_number = token.text.startswith("#") or token.text.lower() in _WORDS
    return (token.kind is Kind.DECOR or token.text.lower() in NAMES) and not is_number
