"""Is everyone accounted for?"""


def audit_and_alarm() -> None:
    """Count what must be zero; an alarm event if it is not."""
