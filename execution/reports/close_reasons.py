"""What closed a position, in SQL: it follows from the leg of the exit that filled last.

The table is `positions/close_reasons.py`. Dust is what that exit could not sell. It gives a reason
only if nothing else was sold. A stop that a rule has moved last is that rule's, a CLOSE that is a
part of a reversal is the reversal's.
"""

from positions.close_reasons import CLOSES, MOST_TARGETS, STOPS, CloseReason
from positions.joins import stop_moved_by_sql
from signals.joins import is_reversal_sql


def is_rest_sql(leg: str) -> str:
    """Return SQL: whether an exit is the rest that another one has left. leg: an expression."""
    return f"({leg} LIKE 'dust%%')"


def close_reason_sql(leg: str, position_id: str, signal_id: str) -> str:
    """Return SQL of the reason that an exit's leg gives. signal_id: the exit's. Expressions all."""
    by_leg = {
        CLOSES[CloseReason.SL].leg: _stop_reason_sql(position_id),
        CLOSES[CloseReason.TP].leg: _target_reason_sql(leg),
        CLOSES[CloseReason.SIGNAL].leg: _signal_reason_sql(signal_id),
    }
    for reason, close in CLOSES.items():
        by_leg.setdefault(close.leg, f"'{reason.value}'")
    cases = " ".join(f"WHEN {leg} LIKE '{start}%%' THEN {sql}" for start, sql in by_leg.items())
    return f"CASE {cases} ELSE '{CloseReason.MANUAL.value}' END"


def _stop_reason_sql(position_id: str) -> str:
    plain, trailing, break_even = (reason.value for reason in STOPS)
    return f"""(SELECT CASE WHEN rule.kind IS NULL THEN '{plain}'
    WHEN rule.kind = 'BREAK_EVEN' THEN '{break_even}' ELSE '{trailing}' END
    FROM (SELECT {stop_moved_by_sql(position_id)} AS kind) rule)"""


def _target_reason_sql(leg: str) -> str:
    """Return SQL of the reason of a leg such as `tp-2`, `tp-2.3` or `tp-2+2`."""
    number = f"substring({leg} FROM '^tp-([0-9]{{1,3}})')"
    return (
        f"CASE WHEN {number}::int BETWEEN 1 AND {MOST_TARGETS} THEN 'target_' || {number}"
        f" ELSE '{CloseReason.TP.value}' END"
    )


def _signal_reason_sql(signal_id: str) -> str:
    return (
        f"CASE WHEN {is_reversal_sql(signal_id)} THEN '{CloseReason.REVERSE.value}'"
        f" ELSE '{CloseReason.SIGNAL.value}' END"
    )
