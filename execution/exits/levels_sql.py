"""SQL for levels: those that a signal has now, their ticks, and which guardian executes them.

A signal has its own levels, or those of the latest published MODIFY that set any. Prices and
fractions of targets come from the same signal, so their number always agrees.
"""

JOIN = """
LEFT JOIN LATERAL (
  SELECT f.sl FROM signals_signal f
  WHERE f.refers_to_id = s.id AND f.action = 'MODIFY' AND f.published_at IS NOT NULL
    AND f.sl IS NOT NULL ORDER BY f.published_at DESC, f.id DESC LIMIT 1
) moved_stop ON true
LEFT JOIN LATERAL (
  SELECT f.target_prices, f.target_fractions FROM signals_signal f
  WHERE f.refers_to_id = s.id AND f.action = 'MODIFY' AND f.published_at IS NOT NULL
    AND cardinality(f.target_prices) > 0 ORDER BY f.published_at DESC, f.id DESC LIMIT 1
) moved_targets ON true"""
"""Append it to `FROM signals_signal s`."""

SL = "coalesce(moved_stop.sl, s.sl)"
TARGET_PRICES = "coalesce(moved_targets.target_prices, s.target_prices)"
TARGET_FRACTIONS = "coalesce(moved_targets.target_fractions, s.target_fractions)"

TICK = "coalesce(nullif(i.tick, 0), trim_scale(1 / power(10::numeric, i.digits)))"
"""The smallest step of a price at the broker, of `connections_instrument i`."""


def tick_of(row: str) -> str:
    """Return the tick of a position's or order's instrument; NULL where the broker lists none."""
    return f"""(SELECT {TICK} FROM connections_executionconnection of_row
      JOIN connections_instrument i ON i.book = of_row.instrument_book AND i.symbol = {row}.symbol
      WHERE of_row.id = {row}.connection_id)"""


def on_tick(price: str, row: str) -> str:
    """Return a level of a position or order, rounded to whole ticks: up for BUY, down for SELL.

    The same as `brokers.price_rounding.round_level_price`, so that our row and the broker hold the
    same price. row: the table's alias.
    """
    return f"""(SELECT CASE
        WHEN step.size IS NULL OR mod(level.price, step.size) = 0 THEN level.price
        WHEN {row}.side = 'BUY' THEN ceil(level.price / step.size) * step.size
        ELSE floor(level.price / step.size) * step.size END
      FROM (SELECT {price} AS price) level CROSS JOIN (SELECT {tick_of(row)} AS size) step)"""


def differs(ours: str, theirs: str) -> str:
    """Return whether two levels of a position differ by more than brokers round. Never NULL."""
    return f"coalesce(abs({ours} - {theirs}) >= pip / 10, ({ours} IS NULL) <> ({theirs} IS NULL))"


def is_confirmed(level: str) -> str:
    """Return whether the broker has confirmed that it holds a position's level (`sl`, `tp`).

    We monitor a level that was only sent. Up to a pip, because brokers round to their own ticks.
    """
    return f"coalesce({level}_guardian = 'BROKER' AND abs({level} - broker_{level}) < pip, false)"


def is_watched(level: str, guardian: str) -> str:
    """Return whether this guardian executes a level now."""
    if guardian == "BROKER":
        return is_confirmed(level)
    return f"({level}_guardian <> '' AND NOT {is_confirmed(level)})"


def lacks_level(of: str = "") -> str:
    """Return whether the broker should hold a level and has confirmed none.

    of: alias of the position's table with a point, such as `p.`.
    """
    return f"""({of}sl_guardian = 'BROKER' AND {of}sl IS NOT NULL AND {of}broker_sl IS NULL
  OR {of}tp_guardian = 'BROKER' AND {of}tp IS NOT NULL AND {of}broker_tp IS NULL)"""


LACKS_LEVEL = lacks_level()
