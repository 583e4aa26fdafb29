"""What the figures of a refusal are of: a name, a unit, and the bound that was broken. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Bound(StrEnum):
    """What a value is compared with. The value is the name of the bound in stored figures."""

    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    ALLOWED = "allowed"  # a list, such as of symbols
    COMPARED_WITH = "compared_with"  # another price or quantity


BASE_UNIT, ACCOUNT_CURRENCY = "{base}", "{currency}"
"""Units that differ by order: the symbol's base, and the account's currency."""
OF_EQUITY = "% of equity"
SECONDS = "s"


@dataclass(frozen=True, slots=True)
class Limit:
    """What a code's figures are of. word: what the bound is called, if not by its own name."""

    name: str
    unit: str = ""
    bound: Bound = Bound.MAXIMUM
    word: str = ""


def price(name: str, other: str) -> Limit:
    """Return that a price is compared with another."""
    return Limit(name, bound=Bound.COMPARED_WITH, word=other)


def seconds(name: str, bound: Bound = Bound.MAXIMUM) -> Limit:
    """Return that a time in seconds is limited."""
    return Limit(name, SECONDS, bound)
