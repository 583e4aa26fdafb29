"""Numbers that are only a part of one: of a time, a date, or a price with a gap. Pure."""

import re
from collections.abc import Sequence
from itertools import pairwise

from alerts.grammar.lexicon import Token
from alerts.grammar.reading import not_understood
from common.errors import InvalidInputError

_HOUR, _PAIR = "(?:[01]?[0-9]|2[0-3])", "[0-5][0-9]"
_TIME = re.compile(rf"(?<![0-9.,]){_HOUR} : {_PAIR}(?: : {_PAIR})?(?![0-9.,])")
_JOINT = "( ?[-/.] ?)"
_DATE = re.compile(
    rf"(?<![0-9.,])(?:20[0-9]{{2}}{_JOINT}[01]?[0-9]\1[0-3]?[0-9]"
    rf"|[0-3]?[0-9]{_JOINT}[01]?[0-9]\2(?:20)?[0-9]{{2}})(?![0-9.,])"
)
_FIRST_GROUP, _GROUP = re.compile("[1-9][0-9]{0,2}"), re.compile(r"[0-9]{3}(?:[.,][0-9]+)?")


def part_of_number(tokens: Sequence[Token], place: int) -> InvalidInputError | None:
    """Return the error for a number that is only a part: of a time, 14:30, of a date, 2026-11-28,
    or of a price with a space, 64 500; None: it is none of them."""
    around = " ".join(token.text for token in tokens[max(0, place - 4) : place + 5])
    if found := _DATE.search(around) or _TIME.search(around):
        return not_understood(
            f"{found[0].replace(' ', '')} is no price.",
            "Leave it out; if it is when the signal was sent, write it at the end, like "
            "2026-11-28T14:30:00Z.",
        )  # fmt: skip
    texts = [token.text for token in tokens[max(0, place - 1) : place + 2]]
    for before, number in pairwise(texts):
        if _FIRST_GROUP.fullmatch(before) and _GROUP.fullmatch(number):
            return not_understood(
                f"{before} {number} has a space in it.",
                f"Write {before}{number} if it is one number.",
            )
    return None
