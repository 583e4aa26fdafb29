"""What closed a position: it follows from the leg of the exit that filled last."""

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


def close_reason_sql(leg: str) -> str:
    """Return SQL of the reason that an exit's leg gives. leg: an expression."""
    cases = " ".join(
        f"WHEN {leg} LIKE '{start}%%' THEN '{reason.value}'" for start, reason in _BY_LEG.items()
    )
    return f"CASE {cases} ELSE '{CloseReason.MANUAL.value}' END"
