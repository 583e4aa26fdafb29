"""Shares of a trade that is open, and instructions about one that are not read. Pure.

A number that could be a share, a size, a gain or a price is refused with these readings.
"""

from decimal import ROUND_DOWN, Decimal

from alerts.grammar.numbers import EXACT, PLACE, read_number
from alerts.grammar.reading import ONE, refusal, refused_by
from common.errors import InvalidInputError
from common.money import plain

_WORDS = {"half": (1, 2), "third": (1, 3), "quarter": (1, 4), "two thirds": (2, 3),
          "three quarters": (3, 4)}  # fmt: skip
_LEAST_PERCENT = 10  # who closes a part closes more; less than that is rather what was gained


def read_share(word: str) -> Decimal:
    """Return the share that a word means: half, 1 / 3, 30%. Raises InvalidInputError."""
    if word.endswith("%"):
        return _percent(word)
    part, whole = (
        (int(digit) for digit in word.split(" / "))
        if "/" in word
        else _WORDS[word.removeprefix("a ").removeprefix("one ")]
    )
    if part >= whole:
        raise refusal("no_part", word=word)
    return EXACT.divide(Decimal(part), Decimal(whole)).quantize(PLACE, ROUND_DOWN).normalize()


def _percent(word: str) -> Decimal:
    percent = read_number(word[:-1], field="close_fraction")
    if percent > 100:
        raise refusal("more_than_all", word=word)
    if percent < _LEAST_PERCENT:
        as_fraction = [f"{plain(percent * 100)} % of the trade"] if percent < 1 else []
        raise refusal("small_percent", *as_fraction, word=word)
    return percent / 100


def read_reduction(word: str, how: str) -> Decimal:
    """Return the share that is closed by “reduce by 30%” or “to 30%”. how: by, to; ''.

    Raises InvalidInputError, also ALERT_AMBIGUOUS if by and to differ and neither is there.
    """
    share = read_share(word)
    if how == "to" and share == ONE:
        raise refusal("reduction_to_all")
    if how == "to":
        return ONE - share
    if not how and share * 2 != ONE:
        raise refusal("reduction_by_or_to", word=word, round=round((ONE - share) * 100, 2))
    return share


def unread_instruction(clause: str) -> InvalidInputError:
    """Return the error for an instruction that is not read, with its readings if it has some."""
    return refused_by("instruction", clause)  # type: ignore[return-value]  # the last entry fits all
