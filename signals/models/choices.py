"""The values of a signal's fields, and which fields belong together."""

from django.db import models


class Action(models.TextChoices):
    OPEN = "OPEN"
    MODIFY = "MODIFY"
    CLOSE = "CLOSE"


class Direction(models.TextChoices):
    BUY = "BUY"
    SELL = "SELL"


class OrderType(models.TextChoices):
    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    STOP_LIMIT = "STOP_LIMIT", "Stop limit"
    IF_TOUCHED = "IF_TOUCHED", "If touched"
    TRAILING_STOP = "TRAILING_STOP", "Trailing stop"


LIMITED = (OrderType.LIMIT, OrderType.STOP_LIMIT)  # types with a limit, in `open_price`
# Types with a `stop_price`.
TRIGGERED = (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.IF_TOUCHED)
# Types that are sent at market when their `stop_price` is reached.
AT_MARKET_FROM_STOP = (OrderType.STOP, OrderType.IF_TOUCHED)
TRAIL_FIELDS = ("trail_distance", "trail_pips", "trail_percent", "trail_atr")  # exactly one
TRAIL_OPTIONS = (*TRAIL_FIELDS, "trail_atr_minutes", "activation_price")
ATR_MINUTES = (1, 5, 15, 30, 60, 240)  # lengths of the candles that an ATR is calculated from
ATR_CHOICES = [(minutes, str(minutes)) for minutes in ATR_MINUTES]
DEFAULT_ATR_MINUTES = 60


class TimeInForce(models.TextChoices):
    GTC = "GTC", "Good till cancelled"
    GTD = "GTD", "Good till date"
    DAY = "DAY", "Day"
    IOC = "IOC", "Immediate or cancel"
    FOK = "FOK", "Fill or kill"


class AfterState(models.TextChoices):
    """What must have become of another signal on an account, before an entry works there."""

    FILLED = "FILLED", "Filled"
    CLOSED = "CLOSED", "Closed"
    CLOSED_AT_STOP = "CLOSED_AT_STOP", "Closed at its stop"
    CLOSED_AT_TARGET = "CLOSED_AT_TARGET", "Closed at its target"
    NOT_FILLED = "NOT_FILLED", "Ended without a fill"


CONDITION_FIELDS = ("not_before", "after_signal", "after_state")
EXIT_CONDITION_FIELDS = ("close_when_signal", "close_when_state")


def exit_condition_text(signal_id: int | None, state: str) -> str:
    """Return what closes a position, for people: `once S-7 is closed at its stop`; empty: nothing.

    signal_id, state: of the other signal.
    """
    if signal_id is None:
        return ""
    verb = "has ended" if state == AfterState.NOT_FILLED else "is"
    word = AfterState(state).label.lower().removeprefix("ended ")
    return f"once S-{signal_id} {verb} {word}"


class Approval(models.TextChoices):
    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"


class RiskCategory(models.TextChoices):
    SMALL = "small"
    NORMAL = "normal"
    LARGE = "large"


class Origin(models.TextChoices):
    HAND = "HAND", "By hand"
    API = "API", "API"
    ALERT = "ALERT", "Alert"
    BUS = "BUS", "Message bus"
    FILE = "FILE", "File"
    DRIFT = "DRIFT", "Adopted from a broker"
