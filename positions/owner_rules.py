"""The trailing stop that the owner of a position sets by hand, in place of the rule that it has.

Its break-even rule stays. Prices from before do not count: the stop follows from now on, else it
could be put beyond the market by a price that was reached before. Lock the position first, as for
all that changes its rule.
"""

from dataclasses import dataclass
from decimal import Decimal

from common.db.sql import run
from connections.selectors import PRESET_JOIN_SQL, connection_join_sql
from positions.rule_model import DEFAULT_MIN_SECONDS, RuleOrigin


@dataclass(frozen=True, slots=True)
class Trailing:
    """How a stop trails. Distances are in `unit` ('': the usual one of the symbol)."""

    distance: Decimal
    step: Decimal | None = None
    activation: Decimal | None = None
    unit: str = ""


SET_TRAILING = f"""
INSERT INTO positions_stoprule AS r (position_id, trailing_origin, trailing_distance, trailing_step,
  trailing_activation, trailing_unit, min_seconds, known_stop, water_mark_at, due_at)
SELECT p.id, '{RuleOrigin.OWNER.value}', %(distance)s, %(step)s, %(activation)s, %(unit)s,
  coalesce(t.stop_move_seconds, {DEFAULT_MIN_SECONDS}), p.sl, clock_timestamp(), clock_timestamp()
FROM positions_executionposition p
{connection_join_sql("p.connection_id")}
{PRESET_JOIN_SQL}
WHERE p.id = %(position_id)s
ON CONFLICT (position_id) DO UPDATE SET trailing_origin = EXCLUDED.trailing_origin,
  trailing_distance = EXCLUDED.trailing_distance, trailing_step = EXCLUDED.trailing_step,
  trailing_activation = EXCLUDED.trailing_activation, trailing_unit = EXCLUDED.trailing_unit,
  known_stop = EXCLUDED.known_stop, water_mark = NULL, water_mark_at = EXCLUDED.water_mark_at,
  resumes_beyond = NULL, due_at = EXCLUDED.due_at
"""

END_TRAILING = """
UPDATE positions_stoprule SET trailing_origin = '', trailing_distance = NULL, trailing_step = NULL,
  trailing_activation = NULL, trailing_unit = '', resumes_beyond = NULL, due_at = clock_timestamp()
WHERE position_id = %(position_id)s
  AND (break_even_target IS NOT NULL OR break_even_profit IS NOT NULL)
"""

DROP_RULE = """
WITH dropped AS (
  DELETE FROM positions_stoprule WHERE position_id = %(position_id)s
    AND break_even_target IS NULL AND break_even_profit IS NULL
  RETURNING position_id
)
UPDATE positions_executionposition p SET stop_moves_at = NULL
FROM dropped WHERE p.id = dropped.position_id
"""


def set_trailing(position_id: int, trailing: Trailing) -> None:
    """Let the stop of a locked position trail; it is judged by the next price."""
    run(
        SET_TRAILING,
        {
            "position_id": position_id,
            "distance": trailing.distance,
            "step": trailing.step,
            "activation": trailing.activation,
            "unit": trailing.unit,
        },
    )


def end_trailing(position_id: int) -> None:
    """Let the stop of a locked position stay where it is; a break-even rule stays."""
    run(END_TRAILING, {"position_id": position_id})
    run(DROP_RULE, {"position_id": position_id})
