"""The levels that matter to a position, pure. Which of them a quote has reached is asked in SQL, of
all positions at once (`execution/monitoring/level_monitor.py`)."""

from collections.abc import Sequence
from decimal import Decimal


def target_fraction(fractions: Sequence[Decimal], number: int) -> Decimal | None:
    """Return the share of what was opened that target `number` (from 1) closes.

    None: all that is left. That is the last target's if the fractions sum to 1 (what flooring to
    the broker's step left over must not stay open), and a target's that the signal does not know.

    >>> target_fraction([Decimal("0.5"), Decimal("0.5")], 1)
    Decimal('0.5')
    """
    if number > len(fractions) or (number == len(fractions) and sum(fractions) >= 1):
        return None
    return fractions[number - 1]
