"""What closed a position: it follows from the leg of the exit that filled last.

Dust is what that exit could not sell. It gives a reason only if nothing else was sold. A stop that
a rule has moved last is that rule's.
"""

from execution.exits.legs import CLOSERS
from positions.joins import stop_moved_by_sql
from positions.models import CloseReason

# By the beginning of the leg.
_BY_LEG = {
    "tp": CloseReason.TP,
    "time": CloseReason.TIME,
    "when": CloseReason.CONDITION,
    "external": CloseReason.EXTERNAL,
    "dust": CloseReason.DUST,
    **CLOSERS,
}


def is_rest_sql(leg: str) -> str:
    """Return SQL: whether an exit is the rest that another one has left. leg: an expression."""
    return f"({leg} LIKE 'dust%%')"


def close_reason_sql(leg: str, position_id: str) -> str:
    """Return SQL of the reason that an exit's leg gives. Both are expressions."""
    cases = " ".join(
        f"WHEN {leg} LIKE '{start}%%' THEN '{reason.value}'" for start, reason in _BY_LEG.items()
    )
    return (
        f"CASE WHEN {leg} LIKE 'sl%%' THEN {_stop_reason_sql(position_id)} {cases}"
        f" ELSE '{CloseReason.MANUAL.value}' END"
    )


def _stop_reason_sql(position_id: str) -> str:
    return f"""(SELECT CASE WHEN rule.kind IS NULL THEN '{CloseReason.SL.value}'
    WHEN rule.kind = 'BREAK_EVEN' THEN '{CloseReason.BREAK_EVEN.value}'
    ELSE '{CloseReason.TRAILING.value}' END
    FROM (SELECT {stop_moved_by_sql(position_id)} AS kind) rule)"""
