"""Read the average true ranges (ATR) that trailing stops follow at."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from execution.submission.outcomes import Atr
from execution.submission.rows import OrderRow, SignalRow
from execution.submission.triggers import HELD_AS
from prices.selectors import average_true_range, candles
from signals.models import DEFAULT_ATR_MINUTES


def atrs_of(
    pending: Iterable[OrderRow], signals: Mapping[int, SignalRow], now: datetime
) -> dict[int, Atr]:
    """Return the average true ranges that trailing stops follow at, by order id.

    Reads prices, one query for each length of candles; none if no distance is in ATR.
    """
    asked: dict[int, list[OrderRow]] = {}
    for row in pending:
        signal = signals.get(row.signal_id or 0) if row.position_id is None else None
        if signal and signal.trail_atr is not None and row.order_type in HELD_AS:
            minutes = signal.trail_atr_minutes or DEFAULT_ATR_MINUTES
            asked.setdefault(minutes, []).append(row)
    found: dict[int, Atr] = {}
    for minutes, of_length in asked.items():
        sources = {(row.data_connection_id or 0, row.pair) for row in of_length}
        series = candles(sources, minutes=minutes, now=now)
        for row in of_length:
            of_pair = series.get((row.data_connection_id or 0, row.pair), [])
            found[row.id] = Atr(average_true_range(of_pair), len(of_pair), minutes)
    return found
