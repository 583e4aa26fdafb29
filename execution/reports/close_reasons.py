"""What closed a position: it follows from the leg of the exit that filled last.

Dust is what that exit could not sell. It gives a reason only if nothing else was sold.
"""

from positions.models import CloseReason

# By the beginning of the leg; any other exit was made through us.
_BY_LEG = {
    "sl": CloseReason.SL,
    "tp": CloseReason.TP,
    "time": CloseReason.TIME,
    "when": CloseReason.CONDITION,
    "external": CloseReason.EXTERNAL,
    "dust": CloseReason.DUST,
}


def is_rest_sql(leg: str) -> str:
    """Return SQL: whether an exit is the rest that another one has left. leg: an expression."""
    return f"({leg} LIKE 'dust%%')"


def close_reason_sql(leg: str) -> str:
    """Return SQL of the reason that an exit's leg gives. leg: an expression."""
    cases = " ".join(
        f"WHEN {leg} LIKE '{start}%%' THEN '{reason.value}'" for start, reason in _BY_LEG.items()
    )
    return f"CASE {cases} ELSE '{CloseReason.MANUAL.value}' END"
