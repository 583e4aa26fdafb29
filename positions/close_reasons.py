"""What closes positions: the one table of reasons, the legs of their exits, and texts. Pure.

A leg begins with what asked for the exit: `sl`, `tp-2` of the second target, `close-1` of a CLOSE
signal. `execution/reports/close_reasons.py` has the SQL: the exit that filled last decides.
"""

from collections.abc import Mapping
from typing import NamedTuple

from django.db.models import TextChoices

MOST_TARGETS = 10


class CloseReason(TextChoices):
    """What closed the position. TP: at a target whose number was not stored."""

    SL = "sl", "Stop loss"
    TRAILING = "trailing", "Trailing stop"
    BREAK_EVEN = "break_even", "Stop at break-even"
    TP = "tp", "Take profit"
    TARGET_1 = "target_1", "Target 1"
    TARGET_2 = "target_2", "Target 2"
    TARGET_3 = "target_3", "Target 3"
    TARGET_4 = "target_4", "Target 4"
    TARGET_5 = "target_5", "Target 5"
    TARGET_6 = "target_6", "Target 6"
    TARGET_7 = "target_7", "Target 7"
    TARGET_8 = "target_8", "Target 8"
    TARGET_9 = "target_9", "Target 9"
    TARGET_10 = "target_10", "Target 10"
    TIME = "time_exit", "Time exit"
    CONDITION = "condition_exit", "Condition exit"
    SIGNAL = "signal", "Closed by its signal"
    REVERSE = "reverse", "Reversed by its signal"
    OWNER = "owner", "Closed by its owner"
    OPERATOR = "operator", "Closed by an operator"
    KILL_SWITCH = "kill_switch", "Kill switch"
    LOSS_LIMIT = "loss_limit", "Loss limit"
    MANUAL = "manual", "Closed by hand"
    EXTERNAL = "external_close", "Closed by its owner at the broker"
    STOP_OUT = "stop_out", "Closed by its broker: stop-out or liquidation"
    EXPIRY = "expiry", "Closed by its broker: the contract expired"
    DUST = "dust", "The rest is too small to sell"


STOPS = (CloseReason.SL, CloseReason.TRAILING, CloseReason.BREAK_EVEN)
TARGETS = tuple(CloseReason(f"target_{number}") for number in range(1, MOST_TARGETS + 1))
AT_A_TARGET = (CloseReason.TP, *TARGETS)


class Close(NamedTuple):
    """leg: how the leg of its exit begins. sentence: for messages; phrase: to follow `closed`."""

    leg: str
    sentence: str
    phrase: str


CLOSES: Mapping[CloseReason, Close] = {
    CloseReason.SL: Close("sl", "The stop loss was hit.", "stop loss"),
    CloseReason.TRAILING: Close("sl", "The trailing stop was hit.", "trailing stop"),
    CloseReason.BREAK_EVEN: Close("sl", "The stop at break-even was hit.", "stop at break-even"),
    CloseReason.TP: Close("tp", "The take profit was hit.", "take profit"),
    **{
        reason: Close("tp", f"Target {number} was hit.", f"target {number}")
        for number, reason in enumerate(TARGETS, 1)
    },
    CloseReason.TIME: Close("time", "Its closing time came.", "its closing time"),
    CloseReason.CONDITION: Close(
        "when", "Its condition, the state of another signal, came to hold.",
        "the state of another signal",
    ),
    CloseReason.SIGNAL: Close("close", "Its signal closed it.", "by its signal"),
    CloseReason.REVERSE: Close(
        "close", "Its provider reversed the trade: it was closed, and the other side opened.",
        "by a reversal",
    ),
    CloseReason.OWNER: Close("owner", "Closed by its owner.", "by its owner"),
    CloseReason.OPERATOR: Close("operator", "Closed by an operator.", "by an operator"),
    CloseReason.KILL_SWITCH: Close("halt", "A kill switch closed it.", "kill switch"),
    CloseReason.LOSS_LIMIT: Close("loss", "A loss limit closed it.", "loss limit"),
    CloseReason.MANUAL: Close("hand", "Closed by hand.", "by hand"),
    CloseReason.EXTERNAL: Close(
        "external", "Closed by its owner at the broker.", "by the owner at the broker"
    ),
    CloseReason.STOP_OUT: Close(
        "stopout",
        "The broker closed it by a stop-out or liquidation, mostly for lack of margin.",
        "by the broker's stop-out",
    ),
    CloseReason.EXPIRY: Close(
        "expiry", "The broker closed it: its contract expired, or its market was settled.",
        "at its contract's expiry",
    ),
    CloseReason.DUST: Close(
        "dust",
        "What was left is too small to sell: it stays in the account, outside any position.",
        "the remainder is too small to sell",
    ),
}  # fmt: skip


def close_of(reason: str) -> Close | None:
    """Return the line of the table; None for an unknown reason, of a later version for example."""
    return CLOSES[CloseReason(reason)] if reason in CloseReason.values and reason else None
