"""Levels of positions: who executes them, as SQL, and how much a target closes.

Which levels a quote has reached is found in SQL, for all positions at once
(`execution/monitoring/level_monitor.py`).
"""

from collections.abc import Sequence
from decimal import Decimal

from common.db.price_search import reached_sql


def target_fraction(fractions: Sequence[Decimal], number: int) -> Decimal | None:
    """Return the fraction of the opened quantity that target `number` (from 1) closes. Pure.

    None: all that is left. This applies to the last target if the fractions sum to 1, because the
    remainder of rounding to the broker's step must not stay open, and to a target that the signal
    does not have.

    >>> target_fraction([Decimal("0.5"), Decimal("0.5")], 1)
    Decimal('0.5')
    """
    if number > len(fractions) or (number == len(fractions) and sum(fractions) >= 1):
        return None
    return fractions[number - 1]


def differs_sql(ours: str, theirs: str) -> str:
    """Return SQL: whether two levels of a position differ by more than brokers round. Never NULL.

    ours, theirs: expressions of a position.
    """
    return f"coalesce(abs({ours} - {theirs}) >= pip / 10, ({ours} IS NULL) <> ({theirs} IS NULL))"


def is_confirmed_sql(level: str) -> str:
    """Return SQL: whether the broker has confirmed that it holds a level (`sl`, `tp`).

    We monitor a level that was only sent. Up to a pip, because brokers round to their own ticks.
    """
    return f"coalesce({level}_guardian = 'BROKER' AND abs({level} - broker_{level}) < pip, false)"


def is_guarded_by_sql(level: str, guardian: str) -> str:
    """Return SQL: whether this guardian (`BROKER`, `ENGINE`) executes a level (`sl`, `tp`) now."""
    if guardian == "BROKER":
        return is_confirmed_sql(level)
    return f"({level}_guardian <> '' AND NOT {is_confirmed_sql(level)})"


def lacks_level_sql(of: str = "") -> str:
    """Return SQL: whether the broker should hold a level and has confirmed none.

    of: alias of the position's table with a point, such as `p.`.
    """
    return f"""({of}sl_guardian = 'BROKER' AND {of}sl IS NOT NULL AND {of}broker_sl IS NULL
  OR {of}tp_guardian = 'BROKER' AND {of}tp IS NOT NULL AND {of}broker_tp IS NULL)"""


LACKS_LEVEL_SQL = lacks_level_sql()


_REACHED = (
    ("BUY", "sl", ">=", "low_bid"),
    ("SELL", "sl", "<=", "high_ask"),
    ("BUY", "tp", "<=", "high_bid"),
    ("SELL", "tp", ">=", "low_ask"),
)


def held_levels_reached_sql() -> str:
    """Return a SELECT of the levels that brokers hold and that price ranges `q` have reached.

    q has source_id, pair, low_bid, high_bid, low_ask and high_ask. The rows are the level (`sl`,
    `tp`), the position's id and its connection.
    """
    return "\nUNION ALL ".join(_reached(*one) for one in _REACHED)


def _reached(side: str, level: str, comparison: str, price: str) -> str:
    of_pair = f"""SELECT id, connection_id FROM positions_executionposition
  WHERE price_source_id = q.source_id AND pair = q.pair AND side = '{side}' AND quantity > 0
    AND {level} IS NOT NULL AND {is_confirmed_sql(level)}"""
    return f"""SELECT '{level}' AS kind, p.id, p.connection_id
FROM q CROSS JOIN LATERAL ({reached_sql(of_pair, level, comparison, f"q.{price}")}) p"""
