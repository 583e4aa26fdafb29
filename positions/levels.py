"""How much a target closes. Pure.

Which levels a quote has reached is found in SQL, for all positions at once
(`execution/monitoring/level_monitor.py`).
"""

from collections.abc import Sequence
from decimal import Decimal


def target_fraction(fractions: Sequence[Decimal], number: int) -> Decimal | None:
    """Return the fraction of the opened quantity that target `number` (from 1) closes.

    None: all that is left. This applies to the last target if the fractions sum to 1, because the
    remainder of rounding to the broker's step must not stay open, and to a target that the signal
    does not have.

    >>> target_fraction([Decimal("0.5"), Decimal("0.5")], 1)
    Decimal('0.5')
    """
    if number > len(fractions) or (number == len(fractions) and sum(fractions) >= 1):
        return None
    return fractions[number - 1]
