"""Stop and target that one entry has instead of its signal's, for the position it will open. Pure.

They are ours until the position opens: it then gets them, and a broker that has the order with
other levels gets them as it does those of a MODIFY signal (`monitoring/level_sync.py`).
"""

from collections.abc import Sequence
from decimal import Decimal

from brokers.types import Side
from common.figure_names import Bound, Limit
from common.money import plain
from common.reason_codes import Code
from execution.submission.rows import InstrumentRow, SignalRow
from execution.submission.sizing import ONE, Denial


def with_own_levels(
    signal: SignalRow, stop_loss: Decimal | None, take_profit: Decimal | None
) -> SignalRow:
    """Return a signal with an entry's own levels; None: the signal's stays.

    take_profit: the first target. It is the only one if the signal has none.
    """
    if stop_loss is None and take_profit is None:
        return signal
    targets, fractions = signal.target_prices, signal.target_fractions
    if take_profit is not None:
        targets, fractions = [take_profit, *targets[1:]], fractions or [ONE]
    sl = signal.sl if stop_loss is None else stop_loss
    return signal._replace(sl=sl, target_prices=targets, target_fractions=fractions)


def level_denial(
    signal: SignalRow, side: Side, entries: Sequence[Decimal], instrument: InstrumentRow
) -> Denial | None:
    """Deny levels on the wrong side of an entry, or nearer to it than the broker accepts.

    signal: with the levels. entries: the price at which the entry fills, then that at which it is
    triggered, if it has another one; none: not known yet.
    """
    targets = signal.target_prices
    if len(targets) > 1 and (targets[1] - targets[0]) * side.sign <= 0:
        detail = f"the second target is at {plain(targets[1])}"
        second = Limit("First target", bound=Bound.COMPARED_WITH, word="second target")
        return Denial(Code.TARGET_WRONG_SIDE, targets[0], targets[1], detail, limit=second)
    for price in entries:
        if signal.sl is not None and (price - signal.sl) * side.sign <= 0:
            return Denial(Code.STOP_WRONG_SIDE, signal.sl, price)
    for entry in entries[:1]:
        for target in targets:
            if (target - entry) * side.sign <= 0:
                return Denial(Code.TARGET_WRONG_SIDE, target, entry)
        for level in (signal.sl, *targets):
            if level is not None and abs(entry - level) < instrument.stops_level:
                return Denial(Code.STOP_TOO_NEAR, abs(entry - level), instrument.stops_level)
    return None
