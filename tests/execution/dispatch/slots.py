"""How many calls a dispatcher makes at once."""

from execution.runtime.trading_runtime import TradingRuntime
from tests.operational import set_setting


def set_slots(trading: TradingRuntime, size: int) -> None:
    """Set them as an operator does: the process compares its slots with the setting."""
    set_setting("execution.dispatch_slots", size)
    trading.dispatcher.slots.resize(size)
